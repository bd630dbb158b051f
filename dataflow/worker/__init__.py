"""What runs where the values are: a batch, an attempt, one user function call.

This package imports no driver, no store and no Dask: it is what a worker
process loads.
"""
