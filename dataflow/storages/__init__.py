"""Adapters of the result storage port (``dataflow.result_storage``): a folder, S3, any fsspec URL.

Does not live here: an import of fsspec or obstore before a storage needs it.
"""
