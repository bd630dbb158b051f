"""One call's part of a batch whose elements run side by side: columns filled in any order.

Lives here: :class:`AsyncStep`. Does not live here: which elements run when
(``async_batch.py``), one execution (``async_attempt.py``).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence

from dataflow.batch import Column, Part
from dataflow.outcomes import SUCCEEDED, Code, Detail, Span
from dataflow.worker.async_attempt import AsyncAttempts
from dataflow.worker.attempt import Outcome
from dataflow.worker.step import Step, Walk
from dataflow.worker.values import Absent

_clock = time.perf_counter


class AsyncStep(Step):
    """One call's part of a group; every column has its full length from the start."""

    attempts_type = AsyncAttempts
    attempts: AsyncAttempts

    def __init__(self, walk: Walk, part: Part, indexes: Sequence[int]) -> None:
        super().__init__(walk, part, indexes)
        count = len(indexes)
        self.codes = bytearray([Code.LEFT]) * count
        self.started = array("f", bytes(4 * count))
        self.elapsed = array("f", bytes(4 * count))

    def _committing_type(self) -> type[AsyncAttempts]:
        from dataflow.worker.effects import CommittingAsyncAttempts

        return CommittingAsyncAttempts

    async def arrive(self, position: int, index: int) -> None:
        """Run one element, or note why it did not run."""
        started = _clock()
        self.started[position] = started - self.walk.began
        keeper = self.keeper
        if keeper is not None:
            kept = self.kept(keeper, position, index)
            if kept is not None:
                self._arrived(position, index, kept, started)
                return
        try:
            args = tuple([get(position, index) for get in self.args])
            kwargs = {key: get(position, index) for key, get in self.kwargs}
        except Absent as absent:
            self.codes[position] = self._code_without(index, absent)
            if self.part.keys and index in self.part.keys:
                self.details[index] = Detail(key=b"")  # it is not under its key any more
            return
        except BaseException as error:  # user values: indexing or rebuilding a container
            outcome = self.attempts.broken_input(index, error)
        else:
            before = self.part.attempts.get(index, 0) if self.part.attempts else 0
            outcome = await self.attempts.arrive(index, before, args, kwargs)
            if keeper is not None and outcome.code == Code.COMPLETED:
                self.keep(keeper, position, index, outcome)
        if self.codes[position] != Code.LEFT:  # told as past its time
            return
        if outcome.code == Code.CANCELLED and self.walk.control.interrupt is not None:
            outcome = self.attempts.broken_input(index, self.walk.control.interrupt)
            outcome.code = Code.CRASHED
        self._arrived(position, index, outcome, started)

    def _arrived(self, position: int, index: int, outcome: Outcome, started: float) -> None:
        self.elapsed[position] = _clock() - started
        self.codes[position] = outcome.code
        if outcome.code in SUCCEEDED:
            self.fresh[index] = outcome.value
            if (outcome.attempts < 2 and outcome.name is None and outcome.said is None
                    and not self.single):
                return
        self._detail(index, outcome)

    def end_overdue(self, position: int) -> bool:
        """End an element that is at hand and past its time; return whether it has ended."""
        limit = self.part.code.task.timeout_s
        now = _clock() - self.walk.began
        if (limit is None or self.codes[position] != Code.LEFT or not self.started[position]
                or now - self.started[position] <= limit):
            return False
        index = self.indexes[position]
        before = self.part.attempts.get(index, 0) if self.part.attempts else 0
        outcome = self.attempts.timed_out(index, before)
        self.elapsed[position] = now - self.started[position]
        self.codes[position] = outcome.code
        self._detail(index, outcome)
        return True

    def span_of(self, positions: Sequence[int], running: Sequence[int]) -> Span:
        """Return the columns at some positions, RUNNING at those that are under way."""
        if len(positions) == len(self.indexes):
            span = Span(self.call, self.indexes, self.codes[:], self.started[:], self.elapsed[:])
        else:
            span = Span(
                self.call, [self.indexes[at] for at in positions],
                bytearray([self.codes[at] for at in positions]),
                array("f", [self.started[at] for at in positions]),
                array("f", [self.elapsed[at] for at in positions]),
            )
        under_way = set(running)
        for place, at in enumerate(positions):
            if at in under_way:
                span.codes[place], span.started[place], span.elapsed[place] = Code.RUNNING, 0, 0
            elif (detail := self.details.get(self.indexes[at])) is not None:
                span.details[self.indexes[at]] = detail
        if self.keeper is not None:
            keys = self.keeper.keys_of(slice(None))
            if keys is not None:
                span.keys = b"".join(
                    bytes(16) if at in under_way else keys[16 * at : 16 * at + 16]
                    for at in positions)
            span.origins = self.keeper.origins()
        span.peak_bytes = self.walk.peak_bytes
        return span

    def hand_over(self, columns: dict[int, Column], positions: Sequence[int]) -> None:
        """Put the values made at some positions into columns, and let go of them."""
        fresh = self.fresh
        indexes = [index for at in positions if (index := self.indexes[at]) in fresh]
        if len(indexes) == len(self.indexes):
            columns[self.call] = Column(self.indexes, [fresh[i] for i in indexes])
        elif indexes:
            columns[self.call] = Column(indexes, [fresh[i] for i in indexes])
        for index in indexes:
            del fresh[index]
