"""The engine's data: nodes, flights, timers, and what is to be commanded and recorded.

Lives here: one object that the rooms of the engine share, and the bookkeeping
that every room needs. Does not live here: any decision.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from dataflow.batch import Batch
from dataflow.engine.messages import Commands
from dataflow.engine.node import Node
from dataflow.engine.pacing import Pacing
from dataflow.failures import describe
from dataflow.names import element_name
from dataflow.outcomes import Code, ErrorRecord
from dataflow.runner import Capacity
from dataflow.store import CallRecord, ElementRecord, Gulp, RangeRecord

CLOCK_BACK_S = 1.0
"""A clock that goes back further than this was set; less is how clocks are kept right."""


@dataclass(slots=True)
class Flight:
    """A batch on its way."""

    batch: Batch
    parts: list[tuple[Node, Sequence[int]]]  # each part's node and elements
    suspect: bool = False  # tried alone, since a worker died under it
    charges: dict[str, int] = field(default_factory=dict)  # elements side by side, by function


@dataclass(slots=True)
class Suspect:
    """Elements under which a worker died, to be tried alone."""

    node: Node
    indexes: Sequence[int]


@dataclass(slots=True)
class Beside:
    """What is under way of functions whose elements run side by side."""

    at_once: Counter[str] = field(default_factory=Counter)  # elements, by function
    flights: int = 0
    fresh: int = 0  # flights that do not collect: they hold a slot for a moment


class World:
    """Shared by the rooms of one engine."""

    def __init__(self, capacity: Capacity, flow_run_id: str) -> None:
        self.flow_run_id = flow_run_id
        self.nodes: dict[int, Node] = {}
        self.pacing = Pacing(capacity)
        self.flights: dict[int, Flight] = {}
        self.in_flight: Counter[str] = Counter()  # batches by function
        self.beside = Beside()
        self.holders: dict[int, set[int]] = {}  # block's batch → calls that may need it
        self.timers: list[tuple[float, int, int]] = []  # (due, call, index)
        self.suspects: deque[Suspect] = deque()
        self.beyond_restore: list[tuple[Node, int]] = []  # lost values made of items that are gone
        self.computed_again: Counter[str] = Counter()  # completed elements, by task: not kept
        self.not_found_again: Counter[str] = Counter()  # the same: kept, and not there any more
        self.open_calls = 0
        self.now_s = 0.0  # of the event at hand, seconds since the epoch
        self.lost: str | None = None  # the runner is gone: why
        self.commands = Commands()
        self.gulp = Gulp()
        self.settled: list[tuple[Node, int, int]] = []  # spans that became final, for callbacks
        self._queue: list[tuple[int, int, int]] = []
        self._async_queue: list[tuple[int, int, int]] = []
        self._generators: list[Node] = []
        self._next_batch = 0
        self.changed: set[int] = set()  # calls whose counts changed since the last gulp

    def set_clock(self, now_s: float) -> None:
        """Take the time; where the clock was set back, what is due stays as far away as it was."""
        back_s, self.now_s = self.now_s - now_s, now_s
        if back_s <= CLOCK_BACK_S:
            return
        for at, (due, call, index) in enumerate(self.timers):
            if self.nodes[call].due.get(index) == due:
                self.nodes[call].due[index] = due - back_s
            self.timers[at] = (due - back_s, call, index)

    def name_of(self, node: Node, index: int) -> str:
        """Return how an element is called."""
        return node.view.names.get(index) or element_name(
            self.flow_run_id, node.id, index, node.spec.code.task.name, not node.single
        )

    def next_batch_id(self) -> int:
        """Return a fresh batch id."""
        self._next_batch += 1
        return self._next_batch

    def enqueue(self, node: Node) -> None:
        """Note that a node may have something to send."""
        if not node.queued and node.runnable():
            node.queued = True
            priority = node.spec.options.placement.priority
            queue = self._async_queue if node.concurrency else self._queue
            heapq.heappush(queue, (-priority, -node.depth, node.id))

    def next_node(self, beside: bool = False) -> Node | None:
        """Take the node whose turn it is: by priority, then deepest, then first made.

        ``beside``: of those whose elements run side by side, else of the others.
        """
        queue = self._async_queue if beside else self._queue
        while queue:
            _, _, call = heapq.heappop(queue)
            node = self.nodes[call]
            node.queued = False
            if node.runnable():
                return node
        return None

    def queue_length(self, beside: bool = False) -> int:
        """Return how many nodes may have something to send."""
        return len(self._async_queue if beside else self._queue)

    def queued_singles(self, limit: int) -> list[Node]:
        """Return up to ``limit`` submits that may have something to send."""
        some = [self.nodes[call] for _, _, call in self._queue[:limit]]
        return [node for node in some if node.single]

    def growing(self) -> list[Node]:
        """Return the maps over generators that have not ended."""
        self._generators = [n for n in self._generators if not n.exhausted]
        return self._generators

    def watch_generator(self, node: Node) -> None:
        """Note a map over a generator."""
        self._generators.append(node)

    def ready_push(self, node: Node, start: int, stop: int) -> None:
        """Elements of a node can run as soon as the node can."""
        node.ready.push(start, stop)
        self.enqueue(node)

    def touched(self, node: Node) -> None:
        """Note that a node's counts changed."""
        self.changed.add(node.id)

    def final(self, node: Node, start: int, stop: int) -> None:
        """Note that [start, stop) of a node became final."""
        node.view.final += stop - start
        self.changed.add(node.id)
        self.commands.settled = True
        self.settled.append((node, start, stop))

    def record_call(self, node: Node) -> None:
        """Record that a call was made."""
        code = node.spec.code
        self.gulp.calls.append(CallRecord(
            call=code.call, task_name=code.task.name, task_key=node.spec.task_key,
            kind=node.spec.kind, width=node.width, tags=tuple(sorted(code.tags)),
            upstream=tuple(sorted(
                call for call in {d.call for d in node.spec.deps} | node.parents
                if self.nodes[call].spec.failed is None)),
            created_s=self.now_s, parent=node.spec.parent, **node.spec.facts,
        ))

    def record_width(self, node: Node) -> None:
        """Record a width that became known."""
        if node.width is not None:
            self.gulp.widths[node.id] = node.width

    def record_fault(self, node: Node) -> None:
        """Record why a call failed as a whole or was given up."""
        fault = node.view.fault
        text = node.view.given_up if fault is None else describe(fault)
        if text is not None:
            self.gulp.faults[node.id] = text

    def record_range(self, node: Node, start: int, stop: int, code: Code,
                     message: str | None, cause: tuple[int, int] | None,
                     error: ErrorRecord | None = None) -> None:
        """Record elements that ended alike without having run; what has a row keeps one."""
        rows = sorted(i for i in node.awaited | node.reopened if start <= i < stop)
        for index in (*rows, stop):
            if index - start > 1:
                self.gulp.ranges.append(
                    RangeRecord(node.id, start, index, code, self.now_s, message, cause))
            elif index > start:
                rows.append(start)
            start = index + 1
        self.gulp.elements += [
            ElementRecord(node.id, index, code, None, self.now_s, node.view.attempts.get(index, 0),
                          None, node.view.names.get(index), error, message, cause)
            for index in rows]

    def take_gulp(self) -> Gulp:
        """Return what is to be recorded, with counts, and begin anew."""
        gulp, self.gulp = self.gulp, Gulp()
        for call in self.changed:
            gulp.counts[call] = counts_of(self.nodes[call])
        self.changed.clear()
        return gulp

    def take_commands(self) -> Commands:
        """Return what is to be done, and begin anew."""
        commands, self.commands = self.commands, Commands()
        return commands


def counts_of(node: Node) -> dict[int, int]:
    """Return how many elements stand in each code."""
    codes = node.codes
    cached = codes.count(Code.CACHED) if node.caching else 0
    completed, undone = node.succeeded - cached, len(node.view.undone)
    counts = {int(code): number for code, number in (
        (Code.COMPLETED, completed - undone), (Code.CACHED, cached), (Code.ROLLED_BACK, undone))
        if number}
    if node.succeeded == len(codes):
        return counts
    for code in Code:
        if code not in (Code.COMPLETED, Code.CACHED, Code.LEFT, Code.ROLLED_BACK):
            number = codes.count(code)
            if number:
                counts[int(code)] = number
    return counts


def wake_at(commands: Commands, when: float) -> None:
    """Ask for a Tick at a time, or earlier."""
    if commands.wake_at is None or when < commands.wake_at:
        commands.wake_at = when
