"""What is done when triggers act. Pure but for fresh ids.

Lives here: runs, cancels and pauses of the times to act, and what becomes of those that
cannot be. Does not live here: when triggers act (``judging.py``), writing it down
(``service/watcher.py``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from dataflow.agenda import DeploymentRow, NewRun
from dataflow.event_log import EventRow, NewEvent
from dataflow.exceptions import ParameterTypeError
from dataflow.names import flow_run_name
from dataflow.triggers.definition import compact
from dataflow.triggers.filling import NotFilled, filled_in
from dataflow.triggers.fires import Fire
from dataflow.triggers.remembering import TRIGGER_FAILED

DEEPEST = 25
"""So many runs may follow from each other by triggers; then somebody has made a circle."""

LONGEST_PAYLOAD = 64 << 10
"""A payload with more characters is left with its event: it is not kept with the run too."""

_SHOWN = 2000  # characters of a reason
_CAUSE = 200
_UNDONE = {"run": "made no run of", "cancel": "cancelled nothing upon",
           "pause": "paused nothing upon", "resume": "resumed nothing upon"}

Fit = Callable[[DeploymentRow, Mapping[str, Any]], dict[str, Any]]
"""Deployment, parameters → all parameters of the run. Raises ParameterTypeError."""

There = Callable[[str], str | None]
"""Name of a deployment → why it cannot be meant; None: it is there."""

_chance = random.Random()


@dataclass(slots=True)
class Consequences:
    """What follows from times to act; each is added.

    Parameters
    ----------
    now_s
        The time, epoch seconds.
    fit
        Completes and checks parameters.
    new_id
        Gives ids of flow runs.
    there
        Tells whether there is a deployment.
    stopped
        Names of triggers of which it was told that they go on without end; kept up to date.
    """

    now_s: float
    fit: Fit
    new_id: Callable[[], str]
    there: There
    stopped: set[str]
    runs: list[NewRun] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)
    pause: list[tuple[str, bool]] = field(default_factory=list)
    _failed: dict[str, tuple[Fire, str, int, int]] = field(default_factory=dict)

    def add(self, fire: Fire, depth: int) -> None:
        """Do what a trigger says.

        Parameters
        ----------
        depth
            How many runs made by triggers its event follows from.
        """
        trigger, owner = fire.carried.trigger, fire.carried.deployment
        if trigger.action in ("pause", "resume"):
            self._pause(fire, trigger.deployment or owner.name, depth)
        elif trigger.action == "cancel":
            if fire.flow_run_id is None:
                self._fail(fire, "the event is of no run that could be cancelled", depth)
            else:
                self.cancel.append(fire.flow_run_id)
        elif depth >= DEEPEST:
            if fire.carried.memory not in self.stopped:
                self._fail(fire, f"{depth} runs have followed from each other by triggers, which "
                                 "looks like a circle: no run was made", depth)
            self.stopped.add(fire.carried.memory)
        else:
            self.stopped.discard(fire.carried.memory)
            self._run(fire, depth + 1)

    def _pause(self, fire: Fire, name: str, depth: int) -> None:
        trigger, owner = fire.carried.trigger, fire.carried.deployment
        why = None if name == owner.name else self.there(name)
        if why is None:
            self.pause.append((name, trigger.action == "pause"))
        else:
            self._fail(fire, why, depth)

    def _run(self, fire: Fire, depth: int) -> None:
        trigger, owner = fire.carried.trigger, fire.carried.deployment
        try:
            parameters = self.fit(owner, filled_in(trigger.parameters, fire.facts))
        except (NotFilled, ParameterTypeError) as error:
            self._fail(fire, str(error), depth)
            return
        self.runs.append(NewRun(
            flow_run_id=self.new_id(), name=flow_run_name(_chance), deployment=owner.name,
            parameters=parameters, due_s=self.now_s + trigger.delay, cause=_cause(fire),
            idempotency_key=f"trigger:{fire.carried.slug}:{fire.key}",
            trigger={"slug": fire.carried.slug, "depth": depth, **_kept(fire.facts)}))

    def _fail(self, fire: Fire, reason: str, depth: int) -> None:
        """Note a failure; those of one trigger are told of together."""
        first, why, count, deep = self._failed.get(
            fire.carried.memory, (fire, reason[:_SHOWN], 0, depth))
        self._failed[fire.carried.memory] = (first, why, count + 1, max(deep, depth))

    def events(self) -> Sequence[NewEvent]:
        """Return the events of triggers that could not do what they are for."""
        return [NewEvent(
            id=_id(name, fire.key), name=TRIGGER_FAILED, occurred_s=self.now_s,
            resource=f"dataflow.deployment.{fire.carried.deployment.name}",
            payload={"trigger": name, "slug": fire.carried.slug,
                     "action": fire.carried.trigger.action,
                     "deployment": fire.carried.deployment.name, "reason": reason, "count": count,
                     "depth": depth, "event": {"id": fire.facts["id"], "name": fire.facts["name"],
                                               "resource": fire.facts["resource"]}},
        ) for name, (fire, reason, count, depth) in self._failed.items()]


def failures_said(events: Sequence[NewEvent | EventRow]) -> list[str]:
    """Return what is to be logged of what could not be done."""
    return [said for each in events if each.name == TRIGGER_FAILED
            and (said := _said(each.payload)) is not None]


def _said(facts: Mapping[str, Any]) -> str | None:
    """Return one failure in words; None: anybody may emit an event of that name."""
    try:
        said = (f"Trigger {facts['slug']} of {facts['deployment']} "
                f"{_UNDONE[facts.get('action', 'run')]} event {facts['event']['name']}")
        more = f" and {facts['count'] - 1} more" if facts["count"] > 1 else ""
        return f"{said}{more}: {facts['reason']}"
    except (LookupError, TypeError):
        return None


def _kept(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that stay with the run: a payload that is large is left out.

    Templates have seen it, and the event has it.
    """
    size = len(compact(facts["payload"]))
    if size <= LONGEST_PAYLOAD:
        return dict(facts)
    return {**facts, "payload": {}, "payload_left_out": size}


def _cause(fire: Fire) -> str:
    resource = fire.facts["resource"]
    said = f"trigger {fire.carried.slug}: {fire.facts['name']}"
    said += f" of {resource}" if resource else ""
    return said if len(said) <= _CAUSE else f"{said[:_CAUSE - 1]}…"


def _id(name: str, key: str) -> str:
    return blake2b(f"{name}\0{key}".encode(), digest_size=16).hexdigest()
