"""How long values are that maps go over: what is known, what must be asked, who waits.

Lives here: questions for lengths and their answers, and the length of a
flattened parameter. Does not live here: what follows from a length
(``widths.py``), the batches that ask (``cut.py``).

A length comes unasked with the value of a submit. All others are asked for by
"lengths" batches beside the blocks, once the value, or for the elements of a
map all of them, are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from dataflow.batch import One
from dataflow.engine.node import Node
from dataflow.engine.settle import Settler
from dataflow.engine.world import World
from dataflow.graph import FlatPart, Mapped
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED

Question = tuple[int, int | None, int]
"""(call, element, levels of nesting): how many items stand there? Element None: in every one."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A value that cannot be mapped over."""

    call: int
    index: int


class Lengths:
    """Lengths that are known, and who waits for others."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._waiting: dict[Question, list[Node]] = {}
        self._open: dict[Question, int] = {}  # of every element: how many are unknown
        self._known: dict[tuple[int, int], dict[int, int]] = {}  # (call, depth) → index → length
        self._unread: dict[tuple[int, int], str] = {}  # values that could not be looked at: why
        self._calls: set[int] = set()  # whose lengths are waited for
        self._stale = False  # something was told or asked since the last look
        self._again = False  # an answer was lost: look through everything once more

    @property
    def news(self) -> bool:
        """Whether something that is waited for may have become known, or can be asked for now."""
        if not self._waiting:
            return False
        return self._stale or not self.world.changed.isdisjoint(self._calls)

    def ask(self, node: Node, mapped: Mapped) -> None:
        """Note the lengths that a mapped parameter must wait for."""
        for question in _questions(mapped):
            if not self._answered(node, question):
                node.lengths_due += 1
                self._waiting.setdefault(question, []).append(node)
                self._calls.add(question[0])
                self._stale = True

    def due(self) -> list[tuple[Node, tuple[int, int, int]]]:
        """Return what must be asked now: (for whom, (call, element, levels))."""
        out: list[tuple[Node, tuple[int, int, int]]] = []
        for (call, index, depth), nodes in self._waiting.items():
            parent = self.world.nodes[call]
            if depth == 0:
                continue
            if index is not None:
                there = index < len(parent.codes) and parent.codes[index] in SUCCEEDED
                if there and self._of(call, index, depth) is None:
                    out.append((nodes[0], (call, index, depth)))
            elif parent.done and (self._again or (call, None, depth) not in self._open):
                unknown = [i for i, code in enumerate(parent.codes)
                           if code in SUCCEEDED and self._of(call, i, depth) is None]
                self._open[call, None, depth] = len(unknown)
                out += [(nodes[0], (call, i, depth)) for i in unknown]
        self._again = self._stale = False
        return out

    def answered(self) -> list[Node]:
        """Return the nodes one of whose questions has been answered meanwhile."""
        out = []
        for question, nodes in list(self._waiting.items()):
            nodes[:] = [n for n in nodes if not n.done and n.doomed is None]
            for node in [n for n in nodes if self._answered(n, question)]:
                nodes.remove(node)
                node.lengths_due -= 1
                out.append(node)
            if not nodes:
                del self._waiting[question]
        if not self._waiting:
            self._calls.clear()
        return out

    def ask_again(self) -> None:
        """An answer that was under way will not come."""
        self._again = self._stale = True

    def put(self, call: int, index: int, depth: int, length: int,
            unread: str | None = None) -> None:
        """Note a length; -1: nothing that could be counted."""
        known = self._known.setdefault((call, depth), {})
        if index not in known and (call, None, depth) in self._open:
            self._open[call, None, depth] -= 1
        known[index] = length
        self._stale = True
        if unread is not None:
            self._unread[call, index] = unread

    def lost(self, call: int, index: int, why: str) -> None:
        """Note that a value will never be there again for who waits for its length."""
        for asked, at, depth in list(self._waiting):
            if asked == call and at in (None, index) and depth:
                if self._of(call, index, depth) is None:
                    self.put(call, index, depth, -1, f"is gone: {why}")

    def why_unread(self, what: Unusable) -> str | None:
        """Return why a value could not be looked at, None where it was."""
        return self._unread.get((what.call, what.index))

    def _answered(self, node: Node, question: Question) -> bool:
        call, index, depth = question
        if index is not None:
            return self._stands_for_itself(node, call, index) or self._of(
                call, index, depth) is not None
        return self.world.nodes[call].done and (depth == 0 or self._open.get(question) == 0)

    def _of(self, call: int, index: int, depth: int) -> int | None:
        if depth == 0:
            return 1
        known = self._known.get((call, depth))
        length = None if known is None else known.get(index)
        if length is None and depth == 1:
            length = self.world.nodes[call].lengths.get(index)  # told unasked
        return length

    def _stands_for_itself(self, node: Node, call: int, index: int) -> bool:
        """Tell whether an exception, or None, is allowed in the place of a value."""
        codes = self.world.nodes[call].codes
        if index >= len(codes) or codes[index] < FIRST_FINAL or codes[index] in SUCCEEDED:
            return False
        return any(d.allow_failure and (d.call, d.index) == (call, index)
                   for d in node.spec.deps)

    # lengths of parameters

    def of_one(self, node: Node, one: One) -> int | Unusable | None:
        """Return the length of the value of one future; None while it is not known."""
        if self._stands_for_itself(node, one.call, one.index):
            return Unusable(one.call, one.index)
        length = self._of(one.call, one.index, 1)
        return Unusable(one.call, one.index) if length == -1 else length

    def of_flat(self, node: Node, mapped: Mapped) -> int | Unusable | None:
        """Return how many items a flattened parameter has, and note where each part begins."""
        totals, inside = [], []
        for part in mapped.flat or ():
            if not isinstance(part, FlatPart):
                totals.append(len(part))
                inside.append([0])
                continue
            lengths = self._in_part(node, part)
            if not isinstance(lengths, list):
                return lengths
            inside.append(list(accumulate(lengths, initial=0)))
            totals.append(inside[-1][-1])
        node.offsets[mapped.key] = (list(accumulate(totals, initial=0)), inside)
        return sum(totals)

    def _in_part(self, node: Node, part: FlatPart) -> list[int] | Unusable | None:
        """Return the lengths of a part's elements, None while one is not known."""
        parent = self.world.nodes[part.call]
        if part.index is None and not parent.done:
            return None
        if part.index is None and not (part.allow_failure or Settler.succeeded(parent)):
            return None  # it will never run
        lengths: list[int] = []
        for index in range(len(parent.codes)) if part.index is None else (part.index,):
            if index >= len(parent.codes):
                return None
            length = self._of(part.call, index, part.depth)
            if parent.codes[index] in SUCCEEDED:
                if length is None:
                    return None
                if length < 0:
                    return Unusable(part.call, index)
            elif part.index is not None and not part.allow_failure:
                return None
            else:
                length = int(part.allow_failure)
            lengths.append(length)
        if part.index is None and part.allow_failure and parent.view.fault is not None:
            lengths.append(1)
        return lengths


def _questions(mapped: Mapped) -> list[Question]:
    if mapped.item_of is not None:
        return [(mapped.item_of.call, mapped.item_of.index, 1)]
    return [(part.call, part.index, part.depth) for part in mapped.flat or ()
            if isinstance(part, FlatPart)]

