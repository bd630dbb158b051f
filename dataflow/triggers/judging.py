"""What follows from events, and from time, by the triggers of deployments.

Lives here: :func:`judge` and :func:`next_s`, pure but for fresh ids. Does not live here: the
loop that calls them (``service/watcher.py``), what kinds of triggers remember
(``remembering.py``), what is done (``consequences.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from dataflow.agenda import DeploymentRow
from dataflow.event_log import EventRow, Findings, Pending
from dataflow.ids import new_run_id
from dataflow.triggers.carried import carried
from dataflow.triggers.consequences import Consequences, Fit, There
from dataflow.triggers.fires import Fire
from dataflow.triggers.matching import Index
from dataflow.triggers.remembering import TRIGGER_FAILED, Remembering

MEMORY = "trigger:"
"""How the names begin under which triggers remember."""

SETTLING_S = 1.0
"""So much later than it is it is judged that something did not happen: it may just be written."""

_DAY_AND_MORE_S = 26 * 3600.0


class Known(Protocol):
    """What is known beside the events that wait. Asked only where it matters, and once."""

    def depths(self, flow_run_ids: Collection[str]) -> Mapping[str, int]:
        """Return how many runs made by triggers a run follows from, itself among them."""

    def completed_since(self, since_s: float) -> Sequence[EventRow]:
        """Return the events of completed flow runs since a moment."""


class NothingKnown:
    """Knows of nothing but the events at hand."""

    def depths(self, flow_run_ids: Collection[str]) -> Mapping[str, int]:
        """Return nothing."""
        return {}

    def completed_since(self, since_s: float) -> Sequence[EventRow]:
        """Return nothing."""
        return ()


def as_given(deployment: DeploymentRow, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the deployment's parameters with those given over them, unchecked."""
    return {**deployment.spec.get("parameters", {}), **parameters}


def any_name(name: str) -> None:
    """Take every deployment for one that is there."""


def judge(pending: Pending, deployments: Sequence[DeploymentRow], now_s: float, *,
          known: Known | None = None, fit: Fit = as_given, there: There = any_name,
          more: bool = False, new_id: Callable[[], str] = new_run_id) -> Findings:
    """Return what follows by triggers.

    Parameters
    ----------
    pending
        The events, and what triggers remember.
    deployments
        All that are there: what others remembered is forgotten.
    now_s
        The time, epoch seconds.
    known
        What is known beside.
    fit
        Completes and checks the parameters of a run; ParameterTypeError: none is made.
    there
        Tells of a deployment that is to rest or to go on whether there is one.
    more
        Other events wait behind these: time is judged up to the last of these.
    new_id
        Gives ids of flow runs.
    """
    known = NothingKnown() if known is None else known
    mine = [Remembering(each, pending.memory.get(each.memory), now_s)
            for each in carried(deployments)]
    awake = [each for each in mine if not each.carried.rests]
    fires = _heard(awake, pending.events, known)
    until_s = now_s - SETTLING_S
    if more and pending.events:
        until_s = min(until_s, pending.events[-1].occurred_s)
    for each in awake:
        fires += each.rule.passed(until_s)
    done = _done(mine, fires, known, Consequences(
        now_s, fit, new_id, there, {each.carried.memory for each in mine if each.stopped}))
    return Findings(
        handled=[event.key for event in pending.events], runs=done.runs, cancel=done.cancel,
        pause=done.pause, events=done.events(), memory=_memory(mine, pending, until_s))


def next_s(memory: Mapping[str, str]) -> float | None:
    """Return when time alone makes something due; None: never.

    Parameters
    ----------
    memory
        What is remembered, under all names.
    """
    due = [json.loads(text).get("due") for name, text in memory.items()
           if name.startswith(MEMORY) and '"due"' in text]
    return min((each + SETTLING_S for each in due if each is not None), default=None)


def _heard(mine: Sequence[Remembering], events: Sequence[EventRow], known: Known) -> list[Fire]:
    index = Index([listener for each in mine for listener in each.listeners()])
    fresh = {id(each) for each in mine if each.is_new and each.waits_for_deadlines}
    if fresh:
        since_s = min(each.since_s for each in mine if id(each) in fresh)
        for event in known.completed_since(since_s - _DAY_AND_MORE_S):
            for listener in index.hearing(event):
                if id(listener.owner) in fresh:
                    listener.owner.rule.heard(event, listener.part)
    fires: list[Fire] = []
    for event in events:
        for listener in index.hearing(event):
            if listener.owner.counts(event):
                fires += listener.owner.rule.heard(event, listener.part)
    return fires


def _done(mine: Sequence[Remembering], fires: Sequence[Fire], known: Known,
          done: Consequences) -> Consequences:
    runs = {fire.flow_run_id for fire in fires
            if fire.carried.trigger.action == "run" and fire.flow_run_id is not None}
    depths = known.depths(runs) if runs else {}
    for fire in fires:
        depth = depths.get(fire.flow_run_id or "", 0)
        if fire.facts["name"] == TRIGGER_FAILED:
            said = fire.facts["payload"].get("depth")
            depth = max(depth, said if isinstance(said, int) else 0)
        done.add(fire, depth)
    for each in mine:
        each.stopped = each.carried.memory in done.stopped
    return done


def _memory(mine: Sequence[Remembering], pending: Pending,
            until_s: float) -> dict[str, str | None]:
    """Return what is to be remembered otherwise than it is."""
    now = {each.carried.memory: each.to_text(until_s) for each in mine}
    changed: dict[str, str | None] = {
        name: text for name, text in now.items() if pending.memory.get(name) != text}
    changed.update({name: None for name in pending.memory
                    if name.startswith(MEMORY) and name not in now})
    return changed
