"""Cron schedules.

Lives here: the class. Does not live here: the grammar (``cron_fields.py``), the
words (``cron_words.py``), the clock (``wall_clock.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from dataflow.schedules.cron_fields import CronFields, read_cron
from dataflow.schedules.definition import checked_flag, refuse
from dataflow.schedules.remarks import remark_on
from dataflow.schedules.schedule import Schedule
from dataflow.schedules.wall_clock import next_elapsed, next_fixed


@dataclass(frozen=True, slots=True)
class Cron(Schedule):
    """A schedule by a cron expression: ``Cron("0 9 * * mon-fri", timezone="Europe/Berlin")``.

    Parameters
    ----------
    cron
        Five fields: minute, hour, day-of-month, month, day-of-week; or ``@hourly``,
        ``@daily``, ``@midnight``, ``@weekly``, ``@monthly``, ``@yearly``. A field is a
        list of numbers, names (``mon``, ``jan``), ranges (``9-17``, ``fri-mon``) and
        steps (``*/15``, ``9-17/2``). Also ``L``, ``LW`` and ``15W`` for the day of the
        month, ``mon#2`` and ``friL`` (or ``L5``) for that of the week; 0 and 7 are Sunday.
        Seconds, years, ``H`` and ``R`` are refused, and so is a date that never comes.
    timezone
        The zone whose clock it goes by; default UTC.
    day_or
        Where both day fields are restricted: True (default) runs on dates that either
        allows, False on those that both do. ``*/2`` is a restriction.
    parameters, slug, active, start, end, jitter, catch_up, catch_up_limit, overlap
        As for every ``Schedule``.

    Raises
    ------
    ScheduleError
        It cannot be read; the text names the field, its value and what is allowed.

    Notes
    -----
    Where clocks are changed:

    - A job at fixed hours (``0 9 * * *``, ``*/15 2 * * *``) goes by the wall clock:
      9:00 stays 9:00. A time that does not exist runs right after the change, several
      such times once. A time that exists twice runs once, at the first.
    - A job whose hour field is a star or a step (``*/15 * * * *``, ``0 */2 * * *``), or
      lists every hour, goes by real time: it runs at each real moment at which the
      clock shows a time that matches, so ``0 * * * *`` is every real hour.
    """

    kind: ClassVar[str] = "cron"

    cron: str
    day_or: bool = field(default=True, kw_only=True)
    fields: CronFields = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the expression."""
        Schedule.__post_init__(self)
        if not isinstance(self.cron, str):
            refuse("cron", self.cron, "is not a cron expression such as '0 9 * * mon-fri'")
        self._set(cron=" ".join(self.cron.split()),
                  fields=read_cron(self.cron, checked_flag("day_or", self.day_or)))

    def following(self, moment: datetime) -> datetime | None:
        """Return the first time later than ``moment`` whatever ``start`` and ``end``; in UTC."""
        search = next_elapsed if self.fields.every_hour else next_fixed
        return search(moment, self.zone, self.fields.first_from)

    def own_fields(self) -> dict[str, Any]:
        """Return what makes the kind, for JSON."""
        return {"cron": self.cron, "day_or": self.day_or}

    def describe(self) -> str:
        """Return the schedule in words: ``at 09:00 on Monday to Friday, Europe/Berlin``."""
        from dataflow.schedules.cron_words import in_words

        return f"{in_words(self.fields)}, {self.timezone}"

    def remark(self, slot: datetime) -> str | None:
        """Return what is odd about the clock at a slot, or None."""
        fixed = None if self.fields.every_hour else self.fields.first_from
        return remark_on(slot, self.zone, fixed)
