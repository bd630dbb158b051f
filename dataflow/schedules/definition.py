"""The options that all schedules share, checked when a schedule is defined.

Lives here: the checks, each of which returns the value in its one normal form.
Does not live here: what belongs to one kind of schedule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from dataflow.exceptions import ScheduleError
from dataflow.schedules.wall_clock import moment_of

CATCH_UP = ("latest", "all", "none")
OVERLAP = ("queue", "skip", "cancel_running", "allow")
_LONGEST = timedelta(days=366 * 100)


def refuse(field: str, value: object, why: str) -> NoReturn:
    """Raise the error for an option: its name, its value, and what is allowed."""
    raise ScheduleError(f"{field} {value!r} {why}", field=field, value=value)


def checked_flag(field: str, value: object) -> bool:
    """Return True or False; anything else is refused."""
    if not isinstance(value, bool):
        refuse(field, value, "is neither True nor False")
    return value


def checked_word(field: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words."""
    if isinstance(value, str) and value in allowed:
        return value
    near = get_close_matches(value, allowed, 1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    refuse(field, value, f"is not one of {', '.join(map(repr, allowed))}{hint}")


def checked_limit(field: str, value: object) -> int:
    """Return a count >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(field, value, "is not a whole number of at least 1")
    return value


def checked_slug(value: object) -> str | None:
    """Return a name, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        refuse("slug", value, "is not a name: give a text that can be printed, or None")
    return value


def checked_length(field: str, value: object, least: timedelta) -> timedelta:
    """Return a length of time, which was given as a timedelta or in seconds."""
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, bool) or not isinstance(value, int | float):
        refuse(field, value, "is neither a timedelta nor a number of seconds")
    elif not math.isfinite(value) or abs(value) > _LONGEST.total_seconds():
        refuse(field, value, "is no length of time that can be waited for (100 years at most)")
    else:
        length = timedelta(seconds=value)
    if not least <= length <= _LONGEST:
        refuse(field, value, f"is out of range: at least {least.total_seconds():g} seconds, at "
                             f"most 100 years")
    return length


def checked_moment(field: str, value: object, zone: ZoneInfo) -> datetime:
    """Return a moment in the zone; without an offset, what the clock of the zone shows.

    Parameters
    ----------
    value
        A datetime, or one as ISO 8601 text.
    """
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            refuse(field, value, "is no moment in ISO 8601, such as '2026-03-29T09:00' or "
                                 "'2026-03-29T09:00+02:00'")
    if not isinstance(moment, datetime):
        refuse(field, value, "is neither a datetime nor one as ISO 8601 text")
    if not 2 <= moment.year <= 9998:
        refuse(field, value, "is out of range: years 2 to 9998")
    in_utc = moment_of(moment, zone) if moment.tzinfo is None else moment.astimezone(UTC)
    return in_utc.astimezone(zone)


def checked_parameters(value: object) -> dict[str, Any]:
    """Return parameters of a flow as JSON would give them back, a copy of their own."""
    if not isinstance(value, Mapping):
        refuse("parameters", value, "is not a mapping of parameter names to values")
    for name, each in value.items():
        if not isinstance(name, str):
            refuse("parameters", value, f"has a name that is not a text: {name!r}")
        try:
            json.dumps(each, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            refuse(f"parameters[{name!r}]", each, (
                f"cannot be written as JSON ({error}): give a text or numbers, which the flow's "
                f"annotations turn into what it wants"))
    copied: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return copied
