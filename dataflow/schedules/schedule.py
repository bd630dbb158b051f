"""What every schedule is: a frozen value that says when, and what about the runs that it makes.

Lives here: the options that all kinds share and the questions that all answer.
Does not live here: when a kind is due (a module each), what was missed
(``missed.py``), what to do about a run that is still active (``overlap.py``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from dataflow.schedules.definition import (
    CATCH_UP,
    OVERLAP,
    checked_flag,
    checked_length,
    checked_limit,
    checked_moment,
    checked_parameters,
    checked_slug,
    checked_word,
    refuse,
)
from dataflow.schedules.jitter import spread
from dataflow.schedules.zones import zone_of

CatchUp = Literal["latest", "all", "none"]
Overlap = Literal["queue", "skip", "cancel_running", "allow"]
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Schedule(ABC):
    """Base of all schedules; make a ``Cron``, ``Interval``, ``RRule`` or ``At``.

    Parameters
    ----------
    timezone
        Name of the zone whose wall clock the schedule goes by; default UTC.
    parameters
        Parameters of the flow for runs that this schedule makes, over those of the
        deployment; what JSON can hold.
    slug
        Name of the schedule within its deployment, or None.
    active
        False pauses it. What falls into a pause is not missed.
    start, end : datetime or ISO 8601 text, optional
        No slot before ``start`` or after ``end``; one exactly then counts. Without an
        offset they are in the schedule's zone.
    jitter : timedelta or seconds, default 0
        Runs start up to so much later than their slot. How much later is always the
        same for the same slot, whoever computes it.
    catch_up : {"latest", "all", "none"}, default "latest"
        Which of the slots run that were missed while nobody looked: only the newest,
        all of them, or none.
    catch_up_limit : int, default 100
        With ``catch_up="all"``: at most so many, the newest ones.
    overlap : {"queue", "skip", "cancel_running", "allow"}, default "queue"
        What a run does that is due while an earlier one is active: it waits; it is
        left out; it takes the place of the earlier one; it starts beside it.

    Notes
    -----
    Moments are compared in real time. Two datetimes of one zone that differ only in
    ``fold`` are equal to Python: turn them to UTC before they go into a set.
    """

    kind: ClassVar[str]

    timezone: str = field(default="UTC", kw_only=True)
    parameters: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    slug: str | None = field(default=None, kw_only=True)
    active: bool = field(default=True, kw_only=True)
    start: datetime | None = field(default=None, kw_only=True)
    end: datetime | None = field(default=None, kw_only=True)
    jitter: timedelta | float = field(default=timedelta(0), kw_only=True)
    catch_up: CatchUp = field(default="latest", kw_only=True)
    catch_up_limit: int = field(default=100, kw_only=True)
    overlap: Overlap = field(default="queue", kw_only=True)
    zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the options and bring each into its one form; subclasses go on from here."""
        zone = zone_of(self.timezone)
        self._set(
            zone=zone,
            timezone=zone.key,
            parameters=checked_parameters(self.parameters),
            slug=checked_slug(self.slug),
            active=checked_flag("active", self.active),
            jitter=checked_length("jitter", self.jitter, timedelta(0)),
            catch_up=checked_word("catch_up", self.catch_up, CATCH_UP),
            catch_up_limit=checked_limit("catch_up_limit", self.catch_up_limit),
            overlap=checked_word("overlap", self.overlap, OVERLAP),
        )
        for name in ("start", "end"):
            if getattr(self, name) is not None:
                self._set(**{name: checked_moment(name, getattr(self, name), zone)})
        if self.start and self.end and self.end.astimezone(UTC) < self.start.astimezone(UTC):
            refuse("end", self.end.isoformat(), f"is before start {self.start.isoformat()}")

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    # ---- what each kind answers

    @abstractmethod
    def following(self, moment: datetime) -> datetime | None:
        """Return the first time later than ``moment`` whatever ``start`` and ``end``; in UTC."""

    @abstractmethod
    def own_fields(self) -> dict[str, Any]:
        """Return what makes the kind, for JSON, under the names of its parameters."""

    @abstractmethod
    def describe(self) -> str:
        """Return the schedule in words, without its options: ``at 09:00 every day, UTC``."""

    def remark(self, slot: datetime) -> str | None:
        """Return what is odd about the clock at a slot, or None."""
        from dataflow.schedules.remarks import remark_on

        return remark_on(slot, self.zone)

    # ---- what all answer

    def next_slot(self, moment: datetime) -> datetime | None:
        """Return the first slot later than ``moment``, in UTC; None where there is none.

        Raises
        ------
        ScheduleError
            ``moment`` has no time zone.
        """
        after = _in_utc(moment)
        if self.start is not None:
            after = max(after, self.start.astimezone(UTC) - _TICK)
        try:
            slot = self.following(after)
        except OverflowError:  # past the year 9999
            return None
        if slot is None or (self.end is not None and slot > self.end.astimezone(UTC)):
            return None
        return slot

    def times(self, *, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """Yield the slots later than ``after`` and not later than ``until``, in the zone.

        They rise strictly in real time, and each comes once.
        """
        last = None if until is None else _in_utc(until)
        slot = self.next_slot(after)
        while slot is not None and (last is None or slot <= last):
            yield slot.astimezone(self.zone)
            slot = self.next_slot(slot)

    def after(self, moment: datetime, count: int = 1) -> list[datetime]:
        """Return the first ``count`` slots later than ``moment``, in the zone; fewer at its end."""
        return list(islice(self.times(after=moment), count))

    def starts_at(self, slot: datetime, key: str) -> datetime:
        """Return when the run of a slot is to start: the slot, later by its share of ``jitter``.

        Parameters
        ----------
        key
            Name of this schedule in its place, e.g. deployment and slug. The slot
            stays what identifies the run.
        """
        assert isinstance(self.jitter, timedelta)
        return slot + spread(_in_utc(slot), self.jitter, key)

    def to_json(self) -> dict[str, Any]:
        """Return the schedule as JSON can hold it; ``schedule_from_json`` takes it back."""
        from dataflow.schedules.wire import written

        return written(self)


def _in_utc(moment: object) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        refuse("moment", moment, "has no time zone: give an aware datetime, for instance "
                                 "datetime.now(UTC)")
    return moment.astimezone(UTC)
