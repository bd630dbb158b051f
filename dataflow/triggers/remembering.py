"""What a trigger remembers from one judgement to the next. Pure.

Lives here: the JSON of it, and when a trigger starts anew. Does not live here: what each
kind remembers (``counting.py``, ``silences.py``, ``missed_deadlines.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dataflow.event_log import FILE_WATCH, EventRow
from dataflow.triggers.absence import Absence
from dataflow.triggers.carried import Carried
from dataflow.triggers.counting import Counting
from dataflow.triggers.definition import compact
from dataflow.triggers.matching import Listener
from dataflow.triggers.missed_deadlines import MissedDeadlines, awaited
from dataflow.triggers.on_event import OnEvent
from dataflow.triggers.on_file import OnFile
from dataflow.triggers.on_state import OnState
from dataflow.triggers.on_webhook import OnWebhook
from dataflow.triggers.silences import Silences

Rule = Counting | Silences | MissedDeadlines


class Remembering:
    """A trigger with what it remembers.

    A trigger that was changed, or has rested, starts anew.

    Parameters
    ----------
    carried
        The trigger.
    text
        What :meth:`to_text` gave; None: it is judged for the first time.
    now_s
        The time, epoch seconds.

    Attributes
    ----------
    since_s
        Events before that do not count: when it was registered, or had rested.
    stopped
        It was told of that the trigger would go on without end.
    """

    def __init__(self, carried: Carried, text: str | None, now_s: float) -> None:
        self.carried = carried
        self._digest = carried.trigger.digest
        known: dict[str, Any] = json.loads(text) if text else {}
        self.is_new = known.get("digest") != self._digest
        self.since_s: float = carried.deployment.updated_s if self.is_new else known["since"]
        if known.get("resting") and not carried.rests:
            self.is_new, self.since_s = True, now_s
        self.stopped = not self.is_new and bool(known.get("stopped"))
        self.rule: Rule = _rule(carried, {} if self.is_new else known.get("state", {}),
                                self.since_s)

    @property
    def waits_for_deadlines(self) -> bool:
        """Tell whether it has to know what was completed before it was registered."""
        return isinstance(self.rule, MissedDeadlines)

    def listeners(self) -> Iterator[Listener]:
        """Yield what it listens to."""
        trigger, own = self.carried.trigger, self.carried.deployment.name
        if isinstance(trigger, OnFile):
            yield Listener(self, trigger, own, watch=watch_of(self.carried))
        elif isinstance(trigger, OnState | OnEvent | OnWebhook):
            yield Listener(self, trigger, own)
        elif self.waits_for_deadlines:
            yield Listener(self, awaited(self.carried), own)
        else:
            assert isinstance(trigger, Absence) and isinstance(trigger.of, OnState | OnEvent)
            yield Listener(self, trigger.of, own)
            if isinstance(trigger.after, OnState | OnEvent):
                yield Listener(self, trigger.after, own, part="after")

    def counts(self, event: EventRow) -> bool:
        """Tell whether an event may be heard: none before its time, nor its own failure."""
        mine = event.payload.get("trigger") == self.carried.memory
        return event.occurred_s >= self.since_s and not (
            mine and event.name == TRIGGER_FAILED)

    def to_text(self, until_s: float) -> str:
        """Return what is to be remembered."""
        found: dict[str, Any] = {"digest": self._digest, "since": self.since_s}
        if self.carried.rests:
            return compact({**found, "resting": True})
        if state := self.rule.to_json(until_s):
            found["state"] = state
        if self.stopped:
            found["stopped"] = True
        if (due_s := self.rule.due_s()) is not None:
            found["due"] = due_s
        return compact(found)


TRIGGER_FAILED = "dataflow.trigger.Failed"
"""Event of a trigger that could not do what it is for; its payload says which, and why."""


def watch_of(carried: Carried) -> str:
    """Return the name of what an ``OnFile`` has seen."""
    assert isinstance(carried.trigger, OnFile)
    return f"{FILE_WATCH}{carried.deployment.id}:{carried.slug}:{carried.trigger.place}"


def _rule(carried: Carried, state: dict[str, Any], since_s: float) -> Rule:
    trigger = carried.trigger
    if not isinstance(trigger, Absence):
        return Counting(carried, state)
    if trigger.not_completed_by is not None:
        return MissedDeadlines(carried, state, since_s)
    return Silences(carried, state, since_s)
