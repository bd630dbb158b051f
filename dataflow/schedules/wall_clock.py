"""Wall clocks: from what a clock on the wall of a zone shows to real time, and back.

Lives here: the rules for times that do not exist or exist twice, and the search
for the next slot of a pattern of wall times. Does not live here: any such pattern
(``cron_fields.py``, ``interval.py``, ``rrule_pattern.py``).

A pattern is a function that returns the first of its wall times at or after a given
one, both without a zone. Two rules say what it means in real time:

fixed
    Each wall time of the pattern is one slot. One that does not exist (the clock was
    put forward over it) runs right after the change; several of them, once. One that
    exists twice (the clock was put back over it) runs once, at the first.
elapsed
    Each real moment is a slot at which the clock shows a time of the pattern: every
    real hour or quarter of an hour, none left out, and both of those that bear the
    same name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

Pattern = Callable[[datetime], datetime | None]

_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_NOTHING = timedelta(0)
_LONGEST_JUMP = timedelta(hours=26)  # no zone ever moved its clocks by more than a day


def wall_of(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what the clock of the zone shows at a moment, without a zone."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock shows that time, in UTC.

    The first moment where there are two; where there is none, the one right after the
    clock was put forward over it.
    """
    aware = wall.replace(tzinfo=zone, fold=0)
    first = _offset(aware)
    second = _offset(aware.replace(fold=1))
    early = (wall - first).replace(tzinfo=UTC)
    if first >= second:  # exists, once or twice
        return early
    return change_between((wall - second).replace(tzinfo=UTC), early, zone)


def change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment in (before, after] from which the zone has its offset of ``after``.

    Clocks are changed at whole seconds.
    """
    low, high = before.replace(microsecond=0), after.replace(microsecond=0)
    old = _offset(low.astimezone(zone))
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(middle.astimezone(zone)) == old:
            low = middle
        else:
            high = middle
    return high


def next_fixed(after: datetime, zone: ZoneInfo, pattern: Pattern) -> datetime | None:
    """Return the first slot later than ``after`` by the rule *fixed*; both in UTC."""
    # what the pattern has up to the present wall time is not later: moment_of never falls
    wall = pattern(wall_of(after, zone) + _TICK)
    while wall is not None:
        moment = moment_of(wall, zone)
        if moment > after:
            return moment
        wall = pattern(wall + _TICK)  # in the second of two equal hours, or just past a gap
    return None


def next_elapsed(after: datetime, zone: ZoneInfo, pattern: Pattern) -> datetime | None:
    """Return the first slot later than ``after`` by the rule *elapsed*; both in UTC.

    Notes
    -----
    Goes from one change of the zone's offset to the next only where a change lies
    near; a far slot is reached in one leap, however many changes lie between.
    """
    at = after + _TICK
    while True:
        local = at.astimezone(zone)
        offset = _offset(local)
        wall = pattern(local.replace(tzinfo=None))
        if wall is None:
            return None
        moment = (wall - offset).replace(tzinfo=UTC)
        near = min(moment, at + _LONGEST_JUMP)
        if _offset(near.astimezone(zone)) != offset:
            at = change_between(at, near, zone)  # nothing before the change; go on from there
        elif near == moment:
            return moment
        else:
            at = max(near, moment - _LONGEST_JUMP)


def is_second(moment: datetime, zone: ZoneInfo) -> bool:
    """Return whether the clock shows the same time at ``moment`` for the second time."""
    return moment.astimezone(zone).fold == 1


def exists_twice(moment: datetime, zone: ZoneInfo) -> bool:
    """Return whether the clock shows what it shows at ``moment`` also at another one."""
    local = moment.astimezone(zone)
    return _offset(local.replace(fold=0)) > _offset(local.replace(fold=1))


def put_forward_at(moment: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first wall time that was left out where the clock is put forward at ``moment``."""
    old, new = _offset((moment - _TICK).astimezone(zone)), _offset(moment.astimezone(zone))
    if new <= old:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) + old


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or _NOTHING
