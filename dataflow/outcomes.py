"""What happened to an element: the codes, the errors and the report of one batch.

Lives here: frozen or packed values that travel from the worker to the engine
and from the engine to the store. Does not live here: any decision about them
(``engine/``), any I/O (``stores/``), Prefect-style ``State`` objects
(``states.py``, which are made from these on demand).

An *element* is one task run. It is named by ``(call, index)``: the call is the
n-th ``submit``/``map``/direct call of a flow run, the index is the element's
position in the map (0 for a single call).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple


class Code(IntEnum):
    """State of an element in one byte.

    Codes from ``COMPLETED`` on never change again, but for one that a transaction rolls back;
    and that in the records alone: who has the value goes on with it.
    """

    PENDING = 0
    RUNNING = 1
    AWAITING_RETRY = 2
    LEFT = 3  # in a report only: handed back by the worker without having been started
    COMPLETED = 8
    CACHED = 9
    FAILED = 10
    TIMED_OUT = 11
    CRASHED = 12
    CANCELLED = 13
    NOT_READY = 14  # an upstream did not complete: will never run
    ROLLED_BACK = 15  # in records only: it was COMPLETED, and its effects were undone since


FIRST_FINAL = Code.COMPLETED
SUCCEEDED = frozenset({Code.COMPLETED, Code.CACHED})

STATE_OF: dict[Code, tuple[str, str]] = {
    Code.PENDING: ("PENDING", "Pending"),
    Code.RUNNING: ("RUNNING", "Running"),
    Code.AWAITING_RETRY: ("SCHEDULED", "AwaitingRetry"),
    Code.LEFT: ("PENDING", "Pending"),
    Code.COMPLETED: ("COMPLETED", "Completed"),
    Code.CACHED: ("COMPLETED", "Cached"),
    Code.FAILED: ("FAILED", "Failed"),
    Code.TIMED_OUT: ("FAILED", "TimedOut"),
    Code.CRASHED: ("CRASHED", "Crashed"),
    Code.CANCELLED: ("CANCELLED", "Cancelled"),
    Code.NOT_READY: ("PENDING", "NotReady"),
    Code.ROLLED_BACK: ("COMPLETED", "RolledBack"),
}
"""Code → (state type, state name), the names that Prefect's users read."""


_ENDS = frozenset({
    Code.COMPLETED, Code.CACHED, Code.FAILED, Code.TIMED_OUT, Code.CRASHED, Code.CANCELLED,
    Code.NOT_READY,
})

MOVES: dict[Code, frozenset[Code]] = {
    Code.PENDING: frozenset({
        Code.RUNNING, Code.FAILED, Code.CRASHED, Code.CANCELLED, Code.NOT_READY,
    }),
    Code.RUNNING: _ENDS | {Code.PENDING, Code.AWAITING_RETRY},
    Code.AWAITING_RETRY: frozenset({Code.PENDING, Code.CRASHED, Code.CANCELLED}),
    **{code: frozenset() for code in sorted(_ENDS)},
    Code.COMPLETED: frozenset({Code.ROLLED_BACK}),
    Code.ROLLED_BACK: frozenset(),
}
"""The legal moves of an element. PENDING → FAILED: its arguments could not be sent. RUNNING →
PENDING: handed back, or its worker died. From a final code nothing leads anywhere, but for
COMPLETED → ROLLED_BACK."""


def diagram() -> str:
    """Return the moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> Pending"]
    for code, targets in MOVES.items():
        name = STATE_OF[code][1]
        lines += [f"    {name} --> {STATE_OF[to][1]}" for to in sorted(targets)]
        if not targets:
            lines.append(f"    {name} --> [*]")
    return "\n".join(lines)


@dataclass(slots=True)
class ErrorRecord:
    """An exception as it survives a process border.

    ``exception`` is the very object on local runners and is never pickled;
    ``pickled`` is how it crosses a border (``None`` when it could not be
    pickled, in which case type name, message and traceback text remain).
    """

    type_name: str  # "builtins.ValueError" is written "ValueError"; others carry their module
    message: str
    traceback: str
    pickled: bytes | None = None
    exception: BaseException | None = None

    def __getstate__(self) -> tuple[str, str, str, bytes | None]:
        return (self.type_name, self.message, self.traceback, self.pickled)

    def __setstate__(self, state: tuple[str, str, str, bytes | None]) -> None:
        self.type_name, self.message, self.traceback, self.pickled = state
        self.exception = None


EVENTS = "dataflow.events"
"""Logger of lines that are no lines of a log but events, as JSON."""


class LogLine(NamedTuple):
    """One log record of a task or a flow (``call`` is -1 for the flow itself)."""

    call: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    attempt: int
    time_s: float  # seconds since the epoch
    level: int
    logger: str
    message: str
    extra: tuple[tuple[str, Any], ...] = ()  # the user's fields; shown by handlers, not stored


class Attempt(NamedTuple):
    """One execution of an element that did not end it (a retry followed)."""

    call: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    attempt: int  # 1 for the first execution
    started_s: float  # seconds since the epoch
    elapsed_s: float
    code: int  # FAILED or TIMED_OUT
    error: ErrorRecord


class Said(NamedTuple):
    """What a state that a task's function returned says beyond its type."""

    message: str | None
    state_name: str | None  # where it is not the usual one


