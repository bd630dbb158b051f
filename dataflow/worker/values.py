"""Where an element's arguments come from: blocks that arrived, values just made.

Lives here: the look-up of values and the turning of sources into arguments.
Does not live here: which values are sent (``engine/``, runners).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from dataflow.batch import (
    FAULT,
    Aligned,
    Batch,
    Block,
    Column,
    Const,
    Flat,
    FlatItem,
    Gone,
    ItemOf,
    Items,
    One,
    Part,
    Source,
    Tree,
    Whole,
)
from dataflow.failures import exception_of
from dataflow.outcomes import Code, ErrorRecord
from dataflow.unnesting import below, flattened

Getter = Callable[[int, int], Any]
"""(position in the group, element index) → the argument's value."""

_SOURCES = frozenset({Const, One, Whole, ItemOf, FlatItem, Tree, Aligned, Flat, Gone})


class Absent(Exception):
    """An input is not there: ``code`` says what became of it, None that nobody knows."""

    def __init__(self, call: int, index: int, code: int | None) -> None:
        super().__init__(call, index, code)
        self.call, self.index, self.code = call, index, code


class Values:
    """All values a batch can reach."""

    def __init__(self, batch: Batch, inputs: Sequence[Block]) -> None:
        self._batch = batch
        self.fresh: dict[int, dict[int, Any]] = {}
        self.codes: dict[int, dict[int, int]] = {}  # of this batch, where not COMPLETED
        self.errors: dict[tuple[int, int], ErrorRecord] = {}  # of this batch
        self._blocks = inputs
        self._columns: dict[int, tuple[list[int], list[Column]]] = {}  # by call: starts, columns
        self._sequences: dict[tuple[int, int, int], Any] = {}

    def get(self, call: int, index: int, allow_failure: bool = False) -> Any:
        """Return one value. Raises Absent when it is not there."""
        fresh = self.fresh.get(call)
        if fresh is not None and index in fresh:
            return fresh[index]
        found, value = self._stored(call, index)
        return value if found else self._hole(call, index, allow_failure)

    def _columns_of(self, call: int) -> tuple[list[int], list[Column]]:
        """Return a call's columns in the blocks that arrived, by their first index."""
        known = self._columns.get(call)
        if known is None:
            columns = [
                c for b in self._blocks
                if (c := b.columns.get(call)) is not None and len(c.indexes)
            ]
            columns.sort(key=lambda c: c.indexes[0])
            known = self._columns[call] = ([c.indexes[0] for c in columns], columns)
        return known

    def _stored(self, call: int, index: int) -> tuple[bool, Any]:
        starts, columns = self._columns_of(call)
        at = bisect_right(starts, index) - 1
        while at >= 0:
            column = columns[at]
            if isinstance(column.indexes, range):
                if index in column.indexes:
                    return True, column.values[index - column.indexes.start]
            else:
                position = bisect_right(column.indexes, index) - 1
                if position >= 0 and column.indexes[position] == index:
                    return True, column.values[position]
            at -= 1
        return False, None

    def _hole(self, call: int, index: int, allow_failure: bool) -> Any:
        key = (call, index)
        code = self.codes.get(call, {}).get(index)
        if allow_failure:
            if key in self._batch.holes:
                record = self._batch.holes[key]
                return None if record is None else exception_of(record)
            if code is not None and code >= Code.COMPLETED:
                record = self.errors.get(key)
                return None if record is None else exception_of(record)
        raise Absent(call, index, code)

    def whole(self, source: Whole) -> list[Any]:
        """Return all values of a call in order, failed ones as the batch says.

        Where the call failed as a whole, its error comes last.
        """
        call, width = source.call, self._batch.widths[source.call]
        nones = call in self._batch.nones
        out: list[Any] = [_NOTHING] * width
        for column in self._columns_of(call)[1]:
            indexes = column.indexes
            if isinstance(indexes, range) and indexes.step == 1:
                out[indexes.start : indexes.stop] = column.values
            else:
                for index, value in zip(indexes, column.values, strict=True):
                    out[index] = value
        for index, value in self.fresh.get(call, {}).items():
            out[index] = value
        if _NOTHING in _Identity(out):
            for index, value in enumerate(out):
                if value is _NOTHING:
                    key = (call, index)
                    fill = nones and key in self._batch.holes and not source.allow_failure
                    out[index] = None if fill else self._hole(call, index, source.allow_failure)
        fault = self._batch.holes.get((call, FAULT))
        if fault is not None:
            out.append(exception_of(fault))
        return out

    def sequence(self, call: int, index: int, depth: int = 1) -> Any:
        """Return a value that is mapped over, as something that can be indexed.

        Of ``depth`` levels of nesting one is left.
        """
        key = (call, index, depth)
        if key not in self._sequences:
            value = self.get(call, index)
            if depth > 1:
                value = list(below(value, depth, f"a value of call {call}"))
            self._sequences[key] = indexable(value)
        return self._sequences[key]

    def resolve(self, source: Source, index: int) -> Any:
        """Return the value of any source for an element."""
        match source:
            case Const():
                return source.value
            case One():
                return self.get(source.call, source.index, source.allow_failure)
            case Aligned():
                return self.get(source.call, index, source.allow_failure)
            case Whole():
                return self.whole(source)
            case ItemOf():
                return self.sequence(source.call, source.index)[index]
            case FlatItem():
                return self.sequence(source.call, source.index, source.depth)[source.position]
            case Flat():
                return flattened(self.resolve(source.source, index), source.what,
                                 source.allow_failure)
            case Tree():
                from dataflow.resolve import rebuild

                return rebuild(source.template, [self.resolve(s, index) for s in source.leaves])
            case Gone():
                raise Absent(source.call, source.index, None)
            case Items():
                raise TypeError("items are taken by position, not resolved")


