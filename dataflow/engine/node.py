"""A call as the engine knows it: columns, ready elements, edges, where values lie.

Lives here: the data and the small operations on it that keep it consistent.
Does not live here: any decision (``settle.py``, ``cut.py``, ``widths.py``).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.graph import CallSpec, CallView, Mapped
from dataflow.outcomes import FIRST_FINAL, Code


class Spans:
    """A queue of elements: neighbours are kept together, order is kept."""

    __slots__ = ("_spans", "count")

    def __init__(self) -> None:
        self._spans: deque[list[int]] = deque()
        self.count = 0

    def push(self, start: int, stop: int) -> None:
        """Add [start, stop) at the end."""
        if stop <= start:
            return
        self.count += stop - start
        if self._spans and self._spans[-1][1] == start:
            self._spans[-1][1] = stop
        else:
            self._spans.append([start, stop])

    def push_front(self, indexes: Sequence[int]) -> None:
        """Add elements to go before the others."""
        for index in reversed(indexes):
            self.count += 1
            if self._spans and self._spans[0][0] == index + 1:
                self._spans[0][0] = index
            else:
                self._spans.appendleft([index, index + 1])

    def take(self, limit: int) -> Sequence[int]:
        """Remove up to ``limit`` elements: a range where the first span suffices, else a list."""
        first = self._spans[0]
        size = first[1] - first[0]
        if size >= limit or len(self._spans) == 1:
            stop = min(first[1], first[0] + limit)
            taken = range(first[0], stop)
            self._drop_first(stop)
            self.count -= len(taken)
            return taken
        out: list[int] = []
        while self._spans and len(out) < limit:
            first = self._spans[0]
            stop = min(first[1], first[0] + limit - len(out))
            out.extend(range(first[0], stop))
            self._drop_first(stop)
        self.count -= len(out)
        return runs_to_indexes(sorted(out))

    def _drop_first(self, stop: int) -> None:
        if stop == self._spans[0][1]:
            self._spans.popleft()
        else:
            self._spans[0][0] = stop

    def has(self, index: int) -> bool:
        """Tell whether an element stands in the queue."""
        return any(start <= index < stop for start, stop in self._spans)

    def keep(self, wanted: set[int]) -> None:
        """Forget all elements but these."""
        kept = [i for start, stop in self._spans for i in range(start, stop) if i in wanted] \
            if wanted else []
        self.clear()
        self.push_front(kept)

    def clear(self) -> None:
        """Forget all elements."""
        self._spans.clear()
        self.count = 0

    def remove(self, index: int) -> None:
        """Take one element out, wherever it stands."""
        for at, (start, stop) in enumerate(self._spans):
            if start <= index < stop:
                del self._spans[at]
                if index + 1 < stop:
                    self._spans.insert(at, [index + 1, stop])
                if start < index:
                    self._spans.insert(at, [start, index])
                self.count -= 1
                return


def runs_to_indexes(ordered: list[int]) -> Sequence[int]:
    """Return a range where the ascending indexes are neighbours, else the list."""
    if ordered and ordered[-1] - ordered[0] + 1 == len(ordered):
        return range(ordered[0], ordered[-1] + 1)
    return ordered


class Places:
    """Which batch's block holds which element's value."""

    __slots__ = ("_losses", "_ranges", "_single")

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int, int]] = []  # (start, stop, batch), by start
        self._single: dict[int, int] = {}  # overrides the ranges; -1: lost
        self._losses = False

    def put(self, indexes: Iterable[int], batch: int) -> None:
        """Note that a batch's block holds these elements."""
        if isinstance(indexes, range) and len(indexes) > 1:
            insort(self._ranges, (indexes.start, indexes.stop, batch))
        else:
            for index in indexes:
                self._single[index] = batch

    def of(self, index: int) -> int | None:
        """Return the batch that holds an element's value, None where none does."""
        batch = self._single.get(index)
        if batch is not None:
            return batch if batch >= 0 else None
        at = bisect_right(self._ranges, (index + 1,)) - 1
        while at >= 0:
            start, stop, batch = self._ranges[at]
            if start <= index < stop:
                return batch
            at -= 1
        return None

    def over(self, indexes: Sequence[int]) -> list[int]:
        """Return the batches that hold any of these elements, each once."""
        if isinstance(indexes, range) and len(indexes) > 8:
            if indexes.step < 0:
                indexes = indexes[::-1]
            found = {b for s, e, b in self._near(indexes)}
            if self._single:
                found.update(
                    b for i, b in self._single.items() if i in indexes and b >= 0
                )
            return sorted(found)
        return sorted({b for i in indexes if (b := self.of(i)) is not None})

    def _near(self, indexes: range) -> Iterable[tuple[int, int, int]]:
        at = max(0, bisect_right(self._ranges, (indexes.start + 1,)) - 1)
        while at > 0 and self._ranges[at][1] > indexes.start:
            at -= 1
        for span in self._ranges[at:]:
            if span[0] >= indexes.stop:
                break
            if span[1] > indexes.start:
                yield span

    @property
    def losses(self) -> bool:
        """Whether a completed element's value may be nowhere."""
        return self._losses

    def forget(self) -> None:
        """Note that all values are nowhere: their blocks were let go."""
        self._ranges.clear()
        self._single.clear()
        self._losses = True

    def lack(self) -> None:
        """Note that completed elements came without their values."""
        self._losses = True

    def all(self) -> set[int]:
        """Return every batch that holds something."""
        return {b for _, _, b in self._ranges} | {b for b in self._single.values() if b >= 0}

    def lose(self, index: int) -> None:
        """Note that an element's value is nowhere."""
        self._single[index] = -1
        self._losses = True


