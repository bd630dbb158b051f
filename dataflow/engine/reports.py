"""What a report means for each element.

Lives here: reading what comes back of a batch that ran. Does not live here:
batches and values that were lost (``recovery.py``), what follows from an
element's end (``settle.py``).
"""

from __future__ import annotations

import heapq
from collections import Counter

from dataflow.engine.cut import Cutter
from dataflow.engine.node import Node
from dataflow.engine.recovery import Recovery
from dataflow.engine.settle import Settler
from dataflow.engine.widths import Widths
from dataflow.engine.world import Flight, World, wake_at
from dataflow.outcomes import FIRST_FINAL, ROLLED_BACK, SUCCEEDED, Code, Detail, Report, Span
from dataflow.runner import BatchDone
from dataflow.store import SpanRecord

_GOOD = bytes([Code.COMPLETED, Code.CACHED])


class Reader:
    """Reads what comes back from the runner."""

    def __init__(self, world: World, settler: Settler, widths: Widths, cutter: Cutter,
                 recovery: Recovery) -> None:
        self.world = world
        self.settler = settler
        self.widths = widths
        self.cutter = cutter
        self.recovery = recovery
        self._running: list[tuple[Node, int]] = []  # elements that outlast their batch
        self._placed: list[Node] = []  # nodes with values in the block at hand

    def done(self, event: BatchDone) -> None:
        """A batch ran: take in each element's outcome."""
        flight = self.recovery.landed(event.batch)
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
            self.recovery.go_again(flight)  # the worker that ran it is gone
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
            self.recovery.after(node)
        self._lengths(report)

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
        parts = [part for group in flight.batch.groups for part in group.parts]
        for (node, _), part, span in zip(flight.parts, parts, report.spans, strict=True):
            ran = len(span.codes) - span.codes.count(Code.LEFT) - span.codes.count(Code.NOT_READY)
            if ran:
                own_s = sum(span.elapsed)
                seconds = own_s + (report.keeping_s if node.caching else 0.0)
                token = node.token
                if part.keys and len(part.keys) >= len(span.indexes):
                    token = self.world.pacing.reading(token)
                self.world.pacing.of(token).learn(seconds, ran, bytes_each, own_s)

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

    def _span(self, node: Node, span: Span, report: Report, fused: set[int], kept: bool) -> None:
        indexes, codes = span.indexes, span.codes
        if span.keys is not None:
            node.view.keep_keys(indexes, span.keys)
        smooth = (
            isinstance(indexes, range) and not span.details and not node.restoring
            and not node.reopened
            and not codes.translate(None, _GOOD)
            and max(node.codes[indexes.start : indexes.stop], default=0) < FIRST_FINAL
        )
        if smooth:
            assert isinstance(indexes, range)
            self._completed(node, indexes, codes, report.batch, fused, kept)
            self.world.gulp.spans.append(SpanRecord(span, report.started_s, report.worker))
        else:
            self._rough(node, span, report, fused, kept)
            if not node.single:
                self.world.gulp.spans.append(SpanRecord(span, report.started_s, report.worker))

    def _completed(self, node: Node, indexes: range, codes: bytearray, batch: int,
                   fused: set[int], kept: bool) -> None:
        if kept:
            node.places.put(indexes, batch)
            self._placed.append(node)
        node.used_up(indexes.start, indexes.stop)
        self.settler.complete(node, indexes.start, codes, fused)

    def _rough(self, node: Node, span: Span, report: Report, fused: set[int], kept: bool) -> None:
        """Take a span element by element; what is already final is masked in the record."""
        runs: list[tuple[range, bytearray]] = []
        for at, index in enumerate(span.indexes):
            code = span.codes[at]
            if index in node.restoring:
                self._restored(node, index, span, at, report.batch, kept)
                span.codes[at] = Code.LEFT
            elif node.codes[index] >= FIRST_FINAL:
                if code == Code.RUNNING:
                    self._running.append((node, index))
                span.codes[at] = Code.LEFT  # recorded before: never replaced
            elif code in SUCCEEDED:
                if runs and runs[-1][0].stop == index:
                    run, run_codes = runs[-1]
                    run_codes.append(code)
                    runs[-1] = range(run.start, index + 1), run_codes
                else:
                    runs.append((range(index, index + 1), bytearray([code])))
                detail = span.details.get(index)
                if detail is None and index in node.reopened:
                    detail = Detail()
                if detail is not None:
                    self._detail(node, index, detail, span, at, report)
        for run, run_codes in runs:
            self._completed(node, run, run_codes, report.batch, fused, kept)
        for at, index in enumerate(span.indexes):
            if span.codes[at] not in SUCCEEDED and node.codes[index] < FIRST_FINAL:
                self._unsuccessful(node, index, span, at, report)

    def _restored(self, node: Node, index: int, span: Span, at: int, batch: int,
                  kept: bool) -> None:
        code = Code(span.codes[at])
        if code == Code.RUNNING:
            self._running.append((node, index))
            return
        if code in SUCCEEDED and kept:
            self._placed.append(node)
        if code == Code.COMPLETED:  # read back it is CACHED
            world = self.world
            again = world.not_found_again if index in node.sought else world.computed_again
            again[node.view.task_name] += 1
            if node.view.committed:
                node.view.again[index] = None
        self.recovery.restored(node, index, code, span.details.get(index), batch, kept)

    def _detail(self, node: Node, index: int, detail: Detail, span: Span, at: int,
                report: Report) -> None:
        if detail.length is not None:
            node.lengths[index] = detail.length
        if detail.attempts > 1:
            node.view.attempts[index] = detail.attempts
        if detail.name is not None:
            node.view.names[index] = detail.name
        if detail.said is not None:
            node.view.take(index, detail.said)
            if detail.said == ROLLED_BACK:  # a hook of its commit failed
                node.view.undone[index] = None
                self.world.gulp.undone.setdefault(node.id, set()).add(index)
        node.view.errors.pop(index, None)
        if detail.origin is not None:
            node.view.origins[index] = detail.origin
        if (node.single or detail.attempts > 1 or detail.name is not None
                or detail.said is not None or index in node.reopened):
            self.recovery.row(node, index, Code(span.codes[at]), detail, span, at, report)

    def _unsuccessful(self, node: Node, index: int, span: Span, at: int, report: Report) -> None:
        code = Code(span.codes[at])
        if code == Code.RUNNING:
            span.codes[at] = Code.LEFT
            self._running.append((node, index))
        elif code == Code.LEFT:
            detail = span.details.get(index)
            if detail is not None and detail.retry_in_s is not None:
                self._await_other(node, index, detail.retry_in_s)
            else:
                self.recovery.left(node, index)
        elif code == Code.NOT_READY:
            span.codes[at] = Code.LEFT  # recorded with its cause
            self.recovery.end_unready(node, index)
        else:
            detail = span.details.get(index) or Detail()
            if detail.name is not None:
                node.view.names[index] = detail.name
            if code == Code.AWAITING_RETRY:
                self._await_retry(node, index, detail, span, at, report)
            else:
                self.recovery.fail(node, index, code, detail, span, at, report)

    def _await_other(self, node: Node, index: int, seconds: float) -> None:
        """Somebody else computes the same result: look again a little later, without a slot."""
        node.codes[index] = Code.PENDING
        self.world.touched(node)
        self._due_in(node, index, seconds)

    def _await_retry(self, node: Node, index: int, detail: Detail, span: Span, at: int,
                     report: Report) -> None:
        node.codes[index] = Code.AWAITING_RETRY
        node.awaited.add(index)
        node.view.attempts[index] = detail.attempts
        self.world.touched(node)
        self.recovery.row(node, index, Code.AWAITING_RETRY, detail, span, at, report)
        self._due_in(node, index, detail.retry_in_s or 0.0)

    def _due_in(self, node: Node, index: int, seconds: float) -> None:
        due = self.world.now_s + seconds
        node.due[index] = due
        heapq.heappush(self.world.timers, (due, node.id, index))
        wake_at(self.world.commands, due)

    def _lengths(self, report: Report) -> None:
        for (call, index, depth), length in report.lengths.items():
            self.widths.lengths.put(call, index, depth, length, report.unread)
