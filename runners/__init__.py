"""Task runners: where batches are executed. Each is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "InlineTaskRunner": "runners.inline",
    "ThreadPoolTaskRunner": "runners.threads",
    "DaskTaskRunner": "runners.dask",
    "get_async_dask_client": "runners.dask.clients",
    "get_dask_client": "runners.dask.clients",
}

__all__ = sorted(_HOME_OF)

if TYPE_CHECKING:
    from runners.dask import DaskTaskRunner
    from runners.dask.clients import get_async_dask_client, get_dask_client
    from runners.inline import InlineTaskRunner
    from runners.threads import ThreadPoolTaskRunner


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'runners' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
