"""dataflow: plain functions become tasks and flows, mapped over a Dask cluster.

The public names; each is imported from its module on first use, so that
``import dataflow`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME_OF = {
    "task": "dataflow.tasks",
    "Task": "dataflow.tasks",
    "exponential_backoff": "dataflow.retry",
    "flow": "dataflow.flows",
    "Flow": "dataflow.flows",
    "State": "dataflow.states",
    "unmapped": "dataflow.annotations",
    "allow_failure": "dataflow.annotations",
    "quote": "dataflow.annotations",
    "opaque": "dataflow.annotations",
    "flatten": "dataflow.annotations",
    "apply_map": "dataflow.pipelines",
    "filter_results": "dataflow.pipelines",
    "wait": "dataflow.futures",
    "as_completed": "dataflow.futures",
    "get_run_logger": "dataflow.logging",
    "tags": "dataflow.context",
    "Transaction": "dataflow.transactions",
    "serve": "dataflow.service.serving",
    "emit_event": "dataflow.events",
}
_MODULES = frozenset({
    "alerts", "annotations", "cache_policies", "client", "context", "deployments", "events",
    "exceptions", "filesystems", "flows", "futures", "locking", "logging", "results", "runtime",
    "schedules", "serializers", "settings", "shell", "states", "task_runners", "tasks", "testing",
    "transactions",
})
"""What is reached as an attribute too: ``dataflow.context.get_run_context()``."""

__all__ = [
    "Flow",
    "State",
    "Task",
    "Transaction",
    "__version__",
    "allow_failure",
    "apply_map",
    "as_completed",
    "emit_event",
    "exponential_backoff",
    "filter_results",
    "flatten",
    "flow",
    "get_run_logger",
    "opaque",
    "quote",
    "runtime",
    "serve",
    "tags",
    "task",
    "unmapped",
    "wait",
]

if TYPE_CHECKING:
    from dataflow import runtime
    from dataflow.annotations import allow_failure, flatten, opaque, quote, unmapped
    from dataflow.context import tags
    from dataflow.events import emit_event
    from dataflow.flows import Flow, flow
    from dataflow.futures import as_completed, wait
    from dataflow.logging import get_run_logger
    from dataflow.pipelines import apply_map, filter_results
    from dataflow.retry import exponential_backoff
    from dataflow.service.serving import serve
    from dataflow.states import State
    from dataflow.tasks import Task, task
    from dataflow.transactions import Transaction


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"dataflow.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'dataflow' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