_NONE: set[int] = set()


@dataclass(slots=True)
class Chunk:
    """Items that came out of generators, until their elements are final."""

    start: int
    items: dict[int | str, list[Any]]
    count: int
    open: int


@dataclass(slots=True, eq=False)
class Edge:
    """Downstream of something: which node, which of its elements (None: all of it)."""

    node: Node
    index: int | None
    allow_failure: bool


@dataclass(slots=True, eq=False)
class Node:
    """A call under way."""

    spec: CallSpec
    view: CallView
    depth: int = 0
    ready: Spans = field(default_factory=Spans)
    places: Places = field(default_factory=Places)
    blockers: int = 0  # dependencies of the whole call that are not satisfied
    lengths_due: int = 0  # lengths that must be known before the width is
    aligned: list[tuple[Node, bool]] = field(default_factory=list)  # parents, allow_failure
    need: array[int] | None = None  # per element: parents not final; only with several
    kids_aligned: list[Edge] = field(default_factory=list)
    kids_whole: list[Edge] = field(default_factory=list)
    kids_item: dict[int, list[Edge]] = field(default_factory=dict)
    parents: set[int] = field(default_factory=set)  # calls whose values it takes
    kids_open: int = 0  # downstream calls that are not done
    dropped: bool = False  # nobody holds a future of it
    doomed: tuple[int, int] | None = None  # blocked for ever by this element's failure
    closed: bool = False  # cancelled or given up: nothing more begins
    done: bool = False
    batches: int = 0  # in flight
    at_once: int = 0  # elements under way side by side
    succeeded: int = 0
    failures: int = 0
    lengths: dict[int, int] = field(default_factory=dict)  # index → len(value), where told unasked
    offsets: dict[int | str, tuple[list[int], list[list[int]]]] = field(default_factory=dict)
    """Of flattened parameters: where each part begins, and within it each element."""
    chunks: deque[Chunk] = field(default_factory=deque)
    pulling: bool = False
    exhausted: bool = True
    crashes: dict[int, int] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)  # of workers, under elements side by side
    lost_inputs: dict[int, int] = field(default_factory=dict)  # element → times inputs lacked
    restoring: set[int] = field(default_factory=set)  # final, computed again for its value
    restored: bool = False  # values were computed again: their blocks are kept for who asked
    sought: set[int] = field(default_factory=set)  # values looked for in the result storage
    restores: dict[int, int] = field(default_factory=dict)  # element → times that was tried
    waiting: dict[int, list[tuple[Node, int]]] = field(default_factory=dict)  # for a restored value
    due: dict[int, float] = field(default_factory=dict)  # awaiting a retry: when
    awaited: set[int] = field(default_factory=set)  # have a row that tells of a retry
    queued: bool = False  # stands in the engine's queue

    @property
    def reopened(self) -> set[int]:
        """Elements that replace an outcome which is recorded: they need a row."""
        return self.spec.recorded.reopened if self.spec.recorded is not None else _NONE

    @property
    def id(self) -> int:
        """Number of the call in its flow run."""
        return self.spec.code.call

    @property
    def codes(self) -> bytearray:
        """Code per element."""
        return self.view.codes

    @property
    def width(self) -> int | None:
        """Elements in all, None while unknown."""
        return self.view.width

    @property
    def single(self) -> bool:
        """Tell a ``submit`` from a ``map``."""
        return not self.spec.mapped

    @property
    def token(self) -> str:
        """Which function: what pacing learns by."""
        return self.spec.code.task.token

    @property
    def caching(self) -> bool:
        """Whether results are kept in a result storage."""
        return self.spec.code.task.caching is not None

    @property
    def concurrency(self) -> int:
        """How many elements one event loop runs side by side, 0 where they run on none."""
        return self.spec.code.task.concurrency

    def iterators(self) -> list[Mapped]:
        """Return the mapped generators."""
        return [m for m in self.spec.mapped if m.iterator is not None]

    def used_up(self, start: int, stop: int) -> None:
        """Forget generator items whose elements are final."""
        if not self.chunks:
            return
        for chunk in self.chunks:
            low, high = max(start, chunk.start), min(stop, chunk.start + chunk.count)
            if low < high:
                chunk.open -= high - low
        while self.chunks and self.chunks[0].open == 0:
            self.chunks.popleft()

    def runnable(self) -> bool:
        """Tell whether some element could be sent now; a value may be restored at any time."""
        if self.restoring:
            return self.ready.count > 0
        return (
            self.ready.count > 0 and self.blockers == 0 and not self.closed
            and self.doomed is None
        )

    def root_at(self, index: int) -> tuple[int, int]:
        """Return the element that failed first in or upstream of an element."""
        return self.view.cause_of(index) or (self.id, index)

    def pending_runs(self, start: int, stop: int) -> Iterable[tuple[int, int]]:
        """Return the runs of PENDING elements within [start, stop)."""
        codes, at = self.codes, start
        while at < stop:
            at = codes.find(Code.PENDING, at, stop)
            if at < 0:
                return
            end = at + 1
            while end < stop and codes[end] == Code.PENDING:
                end += 1
            yield at, end
            at = end


def open_runs(node: Node) -> list[tuple[int, int]]:
    """Return the runs of elements that can still change."""
    runs: list[tuple[int, int]] = []
    for index, code in enumerate(node.codes):
        if code < FIRST_FINAL:
            if runs and runs[-1][1] == index:
                runs[-1] = (runs[-1][0], index + 1)
            else:
                runs.append((index, index + 1))
    return runs
