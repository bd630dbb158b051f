"""Conditions on what an event brings. Pure.

Lives here: how they are written, and whether they hold. Does not live here: conditions
on names (``matching.py``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from dataflow.deployments.json_values import json_copy
from dataflow.triggers.definition import near, refuse

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
COMPARISONS = (*_COMPARE, "==", "!=")


class _Missing:
    """Stands where the payload has nothing."""


MISSING = _Missing()


def checked_payload(value: object) -> dict[str, Any]:
    """Return conditions as JSON would give them back.

    Raises
    ------
    TriggerError
        One cannot be meant; the text names its path.
    """
    if not isinstance(value, Mapping):
        refuse("payload", value, "is not a mapping of paths to what must stand there")
    try:
        copied: dict[str, Any] = json_copy(value, "payload")
    except ValueError as error:
        refuse("payload", value, f"cannot be written as JSON: {error}")
    for path, wanted in copied.items():
        for each in wanted if isinstance(wanted, list) else [wanted]:
            if isinstance(each, list):
                refuse(f"payload[{path!r}]", each, "is a list in a list: give the values that may "
                                                   "stand there")
            if isinstance(each, dict):
                _check_comparisons(path, each)
    return copied


def _check_comparisons(path: str, wanted: Mapping[str, Any]) -> None:
    if not wanted:
        refuse(f"payload[{path!r}]", wanted,
               f"compares nothing; known are {', '.join(COMPARISONS)}")
    for sign, limit in wanted.items():
        if sign not in COMPARISONS:
            refuse(f"payload[{path!r}]", wanted,
                   f"has {sign!r}, which is no comparison (what lies deeper is named by its "
                   f"path: {path + '.' + sign!r}){near(sign, COMPARISONS)}")
        plain = isinstance(limit, int | float | str) and not isinstance(limit, bool)
        if sign in _COMPARE and not plain:
            refuse(f"payload[{path!r}]", wanted, f"compares with {limit!r}, which is neither a "
                                                 "number nor a text")


def holds(conditions: Mapping[str, Any], payload: Any) -> bool:
    """Tell whether all conditions hold for a payload."""
    return all(_fits(wanted, found_at(payload, path)) for path, wanted in conditions.items())


def found_at(payload: Any, path: str) -> Any:
    """Return what stands at a path with dots, :data:`MISSING` where nothing does.

    A key that has dots itself is found as well; numbers name elements of lists.
    """
    if isinstance(payload, Mapping):
        if path in payload:
            return payload[path]
        at = path.find(".")
        while at != -1:
            head = path[:at]
            if head in payload:
                found = found_at(payload[head], path[at + 1:])
                if found is not MISSING:
                    return found
            at = path.find(".", at + 1)
        return MISSING
    if isinstance(payload, list):
        first, dot, rest = path.partition(".")
        if first.isdecimal() and int(first) < len(payload):
            inner = payload[int(first)]
            return found_at(inner, rest) if dot else inner
    return MISSING


def _fits(wanted: Any, found: Any) -> bool:
    """Tell whether a value fits; of a list one element that does is enough."""
    if found is MISSING:
        return False
    if isinstance(wanted, list):
        return any(_fits(each, found) for each in wanted)
    if isinstance(found, list):
        return any(_fits(wanted, each) for each in found)
    if isinstance(wanted, dict):
        return all(_compared(sign, found, limit) for sign, limit in wanted.items())
    if isinstance(wanted, str) and isinstance(found, str):
        return fnmatchcase(found, wanted)
    return _same(found, wanted)


def _compared(sign: str, found: Any, limit: Any) -> bool:
    if sign in ("==", "!="):
        return _same(found, limit) == (sign == "==")
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool)
                  for each in (found, limit))
    if numbers or (isinstance(found, str) and isinstance(limit, str)):
        return _COMPARE[sign](found, limit)
    return False


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values of JSON are the same: 1 is 1.0, but neither is true."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
