"""One call's part of a batch: its columns while they grow.

Lives here: :class:`Step`, which runs the elements of one call and keeps what
came out. Does not live here: the order of elements (``batch.py``), one
execution (``attempt.py``).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from dataflow.batch import Batch, Column, Part, RunInfo
from dataflow.outcomes import Attempt, Code, Detail, Span
from dataflow.unnesting import items_in
from dataflow.worker.attempt import Attempts, Outcome
from dataflow.worker.control import Control
from dataflow.worker.logs import BatchLog
from dataflow.worker.values import Absent, Values, getter, indexable

_clock = time.perf_counter
_UNSUCCESSFUL = frozenset({Code.FAILED, Code.TIMED_OUT, Code.CRASHED})


class Walk(Protocol):
    """What a step needs of the batch it belongs to."""

    batch: Batch
    run: RunInfo
    control: Control
    remote: bool
    values: Values
    logs: BatchLog
    attempts: list[Attempt]
    nested: list[tuple[str, Any]]
    missing: dict[tuple[int, int], None]
    began: float


class Step:
    """One call's part of a group: its columns while they grow."""

    attempts_type: type[Attempts] = Attempts

    def __init__(self, walk: Walk, part: Part, indexes: Sequence[int]) -> None:
        self.walk = walk
        self.part = part
        self.indexes = indexes
        self.call = part.code.call
        code = part.code
        self.attempts = self.attempts_type(
            code, walk.run, walk.logs, walk.attempts, remote=walk.remote,
            stopped=lambda: walk.control.stopped, interrupted=walk.control.interrupted,
            nested=walk.nested,
        )
        values = walk.values
        self.args = [getter(values, part, at, source) for at, source in enumerate(code.args)]
        self.kwargs = [(k, getter(values, part, k, source)) for k, source in code.kwargs.items()]
        self.fresh = values.fresh.setdefault(self.call, {})
        self.codes = bytearray()
        self.started = array("f")
        self.elapsed = array("f")
        self.details: dict[int, Detail] = {}
        self.failures = 0
        self.over = False
        self.single = not code.mapped
        self.unfinished = False  # the element at hand goes on in a later batch

    def element(self, position: int, index: int) -> None:
        """Run one element, or record why it did not run."""
        walk = self.walk
        self.unfinished = False
        started = _clock()
        try:
            args = tuple([get(position, index) for get in self.args])
            kwargs = {key: get(position, index) for key, get in self.kwargs}
        except Absent as absent:
            self._not_run(index, absent, started - walk.began)
            return
        except BaseException as error:  # user values: indexing or rebuilding a container
            outcome = self.attempts.broken_input(index, error)
        else:
            before = self.part.attempts.get(index, 0) if self.part.attempts else 0
            outcome = self.attempts.call(index, before, args, kwargs)
        self.codes.append(outcome.code)
        self.started.append(started - walk.began)
        self.elapsed.append(_clock() - started)
        if outcome.code == Code.COMPLETED:
            self.fresh[index] = outcome.value
            if (outcome.attempts == 1 and outcome.name is None and outcome.said is None
                    and not self.single):
                return
        self._detail(index, outcome)

    def _detail(self, index: int, outcome: Outcome) -> None:
        detail = Detail(outcome.attempts, outcome.error, outcome.retry_in_s, outcome.name,
                        said=outcome.said)
        if outcome.code == Code.COMPLETED:
            if self.single:
                detail.length = quick_length(outcome.value)
        else:
            self.unfinished = outcome.code < Code.COMPLETED
            values = self.walk.values
            values.codes.setdefault(self.call, {})[index] = outcome.code
            if outcome.error is not None:
                values.errors[self.call, index] = outcome.error
        if outcome.code in _UNSUCCESSFUL:
            self.failures += 1
            limit = self.part.max_failures
            self.over = limit is not None and self.failures > limit
        self.details[index] = detail

    def _not_run(self, index: int, absent: Absent, at_s: float) -> None:
        self.codes.append(self._code_without(index, absent))
        self.started.append(at_s)
        self.elapsed.append(0.0)

    def _code_without(self, index: int, absent: Absent) -> Code:
        """An input is not there: LEFT where it may still come, NOT_READY where it will not."""
        code = Code.NOT_READY
        if absent.code is None:
            self.walk.missing[absent.call, absent.index] = None
            code = Code.LEFT
        elif absent.code < Code.COMPLETED:
            code = Code.LEFT
        self.unfinished = code == Code.LEFT
        self.walk.values.codes.setdefault(self.call, {})[index] = code
        return code

    def close(self, done: int) -> None:
        """Complete the columns with what was not started."""
        rest = len(self.indexes) - done
        if rest:
            self.codes.extend(bytes([Code.LEFT]) * rest)
            self.started.extend([0.0] * rest)
            self.elapsed.extend([0.0] * rest)
            left = self.walk.values.codes.setdefault(self.call, {})
            for index in self.indexes[done:]:
                left[index] = Code.LEFT

    def span(self, at: slice) -> Span:
        """Return a part of the columns."""
        indexes = self.indexes[at]
        details = self.details
        if len(indexes) < len(self.indexes):
            details = {i: details[i] for i in indexes if i in details}
        return Span(self.call, indexes, self.codes[at], self.started[at], self.elapsed[at], details)

    def keep_in(self, columns: dict[int, Column], without: set[int]) -> None:
        """Put the values that are there into columns, all but some."""
        fresh = self.fresh
        if len(fresh) == len(self.indexes) and not without:
            columns[self.call] = Column(self.indexes, list(fresh.values()))
            return
        indexes = sorted(fresh.keys() - without)
        if indexes:
            columns[self.call] = Column(indexes, [fresh[i] for i in indexes])


def length_of(value: Any, depth: int = 1) -> int:
    """Return how many items stand ``depth`` levels below, -1 when it cannot be mapped over."""
    if depth > 1:
        items = None if isinstance(value, Iterator) else items_in(value)
        lengths = [-1] if items is None else [length_of(item, depth - 1) for item in items]
        return -1 if -1 in lengths else sum(lengths)
    length = quick_length(value)
    if length is not None:
        return length
    if isinstance(value, str | bytes | Iterator) or not hasattr(value, "__iter__"):
        return -1
    try:
        return len(indexable(value))
    except Exception:  # user values: __iter__ may raise anything
        return -1


def quick_length(value: Any) -> int | None:
    """Return len(value) where that is certainly the number of items, else None."""
    if isinstance(value, list | tuple | range | dict | set | frozenset | bytearray):
        return len(value)
    if type(value).__module__ == "numpy" and hasattr(value, "ndim") and value.ndim > 0:
        return len(value)
    return None  # the length of a table, for one, is that of its rows, its items are columns
