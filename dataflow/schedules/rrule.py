"""Schedules by a recurrence rule of RFC 5545.

Lives here: the class. Does not live here: the text of a rule (``rrule_text.py``), its
wall times (``rrule_pattern.py``, which loads dateutil), the clock (``wall_clock.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from dataflow.exceptions import ScheduleError
from dataflow.schedules.definition import refuse
from dataflow.schedules.interval import MONDAY
from dataflow.schedules.remarks import remark_on
from dataflow.schedules.rrule_pattern import RulePattern
from dataflow.schedules.rrule_text import read_rule
from dataflow.schedules.schedule import Schedule
from dataflow.schedules.wall_clock import next_elapsed, next_fixed, wall_of


@dataclass(frozen=True, slots=True)
class RRule(Schedule):
    """A schedule by a recurrence rule: ``RRule("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17")``.

    Parameters
    ----------
    rrule
        The rule, ``FREQ=...`` with or without ``RRULE:`` before it; beside it, on lines
        of their own, ``DTSTART``, ``RDATE`` and ``EXDATE``. Times without ``Z`` are on the
        clock of the zone; ``TZID`` must name that zone. Without ``DTSTART`` a rule
        begins at ``start``, else at midnight of Monday 2001-01-01. ``COUNT`` needs a
        ``DTSTART`` and is 10,000 at most.
    timezone
        The zone whose clock it goes by; default UTC.
    parameters, slug, active, start, end, jitter, catch_up, catch_up_limit, overlap
        As for every ``Schedule``.

    Raises
    ------
    ScheduleError
        It cannot be read, or has no time within 60 years; the text names the part.

    Notes
    -----
    Where clocks are changed, a rule keeps the wall clock: a time that does not exist
    comes right after the change, one that exists twice comes once, at the first. A
    rule by the hour, minute or second without ``BYHOUR`` comes at each real moment at
    which the clock shows one of its times.
    """

    kind: ClassVar[str] = "rrule"

    rrule: str
    pattern: RulePattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the rule."""
        Schedule.__post_init__(self)
        if not isinstance(self.rrule, str):
            refuse("rrule", self.rrule, "is not a recurrence rule such as 'FREQ=DAILY;BYHOUR=9'")
        rule = read_rule(self.rrule, self.zone)
        begin = MONDAY if self.start is None else wall_of(self.start, self.zone)
        dtstart = (rule.dtstart or begin).replace(microsecond=0)
        try:
            pattern = RulePattern(rule, dtstart)
        except ValueError as error:
            raise ScheduleError(f"rrule {self.rrule!r} cannot be used: {error}",
                                field="rrule", value=self.rrule) from error
        if pattern.first_from(dtstart) is None:
            refuse("rrule", self.rrule, "would never run: it has no time within 60 years")
        self._set(rrule="\n".join(self.rrule.split()), pattern=pattern)

    def following(self, moment: datetime) -> datetime | None:
        """Return the first time later than ``moment`` whatever ``start`` and ``end``; in UTC."""
        search = next_elapsed if self.pattern.by_clock else next_fixed
        return search(moment, self.zone, self.pattern.first_from)

    def own_fields(self) -> dict[str, Any]:
        """Return what makes the kind, for JSON."""
        return {"rrule": self.rrule}

    def describe(self) -> str:
        """Return the schedule in words: its rule, when it begins, and its zone."""
        rule = self.rrule.upper().splitlines()[-1].removeprefix("RRULE:")
        return f"by the rule {rule} from {self.pattern.dtstart:%Y-%m-%d %H:%M:%S}, {self.timezone}"

    def remark(self, slot: datetime) -> str | None:
        """Return what is odd about the clock at a slot, or None."""
        return remark_on(slot, self.zone,
                         None if self.pattern.by_clock else self.pattern.first_from)
