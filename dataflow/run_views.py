"""Runs as hooks, conditions and contexts show them to users: what is known of one, read only.

Lives here: :class:`TaskRunView` and :class:`FlowRunView`, made on demand. Does
not live here: the records of runs (``store.py``), the contexts (``context.py``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataflow.batch import RunInfo

if TYPE_CHECKING:
    from dataflow.context import TaskRunContext
    from dataflow.states import State


class TaskRunView:
    """A task run while it runs.

    Parameters
    ----------
    context
        The attempt at hand.
    state
        What the task run has come to, for hooks and conditions; None while it runs.
    start_time
        When this attempt began.

    Attributes
    ----------
    id, name, flow_run_id
        None for the ids where the task is called outside of a flow.
    task_key, task_version
        Of the task; None where a worker does not know.
    run_count
        The number of the attempt; 1 for the first.
    flow_run_run_count
        How often the flow run has begun; 0 outside of one.
    map_index
        Position in the map, None outside of one.
    tags
        Of the task and of the blocks around the call.
    """

    def __init__(self, context: TaskRunContext, state: State | None = None,
                 start_time: datetime | None = None) -> None:
        task, run = context.code.task, context.run
        self._context = context
        self.id = context.id
        self.name = context.name
        self.task_name = task.name
        self.task_key: str | None = getattr(task.owner, "task_key", None)
        self.task_version: str | None = getattr(task.owner, "version", None)
        self.run_count = context.attempt
        self.map_index = context.index if context.code.mapped else None
        self.tags = sorted(context.code.tags | task.tags)
        self.flow_run_id = (run.outer_flow_run_id or run.flow_run_id) if run else None
        self.flow_run_run_count = run.run_count if run else 0
        self.state = state
        self.state_type = state.type if state is not None else None
        self.state_name = state.name if state is not None else None
        self.start_time = start_time

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the call, defaults included."""
        return self._context.parameters

    def __repr__(self) -> str:
        return f"<TaskRun {self.name!r}>"


class FlowRunView:
    """A flow run while it runs.

    Attributes
    ----------
    id, name, flow_name, flow_version, parameters, tags, run_count
        As ``runtime.flow_run`` has them.
    parent_flow_run_id, parent_task_run_id
        What called it; None for a flow run that nobody called.
    start_time, expected_start_time
        When it was made.
    state, state_type, state_name
        The state that a hook is called for; None where it is not for one.
    """

    def __init__(self, run: RunInfo, state: State | None = None) -> None:
        self.state = state
        self.state_type = state.type if state is not None else None
        self.state_name = state.name if state is not None else None
        self.id = run.outer_flow_run_id or run.flow_run_id
        self.name = run.flow_run_name
        self.flow_name = run.flow_name
        self.flow_version = run.flow_version
        self.parameters: dict[str, Any] = dict(run.parameters)
        self.tags = sorted(run.tags)
        self.run_count = run.run_count
        self.parent_flow_run_id = run.parent_flow_run_id
        self.parent_task_run_id = run.parent_task_run_id
        self.deployment_id = None  # flow runs of deployments do not exist yet
        self.start_time = self.expected_start_time = datetime.fromtimestamp(run.started_s, UTC)

    def __repr__(self) -> str:
        return f"<FlowRun {self.name!r}>"
