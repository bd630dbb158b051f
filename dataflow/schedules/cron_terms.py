"""What one term of a cron field means: ``9-17/2``, ``mon``, ``mon#2``.

Lives here: the question to croniter, which reads terms, and what stands around it:
errors that name the field, and the terms that it reads otherwise than cron does or not
at all. Does not live here: how terms make a field, and fields an expression
(``cron_fields.py``).

croniter is asked for one term in its field, the other four being stars. It is not asked
for steps, nor for what it would take silently:

- ``9-9`` is 9; croniter reads it as the whole field, and release 6 ``59/15`` as well.
- ``22-3/3`` is 22 and 1: a step goes on over the end from where it stood; croniter
  counts it from one too far.
- ``*/90`` is refused, as every step above the size of its field.
- ``R`` would be another number at each reading, ``H`` needs a seed: both are refused.
- ``fri-mon#2`` is refused: a counted weekday is one weekday. So is ``31-L``, which it
  takes for the whole month, and digits of other scripts, which release 6 reads.
- ``15W`` and ``LW`` are read in ``cron_fields.py``: it knows them not at all, or answers 15.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from dataflow.exceptions import ScheduleError


class Field(NamedTuple):
    """What a field may hold."""

    name: str
    at: int
    low: int
    high: int
    allowed: str
    extra: str = ""


FIELDS = (
    Field("minute", 0, 0, 59, "0 to 59"),
    Field("hour", 1, 0, 23, "0 to 23"),
    Field("day-of-month", 2, 1, 31, "1 to 31",
          ", L (the last day), LW (its last working day), "
          "15W (the working day nearest to the 15th)"),
    Field("month", 3, 1, 12, "1 to 12 or jan to dec"),
    Field("day-of-week", 4, 0, 6, "0 to 7 or sun to sat",
          ", mon#1 to mon#5 (the first to the fifth Monday), friL (the last Friday)"),
)
_WEEKDAY = FIELDS[-1]

_HASHED = re.compile(r"[hr](\(.*\))?(/.*)?", re.ASCII)
_COUNTED = re.compile(r"\w+#[1-5]|l\d", re.ASCII)
_LAST = re.compile(r"([a-z]{3}|\d)l", re.ASCII)
_NUMBERS = re.compile(r"\d+(-\d+)?(/\d+)?", re.ASCII)
_STEP = re.compile(r"\d{1,3}", re.ASCII)


def bad_field(field: Field, text: str, why: str) -> ScheduleError:
    """Return the error that names a field and what was written there."""
    return ScheduleError(f"{field.name} field {text!r}: {why}", field=field.name, value=text)


def values_of(field: Field, text: str, term: str) -> tuple[int, ...]:
    """Return the values of a number, a name, a range, a star, each perhaps with a step.

    Parameters
    ----------
    text
        The whole field, for the error.
    term
        In small letters.

    Raises
    ------
    ScheduleError
        It cannot be read, or a number is out of range.
    """
    if _HASHED.fullmatch(term):
        raise bad_field(field, text, (
            "hashed and random fields (H, R) are not supported: write a number, and spread runs "
            "with jitter="))
    if (not term.isascii() or "#" in term or "-l" in term
            or ("?" in term and text != "?")):
        raise _unreadable(field, text, term)
    span, slash, written = term.partition("/")
    step = _step(field, text, written) if slash else 1
    low, dash, high = span.partition("-")
    if slash and not dash and low != "*":  # 5/20: to the end
        dash, high = "-", str(field.high)
    values = _asked(field, text, term, f"{low}{dash}{high}")
    the_week = field is _WEEKDAY and low in ("0", "sun") and high == "7"
    if dash and not the_week:
        first = _asked(field, text, term, low)[0]
        if first == _asked(field, text, term, high)[0]:
            return (first,)
        values = tuple(sorted(values, key=lambda value: (value < first, value)))
    return values[::step]


def counted_weekday(text: str, term: str) -> tuple[int, int] | None:
    """Return the weekday and its number in the month (-1: the last), if a term is such a one.

    ``mon#2`` is (1, 2), ``friL`` and ``L5`` are (5, -1).

    Raises
    ------
    ScheduleError
        The weekday cannot be read.
    """
    if found := _LAST.fullmatch(term):
        term = f"l{_asked(_WEEKDAY, text, term, found[1])[0]}"
    if not _COUNTED.fullmatch(term):
        return None
    try:
        ((weekday, (which,)),) = _by_croniter(_WEEKDAY.at, term)[1].items()
    except ValueError:
        raise _unreadable(_WEEKDAY, text, term) from None
    return weekday, -1 if which == "l" else int(which)


def _step(field: Field, text: str, step: str) -> int:
    most = field.high - field.low + 1
    if not _STEP.fullmatch(step) or not 1 <= int(step) <= most:
        raise bad_field(field, text,
                        f"step {step!r} is out of range; allowed are steps of 1 to {most}")
    return int(step)


def _asked(field: Field, text: str, term: str, span: str) -> tuple[int, ...]:
    """Return the values of a term without its step, in order."""
    try:
        values = _by_croniter(field.at, span)[0]
    except ValueError:
        raise _unreadable(field, text, term) from None
    return tuple(range(field.low, field.high + 1)) if values == ("*",) else values


def _unreadable(field: Field, text: str, term: str) -> ScheduleError:
    why = f"{term} is out of range" if _NUMBERS.fullmatch(term) else f"{term!r} cannot be read"
    return bad_field(field, text, (
        f"{why}; allowed are {field.allowed}, *, ranges (a-b), steps (*/n, a-b/n) and "
        f"lists (a,b){field.extra}"))


@lru_cache(maxsize=4096)
def _by_croniter(at: int, term: str) -> tuple[tuple[Any, ...], dict[int, set[Any]]]:
    """Return the values of a term, or a star for all, and its counted weekdays.

    Raises
    ------
    ValueError
        croniter refuses it.
    """
    from croniter import croniter  # needed where there is a cron

    fields = ["*"] * len(FIELDS)
    fields[at] = term
    expanded, counted = croniter.expand(" ".join(fields))
    return tuple(expanded[at]), counted
