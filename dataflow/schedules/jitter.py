"""Jitter: how much later than its slot a run starts, the same whoever computes it.

Lives here: the share of a slot. Does not live here: when the slot is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b


def spread(slot: datetime, jitter: timedelta, key: str) -> timedelta:
    """Return a length in [0, jitter), even over all slots and keys.

    Parameters
    ----------
    slot
        In UTC.
    key
        Name of the schedule; equal names spread alike.
    """
    if not jitter:
        return timedelta(0)
    text = f"{key}\0{slot.isoformat(timespec='microseconds')}"
    drawn = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    microseconds = jitter // timedelta(microseconds=1)
    return timedelta(microseconds=drawn * microseconds >> 64)
