"""Events that are counted until there are enough. Pure.

Lives here: what a trigger remembers of the events it heard. Does not live here: which it
hears (``matching.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.event_log import EventRow
from dataflow.triggers.carried import Carried
from dataflow.triggers.fires import Fire, facts_of
from dataflow.triggers.matching import value_of
from dataflow.triggers.trigger import Reactive

MOST_MARKS = 10_000
"""So many times one trigger remembers; the values that were seen last stay."""


class Counting:
    """Acts at every ``count``-th event within a time, for each value apart.

    Parameters
    ----------
    carried
        The trigger.
    state
        As :meth:`to_json` gave it.
    """

    def __init__(self, carried: Carried, state: Mapping[str, Any]) -> None:
        assert isinstance(carried.trigger, Reactive)
        self._carried, self._trigger = carried, carried.trigger
        self._marks: dict[str, list[float]] = {
            value: list(times) for value, times in state.get("marks", {}).items()}

    def heard(self, event: EventRow, part: str) -> list[Fire]:
        """Return what follows from an event: one time to act, or none."""
        value = value_of(event, self._trigger.for_each)
        if value is None:
            return []
        if self._trigger.count > 1:
            marks = self._marks.pop(value, [])
            marks.append(event.occurred_s)
            newest = max(marks)
            marks = [each for each in marks if not self._is_over(each, newest)]
            if len(marks) < self._trigger.count:
                self._marks[value] = marks  # the last one: it was seen last
                return []
        return [Fire(self._carried, str(event.key), facts_of(event))]

    def _is_over(self, mark_s: float, now_s: float) -> bool:
        within = self._trigger.within
        return within is not None and mark_s <= now_s - within

    def passed(self, until_s: float) -> list[Fire]:
        """Return what follows from time alone: nothing."""
        return []

    def due_s(self) -> float | None:
        """Return when time alone makes something due: never."""
        return None

    def to_json(self, until_s: float) -> dict[str, Any]:
        """Return what is to be remembered: bounded, and without what does not count any more."""
        kept: dict[str, list[float]] = {}
        total = 0
        for value, marks in reversed(self._marks.items()):
            there = [each for each in marks if not self._is_over(each, until_s)]
            total += len(there)
            if total > MOST_MARKS:
                break
            if there:
                kept[value] = there
        return {"marks": dict(reversed(kept.items()))} if kept else {}
