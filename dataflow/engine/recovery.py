"""Lost batches, refused batches, lost values: which elements go again, and which end.

Lives here: what becomes of elements that no report speaks of, that were handed
back, or whose inputs are gone; values computed again; ends without a run. Does
not live here: reading reports (``reports.py``), what follows from an element's
end (``settle.py``).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from dataflow.engine.cut import Cutter
from dataflow.engine.node import Node
from dataflow.engine.settle import Root, Settler, raised
from dataflow.engine.widths import Widths
from dataflow.engine.world import Beside, Flight, World, wake_at
from dataflow.exceptions import BlockLost, WorkerLost
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code, Detail, ErrorRecord, Report, Span
from dataflow.runner import BatchLost, BatchRefused
from dataflow.store import ElementRecord

CRASH_LIMIT = 2
"""Times an element is run again after a worker died under it alone, before it is CRASHED."""

LOST_INPUT_LIMIT = 100
"""Times an element waits for its inputs to be computed again, before it is CRASHED."""


class Recovery:
    """Decides what becomes of elements and values that were lost or handed back."""

    def __init__(self, world: World, settler: Settler, widths: Widths, cutter: Cutter) -> None:
        self.world = world
        self.settler = settler
        self.widths = widths
        self.cutter = cutter

    def landed(self, batch: int) -> Flight | None:
        flight = self.world.flights.pop(batch, None)
        if flight is not None and flight.parts:
            self.world.in_flight[flight.parts[0][0].token] -= 1
            self.cutter.side_by_side.land(flight)
            for node, _ in flight.parts:
                node.batches -= 1
                self.world.enqueue(node)
        return flight

    def lost(self, event: BatchLost) -> None:
        """The infrastructure lost a batch: its elements go again, suspects alone.

        Elements side by side are suspects from the second death on: thousands
        may have been under way on a worker, and trying them takes its time.
        """
        flight = self.landed(event.batch)
        if flight is None:
            return
        if flight.batch.lengths_of:
            self.widths.lengths.ask_again()
        alone = flight.suspect and sum(len(indexes) for _, indexes in flight.parts) == 1
        for node, indexes in flight.parts:
            back = self._back_to_pending(node, indexes)
            if flight.batch.at_once and event.blame:
                for index in back:
                    node.deaths[index] = node.deaths.get(index, 0) + 1
            if alone and event.blame and back:
                self._crash_again(node, back[0], event.reason)
                continue
            ready = [i for i in back if self._inputs_there(node, i)]
            spared = flight.batch.at_once > 0 and all(node.deaths.get(i, 0) < 2 for i in ready)
            if event.blame and ready and not spared:
                self.cutter.suspect(node, ready)
            else:
                node.ready.push_front(self._to_wait(node, back))
            self.world.enqueue(node)
            self.after(node)

    def begin_anew(self) -> None:
        """The runner is another one: what was in flight goes again, values are nowhere."""
        world = self.world
        flights, world.flights = list(world.flights.values()), {}
        world.in_flight.clear()
        world.beside = Beside()
        world.holders.clear()
        for node in world.nodes.values():
            node.batches = node.at_once = 0
            if node.places.all():
                node.places.forget()
        for flight in flights:
            for node, indexes in flight.parts:
                back = self._back_to_pending(node, indexes)
                node.ready.push_front(self._to_wait(node, back))
        self.widths.lengths.ask_again()
        for node in world.nodes.values():
            world.enqueue(node)
            self.after(node)
        world.commands.settled = True

    def refused(self, event: BatchRefused) -> None:
        """A batch could not be sent: the calls or elements at fault fail, the others go again."""
        flight = self.landed(event.batch)
        if flight is None:
            return
        if flight.batch.lengths_of:
            self.widths.lengths.ask_again()
        for node, indexes in flight.parts:
            error, single = event.errors.get(node.id), event.elements.get(node.id, {})
            guilty = [i for i in indexes if i in single] or (indexes if error is not None else ())
            for index in guilty:
                cause = single.get(index, error)
                if index in node.restoring and cause is not None:
                    self._restore_failed(node, index, cause)
                elif node.codes[index] < FIRST_FINAL:
                    detail = Detail(0, cause)
                    self.fail(node, index, Code.FAILED, detail, None, None, None)
            if len(guilty) < len(indexes):
                self._requeue(node, [i for i in indexes if i not in single])
            self.after(node)

    def go_again(self, flight: Flight) -> None:
        for node, indexes in flight.parts:
            self._requeue(node, indexes)

    def _requeue(self, node: Node, indexes: Sequence[int]) -> None:
        back = self._back_to_pending(node, indexes)
        node.ready.push_front(self._to_wait(node, back))
        self.world.enqueue(node)

    def _to_wait(self, node: Node, indexes: Sequence[int]) -> list[int]:
        """Return what goes back among the ready ones.

        A submit stands there from the start, held back by its blockers; an
        element of a map is put there when the last of its inputs comes.
        """
        return [i for i in indexes if node.single or self._inputs_there(node, i)]

    def _back_to_pending(self, node: Node, indexes: Sequence[int]) -> list[int]:
        back = []
        for index in indexes:
            if index in node.restoring:
                back.append(index)
            elif node.codes[index] < FIRST_FINAL:
                node.codes[index] = Code.PENDING
                if self._failed_parent(node, index) is not None:
                    self.end_unready(node, index)
                else:
                    back.append(index)
        self.world.touched(node)
        return back

    def _crash_again(self, node: Node, index: int, reason: str) -> None:
        """A worker died under this element alone: once more, or that was it."""
        times = node.crashes[index] = node.crashes.get(index, 0) + 1
        if times <= CRASH_LIMIT:
            self.cutter.suspect(node, [index])
            return
        where = "" if node.single else f" (element {index})"
        error = raised(WorkerLost(
            f"the worker died each of the {times} times that task "
            f"{node.spec.code.task.name!r}{where} ran alone on it: {reason}",
            reason=reason, crashes=times,
        ))
        if index in node.restoring:
            self._restore_failed(node, index, error)
        else:
            self.fail(node, index, Code.CRASHED, Detail(times, error), None, None, None)

    def after(self, node: Node) -> None:
        """Give the map up when more elements failed than allowed; ask for lengths."""
        limit = node.spec.options.max_failures
        if limit is not None and node.failures > limit and node.view.given_up is None:
            node.view.given_up = (
                f"map of task {node.spec.code.task.name!r} given up: {node.failures} elements "
                f"failed, max_failures={limit}; the rest was cancelled"
            )
            self.world.record_fault(node)
            self.settler.cancel(node, node.view.given_up)

    # ends that no report tells

    def fail(self, node: Node, index: int, code: Code, detail: Detail, span: Span | None,
              at: int | None, report: Report | None) -> None:
        if detail.attempts != 1:
            node.view.attempts[index] = detail.attempts
        self.row(node, index, code, detail, span, at, report)
        node.used_up(index, index + 1)
        if detail.said is not None:
            node.view.take(index, detail.said)
        self.settler.fail(node, index, code, detail.error)

    def row(self, node: Node, index: int, code: Code, detail: Detail, span: Span | None,
             at: int | None, report: Report | None) -> None:
        """Record an element as a row of its own."""
        if code >= FIRST_FINAL:
            node.awaited.discard(index)
            node.reopened.discard(index)
        started = ended = None
        if span is not None and at is not None and report is not None:
            started = report.started_s + span.started[at]
            ended = started + span.elapsed[at]
            if code == Code.AWAITING_RETRY:
                ended = None
        self.world.gulp.elements.append(ElementRecord(
            node.id, index, code, started, ended, detail.attempts,
            report.worker if report is not None else None,
            detail.name or node.view.names.get(index), detail.error,
            detail.said.message if detail.said is not None else None,
            key=node.view.key_of(index), origin=detail.origin,
            due_s=self.world.now_s + (detail.retry_in_s or 0.0)
            if code == Code.AWAITING_RETRY else None,
            cpu_s=None if span is None or at is None else span.cpu_of(at),
            peak_bytes=None if span is None else span.peak_bytes,
        ))

    # inputs that are not there

    def left(self, node: Node, index: int) -> None:
        node.codes[index] = Code.PENDING
        self.world.touched(node)
        if self._inputs_lost(node, index):
            return
        self._again(node, index)

    def _again(self, node: Node, index: int) -> None:
        """A PENDING element goes again if its inputs are there, or ends if they never will be."""
        if self._inputs_there(node, index):
            if not node.closed:
                node.ready.push_front([index])
                self.world.enqueue(node)
        elif self._failed_parent(node, index) is not None:
            self.end_unready(node, index)
        elif node.single and not node.closed:
            node.ready.push_front([index])

    def _inputs_lost(self, node: Node, index: int) -> bool:
        """Count how often an element's inputs were gone; end it when that is too often."""
        if not self.cutter.lost_inputs(node, index):
            return False
        times = node.lost_inputs[index] = node.lost_inputs.get(index, 0) + 1
        if times <= LOST_INPUT_LIMIT:
            return False
        error = raised(BlockLost(
            f"the inputs of task {node.spec.code.task.name!r} (element {index}) were lost "
            f"{times} times with the workers that held them"
        ))
        self.fail(node, index, Code.CRASHED, Detail(0, error), None, None, None)
        return True

    def _inputs_there(self, node: Node, index: int) -> bool:
        if node.single:
            return node.blockers == 0
        if node.need is not None:
            return node.need[index] == 0
        for parent, allow in node.aligned:
            code = parent.codes[index]
            if code not in SUCCEEDED and not (allow and code >= FIRST_FINAL):
                return False
        return True

    def _failed_parent(self, node: Node, index: int) -> Root | None:
        for parent, allow in node.aligned:
            code = parent.codes[index]
            if code >= FIRST_FINAL and code not in SUCCEEDED and not allow:
                return parent.root_at(index)
        deps = list(node.spec.deps)
        if node.spec.item_deps is not None:
            deps += node.spec.item_deps[index]
        for dep in deps:
            parent = self.world.nodes[dep.call]
            if dep.aligned or dep.allow_failure:
                continue
            if dep.index is None:  # all of it, where a share of failures may be allowed
                if parent.done and not self.settler.succeeded(parent):
                    return self.settler.root_of(parent)
                continue
            at = dep.index
            if at >= len(parent.codes):
                continue
            if parent.codes[at] >= FIRST_FINAL and parent.codes[at] not in SUCCEEDED:
                return parent.root_at(at)
        return None

    def end_unready(self, node: Node, index: int) -> None:
        """An element will never run: name the one that failed first."""
        node.codes[index] = Code.PENDING
        root = self._failed_parent(node, index)
        if root is None:
            self._again(node, index)
        else:
            self.settler.not_ready(node, index, index + 1, root)

    # values computed again

    def restored(self, node: Node, index: int, code: Code, detail: Detail | None, batch: int,
                  kept: bool) -> None:
        """An element ran again for its value alone; nothing of it is recorded."""
        if code in SUCCEEDED and kept:
            node.restoring.discard(index)
            node.restores.pop(index, None)
            node.places.put((index,), batch)
            self.world.commands.settled = True
            for kid, at in node.waiting.pop(index, ()):
                wanted = kid.codes[at] == Code.PENDING or at in kid.restoring
                if wanted and not kid.ready.has(at):  # it may wait for several
                    kid.ready.push_front([at])
                    self.world.enqueue(kid)
        elif code == Code.LEFT and detail is not None and detail.retry_in_s is not None:
            self._restore_later(node, index, detail.retry_in_s)  # somebody else computes it
        elif code in (Code.LEFT, Code.NOT_READY):
            if detail is not None and detail.key == b"":
                node.view.forget_key(index)  # not to be read back: it has to be computed
            node.ready.push_front([index])
            self.world.enqueue(node)
        elif code == Code.AWAITING_RETRY and self._may_restore_again(node, index):
            self._restore_later(node, index, (detail.retry_in_s if detail else None) or 0.0)
        else:
            self._restore_failed(node, index, raised(BlockLost(
                f"the value of task {node.spec.code.task.name!r} (element {index}) was lost with "
                "its worker and could not be computed again: this time the task failed"
            )))

    def _restore_later(self, node: Node, index: int, seconds: float) -> None:
        due = self.world.now_s + seconds
        node.due[index] = due
        heapq.heappush(self.world.timers, (due, node.id, index))
        wake_at(self.world.commands, due)

    def _may_restore_again(self, node: Node, index: int) -> bool:
        times = node.restores[index] = node.restores.get(index, 0) + 1
        return times <= node.spec.code.task.retries

    def give_up_restoring(self) -> None:
        """End the restoring of values whose generator items are gone."""
        lost, self.world.beyond_restore = self.world.beyond_restore, []
        for node, index in lost:
            self._restore_failed(node, index, raised(BlockLost(
                f"the value of task {node.spec.code.task.name!r} (element {index}) was lost with "
                "its worker, and the generator's item that it was made from is not kept: map over "
                "a list where values must survive their worker"
            )))

    def _restore_failed(self, node: Node, index: int, error: ErrorRecord) -> None:
        node.restoring.discard(index)
        self.widths.lengths.lost(node.id, index, error.message)
        self.world.commands.settled = True
        for kid, at in node.waiting.pop(index, ()):
            if at in kid.restoring:
                self._restore_failed(kid, at, error)
            elif kid.codes[at] < FIRST_FINAL:
                self.fail(kid, at, Code.CRASHED, Detail(0, error), None, None, None)
