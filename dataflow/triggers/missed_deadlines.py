"""Deadlines that nothing was completed by. Pure.

Lives here: what an ``Absence`` with ``not_completed_by`` remembers, and the deadline that
comes. Does not live here: which deadline was the last, and whether it was missed
(``alerts/deadlines.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dataflow.alerts.alert import Alert
from dataflow.alerts.deadlines import Subject, last_deadline, missed
from dataflow.alerts.events import History
from dataflow.event_log import EventRow
from dataflow.triggers.absence import Absence
from dataflow.triggers.carried import Carried, literal
from dataflow.triggers.fires import Fire, silence
from dataflow.triggers.on_state import OnState

_HALF_A_DAY_S = 43_200.0
_LONGEST_S = 9 * 86_400.0


def awaited(carried: Carried) -> OnState:
    """Return what a deadline waits for: completed runs."""
    assert isinstance(carried.trigger, Absence)
    match = carried.trigger.match or (f"deployment:{literal(carried.deployment.name)}",)
    return OnState("completed", match=match)


class MissedDeadlines:
    """Acts once for each deadline that was missed.

    Parameters
    ----------
    carried
        The trigger.
    state
        As :meth:`to_json` gave it.
    since_s
        When the trigger was registered; no deadline before that is missed.
    """

    def __init__(self, carried: Carried, state: Mapping[str, Any], since_s: float) -> None:
        assert isinstance(carried.trigger, Absence)
        self._carried, self._since_s = carried, since_s
        trigger = carried.trigger
        self._alert = _alert(str(trigger.not_completed_by), trigger.timezone, tuple(trigger.days))
        self._completed_s: float | None = state.get("completed")
        self._told_s: float | None = state.get("told")
        self._until_s = since_s

    def heard(self, event: EventRow, part: str) -> list[Fire]:
        """Note a completed run."""
        self._completed_s = max(event.occurred_s, self._completed_s or event.occurred_s)
        return []

    def passed(self, until_s: float) -> list[Fire]:
        """Return what follows from time that has passed: the last deadline, if it was missed."""
        self._until_s = until_s
        notice = missed(self._alert, Subject(flow_name="", known_since_s=self._since_s),
                        History(last_completed_s=self._completed_s), until_s)
        if notice is None or notice.resolved or notice.event.scheduled_s in (None, self._told_s):
            return []
        self._told_s = notice.event.scheduled_s
        assert self._told_s is not None
        return [Fire(self._carried, f"deadline:{self._told_s!r}", silence(
            self._told_s, self._carried.trigger.describe(), None))]

    def due_s(self) -> float | None:
        """Return when the next deadline comes."""
        ahead = _HALF_A_DAY_S  # no two deadlines are nearer to each other
        while ahead <= _LONGEST_S:
            found = last_deadline(self._alert, self._until_s + ahead)
            if found is not None and found > self._until_s:
                return found
            ahead += _HALF_A_DAY_S
        return None

    def to_json(self, until_s: float) -> dict[str, Any]:
        """Return what is to be remembered."""
        return {"completed": self._completed_s, "told": self._told_s}


@lru_cache(maxsize=1024)
def _alert(not_completed_by: str, timezone: str, days: tuple[str, ...]) -> Alert:
    return Alert(not_completed_by=not_completed_by, timezone=timezone, days=days)
