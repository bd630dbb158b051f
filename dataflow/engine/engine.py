"""The engine: hears one event after another, keeps what is to be done and recorded.

Lives here: which room an event goes to, the edges of a new call, and cancelling.
Does not live here: performing anything (``dataflow.driver``).
"""

from __future__ import annotations

import heapq

from dataflow.batch import Const, Flat, Source, Tree
from dataflow.engine.cut import Cutter
from dataflow.engine.messages import (
    CallAdded,
    CancelAll,
    CancelAsked,
    Commands,
    Event,
    GeneratorsStopped,
    HandleDropped,
    Pulled,
    RunnerRestarted,
    Tick,
    ValueLost,
)
from dataflow.engine.node import Edge, Node, open_runs
from dataflow.engine.recovery import Recovery
from dataflow.engine.reports import Reader
from dataflow.engine.settle import Settler, raised
from dataflow.engine.widths import Widths
from dataflow.engine.world import Beside, World, wake_at
from dataflow.exceptions import CancelledRun, SchedulerLost
from dataflow.graph import Dep, FlatPart
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code
from dataflow.runner import (
    BatchDone,
    BatchLost,
    BatchRefused,
    Capacity,
    CapacityChanged,
    RunnerLost,
)
from dataflow.store import Gulp


class Engine:
    """Decides for one flow run.

    Feed it with :meth:`hear`, then :meth:`decide`, then perform
    :meth:`take_commands` and record :meth:`take_gulp`.

    Parameters
    ----------
    capacity
        How much the runner can do at once; changes come as events.
    flow_run_id
        The run, for the names of elements in messages.
    """

    def __init__(self, capacity: Capacity, flow_run_id: str) -> None:
        self.world = World(capacity, flow_run_id)
        self._settler = Settler(self.world)
        self._widths = Widths(self.world, self._settler)
        self._cutter = Cutter(self.world, self._widths)
        self._recovery = Recovery(self.world, self._settler, self._widths, self._cutter)
        self._reader = Reader(self.world, self._settler, self._widths, self._cutter,
                              self._recovery)

    @property
    def open_calls(self) -> int:
        """Calls that are not done."""
        return self.world.open_calls

    def hear(self, event: Event, now_s: float) -> None:
        """Take in one event; decide nothing that costs yet."""
        self.world.set_clock(now_s)
        match event:
            case BatchDone():
                self._reader.done(event)
            case CallAdded():
                self._add(event)
            case Pulled():
                self._widths.pulled(self.world.nodes[event.call], event)
            case Tick():
                pass
            case HandleDropped():
                self._dropped(event.call)
            case BatchLost():
                self._recovery.lost(event)
            case BatchRefused():
                self._recovery.refused(event)
            case CancelAsked():
                self._cancel(event)
            case CancelAll():
                self.world.commands.settled = True
                for node in list(self.world.nodes.values()):
                    if not node.done:
                        self._settler.cancel(node, event.message)
            case GeneratorsStopped():
                for node in list(self.world.growing()):
                    node.exhausted = True
                    self._widths.resolve(node)
            case ValueLost():
                self._value_lost(event)
            case CapacityChanged():
                self.world.pacing.capacity = event.capacity
            case RunnerRestarted():
                self._recovery.begin_anew()
            case RunnerLost():
                self._runner_lost(event.reason)

    def decide(self, now_s: float) -> None:
        """Bring due retries back and send what can be sent."""
        self.world.set_clock(now_s)
        self._due()
        if self._widths.lengths.news:
            self._ask_lengths()
        self._cutter.pump()
        while self.world.beyond_restore:
            self._recovery.give_up_restoring()
            self._cutter.pump()
        self._cutter.pull()

    def take_commands(self) -> Commands:
        """Return what is to be done since the last time."""
        return self.world.take_commands()

    def take_gulp(self) -> Gulp:
        """Return what is to be recorded since the last time."""
        return self.world.take_gulp()

    def take_settled(self) -> list[tuple[int, int, int]]:
        """Return the spans that became final since the last time: (call, start, stop)."""
        settled, self.world.settled = self.world.settled, []
        return [(node.id, start, stop) for node, start, stop in settled]

    # a new call

    def _add(self, event: CallAdded) -> None:
        spec, world = event.spec, self.world
        node = Node(spec, event.view)
        world.nodes[node.id] = node
        world.open_calls += 1
        if spec.failed is not None:
            self._settler.fail(node, 0, Code.FAILED, spec.failed)
            self._settler.check_done(node)
            world.changed.discard(node.id)
            return
        self._find_parents(node)
        world.record_call(node)
        if world.lost is not None:
            self._widths.begin(node)
            self._crash(node, world.lost)
            return
        failed = self._link(node)
        faulty = self._faulty(node)
        if faulty is not None:
            self._settler.follow_fault(node, faulty)
        self._widths.begin(node)
        if node.iterators():
            world.watch_generator(node)
        if failed is not None:
            self._settler.doom(node, failed)
        world.enqueue(node)

    def _find_parents(self, node: Node) -> None:
        """Note whose values the call takes; they stay until it is done."""
        spec = node.spec
        calls = {d.call for d in spec.deps if d.value}
        for source in (*spec.code.args, *spec.code.kwargs.values()):
            calls |= _calls_in(source)
        for mapped in spec.mapped:
            calls |= {c for c in (mapped.aligned,) if c is not None}
            calls |= {o.call for o in (mapped.item_of,) if o is not None}
            calls |= {part.call for part in mapped.flat or () if isinstance(part, FlatPart)}
        if spec.item_deps is not None:
            calls |= {d.call for deps in spec.item_deps for d in deps if d.value}
        node.parents = calls
        for call in calls:
            parent = self.world.nodes[call]
            parent.kids_open += 1
            node.depth = max(node.depth, parent.depth + 1)

    def _link(self, node: Node) -> tuple[int, int] | None:
        """Make the edges to what the call waits for; return a failure that dooms it."""
        failed = None
        for dep in _all_deps(node):
            parent = self.world.nodes[dep.call]
            if dep.aligned:
                node.aligned.append((parent, dep.allow_failure))
                parent.kids_aligned.append(Edge(node, None, dep.allow_failure))
            elif dep.index is None:
                failed = self._link_whole(node, parent, dep) or failed
            else:
                failed = self._link_one(node, parent, dep) or failed
        return failed

    def _faulty(self, node: Node) -> Node | None:
        """Return a call that this one follows element by element and that failed as a whole."""
        faulty = [parent for parent, _ in node.aligned if parent.view.fault is not None]
        return min(faulty, key=lambda parent: len(parent.codes), default=None)

    def _link_whole(self, node: Node, parent: Node, dep: Dep) -> tuple[int, int] | None:
        if parent.done:
            if dep.allow_failure or self._settler.succeeded(parent):
                return None
            return self._settler.root_of(parent)
        node.blockers += 1
        parent.kids_whole.append(Edge(node, None, dep.allow_failure))
        return None

    def _link_one(self, node: Node, parent: Node, dep: Dep) -> tuple[int, int] | None:
        index = dep.index or 0
        code = parent.codes[index] if index < len(parent.codes) else Code.PENDING
        if code in SUCCEEDED or (code >= FIRST_FINAL and dep.allow_failure):
            return None
        if code >= FIRST_FINAL:
            return parent.root_at(index)
        node.blockers += 1
        parent.kids_item.setdefault(index, []).append(Edge(node, None, dep.allow_failure))
        return None

    # time

    def _due(self) -> None:
        world = self.world
        while world.timers and world.timers[0][0] <= world.now_s:
            due, call, index = heapq.heappop(world.timers)
            node = world.nodes[call]
            if node.due.get(index) != due:
                continue
            del node.due[index]
            if index in node.restoring:
                node.ready.push_front([index])
                world.enqueue(node)
            elif node.codes[index] in (Code.AWAITING_RETRY, Code.PENDING):
                node.codes[index] = Code.PENDING
                world.touched(node)
                world.ready_push(node, index, index + 1)
        if world.timers:
            wake_at(world.commands, world.timers[0][0])

    def _ask_lengths(self) -> None:
        """Ask for lengths that can be told now; take in those that are known."""
        lengths = self._widths.lengths
        due = {key: node for node, key in lengths.due()}
        while answered := lengths.answered():
            for node in answered:
                self._widths.resolve(node)
            # a map that is empty, or all recorded, has ended thereby: what waits for it is due
            due |= {key: node for node, key in lengths.due()}
        if due:
            self._cutter.ask_lengths([(node, key) for key, node in due.items()])

    # endings

    def _cancel(self, event: CancelAsked) -> None:
        node = self.world.nodes[event.call]
        if event.index is None:
            if node.width is None and not node.codes and not node.done:
                self._settler.fault(node, raised(CancelledRun(
                    f"map of task {node.spec.code.task.name!r} was {event.message} before it had "
                    "any element")))
            elif not node.done:
                self._settler.cancel(node, event.message)
            return
        index = event.index
        if index >= len(node.codes) or node.codes[index] >= FIRST_FINAL:
            return
        node.ready.remove(index)
        node.due.pop(index, None)
        self._settler.end_range(node, index, index + 1, Code.CANCELLED, event.message)
        self._settler.stop_flights(node)

    def _dropped(self, call: int) -> None:
        node = self.world.nodes[call]
        node.dropped = True
        self._settler.let_go(node)

    def _value_lost(self, event: ValueLost) -> None:
        self.world.commands.settled = True
        if self.world.lost is not None:
            return  # nothing is computed any more: who asked finds the values missing
        for call, index in event.elements:
            node = self.world.nodes[call]
            if node.codes[index] in SUCCEEDED:
                node.places.lose(index)
                self._cutter.restore(node, index)

    def _runner_lost(self, reason: str) -> None:
        world = self.world
        world.lost = reason
        world.commands.settled = True
        world.flights.clear()
        world.in_flight.clear()
        world.beside = Beside()
        world.suspects.clear()
        for node in list(world.nodes.values()):
            node.restoring.clear()
            if not node.done:
                self._crash(node, reason)

    def _crash(self, node: Node, reason: str) -> None:
        """End a call whose runner is gone."""
        node.closed = True
        node.batches = 0
        node.ready.clear()
        error = raised(SchedulerLost(
            f"the runner was lost: {reason}; task {node.spec.code.task.name!r} cannot go on"
        ))
        if node.width is None:
            node.view.fault = error
            self.world.record_fault(node)
            self._settler.close_width(node)
        for start, stop in open_runs(node):
            self._settler.end_range(node, start, stop, Code.CRASHED, str(error.message), error)
        self._settler.check_done(node)


def _all_deps(node: Node) -> list[Dep]:
    """Return what a call depends on, with what its mapped parameters imply."""
    deps = {(d.call, d.index, d.aligned): d for d in node.spec.deps}
    for mapped in node.spec.mapped:
        if mapped.aligned is not None:
            deps.setdefault((mapped.aligned, None, True), Dep(mapped.aligned, aligned=True))
        if mapped.item_of is not None:
            one = mapped.item_of
            deps.setdefault((one.call, one.index, False), Dep(one.call, one.index))
        for part in mapped.flat or ():
            if isinstance(part, FlatPart):
                deps.setdefault((part.call, part.index, False), Dep(
                    part.call, part.index, allow_failure=part.allow_failure))
    return list(deps.values())


def _calls_in(source: Source) -> set[int]:
    if isinstance(source, Tree):
        return {c for leaf in source.leaves for c in _calls_in(leaf)}
    if isinstance(source, Flat):
        return _calls_in(source.source)
    call = None if isinstance(source, Const) else getattr(source, "call", None)
    return set() if call is None else {call}
