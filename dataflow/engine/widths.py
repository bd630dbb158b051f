"""How wide a map is, once that can be known, and how it grows while it cannot.

Lives here: lengths of what is mapped over: known at the call, told by the
worker beside the value, asked for by a "lengths" batch, or growing with a
generator. Does not live here: sending those batches (``cut.py``).
"""

from __future__ import annotations

import math
from array import array

from dataflow.engine.lengths import Lengths, Unusable
from dataflow.engine.messages import Pulled
from dataflow.engine.node import Chunk, Edge, Node
from dataflow.engine.settle import Settler, raised
from dataflow.engine.takeover import Takeover
from dataflow.engine.world import World
from dataflow.exceptions import MappingLengthMismatch, MappingMissingIterable, TransportError
from dataflow.graph import Mapped
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code


class Widths:
    """Finds widths and makes elements."""

    def __init__(self, world: World, settler: Settler) -> None:
        self.world = world
        self.settler = settler
        self.lengths = Lengths(world)
        self.takeover = Takeover(world, settler)

    def begin(self, node: Node) -> None:
        """Take in a call's mapped parameters; the width may be known at once."""
        node.exhausted = not node.iterators()
        if node.single:
            if not node.codes:
                node.codes.append(Code.PENDING)
            self.world.touched(node)
            self.takeover.elements(node, 0, 1)
            self._make_ready(node, 0, 1)
            self._set_width(node, 1)
            return
        width = self.takeover.width(node)
        if width is not None:
            self._grow(node, width)
            self._set_width(node, width)
            return
        for mapped in node.spec.mapped:
            self.lengths.ask(node, mapped)
        self.resolve(node)

    def limit(self, node: Node) -> float:
        """Return how many elements a growing map can have at most, by what is known; or inf."""
        lengths = [self._length(node, m) for m in node.spec.mapped if m.iterator is None]
        if node.spec.item_deps is not None:
            lengths.append(len(node.spec.item_deps))
        grown = [len(self.world.nodes[m.aligned].codes) for m in node.spec.mapped
                 if m.aligned is not None]
        return min([n for n in lengths if isinstance(n, int)] + grown, default=math.inf)

    def resolve(self, node: Node) -> None:
        """Set the width if every mapped parameter's length is known and they agree."""
        if node.width is not None or node.lengths_due or node.done or node.doomed is not None:
            return
        known: dict[str, int] = {}
        growing = False
        for mapped in node.spec.mapped:
            length = self._length(node, mapped)
            if length is None:
                growing = True
            elif isinstance(length, Unusable):
                self._no_iterable(node, mapped, length)
                return
            else:
                known[mapped.name] = length
        if len(set(known.values())) > 1:
            self._mismatch(node, known)
        elif not growing:
            width = next(iter(known.values()))
            self._grow(node, width - len(node.codes))
            self._set_width(node, width)
        elif any(m.aligned is not None for m in node.spec.mapped):
            self._follow(node)

    def _length(self, node: Node, mapped: Mapped) -> int | Unusable | None:
        """Return a length, None while unknown."""
        if mapped.items is not None:
            return len(mapped.items)
        if mapped.iterator is not None:
            return len(node.codes) if node.exhausted else None
        if mapped.aligned is not None:
            return self.world.nodes[mapped.aligned].width
        if mapped.item_of is not None:
            return self.lengths.of_one(node, mapped.item_of)
        return self.lengths.of_flat(node, mapped)

    def pulled(self, node: Node, event: Pulled) -> None:
        """Items came out of generators."""
        node.pulling = False
        if node.done or node.closed or node.width is not None:
            return
        count = len(next(iter(event.items.values()), []))
        known = self._known(node)
        room = min(known.values(), default=math.inf) - len(node.codes)
        if count > room:
            self._mismatch(node, {**known, **{m.name: len(node.codes) + count
                                              for m in node.iterators()}}, at_least=True)
            return
        if count:
            node.chunks.append(Chunk(len(node.codes), event.items, count, count))
            self._grow(node, count)
        if event.error is not None:
            node.view.fault = event.error
            self.world.record_fault(node)
            self.settler.close_width(node)
            self.world.commands.settled = True
            self.settler.check_done(node)
        elif event.uneven:
            self._uneven(node)
        elif event.exhausted:
            node.exhausted = True
            self.resolve(node)

    def _known(self, node: Node) -> dict[str, int]:
        """Return the lengths that are known, generators aside."""
        lengths = {m.name: self._length(node, m) for m in node.spec.mapped if m.iterator is None}
        return {name: n for name, n in lengths.items() if isinstance(n, int)}

    def _follow(self, node: Node) -> None:
        """Grow along with parents whose width is not known yet."""
        parents = {m.name: self.world.nodes[m.aligned] for m in node.spec.mapped
                   if m.aligned is not None}
        have = {name: len(parent.codes) for name, parent in parents.items()}
        known = self._known(node)
        if max(have.values()) > min(known.values(), default=math.inf):
            self._mismatch(node, {**have, **known}, at_least=True)
        elif not node.iterators():
            self._grow(node, min(have.values()) - len(node.codes))

    def _grow(self, node: Node, count: int) -> None:
        """Make elements; those whose inputs are there become ready."""
        if count <= 0:
            return
        start = len(node.codes)
        stop = start + count
        node.codes.extend(bytes(count))
        self.world.touched(node)
        self.takeover.elements(node, start, stop)
        self._make_ready(node, start, stop)
        for edge in node.kids_aligned:
            if edge.node.width is None:
                self._follow(edge.node)

    def _make_ready(self, node: Node, start: int, stop: int) -> None:
        item_deps = node.spec.item_deps
        if not node.aligned and item_deps is None:
            for a, b in list(node.pending_runs(start, stop)):
                self.world.ready_push(node, a, b)
        elif len(node.aligned) == 1 and item_deps is None:
            self._ready_along(node, *node.aligned[0], start, stop)
        else:
            self._count_needs(node, start, stop)

    def _ready_along(self, node: Node, parent: Node, allow: bool, start: int, stop: int) -> None:
        codes = parent.codes
        at = start
        while at < min(stop, len(codes)):
            code = codes[at]
            end = at + 1
            while end < stop and end < len(codes) and codes[end] == code:
                end += 1
            if code in SUCCEEDED or (allow and code >= FIRST_FINAL):
                for a, b in list(node.pending_runs(at, end)):
                    self.world.ready_push(node, a, b)
            elif code >= FIRST_FINAL:
                for index in range(at, end):
                    if node.codes[index] < FIRST_FINAL:
                        root = self._root(parent, index)
                        self.settler.not_ready(node, index, index + 1, root)
            at = end

    def _count_needs(self, node: Node, start: int, stop: int) -> None:
        if node.need is None:
            node.need = array("i")
        node.need.extend([0] * (stop - len(node.need)))
        for index in range(start, stop):
            if node.codes[index] >= FIRST_FINAL:
                continue
            need, failed = 0, None
            for parent, allow in node.aligned:
                code = parent.codes[index] if index < len(parent.codes) else Code.PENDING
                if code in SUCCEEDED or (allow and code >= FIRST_FINAL):
                    continue
                if code >= FIRST_FINAL:
                    failed = self._root(parent, index)
                need += 1
            for dep in (node.spec.item_deps or ())[index] if node.spec.item_deps else ():
                parent = self.world.nodes[dep.call]
                at = dep.index or 0
                code = parent.codes[at] if at < len(parent.codes) else Code.PENDING
                if code in SUCCEEDED or (dep.allow_failure and code >= FIRST_FINAL):
                    continue
                if code >= FIRST_FINAL:
                    failed = self._root(parent, at)
                elif dep.index is None:
                    parent.kids_whole.append(Edge(node, index, dep.allow_failure))
                else:
                    parent.kids_item.setdefault(at, []).append(
                        Edge(node, index, dep.allow_failure))
                need += 1
            node.need[index] = need
            if failed is not None:
                self.settler.not_ready(node, index, index + 1, failed)
            elif need == 0 and node.codes[index] == Code.PENDING:
                self.world.ready_push(node, index, index + 1)

    def _root(self, parent: Node, index: int) -> tuple[int, int]:
        return parent.root_at(index)

    def _set_width(self, node: Node, width: int) -> None:
        node.view.width = width
        self.world.record_width(node)
        self.world.touched(node)
        self.world.commands.settled = True
        for edge in node.kids_aligned:
            self.resolve(edge.node)
        self.settler.check_done(node)

    def _no_iterable(self, node: Node, mapped: Mapped, what: Unusable) -> None:
        """Fail a map over a value that has no items, or that no worker could read."""
        source = self.world.name_of(self.world.nodes[what.call], what.index)
        where = f"task {node.spec.code.task.name!r} maps over {mapped.name!r}"
        unread = self.lengths.why_unread(what)
        if unread is not None:
            error: Exception = TransportError(
                f"{where}, the value of task run {source!r}, which {unread}")
        elif mapped.flat is None:
            error = MappingMissingIterable(
                f"{where}, whose value turned out not to be a sequence (of task run {source!r}): "
                "pass unmapped(...) for a constant, or return a list")
        else:
            error = MappingMissingIterable(
                f"{where}, which is flattened: the value of task run {source!r}, or something in "
                "it, turned out not to be a sequence")
        self.settler.fault(node, raised(error))

    def _mismatch(self, node: Node, known: dict[str, int], at_least: bool = False) -> None:
        more = " or more so far" if at_least else ""
        what = ", ".join(f"{name!r} has {length}" for name, length in known.items())
        self._differ(node, f"differ in length: {what}{more}")

    def _uneven(self, node: Node) -> None:
        names = " and ".join(repr(m.name) for m in node.iterators())
        self._differ(node, f"differ in length: the generators of {names} ended unevenly")

    def _differ(self, node: Node, how: str) -> None:
        self.settler.fault(node, raised(MappingLengthMismatch(
            f"the mapped arguments of task {node.spec.code.task.name!r} {how}"
        )))
