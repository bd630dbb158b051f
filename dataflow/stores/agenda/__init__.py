"""The agenda of a store in a database: deployments, schedules, the queue.

Lives here: a module of statements for each, the adapter over all of them
(``sql_agenda.py``). Does not live here: the port (``dataflow/agenda.py``).
"""
