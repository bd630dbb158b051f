"""Moments as they come in a body.

Lives here: which are taken. Does not live here: how moments are answered (``shown.py``).
"""

from __future__ import annotations

from datetime import UTC, datetime

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def meant(value: datetime | None) -> datetime | None:
    """Return a moment, in UTC where it has no offset. Raises ValueError."""
    if value is None:
        return None
    value = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if not _FIRST <= value <= _LAST:
        raise ValueError("no moment between 1970 and 9999")
    return value
