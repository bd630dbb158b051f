"""Task runners under the name by which users of Prefect import them.

Lives here: the way from a class's name to what an installed package offers for
it. Does not live here: any runner; they are found by the entry-point group
``dataflow.runners`` and imported on first use.
"""

from __future__ import annotations

from typing import Any

from dataflow.runner import TaskRunner
from dataflow.runner_choice import runner_class

_ENTRY_POINT_OF = {
    "ConcurrentTaskRunner": "threads",
    "DaskTaskRunner": "dask",
    "InlineTaskRunner": "inline",
    "ThreadPoolTaskRunner": "threads",
}

__all__ = ["TaskRunner", *_ENTRY_POINT_OF]


def __getattr__(name: str) -> Any:
    if name not in _ENTRY_POINT_OF:
        raise AttributeError(f"module 'dataflow.task_runners' has no attribute {name!r}")
    value = globals()[name] = runner_class(_ENTRY_POINT_OF[name])
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
