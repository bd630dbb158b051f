"""One call's part of a batch: its columns while they grow.

Lives here: :class:`Step`, which runs the elements of one call and keeps what
came out. Does not live here: the order of elements (``batch.py``), one
execution (``attempt.py``).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dataflow.batch import Batch, Column, Const, Part, RunInfo
from dataflow.context import TaskRunContext, current_task
from dataflow.outcomes import SUCCEEDED, Attempt, Code, Detail, Said, Span
from dataflow.unnesting import items_in
from dataflow.worker.attempt import Attempts, Outcome
from dataflow.worker.control import Control
from dataflow.worker.logs import BatchLog
from dataflow.worker.usage import CpuMeter, own_column
from dataflow.worker.values import Absent, Values, getter, indexable

if TYPE_CHECKING:
    from dataflow.worker.keeping import Keeper  # loaded where results are kept

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
    meter: CpuMeter
    peak_bytes: int | None  # of this process, asked for before spans are made


class Step:
    """One call's part of a group: its columns while they grow."""

    attempts_type: type[Attempts] = Attempts

    def __init__(self, walk: Walk, part: Part, indexes: Sequence[int]) -> None:
        self.walk = walk
        self.part = part
        self.indexes = indexes
        self.call = part.code.call
        code = part.code
        kind = self.attempts_type
        if code.task.effects is not None and not code.joins:
            kind = self._committing_type()
        self.attempts = kind(
            code, walk.run, walk.logs, walk.attempts, remote=walk.remote,
            stopped=lambda: walk.control.stopped, interrupted=walk.control.interrupted,
            nested=walk.nested, meter=walk.meter,
        )
        self.meter = walk.meter
        self.own_cpu: dict[int, float] = {}  # by position; of elements that were measured each
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
        self.keeper: Keeper | None = None

    def _committing_type(self) -> type[Attempts]:
        """Return what calls the hooks of effects too; loaded where there are some."""
        from dataflow.worker.effects import CommittingAttempts

        return CommittingAttempts

    def prepare(self, *, wanted: bool) -> None:
        """Look up results that are kept, before the first element runs, unless that was done.

        ``wanted``: somebody needs the values here.
        """
        if self.keeper is None:
            self._make_keeper(wanted=wanted)
            if self.keeper is not None:
                self.keeper.prepare(self._arguments, self._only_items())

    def _only_items(self) -> Sequence[Any] | None:
        """Return what is mapped over, where it alone differs between the elements."""
        part = self.part
        if part.item_sources or len(part.items) != 1:
            return None
        sources = (*part.code.args, *part.code.kwargs.values())
        others = sum(type(source) is Const for source in sources)
        return next(iter(part.items.values())) if others == len(sources) - 1 else None

    def make_keys(self, *, wanted: bool) -> Keeper | None:
        """Return what keeps the results, with the keys made; None where that cannot be yet."""
        if self.part.code.task.caching is None or self.part.code.task.caching.named is not None:
            return None
        self._make_keeper(wanted=wanted)
        keeper = self.keeper
        if keeper is None or keeper.make_keys(self._arguments):
            return keeper
        self.keeper = None  # an input is made in this batch
        return None

    def _make_keeper(self, *, wanted: bool) -> None:
        code, walk = self.part.code, self.walk
        if code.task.caching is None or not len(self.indexes):
            return
        from dataflow.worker.keeping import keeper_of
        from dataflow.worker.shelves import shelf_for

        self.keeper = keeper_of(
            code, walk.run, self.indexes, shelf_for(code), self._log,
            self.part.keys, wanted=wanted or self.single)

    def _log(self, index: int, level: int, text: str) -> None:
        log_of(TaskRunContext(
            self.walk.run, self.part.code, index, 0, self.walk.logs, (), {}), level, text)

    def _arguments(self, position: int, index: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (tuple([get(position, index) for get in self.args]),
                {key: get(position, index) for key, get in self.kwargs})

    def element(self, position: int, index: int) -> None:
        """Run one element, or record why it did not run."""
        walk = self.walk
        self.unfinished = False
        started = _clock()
        keeper = self.keeper
        if keeper is not None and not keeper.idle:
            outcome = self.kept(keeper, position, index)
            if outcome is not None:
                self._take(index, outcome, started)
                return
        try:
            args = tuple([get(position, index) for get in self.args])
            kwargs = {key: get(position, index) for key, get in self.kwargs}
        except Absent as absent:
            self._not_run(index, absent, started - walk.began)
            if self.part.keys and index in self.part.keys:
                self.details[index] = Detail(key=b"")  # it is not under its key any more
            return
        except BaseException as error:  # user values: indexing or rebuilding a container
            outcome = self.attempts.broken_input(index, error)
        else:
            before = self.part.attempts.get(index, 0) if self.part.attempts else 0
            outcome = self.attempts.call(index, before, args, kwargs)
            if keeper is not None and outcome.code == Code.COMPLETED:
                self.keep(keeper, position, index, outcome)
        self._take(index, outcome, started)

    def take_all(self) -> bool:
        """Take all elements at once where every result was found; return whether that was so."""
        keeper, attempts = self.keeper, self.attempts
        if keeper is None or self.single or attempts.task.hooks or attempts.task.run_name:
            return False
        values = keeper.all_values()
        if values is None:
            return False
        count = len(self.indexes)
        self.codes.extend(bytes([Code.CACHED]) * count)
        self.started.extend([_clock() - self.walk.began] * count)
        self.elapsed.extend([0.0] * count)
        self.fresh.update(zip(self.indexes, values, strict=True))
        return True

    def kept(self, keeper: Keeper, position: int, index: int) -> Outcome | None:
        """Return the outcome of an element that need not run here; None where it has to."""
        wait_s = keeper.waits(position)
        if wait_s is not None:
            return Outcome(Code.LEFT, retry_in_s=wait_s)
        if not keeper.found(position):
            return None
        origin = keeper.origin(position) if self.single else None
        before = self.part.attempts.get(index, 0) if self.part.attempts else 0
        from dataflow.worker.keeping import cached_message

        outcome = self.attempts.cached(
            index, before, keeper.value(position), cached_message(origin),
            lambda: self._arguments(position, index))
        outcome.origin = None if origin is None else origin.run_id
        return outcome

    def keep(self, keeper: Keeper, position: int, index: int, outcome: Outcome) -> None:
        """Have a result kept that was computed; say in the state where it has no key."""
        if outcome.said is not None and outcome.said.state_name == "RolledBack":
            return
        keeper.keep(position, index, outcome.value)
        why = keeper.reasons.get(index) if keeper.reasons else None
        if why is not None and outcome.said is None:
            outcome.said = Said(why, None)

    def _take(self, index: int, outcome: Outcome, started: float) -> None:
        self.codes.append(outcome.code)
        self.started.append(started - self.walk.began)
        now = _clock()
        elapsed = now - started
        self.elapsed.append(elapsed)
        meter = self.meter
        if now > meter.due and (cpu_s := meter.note(elapsed, now)) is not None:
            self.own_cpu[len(self.codes) - 1] = cpu_s
        if outcome.code in SUCCEEDED:
            self.fresh[index] = outcome.value
            if (outcome.attempts < 2 and outcome.name is None and outcome.said is None
                    and not self.single):
                return
        self._detail(index, outcome)

    def _detail(self, index: int, outcome: Outcome) -> None:
        detail = Detail(outcome.attempts, outcome.error, outcome.retry_in_s, outcome.name,
                        said=outcome.said, origin=outcome.origin)
        if outcome.code in SUCCEEDED:
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
        span = Span(self.call, indexes, self.codes[at], self.started[at], self.elapsed[at], details)
        if self.keeper is not None:
            span.keys, span.origins = self.keeper.keys_of(at), self.keeper.origins()
        if self.own_cpu:
            span.own_cpu = own_column(self.own_cpu, range(*at.indices(len(self.indexes))))
        if self.part.code.task.isolation == "process":
            span.peak_bytes = self.attempts.peak_bytes
        else:
            span.peak_bytes = self.walk.peak_bytes
        return span

    def keep_in(self, columns: dict[int, Column], without: set[int]) -> None:
        """Put the values that are there into columns, all but some."""
        fresh = self.fresh
        if len(fresh) == len(self.indexes) and not without:
            columns[self.call] = Column(self.indexes, list(fresh.values()))
            return
        indexes = sorted(fresh.keys() - without)
        if indexes:
            columns[self.call] = Column(indexes, [fresh[i] for i in indexes])


def log_of(task_run: TaskRunContext, level: int, text: str) -> None:
    """Write a line into the log of a task run."""
    from dataflow.logging import task_logger

    token = current_task.set(task_run)
    try:
        task_logger(task_run).log(level, "%s", text)
    finally:
        current_task.reset(token)


def prepare_singles(steps: Sequence[Step]) -> None:
    """Look up the results of many calls at once, of those whose inputs are there."""
    if not any(step.part.code.task.caching is not None for step in steps):
        return
    from dataflow.worker.look_up import look_up_together

    look_up_together([keeper for step in steps
                      if (keeper := step.make_keys(wanted=step.part.keep)) is not None])


def settled(steps: Sequence[Step]) -> float:
    """See results that are kept to their places; return the seconds spent on keeping."""
    keepers = [step.keeper for step in steps if step.keeper is not None]
    for keeper in keepers:
        keeper.settle()
    return sum(keeper.spent_s for keeper in keepers)


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
