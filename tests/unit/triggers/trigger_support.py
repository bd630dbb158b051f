"""Deployments with triggers, events, and turns of the judge one after another.

Lives here: what tests of triggers make. Does not live here: assertions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from dataflow.agenda import DeploymentRow
from dataflow.event_log import EventRow, Findings, Pending
from dataflow.triggers import Trigger
from dataflow.triggers.judging import SETTLING_S, judge, next_s

MADE_S = 1_000_000.0
_keys = count(1)


def deployment(*triggers: Trigger, name: str = "etl/nightly", after: str | None = None,
               paused: bool = False, updated_s: float = MADE_S,
               parameters: Mapping[str, Any] | None = None) -> DeploymentRow:
    return DeploymentRow(
        id=f"id-of-{name}", name=name, flow_name=name.partition("/")[0], version=1, label=None,
        digest="d", spec={"triggers": [each.to_json() for each in triggers], "after": after,
                          "parameters": dict(parameters or {})},
        provenance={}, paused=paused, pool="default", queue="default", priority=0, limit=None,
        collision="ENQUEUE", on_crash="crash", created_s=updated_s, updated_s=updated_s)


def event(name: str = "orders.loaded", at: float = 1.0, **fields: Any) -> EventRow:
    key = next(_keys)
    fields = {"resource": None, "payload": {}, "id": f"e{key}", **fields}
    return EventRow(key=key, name=name, occurred_s=MADE_S + at, **fields)


def state(state_type: str = "COMPLETED", at: float = 1.0, *, flow: str = "load",
          state_name: str | None = None, run: str = "run-1", **fields: Any) -> EventRow:
    named = state_name or state_type.title()
    fields = {"deployment": f"{flow}/d", "flow_run_name": "tidy-owl", **fields}
    return event(f"dataflow.flow-run.{named}", at, resource=f"dataflow.flow-run.{run}",
                 flow_run_id=run, state_type=state_type, state_name=named, flow_name=flow, **fields)


@dataclass
class Turns:
    """The judge, turn after turn, with what it remembers."""

    deployments: Sequence[DeploymentRow]
    memory: dict[str, str] = field(default_factory=dict)

    def turn(self, *events: EventRow, at: float = 100.0, **known: Any) -> Findings:
        """Judge events; ``at`` is the time, seconds after the deployments were made."""
        ids = count()
        found = judge(
            Pending(version=1, events=events, memory=self.memory), self.deployments,
            MADE_S + at + SETTLING_S, new_id=lambda: f"new-{next(ids)}", **known)
        for name, text in found.memory.items():
            if text is None:
                del self.memory[name]
            else:
                self.memory[name] = text
        return found

    @property
    def next(self) -> float | None:
        """Return when time makes something due, seconds after the deployments were made."""
        found = next_s(self.memory)
        return None if found is None else round(found - SETTLING_S - MADE_S, 3)


def runs(found: Findings) -> list[str]:
    """Return what the runs that were made are of: keys of idempotency."""
    return [str(each.idempotency_key) for each in found.runs]
