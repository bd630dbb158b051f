"""What a batch takes along: its slice of what is mapped over, and the blocks it needs.

Lives here: looking up items and places for chosen elements. Does not live here:
the choice of elements (``cut.py``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from dataflow.batch import (
    FAULT,
    Aligned,
    Batch,
    Flat,
    FlatItem,
    Gone,
    ItemOf,
    One,
    Part,
    Source,
    Tree,
    Whole,
)
from dataflow.engine.node import Node
from dataflow.engine.settle import raised
from dataflow.engine.world import World
from dataflow.exceptions import CancelledRun, CrashedRun, FailedRun
from dataflow.graph import FlatPart, Mapped
from dataflow.outcomes import SUCCEEDED, Code, ErrorRecord


class Inputs:
    """Finds the blocks that a batch needs, and what is allowed to be missing."""

    def __init__(self, world: World, batch: Batch, together: set[int]) -> None:
        self.world = world
        self.batch = batch
        self.together = together
        self.places: dict[int, None] = {}

    def collect(self, parts: list[tuple[Node, Sequence[int]]], made: list[Part]) -> None:
        """Fill in the batch's inputs, widths, holes and nones."""
        nones: set[int] = set()
        for (node, indexes), part in zip(parts, made, strict=True):
            code = node.spec.code
            for source in (*code.args, *code.kwargs.values()):
                self._source(source, indexes, nones)
            if part.item_sources:
                for items in part.items.values():
                    for item in items:
                        self._source(item, (), nones)
        self.batch.inputs = list(self.places)
        self.batch.nones = frozenset(nones)

    def _source(self, source: Source | Any, indexes: Sequence[int], nones: set[int]) -> None:
        match source:
            case Aligned():
                parent = self.world.nodes[source.call]
                if source.call not in self.together:
                    for place in parent.places.over(indexes):
                        self.places[place] = None
                if source.allow_failure:
                    self._holes(parent, indexes)
            case One() | ItemOf() | FlatItem():
                self._one(source.call, source.index, getattr(source, "allow_failure", False))
            case Whole():
                self._whole(source, nones)
            case Tree():
                for leaf in source.leaves:
                    self._source(leaf, indexes, nones)
            case Flat():
                self._source(source.source, indexes, nones)
            case _:
                pass

    def _one(self, call: int, index: int, allow_failure: bool) -> None:
        parent = self.world.nodes[call]
        if index == FAULT:
            self.batch.holes[call, FAULT] = parent.view.fault
            return
        place = parent.places.of(index)
        if place is not None:
            self.places[place] = None
        if allow_failure:
            self._holes(parent, (index,))

    def _whole(self, source: Whole, nones: set[int]) -> None:
        parent = self.world.nodes[source.call]
        self.batch.widths[source.call] = parent.width or 0
        for place in sorted(parent.places.all()):
            self.places[place] = None
        if parent.view.fault is not None:
            self.batch.holes[parent.id, FAULT] = parent.view.fault
        if parent.succeeded < (parent.width or 0):
            self._holes(parent, range(len(parent.codes)))
            nones.add(source.call)

    def _holes(self, parent: Node, indexes: Sequence[int]) -> None:
        for index in indexes:
            if parent.codes[index] >= Code.FAILED:
                self.batch.holes[parent.id, index] = self._what_arrives(parent, index)

    def _what_arrives(self, node: Node, index: int) -> ErrorRecord | None:
        """Return what stands for an element that did not complete; None where it did not run."""
        code, error = Code(node.codes[index]), node.view.error_of(index)
        if error is not None or code == Code.NOT_READY:
            return error
        kind = {Code.CANCELLED: CancelledRun, Code.CRASHED: CrashedRun}.get(code, FailedRun)
        name = self.world.name_of(node, index)
        return raised(kind(f"Task run '{name}' ended as {code.name}"))


def items_of(world: World, node: Node, mapped: Mapped, indexes: Sequence[int]) -> Sequence[Any]:
    if mapped.items is not None:
        if isinstance(indexes, range):
            part: Sequence[Any] = mapped.items[indexes.start : indexes.stop]
            return part
        return [mapped.items[i] for i in indexes]
    if mapped.iterator is not None:
        return _chunk_items(node, mapped.key, indexes)
    offsets = node.offsets[mapped.key]
    return [_flat_source(world, mapped, offsets, i) for i in indexes]


def _chunk_items(node: Node, key: int | str, indexes: Sequence[int]) -> list[Any]:
    chunks = list(node.chunks)
    starts = [c.start for c in chunks]
    if node.restoring and not all(has_its_items(node, i) for i in indexes):
        return [_chunk_items(node, key, [i])[0] if has_its_items(node, i) else Gone(node.id, i)
                for i in indexes]
    if isinstance(indexes, range):
        chunk = chunks[bisect_right(starts, indexes.start) - 1]
        if indexes.stop <= chunk.start + chunk.count:
            return chunk.items[key][indexes.start - chunk.start : indexes.stop - chunk.start]
    out = []
    for index in indexes:
        chunk = chunks[bisect_right(starts, index) - 1]
        out.append(chunk.items[key][index - chunk.start])
    return out


def has_its_items(node: Node, index: int) -> bool:
    """Tell whether the items of an element are there still: a generator's are not kept."""
    if not node.iterators():
        return True
    chunks = node.chunks
    return any(c.start <= index < c.start + c.count for c in chunks)


def has_items(mapped: Mapped) -> bool:
    """Tell whether items of a mapped parameter travel with the batch."""
    return mapped.aligned is None and mapped.item_of is None


def is_flat(mapped: Mapped) -> bool:
    """Tell whether a mapped parameter is a flatten."""
    return mapped.flat is not None


def _flat_source(world: World, mapped: Mapped, offsets: tuple[list[int], list[list[int]]],
                 position: int) -> Any:
    """Return where an item of a flattened parameter comes from."""
    starts, inside = offsets
    at = bisect_right(starts, position) - 1
    position -= starts[at]
    part = (mapped.flat or ())[at]
    if not isinstance(part, FlatPart):
        return part[position]
    nth = bisect_right(inside[at], position) - 1
    index = nth if part.index is None else part.index
    codes = world.nodes[part.call].codes
    if index >= len(codes):
        return One(part.call, FAULT, allow_failure=True)
    if part.depth == 0 or codes[index] not in SUCCEEDED:
        return One(part.call, index, part.allow_failure)
    return FlatItem(part.call, index, position - inside[at][nth], part.depth)


def taken_from(node: Node, call: int, index: int) -> list[int] | None:
    """Return which elements of a call one element of a node takes values of; None: all."""
    found: list[int] = []
    sources = [*node.spec.code.args, *node.spec.code.kwargs.values()]
    while sources:
        source = sources.pop()
        if isinstance(source, Tree):
            sources += source.leaves
        elif isinstance(source, Flat):
            sources.append(source.source)
        elif isinstance(source, Whole) and source.call == call:
            return None
        elif isinstance(source, Aligned) and source.call == call:
            found.append(index)
        elif isinstance(source, One | ItemOf) and source.call == call:
            found.append(source.index)
    for mapped in node.spec.mapped:
        for part in mapped.flat or ():
            if isinstance(part, FlatPart) and part.call == call:
                if part.index is None:
                    return None
                found.append(part.index)
    if node.spec.item_deps is not None:
        for dep in node.spec.item_deps[index]:
            if dep.call == call and dep.value:
                if dep.index is None:
                    return None
                found.append(dep.index)
    return found
