"""What is odd about the clock at a slot, in words.

Lives here: remarks for people who look at a list of times. Does not live here:
the rules that made the times (``wall_clock.py``).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dataflow.schedules.wall_clock import (
    Pattern,
    exists_twice,
    is_second,
    put_forward_at,
    wall_of,
)


def remark_on(slot: datetime, zone: ZoneInfo, fixed: Pattern | None = None) -> str | None:
    """Return what is odd about the clock at that moment, or None.

    Parameters
    ----------
    fixed
        The pattern, where a wall time that does not exist runs right after the change.
    """
    shown = wall_of(slot, zone)
    left_out = put_forward_at(slot, zone)
    if left_out is not None:
        nominal = None if fixed is None else fixed(left_out)
        if nominal is not None and nominal < shown:
            return f"{_clock(nominal, shown)} does not exist: runs right after the change"
        return f"the clock was just put forward from {_clock(left_out, shown)}"
    if exists_twice(slot, zone):
        which = "second" if is_second(slot, zone) else "first"
        return f"{shown:%H:%M} exists twice: this is the {which}"
    return None


def _clock(wall: datetime, beside: datetime) -> str:
    """Return a time of day, with its date where that is not the one beside."""
    if abs(wall - beside) < timedelta(days=1) and wall.date() == beside.date():
        return f"{wall:%H:%M}"
    return f"{wall:%Y-%m-%d %H:%M}"
