"""Silences that last too long. Pure.

Lives here: what an ``Absence`` with ``of`` and ``within`` remembers. Does not live here:
deadlines (``missed_deadlines.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.event_log import EventRow
from dataflow.triggers.absence import Absence
from dataflow.triggers.carried import Carried
from dataflow.triggers.fires import Fire, brief_of, silence
from dataflow.triggers.matching import value_of

MOST_VALUES = 1000
"""So many values one trigger remembers; those whose silence began last stay."""

_START, _TOLD, _LAST = 0, 1, 2


class Silences:
    """Acts once for each silence that is as long as ``within``.

    Parameters
    ----------
    carried
        The trigger.
    state
        As :meth:`to_json` gave it.
    since_s
        When the trigger was registered.
    """

    def __init__(self, carried: Carried, state: Mapping[str, Any], since_s: float) -> None:
        assert isinstance(carried.trigger, Absence)
        self._carried, self._trigger = carried, carried.trigger
        self._open: dict[str, list[Any]] = {
            value: list(each) for value, each in state.get("open", {}).items()}
        if "open" not in state and self._trigger.counts_at_once:
            self._open[""] = [since_s, False, None]

    @property
    def _within_s(self) -> float:
        assert self._trigger.within is not None
        return self._trigger.within

    def heard(self, event: EventRow, part: str) -> list[Fire]:
        """Return what follows from an event: a silence that was over before it, if any."""
        value = value_of(event, self._trigger.for_each)
        if value is None:
            return []
        entry, at = self._open.get(value), event.occurred_s
        if entry is not None and at < entry[_START]:
            return []  # it was put down late: the silence began after it
        fires = self._over(value, at)
        if part == "after":
            if value not in self._open:
                self._put(value, [at, False, brief_of(event)])
        elif self._trigger.after is not None:
            self._open.pop(value, None)
        else:
            self._put(value, [at, False, brief_of(event)])
        return fires

    def _put(self, value: str, entry: list[Any]) -> None:
        self._open.pop(value, None)
        self._open[value] = entry

    def _over(self, value: str, until_s: float) -> list[Fire]:
        """Return the time to act where a silence has become too long, which happens once."""
        entry = self._open.get(value)
        if entry is None or entry[_TOLD] or entry[_START] + self._within_s > until_s:
            return []
        entry[_TOLD] = True
        if self._trigger.after is not None:
            del self._open[value]
        return [Fire(self._carried, f"absence:{value}:{entry[_START]!r}", silence(
            entry[_START], self._trigger.describe(), entry[_LAST], value))]

    def passed(self, until_s: float) -> list[Fire]:
        """Return what follows from time that has passed."""
        return [fire for value in list(self._open) for fire in self._over(value, until_s)]

    def due_s(self) -> float | None:
        """Return when the next silence is too long."""
        return min((entry[_START] + self._within_s for entry in self._open.values()
                    if not entry[_TOLD]), default=None)

    def to_json(self, until_s: float) -> dict[str, Any]:
        """Return what is to be remembered, bounded."""
        latest = list(self._open.items())[-MOST_VALUES:]
        return {"open": dict(latest)}
