"""Moments and numbers as they come in requests.

Lives here: which texts are taken for them; ISO 8601 with digits, and nothing that could
be meant otherwise. Does not live here: how moments are answered (``shown.py``).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?P<offset>[Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII)
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _written(value: Any) -> datetime:
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return datetime.fromisoformat(value.upper())  # raises ValueError for a 31 February
    raise ValueError("no moment such as 2026-11-28T06:00:00Z")


def _with_offset(value: Any) -> datetime:
    if isinstance(value, str) and (match := _MOMENT.fullmatch(value)) and match["offset"]:
        return _written(value)
    raise ValueError("no moment with an offset such as 2026-11-28T06:00:00Z (a + is %2B here)")


def _meant(value: datetime) -> datetime:
    value = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if not _FIRST <= value <= _LAST:
        raise ValueError("no moment between 1970 and 9999")
    return value


def _digits(value: Any) -> Any:
    if isinstance(value, int) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        return value
    raise ValueError("no whole number")


Moment = Annotated[datetime, AfterValidator(_meant), BeforeValidator(_written)]
"""In a body; without an offset in UTC."""

Since = Annotated[datetime, AfterValidator(_meant), BeforeValidator(_with_offset)]
"""In a query."""

Number = Annotated[int, BeforeValidator(_digits)]
"""A whole number in a query, 0 or more."""
