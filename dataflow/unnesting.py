"""Taking levels of nesting away from plain data: what ``flatten`` does to values.

Lives here: the rule of what is an item, counting and chaining items. Does not
live here: what ``flatten`` means for the graph (``flattening.py``). Workers
import it, so it imports nothing but errors.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain
from typing import Any

from dataflow.exceptions import MappingMissingIterable


def items_in(value: Any) -> Iterator[Any] | None:
    """Return the items of a value, None where it has none; texts and files are not taken apart."""
    if isinstance(value, (str, bytes, io.IOBase)):
        return None
    try:
        items: Iterator[Any] = iter(value)
    except TypeError:
        return None
    return items


def flattened(value: Any, what: str, allow_failure: bool = False) -> list[Any]:
    """Return the items of the items of a value.

    Parameters
    ----------
    value
        Iterables, in an iterable.
    what
        What that is, for the error.
    allow_failure
        An exception, or None, stands for a task run that did not complete: it is an item itself.

    Raises
    ------
    MappingMissingIterable
        Something is not iterable; the text says which item.
    """
    if allow_failure and _stands_for_failure(value):
        return [value]
    parts = items_in(value)
    if parts is None:
        raise _refused(what, "it", value)
    out: list[Any] = []
    for number, part in enumerate(parts):
        if allow_failure and _stands_for_failure(part):
            out.append(part)
            continue
        items = items_in(part)
        if items is None:
            raise _refused(what, f"item {number}", part)
        out.extend(items)
    return out


def below(value: Any, depth: int, what: str) -> Iterator[Any]:
    """Yield what stands ``depth`` levels below a value; 1: its own items.

    Raises
    ------
    MappingMissingIterable
        Something on the way is not iterable.
    """
    items = items_in(value)
    if items is None:
        raise _refused(what, "something in it", value)
    return items if depth == 1 else chain.from_iterable(below(i, depth - 1, what) for i in items)


def _stands_for_failure(value: Any) -> bool:
    return value is None or isinstance(value, BaseException)


def _refused(what: str, where: str, value: Any) -> MappingMissingIterable:
    return MappingMissingIterable(
        f"flatten of {what}: {where} is of type {type(value).__name__}, which is not iterable")
