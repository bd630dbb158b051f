"""What is asked and answered, as models: the JSON of the service.

Lives here: fields and how they follow from rows. Does not live here: which route has
which (``views/``).
"""
