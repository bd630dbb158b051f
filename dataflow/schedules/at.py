"""Schedules at given moments.

Lives here: the class. Does not live here: how a wall time becomes a moment
(``wall_clock.py``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from dataflow.schedules.definition import checked_moment, refuse
from dataflow.schedules.schedule import Schedule

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class At(Schedule):
    """A schedule at one moment or several: ``At("2026-03-29T09:00", timezone="Europe/Berlin")``.

    Parameters
    ----------
    when : datetime, ISO 8601 text, or a sequence of them
        Without an offset they are in the schedule's zone; a time that does not exist
        there is right after the clock was put forward, one that exists twice is the
        first. The order does not matter, and equal moments are one.
    timezone
        The zone in which moments without an offset are, and are shown; default UTC.
    parameters, slug, active, start, end, jitter, catch_up, catch_up_limit, overlap
        As for every ``Schedule``.
    """

    kind: ClassVar[str] = "at"

    when: Sequence[datetime] | Sequence[str] | datetime | str

    def __post_init__(self) -> None:
        """Put the moments in order."""
        Schedule.__post_init__(self)
        given: object = (self.when,) if isinstance(self.when, datetime | str) else self.when
        if not isinstance(given, Sequence | set | frozenset) or isinstance(given, bytes):
            refuse("when", given, "is neither a datetime, nor ISO 8601 text, nor several of them")
        moments = {checked_moment("when", each, self.zone).astimezone(UTC) for each in given}
        if not moments:
            refuse("when", given, "has no moment: give one at least")
        self._set(when=tuple(each.astimezone(self.zone) for each in sorted(moments)))

    @property
    def moments(self) -> tuple[datetime, ...]:
        """Return the moments in order, in the schedule's zone."""
        assert isinstance(self.when, tuple)
        return self.when

    def following(self, moment: datetime) -> datetime | None:
        """Return the first time later than ``moment`` whatever ``start`` and ``end``; in UTC."""
        at = bisect_right(self.moments, moment)  # in UTC, so that real times are compared
        return self.moments[at].astimezone(UTC) if at < len(self.moments) else None

    def own_fields(self) -> dict[str, Any]:
        """Return what makes the kind, for JSON."""
        return {"at": [each.isoformat() for each in self.moments]}

    def describe(self) -> str:
        """Return the schedule in words: ``once, at 2026-03-29 09:00+02:00, Europe/Berlin``."""
        texts = [each.isoformat(" ", "seconds" if each.second else "minutes")
                 for each in self.moments]
        if len(texts) == 1:
            return f"once, at {texts[0]}, {self.timezone}"
        more = len(texts) - _SHOWN
        shown = ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"{len(texts)} times, at {shown}, {self.timezone}"
