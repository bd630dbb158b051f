"""Indexes of elements as ranges: ``0-16, 18, 20-2999``.

Lives here: joining and writing them. Does not live here: whose they are
(``events.py``). Ranges are ascending and do not touch.
"""

from __future__ import annotations

from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]
MOST = 5_000
"""So many ranges are kept of one error; an index past them is counted and not named."""


def compacted(indexes: Iterable[int]) -> Ranges:
    """Return indexes as ranges, each with its first and last index."""
    return joined((index, index) for index in indexes)


def joined(ranges: Iterable[tuple[int, int]], most: int = MOST) -> Ranges:
    """Return ranges, in any order, as ascending ones that do not touch; the first ``most``."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found[:most])


def size(ranges: Ranges) -> int:
    """Return how many indexes there are."""
    return sum(high - low + 1 for low, high in ranges)


def holds(ranges: Ranges, index: int) -> bool:
    """Tell whether an index is in one of the ranges."""
    return any(low <= index <= high for low, high in ranges)


def ranges_text(ranges: Ranges, most: int = 20, count: int = 0) -> str:
    """Return ranges as people write them: ``0-16, 18 and 3 more``.

    Parameters
    ----------
    count
        How many indexes there are, where not all of them are known.
    """
    shown = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges[:most])
    rest = max(size(ranges[most:]), count - size(ranges[:most]))
    return f"{shown} and {rest:,} more" if rest > 0 and shown else shown
