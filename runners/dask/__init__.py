"""The Dask task runner: batches become Dask tasks, one each.

Lives here: everything that knows Dask. Does not live here: what a batch is
(``dataflow.batch``), how it is run (``dataflow.worker``), which batch comes
next (``dataflow.engine``). Dask itself is imported when a runner starts.
"""

from __future__ import annotations

from runners.dask.clients import get_async_dask_client, get_dask_client
from runners.dask.runner import DaskTaskRunner

__all__ = ["DaskTaskRunner", "get_async_dask_client", "get_dask_client"]