class _Identity:
    """``x in _Identity(xs)`` by identity only: user values may have an ``==`` of their own."""

    def __init__(self, items: list[Any]) -> None:
        self._ids = map(id, items)

    def __contains__(self, item: object) -> bool:
        return id(item) in self._ids


class _Nothing:
    pass


_NOTHING: Any = _Nothing()


def indexable(value: Any) -> Any:
    """Return ``value`` itself where ``value[i]`` is its i-th item, else a list of its items."""
    if isinstance(value, (list, tuple, range)) or type(value).__module__ == "numpy":
        return value
    return list(value)


def getter(values: Values, part: Part, key: int | str, source: Source) -> Getter:
    """Compile how one parameter of a part is found; constants are found once."""
    if isinstance(source, Items):
        items = part.items[key]
        if not part.item_sources:
            return lambda position, index: items[position]

        def item(position: int, index: int) -> Any:
            found = items[position]
            return values.resolve(found, index) if type(found) in _SOURCES else found

        return item
    if isinstance(source, Const):
        value = source.value
        return lambda position, index: value
    if isinstance(source, Aligned) and not source.allow_failure:
        call = source.call
        fresh = values.fresh.setdefault(call, {})

        def aligned(position: int, index: int) -> Any:
            if index in fresh:
                return fresh[index]
            return values.get(call, index)

        return aligned
    if isinstance(source, (One, Whole)) or (isinstance(source, (Tree, Flat)) and part.code.mapped
                                            and not _varies(source)):
        cell: list[Any] = []

        def once(position: int, index: int) -> Any:
            if not cell:
                cell.append(values.resolve(source, index))
            return cell[0]

        return once
    return lambda position, index: values.resolve(source, index)


def _varies(source: Source) -> bool:
    """Tell whether a source differs from element to element."""
    if isinstance(source, Tree):
        return any(_varies(leaf) for leaf in source.leaves)
    if isinstance(source, Flat):
        return _varies(source.source)
    return isinstance(source, (Aligned, ItemOf, Items))