ROLLED_BACK = Said("Task rolled back as part of transaction", "RolledBack")
"""What is said of a task run that completed and whose effects were undone."""


@dataclass(slots=True)
class Detail:
    """What is known of one element beyond its code and its times; kept for few elements."""

    attempts: int = 1  # executions so far, this batch included
    error: ErrorRecord | None = None
    retry_in_s: float | None = None
    """With AWAITING_RETRY: not before so many seconds; with LEFT: somebody else computes it."""
    name: str | None = None  # task run name when the task names its runs
    length: int | None = None  # len(value) of a single call's value, where it has one
    said: Said | None = None  # by a state that the function returned
    key: bytes | None = None  # under which its result is kept; of single calls
    origin: str | None = None  # CACHED: id of the flow run that computed it


SHARED_CPU = -1.0
"""Stands for the processor time of an element that was not measured: it has a share of the rest."""

UNKNOWN_CPU = -2.0
"""Stands for that of one of which nothing can be said."""


def share_of_cpu(rest_s: float, elapsed_s: float, total_s: float) -> float:
    """Return an element's share of processor time, by how long it took of the total."""
    return max(0.0, rest_s) * elapsed_s / total_s if total_s > 0 else 0.0


@dataclass(slots=True)
class Span:
    """Outcomes of elements of one call within one batch, column by column."""

    call: int
    indexes: Sequence[int]  # a range wherever the elements are neighbours
    codes: bytearray  # a Code per element, in the order of ``indexes``
    started: array[float]  # 'f', seconds after the report's ``started_s``
    elapsed: array[float]  # 'f', seconds
    details: dict[int, Detail] = field(default_factory=dict)  # by index
    keys: bytes | None = None  # cache keys, 16 bytes an element; of zeros where one has none
    origins: tuple[str, ...] = ()  # ids of the flow runs that its CACHED elements come from
    cpu_s: float | None = None  # processor time of all of them; None: not known
    own_cpu: array[float] | None = None
    """'f', seconds of those that were measured each, SHARED_CPU for others, UNKNOWN_CPU; None:
    none was measured."""
    peak_bytes: int | None = None  # the most memory of the process that they ran in, by then

    def measured_cpu_s(self) -> float:
        """Return the processor time of those elements that were measured each."""
        return 0.0 if self.own_cpu is None else sum(own for own in self.own_cpu if own >= 0)

    def shared_elapsed_s(self) -> float:
        """Return how long those elements took that share what is left of ``cpu_s``."""
        if self.own_cpu is None:
            return sum(self.elapsed)
        return sum(elapsed for elapsed, own in zip(self.elapsed, self.own_cpu, strict=True)
                   if own == SHARED_CPU)

    def cpu_of(self, position: int) -> float | None:
        """Return the processor time of one element, measured or its share; None: not known."""
        return self.cpu_column()(position)[0]

    def cpu_column(self) -> Callable[[int], tuple[float | None, bool]]:
        """Return what gives the processor time at a position, and whether it is but a share."""
        cpu_s, own_cpu, elapsed = self.cpu_s, self.own_cpu, self.elapsed
        if cpu_s is None:
            return lambda position: (None, False)
        rest_s, total_s = cpu_s - self.measured_cpu_s(), self.shared_elapsed_s()

        def at(position: int) -> tuple[float | None, bool]:
            own = SHARED_CPU if own_cpu is None else own_cpu[position]
            if own == SHARED_CPU:
                return share_of_cpu(rest_s, elapsed[position], total_s), True
            return (None if own == UNKNOWN_CPU else own), False

        return at


@dataclass(slots=True)
class Report:
    """What a worker says of one batch. The records in it are the truth."""

    batch: int
    worker: str  # address or thread name
    started_s: float  # seconds since the epoch
    spans: list[Span]
    logs: list[LogLine] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    lengths: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Of a "lengths" batch: (call, element, depth) → items; -1: it has none that can be counted."""
    unread: str | None = None  # a "lengths" batch could not open the values: why
    missing: list[tuple[int, int]] = field(default_factory=list)  # inputs that the blocks lack
    size_bytes: int = 0  # of the kept values, estimated
    remote: bool = False  # made in another process
    wall_s: float = 0.0  # of elements side by side: how long the batch took ...
    busy_s: float = 0.0  # ... and how long it computed, seconds
    keeping_s: float = 0.0  # spent on keys, look-ups and writing results
    cpu_s: float = 0.0  # processor time of all its elements, seconds ...
    children_cpu_s: float = 0.0  # ... and the part of child processes of the worker's
    nested: list[tuple[str, Any]] = field(default_factory=list)
    """Records of what task runs of the batch ran themselves: (run id, dataflow.store.Gulp)."""
