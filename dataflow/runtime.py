"""What the running code may ask about its run: ``runtime.task_run.id`` and the like.

Lives here: two objects to read from. Each attribute has an empty value where
it is not known and never raises. Does not live here: the context itself
(``context.py``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dataflow.batch import RunInfo
from dataflow.context import current_flow, current_task

__all__ = ["flow_run", "task_run"]


class _TaskRun:
    """The task run that this code belongs to."""

    @property
    def id(self) -> str | None:
        """Id of the task run."""
        around = current_task.get()
        return around.id if around else None

    @property
    def name(self) -> str | None:
        """Name of the task run."""
        around = current_task.get()
        return around.name if around else None

    @property
    def task_name(self) -> str | None:
        """Name of the task."""
        around = current_task.get()
        return around.code.task.name if around else None

    @property
    def tags(self) -> list[str]:
        """Tags of the task run."""
        around = current_task.get()
        return sorted(around.code.tags | around.code.task.tags) if around else []

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the call, defaults included."""
        around = current_task.get()
        return around.parameters() if around else {}

    @property
    def run_count(self) -> int:
        """The number of this attempt; 1 for the first."""
        around = current_task.get()
        return around.attempt if around else 0

    @property
    def map_index(self) -> int | None:
        """Position in the map, None outside of one."""
        around = current_task.get()
        return around.index if around and around.code.mapped else None


def _run() -> RunInfo | None:
    task = current_task.get()
    if task is not None and task.run is not None:
        return task.run
    flow = current_flow.get()
    return flow.run if flow else None


class _FlowRun:
    """The flow run that this code belongs to."""

    @property
    def id(self) -> str | None:
        """Id of the flow run."""
        run = _run()
        return run.flow_run_id if run else None

    @property
    def name(self) -> str | None:
        """Name of the flow run."""
        run = _run()
        return run.flow_run_name if run else None

    @property
    def flow_name(self) -> str | None:
        """Name of the flow."""
        run = _run()
        return run.flow_name if run else None

    @property
    def flow_version(self) -> str | None:
        """Version of the flow."""
        run = _run()
        return run.flow_version if run else None

    @property
    def tags(self) -> list[str]:
        """Tags of the flow run."""
        run = _run()
        return sorted(run.tags) if run else []

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the flow run."""
        run = _run()
        return dict(run.parameters) if run else {}

    @property
    def run_count(self) -> int:
        """How often the flow run has begun."""
        run = _run()
        return run.run_count if run else 0

    @property
    def parent_flow_run_id(self) -> str | None:
        """Id of the flow run that called this one."""
        run = _run()
        return run.parent_flow_run_id if run else None

    @property
    def root_flow_run_id(self) -> str | None:
        """Id of the flow run at the top; its own where nobody called it."""
        run, flow = _run(), current_flow.get()
        if run is None:
            return None
        return flow.root_flow_run_id if flow is not None else (
            run.parent_flow_run_id or run.flow_run_id)

    @property
    def scheduled_start_time(self) -> datetime | None:
        """When the flow run was to begin."""
        run = _run()
        return datetime.fromtimestamp(run.started_s, UTC) if run else None


task_run = _TaskRun()
flow_run = _FlowRun()
