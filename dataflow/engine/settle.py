"""What a final state leads to: downstream begins, or will never run; calls end; blocks go.

Lives here: the only code that makes an element final, and its consequences.
Does not live here: reading reports (``reports.py``), sending (``cut.py``).
"""

from __future__ import annotations

from collections import deque

from dataflow.engine.node import Edge, Node, open_runs
from dataflow.engine.world import World
from dataflow.exceptions import UpstreamTaskError
from dataflow.failures import exception_of, type_name
from dataflow.graph import grown
from dataflow.names import stands_for_all
from dataflow.outcomes import FIRST_FINAL, Code, ErrorRecord

Root = tuple[int, int]


class Settler:
    """Makes elements final and follows what that means."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._ended: deque[tuple[Node, int, int, Root]] = deque()  # NOT_READY to be spread
        self._spreading = False

    def complete(self, node: Node, start: int, codes: bytes | bytearray, fused: set[int]) -> None:
        """Elements from ``start`` on came to COMPLETED or CACHED.

        ``fused``: calls whose outcome the same report tells.
        """
        stop = start + len(codes)
        node.codes[start:stop] = codes
        node.succeeded += stop - start
        self.world.final(node, start, stop)
        for edge in node.kids_aligned:
            if edge.node.id not in fused:
                self._satisfied(edge.node, start, stop)
        if node.kids_item:
            self._satisfy_items(node, start, stop, ok=True, root=(node.id, start))
        self.check_done(node)

    def fail(self, node: Node, index: int, code: Code, error: ErrorRecord | None) -> None:
        """An element FAILED, CRASHED or was CANCELLED."""
        node.codes[index] = code
        if error is not None:
            node.view.errors[index] = error
        if code != Code.CANCELLED:
            node.failures += 1
        node.view.failed_order = grown(node.view.failed_order, index)
        self.world.final(node, index, index + 1)
        self._spread(node, index, index + 1, (node.id, index))
        self._run()

    def not_ready(self, node: Node, start: int, stop: int, root: Root) -> None:
        """Elements that will never run, since ``root`` failed upstream."""
        self._mark_not_ready(node, start, stop, root)
        self._run()

    def end_range(self, node: Node, start: int, stop: int, code: Code, message: str,
                  error: ErrorRecord | None = None) -> None:
        """Neighbouring elements end alike without having been seen to run."""
        node.codes[start:stop] = bytes([code]) * (stop - start)
        if error is not None:
            node.view.errors.setdefault(start, error)
        if len(node.view.failed_order) < 1000:
            node.view.failed_order = grown(node.view.failed_order, start)
        node.view.messages.setdefault(start, message)
        if stop - start > 1:
            node.view.alike = grown(node.view.alike, (start, stop, message, error))
        self.world.final(node, start, stop)
        self.world.record_range(node, start, stop, code, message, None, error)
        self._spread(node, start, stop, (node.id, start))
        self._run()

    def satisfied_edge(self, edge: Edge) -> None:
        """One dependency of a node, or of one of its elements, is satisfied."""
        if edge.index is None:
            edge.node.blockers -= 1
            self.world.enqueue(edge.node)
        else:
            self._satisfied(edge.node, edge.index, edge.index + 1)

    def doom(self, node: Node, root: Root) -> None:
        """A node can never run: a dependency of all of it failed."""
        if node.doomed is not None or node.done:
            return
        node.doomed = root
        self._drop_ready(node)
        if node.width is None and not node.codes:
            self.fault(node, self._upstream_fault(root), root)
            return
        if node.width is None:
            self.close_width(node)
        for start, stop in list(node.pending_runs(0, len(node.codes))):
            self._mark_not_ready(node, start, stop, root)
        self.check_done(node)
        self._run()

    def _upstream_fault(self, root: Root) -> ErrorRecord:
        """Return the error of a call that has no elements since ``root`` failed."""
        view = self.world.nodes[root[0]].view
        first = view.fault or view.error_of(root[1])
        error = UpstreamTaskError(self.not_ready_message(root))
        if first is not None:
            error.__cause__ = exception_of(first)
        return raised(error)

    def fault(self, node: Node, error: ErrorRecord, root: Root | None = None) -> None:
        """A call fails as a whole; elements that it has and that have not ended are cancelled."""
        self._note_fault(node, error, root)
        self.world.commands.settled = True
        self.cancel(node, error.message)

    def _note_fault(self, node: Node, error: ErrorRecord, root: Root | None) -> None:
        """Keep why a call failed as a whole, and which element's failure was the reason."""
        node.view.fault = error
        self.world.record_fault(node)
        if root is not None:
            node.view.causes = grown(node.view.causes, (len(node.codes), 1 << 62, root))

    def follow_fault(self, node: Node, parent: Node) -> None:
        """A new call follows, element by element, one that failed as a whole."""
        root = self.root_of(parent)
        error = self._upstream_fault(root)
        if parent.codes:
            self._note_fault(node, error, root)
        else:
            self.fault(node, error, root)

    def close_width(self, node: Node) -> None:
        """The width is what there is: nothing more will come.

        A fault goes along to who follows element by element: it cannot know its width either.
        """
        node.view.width = len(node.codes)
        node.exhausted = True
        self.world.record_width(node)
        self.world.touched(node)
        for edge in node.kids_aligned:
            if edge.node.width is None:
                if node.view.fault is not None:
                    root = self.root_of(node)
                    self._note_fault(edge.node, self._upstream_fault(root), root)
                self.close_width(edge.node)
                self.check_done(edge.node)

    def check_done(self, node: Node) -> None:
        """End a call whose elements are all final, and tell who waits for all of it."""
        if node.done or node.width is None or node.view.final < node.width:
            return
        node.done = True
        world = self.world
        world.open_calls -= 1
        world.commands.settled = True
        world.touched(node)
        good = self.succeeded(node)
        root = None if good else self.root_of(node)
        for edge in node.kids_whole:
            if good or edge.allow_failure:
                self.satisfied_edge(edge)
            elif root is not None:
                self._edge_failed(edge, root)
        if not node.places.losses:  # else values are made again from the items
            node.chunks.clear()
        for parent in node.parents:
            self.kid_ended(world.nodes[parent])
        self.let_go(node)
        self._run()

    def kid_ended(self, node: Node) -> None:
        """A downstream call of a node is done with the node's values."""
        node.kids_open -= 1
        self.let_go(node)

    def let_go(self, node: Node) -> None:
        """Release the blocks of a call that nobody needs any more."""
        if not (node.done and node.dropped and node.kids_open == 0) or node.restoring:
            return
        for batch in node.places.all():
            holders = self.world.holders.get(batch)
            if holders is not None:
                holders.discard(node.id)
                if not holders:
                    del self.world.holders[batch]
                    self.world.commands.release.append(batch)
        node.places.forget()

    @staticmethod
    def succeeded(node: Node) -> bool:
        """Tell whether who takes the whole call may run."""
        if node.view.fault is not None or node.view.given_up is not None:
            return False
        width = node.width or 0
        if node.succeeded == width:
            return True
        ratio = node.spec.options.min_success_ratio
        return ratio < 1.0 and width > 0 and node.succeeded / width >= ratio

    def root_of(self, node: Node) -> Root:
        """Return what failed first in or upstream of a call.

        An index past the last element stands for the call as a whole: it was not an element
        that failed, but the generator or the lengths.
        """
        view = node.view
        if view.fault is not None and node.failures == 0:
            return view.cause_of(len(view.codes)) or (node.id, len(view.codes))
        if view.failed_order:
            return (node.id, view.failed_order[0])
        if view.causes:
            return view.causes[0][2]
        return (node.id, 0)

    def cancel(self, node: Node, message: str) -> None:
        """Cancel what is not final in a call; batches under way stop before their next element."""
        node.closed = True
        self._drop_ready(node)
        if node.width is None:
            self.close_width(node)
        for start, stop in open_runs(node):
            self.end_range(node, start, stop, Code.CANCELLED, message)
        self.stop_flights(node)
        self.check_done(node)

    def stop_flights(self, node: Node) -> None:
        """Stop the batches that hold nothing but final elements any more, none of them restored."""
        for batch, flight in self.world.flights.items():
            if flight.parts and any(n is node for n, _ in flight.parts) and all(
                n.codes[i] >= FIRST_FINAL and i not in n.restoring
                for n, indexes in flight.parts for i in indexes
            ):
                self.world.commands.stop.append(batch)

    def _drop_ready(self, node: Node) -> None:
        """Nothing of a call begins any more, but for values that are to be restored."""
        node.ready.keep(node.restoring)
        node.due = {index: due for index, due in node.due.items() if index in node.restoring}

    def _satisfied(self, node: Node, start: int, stop: int) -> None:
        """Element-wise dependency of [start, stop) of a node is satisfied."""
        if node.done or node.doomed is not None:
            return
        if node.need is None:
            for a, b in node.pending_runs(start, min(stop, len(node.codes))):
                self.world.ready_push(node, a, b)
            return
        for index in range(start, min(stop, len(node.need))):
            node.need[index] -= 1
            if node.need[index] == 0 and node.codes[index] == Code.PENDING:
                self.world.ready_push(node, index, index + 1)

    def _satisfy_items(self, node: Node, start: int, stop: int, *, ok: bool, root: Root) -> None:
        if len(node.kids_item) < stop - start:
            indexes = [i for i in node.kids_item if start <= i < stop]
        else:
            indexes = [i for i in range(start, stop) if i in node.kids_item]
        for index in indexes:
            for edge in node.kids_item.pop(index):
                if ok or edge.allow_failure:
                    self.satisfied_edge(edge)
                else:
                    self._edge_failed(edge, root)

    def _edge_failed(self, edge: Edge, root: Root) -> None:
        if edge.index is None:
            self._ended.append((edge.node, -1, -1, root))
        else:
            self._ended.append((edge.node, edge.index, edge.index + 1, root))

    def _spread(self, node: Node, start: int, stop: int, root: Root) -> None:
        """Tell downstream that [start, stop) did not complete."""
        for edge in node.kids_aligned:
            if edge.allow_failure:
                self._satisfied(edge.node, start, stop)
            else:
                self._ended.append((edge.node, start, stop, root))
        if node.kids_item:
            self._satisfy_items(node, start, stop, ok=False, root=root)
        self.check_done(node)

    def _run(self) -> None:
        """Spread failures downstream without recursion: a chain may be a thousand long."""
        if self._spreading:
            return
        self._spreading = True
        while self._ended:
            node, start, stop, root = self._ended.popleft()
            if start < 0:
                self.doom(node, root)
                continue
            for a, b in list(node.pending_runs(start, min(stop, len(node.codes)))):
                self._mark_not_ready(node, a, b, root)
        self._spreading = False

    def _mark_not_ready(self, node: Node, start: int, stop: int, root: Root) -> None:
        codes = node.codes
        codes[start:stop] = bytes([Code.NOT_READY]) * (stop - start)
        causes = node.view.causes
        if isinstance(causes, list) and causes[-1][1:] == (start, root):
            causes[-1] = (causes[-1][0], stop, root)
        else:
            node.view.causes = grown(causes, (start, stop, root))
        self.world.final(node, start, stop)
        cause = None if stands_for_all(self.world.nodes[root[0]].view, root[1]) else root
        self.world.record_range(node, start, stop, Code.NOT_READY,
                                self.not_ready_message(root), cause)
        self._spread(node, start, stop, root)

    def not_ready_message(self, root: Root) -> str:
        """Return the message of a NotReady state."""
        node = self.world.nodes[root[0]]
        if stands_for_all(node.view, root[1]):
            return (f"Upstream map of task '{node.view.task_name}' did not reach a 'COMPLETED' "
                    "state.")
        name = self.world.name_of(node, root[1])
        return f"Upstream task run '{name}' did not reach a 'COMPLETED' state."


def raised(error: Exception) -> ErrorRecord:
    """Return the record of an error that the engine itself makes."""
    return ErrorRecord(type_name(type(error)), str(error), "", exception=error)
