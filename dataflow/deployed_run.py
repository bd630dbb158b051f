"""The deployment that a process runs: what ``runtime.deployment`` tells.

Lives here: the facts, and which run of this process they are of. Does not live
here: who sets them (``service/run_process.py``), who asks (``runtime.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedRun:
    """A flow run that a deployment made.

    ``parameters`` are those of the deployment; ``due_s`` is the slot of the schedule that it is
    of, else when it was to begin; ``trigger`` the event that made it.
    """

    flow_run_id: str
    id: str | None = None
    name: str | None = None
    version: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    due_s: float | None = None
    trigger: Mapping[str, Any] | None = None


_here: dict[str, DeployedRun] = {}


def drive(run: DeployedRun) -> None:
    """Note that this process drives a run of a deployment."""
    _here[run.flow_run_id] = run


def leave(flow_run_id: str) -> None:
    """Forget a run that this process drove."""
    _here.pop(flow_run_id, None)


def deployed_run(flow_run_id: str) -> DeployedRun | None:
    """Return what is known of the deployment of a run of this process."""
    return _here.get(flow_run_id)
