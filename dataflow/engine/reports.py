"""What a report, a lost batch or a refusal means for each element.

Lives here: reading what runners say. Does not live here: what follows from an
element's end (``settle.py``).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from dataflow.engine.cut import Cutter
from dataflow.engine.node import Node
from dataflow.engine.settle import Root, Settler, raised
from dataflow.engine.widths import Widths
from dataflow.engine.world import Flight, World, wake_at
from dataflow.exceptions import BlockLost, WorkerLost
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code, Detail, ErrorRecord, Report, Span
from dataflow.runner import BatchDone, BatchLost, BatchRefused
from dataflow.store import ElementRecord, SpanRecord

CRASH_LIMIT = 2
"""Times an element is run again after a worker died under it alone, before it is CRASHED."""

LOST_INPUT_LIMIT = 5
"""Times an element waits for its inputs to be computed again, before it is CRASHED."""


class Reader:
    """Reads what comes back from the runner."""

    def __init__(self, world: World, settler: Settler, widths: Widths, cutter: Cutter) -> None:
        self.world = world
        self.settler = settler
        self.widths = widths
        self.cutter = cutter
        self._running: list[tuple[Node, int]] = []  # elements that outlast their batch
        self._placed: list[Node] = []  # nodes with values in the block at hand

    def done(self, event: BatchDone) -> None:
        """A batch ran: take in each element's outcome."""
        flight = self._landed(event.batch)
        report = event.report
        if flight is None:
            return
        self.world.gulp.logs += report.logs
        self.world.gulp.attempts += report.attempts
        self._learn(flight, report)
        for call, index in report.missing:
            self.world.nodes[call].places.lose(index)
        if flight.batch.lengths_of and report.missing:
            self.widths.lengths.ask_again()
        fused = {node.id for node, _ in flight.parts}
        if flight.batch.collect is not None and not report.spans:
            self._go_again(flight)  # the worker that ran it is gone
            return
        for span in report.spans:
            node = self.world.nodes[span.call]
            self._span(node, span, report, fused, event.handle is not None)
        if event.handle is not None:
            self._hold(event.batch)
        if self._running:
            self.cutter.collect(flight, report, self._running)
            self._running = []
        for node, _ in flight.parts:
            self._after(node)
        self._lengths(report)

    def lost(self, event: BatchLost) -> None:
        """The infrastructure lost a batch: its elements go again, suspects alone."""
        flight = self._landed(event.batch)
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
            if event.blame and ready:
                self.cutter.suspect(node, ready)
            else:
                node.ready.push_front(self._to_wait(node, back))
            self.world.enqueue(node)
            self._after(node)

    def refused(self, event: BatchRefused) -> None:
        """A batch could not be sent: the calls or elements at fault fail, the others go again."""
        flight = self._landed(event.batch)
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
                    self._fail(node, index, Code.FAILED, detail, None, None, None)
            if len(guilty) < len(indexes):
                self._requeue(node, [i for i in indexes if i not in single])
            self._after(node)

    def _go_again(self, flight: Flight) -> None:
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

    def _landed(self, batch: int) -> Flight | None:
        flight = self.world.flights.pop(batch, None)
        if flight is not None and flight.parts:
            self.world.in_flight[flight.parts[0][0].token] -= 1
            self.cutter.side_by_side.land(flight)
            for node, _ in flight.parts:
                node.batches -= 1
                self.world.enqueue(node)
        return flight

    def _hold(self, batch: int) -> None:
        """Note for whom a block is kept, or let it go at once."""
        holders = {
            node.id for node in self._placed
            if not (node.done and node.dropped and node.kids_open == 0) or node.restoring
            or node.restored
        }
        self._placed.clear()
        if holders:
            self.world.holders[batch] = holders
        else:
            self.world.commands.release.append(batch)

    def _learn(self, flight: Flight, report: Report) -> None:
        if flight.batch.collect is not None:
            return  # one slow element among fast ones says nothing of the next
        kept = sum(len(s.indexes) for s in report.spans) or 1
        bytes_each = report.size_bytes / kept if report.size_bytes else None
        if flight.batch.at_once:
            self._learn_at_once(report, bytes_each)
            return
        for (node, _), span in zip(flight.parts, report.spans, strict=True):
            ran = len(span.codes) - span.codes.count(Code.LEFT) - span.codes.count(Code.NOT_READY)
            if ran:
                self.world.pacing.of(node.token).learn(sum(span.elapsed), ran, bytes_each)

    def _learn_at_once(self, report: Report, bytes_each: float | None) -> None:
        """Learn each element's own time; the computing is shared out among those that began."""
        begun: Counter[str] = Counter()
        seconds: dict[str, float] = {}
        for span in report.spans:
            token, codes = self.world.nodes[span.call].token, span.codes
            out = codes.count(Code.LEFT) + codes.count(Code.NOT_READY)
            begun[token] += len(codes) - out
            seconds[token] = seconds.get(token, 0.0) + (
                sum(span.elapsed) + codes.count(Code.RUNNING) * report.wall_s)
        total = begun.total()
        for token, elements in begun.items():
            if elements:
                self.world.pacing.of(token).learn(
                    seconds[token], elements, bytes_each, report.busy_s * elements / total)

    # spans

    def _span(self, node: Node, span: Span, report: Report, fused: set[int], kept: bool) -> None:
        indexes, codes = span.indexes, span.codes
        smooth = (
            isinstance(indexes, range) and not span.details and not node.restoring
            and codes.count(Code.COMPLETED) == len(codes)
            and max(node.codes[indexes.start : indexes.stop], default=0) < FIRST_FINAL
        )
        if smooth:
            assert isinstance(indexes, range)
            self._completed(node, indexes, report.batch, fused, kept)
            self.world.gulp.spans.append(SpanRecord(span, report.started_s, report.worker))
        else:
            self._rough(node, span, report, fused, kept)
            if not node.single:
                self.world.gulp.spans.append(SpanRecord(span, report.started_s, report.worker))

    def _completed(self, node: Node, indexes: range, batch: int, fused: set[int],
                   kept: bool) -> None:
        if kept:
            node.places.put(indexes, batch)
            self._placed.append(node)
        self._used_up(node, indexes.start, indexes.stop)
        self.settler.complete(node, indexes.start, indexes.stop, fused)

    def _rough(self, node: Node, span: Span, report: Report, fused: set[int], kept: bool) -> None:
        """Take a span element by element; what is already final is masked in the record."""
        runs: list[range] = []
        for at, index in enumerate(span.indexes):
            code = span.codes[at]
            if index in node.restoring:
                detail = span.details.get(index)
                self._restored(node, index, code, detail, report.batch, kept)
                span.codes[at] = Code.LEFT
            elif node.codes[index] >= FIRST_FINAL:
                if code == Code.RUNNING:
                    self._running.append((node, index))
                span.codes[at] = Code.LEFT  # recorded before: never replaced
            elif code in SUCCEEDED:
                if runs and runs[-1].stop == index:
                    runs[-1] = range(runs[-1].start, index + 1)
                else:
                    runs.append(range(index, index + 1))
                detail = span.details.get(index)
                if detail is not None:
                    self._detail(node, index, detail, span, at, report)
        for run in runs:
            self._completed(node, run, report.batch, fused, kept)
        for at, index in enumerate(span.indexes):
            if span.codes[at] not in SUCCEEDED and node.codes[index] < FIRST_FINAL:
                self._unsuccessful(node, index, span, at, report)

    def _detail(self, node: Node, index: int, detail: Detail, span: Span, at: int,
                report: Report) -> None:
        if detail.length is not None:
            node.lengths[index] = detail.length
        if detail.attempts > 1:
            node.view.attempts[index] = detail.attempts
        if detail.name is not None:
            node.view.names[index] = detail.name
        if detail.message is not None:
            node.view.messages[index] = detail.message
        node.view.errors.pop(index, None)
        if (node.single or detail.attempts > 1 or detail.name is not None
                or detail.message is not None):
            self._row(node, index, Code(span.codes[at]), detail, span, at, report)

    def _unsuccessful(self, node: Node, index: int, span: Span, at: int, report: Report) -> None:
        code = Code(span.codes[at])
        if code == Code.RUNNING:
            span.codes[at] = Code.LEFT
            self._running.append((node, index))
        elif code == Code.LEFT:
            self._left(node, index)
        elif code == Code.NOT_READY:
            span.codes[at] = Code.LEFT  # recorded with its cause
            self._end_unready(node, index)
        else:
            detail = span.details.get(index) or Detail()
            if detail.name is not None:
                node.view.names[index] = detail.name
            if code == Code.AWAITING_RETRY:
                self._await_retry(node, index, detail, span, at, report)
            else:
                self._fail(node, index, code, detail, span, at, report)

    def _await_retry(self, node: Node, index: int, detail: Detail, span: Span, at: int,
                     report: Report) -> None:
        node.codes[index] = Code.AWAITING_RETRY
        node.view.attempts[index] = detail.attempts
        self.world.touched(node)
        self._row(node, index, Code.AWAITING_RETRY, detail, span, at, report)
        due = self.world.now_s + (detail.retry_in_s or 0.0)
        node.due[index] = due
        heapq.heappush(self.world.timers, (due, node.id, index))
        wake_at(self.world.commands, due)

    def _fail(self, node: Node, index: int, code: Code, detail: Detail, span: Span | None,
              at: int | None, report: Report | None) -> None:
        if detail.attempts != 1:
            node.view.attempts[index] = detail.attempts
        self._row(node, index, code, detail, span, at, report)
        self._used_up(node, index, index + 1)
        self.settler.fail(node, index, code, detail.error, detail.message)

    def _row(self, node: Node, index: int, code: Code, detail: Detail, span: Span | None,
             at: int | None, report: Report | None) -> None:
        """Record an element as a row of its own."""
        started = ended = None
        if span is not None and at is not None and report is not None:
            started = report.started_s + span.started[at]
            ended = started + span.elapsed[at]
            if code == Code.AWAITING_RETRY:
                ended = None
        self.world.gulp.elements.append(ElementRecord(
            node.id, index, code, started, ended, detail.attempts,
            report.worker if report is not None else None,
            detail.name or node.view.names.get(index), detail.error, detail.message,
        ))

    # what did not end

    def _left(self, node: Node, index: int) -> None:
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
            self._end_unready(node, index)
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
        self._fail(node, index, Code.CRASHED, Detail(0, error), None, None, None)
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

    def _end_unready(self, node: Node, index: int) -> None:
        """An element will never run: name the one that failed first."""
        node.codes[index] = Code.PENDING
        root = self._failed_parent(node, index)
        if root is None:
            self._again(node, index)
        else:
            self.settler.not_ready(node, index, index + 1, root)

    def _back_to_pending(self, node: Node, indexes: Sequence[int]) -> list[int]:
        back = []
        for index in indexes:
            if index in node.restoring:
                back.append(index)
            elif node.codes[index] < FIRST_FINAL:
                node.codes[index] = Code.PENDING
                if self._failed_parent(node, index) is not None:
                    self._end_unready(node, index)
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
            self._fail(node, index, Code.CRASHED, Detail(times, error), None, None, None)

    # values computed again

    def _restored(self, node: Node, index: int, code: int, detail: Detail | None, batch: int,
                  kept: bool) -> None:
        """An element ran again for its value alone; nothing of it is recorded."""
        if code in SUCCEEDED and kept:
            node.restoring.discard(index)
            node.restores.pop(index, None)
            node.places.put((index,), batch)
            self._placed.append(node)
            self.world.commands.settled = True
            for kid, at in node.waiting.pop(index, ()):
                if kid.codes[at] == Code.PENDING or at in kid.restoring:
                    kid.ready.push_front([at])
                    self.world.enqueue(kid)
        elif code == Code.RUNNING:
            self._running.append((node, index))
        elif code in (Code.LEFT, Code.NOT_READY):
            node.ready.push_front([index])
            self.world.enqueue(node)
        elif code == Code.AWAITING_RETRY and self._may_restore_again(node, index):
            due = self.world.now_s + ((detail.retry_in_s if detail else None) or 0.0)
            node.due[index] = due
            heapq.heappush(self.world.timers, (due, node.id, index))
            wake_at(self.world.commands, due)
        else:
            self._restore_failed(node, index, raised(BlockLost(
                f"the value of task {node.spec.code.task.name!r} (element {index}) was lost with "
                "its worker and could not be computed again: this time the task failed"
            )))

    def _may_restore_again(self, node: Node, index: int) -> bool:
        times = node.restores[index] = node.restores.get(index, 0) + 1
        return times <= node.spec.code.task.retries

    def _restore_failed(self, node: Node, index: int, error: ErrorRecord) -> None:
        node.restoring.discard(index)
        self.world.commands.settled = True
        for kid, at in node.waiting.pop(index, ()):
            if at in kid.restoring:
                self._restore_failed(kid, at, error)
            elif kid.codes[at] < FIRST_FINAL:
                self._fail(kid, at, Code.CRASHED, Detail(0, error), None, None, None)

    # afterwards

    def _used_up(self, node: Node, start: int, stop: int) -> None:
        """Forget generator items whose elements are final."""
        if not node.chunks:
            return
        for chunk in node.chunks:
            low, high = max(start, chunk.start), min(stop, chunk.start + chunk.count)
            if low < high:
                chunk.open -= high - low
        while node.chunks and node.chunks[0].open == 0:
            node.chunks.popleft()

    def _after(self, node: Node) -> None:
        """Give the map up when more elements failed than allowed; ask for lengths."""
        limit = node.spec.options.max_failures
        if limit is not None and node.failures > limit and node.view.given_up is None:
            node.view.given_up = (
                f"map of task {node.spec.code.task.name!r} given up: {node.failures} elements "
                f"failed, max_failures={limit}; the rest was cancelled"
            )
            self.world.record_fault(node)
            self.settler.cancel(node, node.view.given_up)

    def _lengths(self, report: Report) -> None:
        for (call, index, depth), length in report.lengths.items():
            self.widths.lengths.put(call, index, depth, length, report.unread)
