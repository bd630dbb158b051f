"""What the running code may ask about its run: ``runtime.task_run.id`` and the like.

Lives here: three objects to read from. Each attribute has an empty value where
it is not known and never raises. Does not live here: the context itself
(``context.py``).

Each can be given from outside, to try code without a run: the variable
``DATAFLOW__RUNTIME__FLOW_RUN__NAME`` stands for ``runtime.flow_run.name``.
Numbers and times (ISO 8601) are read as such, lists and dicts as JSON; a text
that is none is a ValueError that names the variable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dataflow.batch import RunInfo
from dataflow.context import current_flow, current_task
from dataflow.deployed_run import DeployedRun

__all__ = ["deployment", "flow_run", "task_run"]


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _json_of(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(f"expected the JSON of a {kind.__name__}")
        return value

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "run_count": int, "map_index": int, "scheduled_start_time": _time,
    "tags": _json_of(list), "parameters": _json_of(dict), "job_variables": _json_of(dict),
    "trigger": _json_of(dict),
}
"""How the text of a variable is read; all others are texts themselves."""


class _Facts:
    """A group of attributes, each of which a variable may stand for."""

    _front: str

    def __getattribute__(self, name: str) -> Any:
        """Return what the variable of an attribute says, else what the attribute knows."""
        if not name.startswith("_"):
            variable = f"{type(self)._front}__{name.upper()}"
            mocked = os.environ.get(variable)
            if mocked is not None and name in dir(type(self)):
                return _read(name, variable, mocked)
        return object.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        return [name for name in dir(type(self)) if not name.startswith("_")]


def _read(name: str, variable: str, text: str) -> Any:
    try:
        return _READERS.get(name, str)(text)
    except ValueError as error:
        raise ValueError(f"{variable} = {text!r} cannot be used: {error}") from None


class _TaskRun(_Facts):
    """The task run that this code belongs to."""

    _front = "DATAFLOW__RUNTIME__TASK_RUN"

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
        return around.parameters if around else {}

    @property
    def run_count(self) -> int:
        """The number of this attempt; 1 for the first, 0 outside of a task."""
        around = current_task.get()
        return around.attempt if around else 0

    @property
    def key(self) -> str | None:
        """What names the work of this task run, 32 hex digits, for effects that are to happen once.

        The same in all attempts, in later tries of the flow function and when the run is
        resumed: hand it to whoever tells calls apart by such a key (a payment, a row to insert).
        """
        around = current_task.get()
        return around.key if around else None

    @property
    def map_index(self) -> int | None:
        """Position in the map, None outside of one."""
        around = current_task.get()
        return around.index if around and around.code.mapped else None

    @property
    def api_url(self) -> str | None:
        """None: a run needs no server."""
        return None

    @property
    def ui_url(self) -> str | None:
        """None: there are no pages of runs yet."""
        return None


def _deployed() -> DeployedRun | None:
    run = _run()
    made: DeployedRun | None = None if run is None else run.deployed
    return made


def _run() -> RunInfo | None:
    task = current_task.get()
    if task is not None and task.run is not None:
        return task.run
    flow = current_flow.get()
    return flow.run if flow else None


class _FlowRun(_Facts):
    """The flow run that this code belongs to."""

    _front = "DATAFLOW__RUNTIME__FLOW_RUN"

    @property
    def id(self) -> str | None:
        """Id of the flow run."""
        run = _run()
        return (run.outer_flow_run_id or run.flow_run_id) if run else None

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
        """How often the flow run has begun; 0 outside of one."""
        run = _run()
        return run.run_count if run else 0

    @property
    def parent_flow_run_id(self) -> str | None:
        """Id of the flow run that called this one."""
        run = _run()
        return run.parent_flow_run_id if run else None

    @property
    def parent_deployment_id(self) -> str | None:
        """Id of the deployment of the flow run that called this one; there is none yet."""
        return None

    @property
    def root_flow_run_id(self) -> str | None:
        """Id of the flow run at the top; its own where nobody called it."""
        run = _run()
        if run is None:
            return None
        return run.root_flow_run_id or run.outer_flow_run_id or run.flow_run_id

    @property
    def scheduled_start_time(self) -> datetime:
        """When the flow run was to begin, in UTC; now, where there is no flow run."""
        run, made = _run(), _deployed()
        if made is not None and made.due_s is not None:
            return datetime.fromtimestamp(made.due_s, UTC)
        return datetime.fromtimestamp(run.started_s, UTC) if run else datetime.now(UTC)

    @property
    def trigger(self) -> dict[str, Any]:
        """The event that made the flow run: ``name``, ``id``, ``resource``, ``payload``,
        ``flow_run_id``, ``occurred`` and more; empty where none did. A payload above 64 KiB is
        left out: the event has it."""
        made = _deployed()
        return dict(made.trigger) if made is not None and made.trigger else {}

    @property
    def job_variables(self) -> dict[str, Any] | None:
        """None: nothing starts flow runs with job variables yet."""
        return None

    @property
    def api_url(self) -> str | None:
        """None: a run needs no server."""
        return None

    @property
    def ui_url(self) -> str | None:
        """None: there are no pages of runs yet."""
        return None


class _Deployment(_Facts):
    """The deployment that made the flow run; empty where none did."""

    _front = "DATAFLOW__RUNTIME__DEPLOYMENT"

    @property
    def id(self) -> str | None:
        """Id of the deployment."""
        made = _deployed()
        return made.id if made else None

    @property
    def name(self) -> str | None:
        """Name of the deployment, without the flow's."""
        made = _deployed()
        return made.name if made else None

    @property
    def version(self) -> str | None:
        """Version of the deployment."""
        made = _deployed()
        return made.version if made else None

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters that the deployment gives its flow runs."""
        made = _deployed()
        return dict(made.parameters) if made else {}

    @property
    def flow_run_id(self) -> str | None:
        """Id of the flow run that the deployment made."""
        made = _deployed()
        return made.flow_run_id if made else None


task_run = _TaskRun()
flow_run = _FlowRun()
deployment = _Deployment()
