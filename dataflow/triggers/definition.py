"""The options of triggers, checked when a trigger is defined.

Lives here: the checks, each of which returns the value in its one normal form.
Does not live here: the triggers, conditions on payloads (``payload_match.py``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

from dataflow.deployments.json_values import checked_text, json_copy
from dataflow.exceptions import DefinitionError, TriggerError

ACTIONS = ("run", "cancel", "pause", "resume")
MOST_COUNTED = 1000
"""So many events one trigger counts before it does something."""

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?")
_LONGEST_S = 366 * 100 * 86400.0
_PLACE = re.compile(r"\S(.*\S)?")
_Value = TypeVar("_Value")


def refuse(field: str, value: object, why: str) -> NoReturn:
    """Raise the error for an option: its name, its value, and what is allowed."""
    raise TriggerError(f"{field} {value!r:.200} {why}", field=field, value=value)


def near(given: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'count'?"``, else what there is."""
    choices = list(known)
    found = get_close_matches(str(given), choices, 1)
    return f"; did you mean {found[0]!r}?" if found else f"; known are {', '.join(choices)}"


def as_of_alerts(field: str, value: Any, read: Callable[[Any], _Value]) -> _Value:
    """Return what a reader of conditions of alerts makes of a value, its errors as ours."""
    try:
        return read(value)
    except DefinitionError as error:
        said = str(error).partition("): ")[2] or str(error)
        refuse(field, value, f"cannot be used: {said}")


def checked_flag(field: str, value: object) -> bool:
    """Return True or False; anything else is refused."""
    if not isinstance(value, bool):
        refuse(field, value, "is neither true nor false")
    return value


def checked_word(field: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words."""
    if isinstance(value, str) and value in allowed:
        return value
    found = get_close_matches(str(value), allowed, 1)
    hint = f"; did you mean {found[0]!r}?" if found else ""
    refuse(field, value, f"is not one of {', '.join(map(repr, allowed))}{hint}")


def checked_name(field: str, value: object) -> str:
    """Return one line of text that is not empty."""
    if not isinstance(value, str) or not value.isprintable() or not _PLACE.fullmatch(value):
        refuse(field, value, "is no name: give one line of text without spaces around it")
    try:
        return checked_text(value, field)
    except ValueError as error:
        refuse(field, value, str(error))


def name_or_none(field: str, value: object) -> str | None:
    """Return a name, or None."""
    return None if value is None else checked_name(field, value)


def checked_seconds(field: str, value: object, *, least: float = 0.0) -> float:
    """Return a length of time in seconds, given as such, as ``"10m"`` or as a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, str):
        found = _SECONDS.fullmatch(value.strip().lower())
        if found is None:
            refuse(field, value, "is no length of time: give seconds, or '90s', '10m', '2h', '1d'")
        value = float(found[1]) * _UNITS[found[2] or ""]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        refuse(field, value, "is no length of time: give seconds, or '90s', '10m', '2h', '1d'")
    if not least <= value <= _LONGEST_S:
        refuse(field, value, f"is out of range: at least {least:g} seconds, at most 100 years")
    return float(value)


def above_zero(field: str, value: object) -> float:
    """Return a length of time that is more than nothing."""
    seconds = checked_seconds(field, value)
    if not seconds:
        refuse(field, value, "must be more than 0 seconds")
    return seconds


def checked_count(value: object) -> int:
    """Return how many events it takes."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_COUNTED:
        refuse("count", value, f"is no whole number from 1 to {MOST_COUNTED}")
    return value


def checked_globs(field: str, value: object) -> tuple[str, ...]:
    """Return one pattern or several as a tuple."""
    each = (value,) if isinstance(value, str) else value
    if not isinstance(each, Sequence | set | frozenset):
        refuse(field, value, "is neither a text nor several")
    found = tuple(checked_name(field, one) for one in each)
    return found if not isinstance(each, set | frozenset) else tuple(sorted(found))


def checked_parameters(value: object) -> dict[str, Any]:
    """Return parameters of a run as JSON would give them back, with templates that can be read."""
    from dataflow.triggers.filling import check_templates

    if not isinstance(value, Mapping):
        refuse("parameters", value, "is not a mapping of parameter names to values")
    try:
        copied: dict[str, Any] = json_copy(value, "parameters")
    except ValueError as error:
        refuse("parameters", value, f"cannot be written as JSON: {error}")
    check_templates(copied)
    return copied


def compact(value: object) -> str:
    """Return the one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
