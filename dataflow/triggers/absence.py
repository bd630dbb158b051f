"""``Absence``: what should have happened did not.

Lives here: the definition. Does not live here: when a silence is over (``silences.py``),
deadlines (``missed_deadlines.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from dataflow.alerts import conditions
from dataflow.triggers.definition import (
    above_zero,
    as_of_alerts,
    checked_name,
    checked_word,
    refuse,
)
from dataflow.triggers.on_event import OnEvent
from dataflow.triggers.on_state import OnState
from dataflow.triggers.run_match import checked_match
from dataflow.triggers.trigger import Trigger

Occurrence = OnState | OnEvent
_OF_CLOCK = ("timezone", "days", "match")
_OF_SILENCE = ("of", "after", "within", "for_each")


@dataclass(frozen=True, slots=True)
class Absence(Trigger):
    """Nothing happened for some time, or nothing was completed by a time of day.

    Either ``of`` and ``within``, or ``not_completed_by``.

    Parameters
    ----------
    of
        What should happen: an ``OnEvent`` or ``OnState`` without count, or the name of an event.
    within : seconds, ``"1h"`` or timedelta
        The silence that is too long. It is told of once, until the next such event.
    armed : {"registered", "first"}
        Whether silence counts from when the trigger was registered, or from the first such
        event on. Default "registered"; with ``for_each`` "first".
    after
        Silence counts from each of these events on, and from nothing else: ``of`` was to
        follow it.
    for_each
        Silence counts apart for each value of this: ``"resource"``, ``"flow"``,
        ``"deployment"``, or a path into the payload.
    not_completed_by
        ``"06:00"``: no run completed since the same time of the day before.
    timezone, days
        Of that time; ``days="mon-fri"``, every day by default.
    match
        Whose runs, as with ``OnState``; by default those of the deployment that carries
        the trigger.
    """

    kind: ClassVar[str] = "absence"

    of: Occurrence | str | Mapping[str, Any] | None = field(default=None, hash=False)
    within: float | None = field(default=None, kw_only=True)
    armed: Literal["registered", "first"] | None = field(default=None, kw_only=True)
    after: Occurrence | str | Mapping[str, Any] | None = field(
        default=None, kw_only=True, hash=False)
    for_each: str | None = field(default=None, kw_only=True)
    not_completed_by: str | None = field(default=None, kw_only=True)
    timezone: str = field(default="UTC", kw_only=True)
    days: tuple[str, ...] | str | Sequence[str] = field(default=(), kw_only=True)
    match: tuple[str, ...] | str | Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Check the options."""
        super(Absence, self).__post_init__()
        if self.not_completed_by is not None:
            self._check_clock()
        else:
            self._check_silence()
        if self.action == "cancel" and self.after is None:
            refuse("action", "cancel", "has no run to cancel: only with `after` an absence is of "
                                       "one, that of the event before")

    def _check_clock(self) -> None:
        for name in (*_OF_SILENCE, "armed"):
            if getattr(self, name) is not None:
                refuse(name, getattr(self, name), "cannot stand beside not_completed_by: make two "
                                                  "triggers")
        as_of_alerts("not_completed_by", self.not_completed_by, conditions.time_of_day)
        days = self.days.split(",") if isinstance(self.days, str) and self.days else self.days
        named = as_of_alerts("days", days or (), lambda each: conditions.words("days", each))
        if named:
            as_of_alerts("days", named, conditions.weekdays)
        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, LookupError, TypeError):
            refuse("timezone", self.timezone, "is no time zone: write 'Europe/Berlin'")
        self._set(days=named, match=checked_match(self.match))

    def _check_silence(self) -> None:
        for name in _OF_CLOCK:
            if getattr(self, name) != ("UTC" if name == "timezone" else ()):
                refuse(name, getattr(self, name), "is of not_completed_by, which is not given; "
                                                  "whose events are meant stands in `of`")
        if self.of is None or self.within is None:
            refuse("of" if self.of is None else "within", None,
                   "is missing: give what should happen and within which time, or "
                   "not_completed_by='06:00'")
        self._set(
            of=_occurrence("of", self.of), within=above_zero("within", self.within),
            after=None if self.after is None else _occurrence("after", self.after),
            for_each=None if self.for_each is None else checked_name("for_each", self.for_each))
        if self.armed is None:
            return
        checked_word("armed", self.armed, ("registered", "first"))
        if self.after is not None:
            refuse("armed", self.armed, "cannot stand beside `after`, from which silence counts")
        if self.for_each is not None and self.armed == "registered":
            refuse("armed", self.armed, f"cannot be: no {self.for_each} is known before its first "
                                        "event")

    @property
    def counts_at_once(self) -> bool:
        """Tell whether silence counts from when the trigger was registered."""
        return self.armed != "first" and self.for_each is None and self.after is None

    def describe(self) -> str:
        """Return it in words."""
        if self.not_completed_by is not None:
            whose = " or ".join(self.match) or "its own runs"
            return f"{whose} not completed by {self.not_completed_by} {self.timezone}"
        assert isinstance(self.of, OnState | OnEvent) and self.within is not None
        said = f"not within {self.within:g} s: {self.of.describe()}"
        if isinstance(self.after, OnState | OnEvent):
            said += f", after {self.after.describe()}"
        return said if self.for_each is None else f"{said}, for each {self.for_each}"


def _occurrence(field_name: str, value: Any) -> Occurrence:
    """Return what should happen; a text is the name of an event."""
    if isinstance(value, str):
        value = OnEvent(value)
    elif isinstance(value, Mapping):
        from dataflow.triggers.wire import trigger_from_json

        value = trigger_from_json(value)
    if not isinstance(value, OnState | OnEvent):
        refuse(field_name, value, "is neither an OnEvent, an OnState nor the name of an event")
    plain: Occurrence = OnState(value.states, match=value.match, payload=value.payload) if (
        isinstance(value, OnState)) else OnEvent(
            value.name, resource=value.resource, match=value.match, payload=value.payload)
    if plain != value:
        refuse(field_name, value, "says more than which events are meant: count, parameters and "
                                  "action are of the Absence itself")
    return value
