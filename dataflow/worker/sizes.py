"""Rough sizes of values, in bytes, found without walking them.

Lives here: an estimate good enough to decide how many values go into a block.
Does not live here: exact accounting.
"""

from __future__ import annotations

import sys
from typing import Any

_SAMPLE = 8
_DEPTH = 3


def size_bytes(value: Any, depth: int = _DEPTH) -> int:
    """Estimate the memory a value holds: exact for buffers, sampled for containers."""
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int) and not hasattr(value, "__dask_graph__"):  # that one is not there
        return nbytes
    own = sys.getsizeof(value, 64)
    kind = type(value)
    if depth and kind in (list, tuple, set, frozenset, dict) and value:
        return own + _members(value, depth)
    usage = getattr(value, "memory_usage", None)
    if usage is not None and kind.__module__.startswith("pandas"):
        total = usage(deep=False)
        return int(total if isinstance(total, int) else total.sum())
    state = getattr(value, "__dict__", None)
    if depth and isinstance(state, dict) and state and not isinstance(value, type):
        return own + _members(state, depth)
    return own


def column_bytes(values: list[Any]) -> int:
    """Estimate the memory of many values from a sample of them."""
    if not values:
        return 0
    step = max(1, len(values) // _SAMPLE)
    sample = values[::step][:_SAMPLE]
    return int(sum(size_bytes(v) for v in sample) / len(sample) * len(values))


def _members(container: Any, depth: int) -> int:
    items = container.values() if isinstance(container, dict) else container
    total = count = 0
    for item in items:
        total += size_bytes(item, depth - 1)
        count += 1
        if count == _SAMPLE:
            break
    return int(total / count * len(container))
