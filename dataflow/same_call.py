"""Whether a call of a resumed run is about the same things as the one that was recorded.

Lives here: the comparison of what is recorded of two calls' arguments. Does not live
here: what is recorded (``call_inputs.py``), which recorded call it is
(``resumption.py``).

A flow function that lists a folder may find other files now. Outcomes are kept
by position, so a list that is another one must not take them over; nor may a call
that takes values from another call than the recorded one did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from dataflow.call_inputs import MAPPED

OTHER_FUNCTION = "its results are kept as those of another function, or under keys of another kind"
"""How a call differs whose task has the name of a function that it had not."""

_Part = tuple[str, str]  # the path of an argument, and what is compared of it
_FUNCTION = "", "partition"
_SEVERAL = frozenset({"whole", "made"})
"""How several futures come: a list of all that a map has may be told in either way."""


class Inputs:
    """What is known of a call's arguments, to be compared.

    Parameters
    ----------
    constants, partition
        As recorded, see :class:`dataflow.store.CallRecord`. Results that are kept in the
        partition of another function are of no use to this one.
    """

    def __init__(self, constants: str | None, partition: str | None = None) -> None:
        self._parts: dict[_Part, Any] = {}
        if partition is not None:
            self._parts[_FUNCTION] = (partition,)
        leaves: dict[_Part, set[tuple[str, str]]] = {}
        for path, digest, *more in json.loads(constants or "[]"):
            if digest:
                leaves.setdefault((_root_of(path), ""), set()).add((path, digest))
            else:
                self._parts.update(_compared(path, *more))
        self._parts.update((part, ("leaves", frozenset(some))) for part, some in leaves.items())

    @property
    def identity(self) -> object:
        """The same for calls of which nothing tells that they differ."""
        return frozenset(self._parts.items())

    def other_than(self, before: Inputs) -> str | None:
        """Return the name of an argument that is another one, None where none is known to be.

        An empty name: it is the function itself.
        """
        mine, theirs = self._parts, before._parts
        return next((part[0] for part in sorted(mine.keys() & theirs.keys())
                     if mine[part] != theirs[part]
                     and {mine[part][0], theirs[part][0]} != _SEVERAL), None)


def difference(width: int | None, before: Inputs, now: Inputs, lengths: set[int]) -> str | None:
    """Return how a call differs from the recorded one, None where nothing tells that it does.

    Parameters
    ----------
    width, before
        What was recorded.
    now
        Of the call as it is made now.
    lengths
        Of what it maps over, as far as they are known.
    """
    if width is not None and lengths - {width}:
        many = " and ".join(map(str, sorted(lengths)))
        return f"it maps over {many} items now, and mapped over {width} then"
    changed = now.other_than(before)
    if changed == "":
        return OTHER_FUNCTION
    return None if changed is None else f"its argument {changed!r} is another one now"


def _root_of(path: str) -> str:
    """Return the argument that a part of it belongs to: parts that are not there tell as much."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _compared(path: str, how: str, *more: Any) -> Iterator[tuple[_Part, Any]]:
    """Yield what is compared of an entry; nothing where nothing tells one value from another."""
    if how == MAPPED:
        for kind, sample in zip(("some", "all"), more, strict=False):
            if sample is not None:
                yield (path, kind), (sample,)
    elif how == "each":
        yield (path, how), more[:1]
    elif how == "made":
        if more and more[0] is not None:
            yield (path, ""), (how, more[0])
    elif how == "after":
        yield (path, ""), (how, *map(tuple, more[0]))
    else:
        yield (path, ""), (how, *more)
