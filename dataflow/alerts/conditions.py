"""What an alert's conditions may be written as, and what they mean.

Lives here: reading one option of an alert (states, durations, times of day,
patterns of names), with errors that name the option. Does not live here: the
alert (``alert.py``), whether a condition holds (``rules.py``, ``deadlines.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from dataflow.exceptions import DefinitionError, DefinitionTypeError

STATES = (
    "failed", "crashed", "cancelled", "completed", "late", "paused", "running", "retrying",
    "timed_out", "recovered", "any",
)
"""What ``on`` may name. ``any`` is every final state; ``recovered`` the first COMPLETED after
failures; ``failed`` includes ``timed_out``."""

KINDS = ("tag", "flow", "deployment", "task", "name")
"""What may stand before the colon in ``match``."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?")
_MEDIAN = re.compile(r"(\d+(?:\.\d+)?)\s*(?:x|×)\s*median")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def refuse(option: str, value: object, reason: str) -> NoReturn:
    """Raise the DefinitionError of an option that cannot be used."""
    raise DefinitionError(f"Alert({option}={value!r}): {reason}", option=option, value=value)


def near(given: str, known: Iterable[str]) -> str:
    """Return ``Did you mean 'failed'? `` where a known word is near, else nothing."""
    found = get_close_matches(given, list(known), 1)
    return f"Did you mean {found[0]!r}? " if found else ""


def words(option: str, value: Any) -> tuple[str, ...]:
    """Return one text or several as a tuple of texts."""
    each = (value,) if isinstance(value, str) else value
    if not isinstance(each, Sequence | set | frozenset) or not all(
            isinstance(one, str) and one.strip() for one in each):
        raise DefinitionTypeError(
            f"Alert({option}=...) takes a text or several, none of them empty; it was given a "
            f"{type(value).__name__}.", option=option)
    return tuple(one.strip() for one in each)


def states(value: Any) -> tuple[str, ...]:
    """Return what ``on`` names, in lower case."""
    found = tuple(one.lower().replace("-", "_").replace(" ", "_") for one in words("on", value))
    for one in found:
        if one not in STATES:
            refuse("on", one, f"there is no such state. {near(one, STATES)}"
                              f"Known are: {', '.join(STATES)}.")
    return found


@dataclass(frozen=True, slots=True)
class LongerThan:
    """A limit of a duration: in seconds, or as a multiple of the median of earlier runs."""

    seconds: float | None = None
    medians: float | None = None


def longer_than(value: Any) -> LongerThan:
    """Return what ``longer_than`` says: ``90``, ``"10m"``, ``"2x median"``."""
    text = "" if isinstance(value, bool) else str(value).strip().lower()
    if found := _MEDIAN.fullmatch(text):
        limit = LongerThan(medians=float(found[1]))
    elif found := _SECONDS.fullmatch(text):
        limit = LongerThan(seconds=float(found[1]) * _UNITS[found[2] or ""])
    else:
        refuse("longer_than", value,
               "write seconds (90), a time with its unit ('10m') or '2x median'.")
    if not (limit.seconds or limit.medians):
        refuse("longer_than", value, "it must be more than 0.")
    return limit


def time_of_day(value: Any) -> tuple[int, int]:
    """Return the hour and minute of ``"06:00"``."""
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        refuse("not_completed_by", value, "write a time of day, '06:00'.")
    return int(found[1]), int(found[2])


def weekdays(value: Any) -> frozenset[int]:
    """Return the days of ``days``: ``"mon-fri"``, ``["sat", "sun"]``; 0 is Monday."""
    found: set[int] = set()
    for word in words("days", value.split(",") if isinstance(value, str) else value):
        first, _, last = word.lower().partition("-")
        for day in (first, last or first):
            if day not in DAYS:
                refuse("days", value, f"{day!r} is no day. Write 'mon-fri' or "
                                      f"['sat', 'sun']; known are: {', '.join(DAYS)}.")
        at, end = DAYS.index(first), DAYS.index(last or first)
        found |= {(at + step) % 7 for step in range((end - at) % 7 + 1)}
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One condition on a name: ``tag:prod``, ``flow:etl-*``; without a kind: flow or deployment."""

    kind: str
    glob: str

    def holds(self, names: dict[str, tuple[str, ...]]) -> bool:
        """Tell whether one of the names of this kind fits."""
        kinds = (self.kind,) if self.kind else ("flow", "deployment")
        return any(fnmatchcase(name, self.glob) for kind in kinds for name in names[kind])


def patterns(value: Any) -> tuple[tuple[Pattern, ...], ...]:
    """Return what ``match`` says: one of the alternatives must hold with all of its parts.

    A list holds alternatives, ``&`` joins parts: ``["tag:prod & flow:etl-*", "nightly"]``.
    """
    return tuple(
        tuple(_pattern(part.strip(), value) for part in one.split("&"))
        for one in words("match", value)
    )


def _pattern(text: str, whole: Any) -> Pattern:
    kind, colon, glob = text.partition(":")
    if not colon:
        kind, glob = "", text
    kind, glob = kind.strip(), glob.strip()
    if colon and kind not in KINDS:
        refuse("match", whole, f"{kind!r} is nothing to match. {near(kind, KINDS)}"
                               f"Write {', '.join(each + ':…' for each in KINDS)} or the name of "
                               "a flow or deployment.")
    if not glob:
        refuse("match", whole, "a pattern is empty.")
    return Pattern(kind, glob)
