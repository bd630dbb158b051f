"""Records of runs: as they are written into a store, and as they are read back.

Lives here: values, frozen where they are read. Does not live here: the port
(``store.py``, from where these names are imported), how they are kept (``stores/``).

Ordinary elements of a map are kept in packed columns, a span per row; singles
(``submit``, direct calls), failures, retried and named elements also as rows of their own.
Counts by state are kept per call, so that no count reads elements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from dataflow.outcomes import Attempt, Code, ErrorRecord, LogLine, Span

OWN_CPU_FROM_S = 0.001
"""An element that took less has a share of its batch's processor time, by how long it took; one
that took longer has been measured, to within so many seconds."""

PICKLED_BYTES = 16 * 1024
"""An element's exception is kept as an object up to this size, else only its texts are."""


@dataclass(slots=True, kw_only=True)
class FlowRunRecord:
    """A flow run's row; written whole each time something in it changes.

    Of kind ``"task"`` it is the inside of a task run: what that called,
    submitted and mapped itself. Such rows are not listed among flow runs.

    ``epoch``, ``owner`` and ``lease_until_s`` count where the row is written for
    the first time: a run may begin with a lease. From then on only
    :meth:`.Store.lease`, :meth:`.Store.renew` and :meth:`.Store.give_up_lease` change them.
    """

    kind: str = "flow"
    id: str  # canonical uuid text
    name: str
    flow_name: str
    flow_version: str | None = None
    state_type: str = "PENDING"
    state_name: str = "Pending"
    message: str | None = None
    parameters: str = "{}"  # JSON, values that are not JSON as their repr, cut to 64 KiB in all
    tags: tuple[str, ...] = ()
    created_s: float = 0.0
    start_time_s: float | None = None  # epoch seconds of the first RUNNING
    end_time_s: float | None = None
    run_count: int = 0
    parent_flow_run_id: str | None = None  # of an inside: the flow run that users see
    parent_task_run_id: str | None = None  # the task run that called it, or whose inside it is
    runner: str | None = None
    dashboard_link: str | None = None
    host: str | None = None
    pid: int | None = None
    error: ErrorRecord | None = None
    entrypoint: str | None = None  # where the flow's function is found again
    first_call: int = 0  # calls before this one belong to earlier tries of the flow function
    epoch: int = 0  # goes up with each lease; the number that fences are compared with
    owner: str | None = None  # host:pid:start of the process that drives the run
    lease_until_s: float | None = None
    resumed: int = 0  # times
    result_key: bytes | None = None  # of the flow's own result
    result_place: str | None = None  # JSON: where that is kept
    alerts: str | None = None  # JSON: those that its flow brings
    cpu_s: float | None = None  # processor time of the run, seconds; see dataflow.run_usage
    peak_bytes: int | None = None  # the most memory of its process


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """A ``submit``, ``map`` or direct call of a flow run.

    Written again, as a resumed run does, it replaces the fields from ``code`` on
    where it has them; everything else stays as it was.
    """

    call: int
    task_name: str
    task_key: str
    kind: str  # "submit", "map" or "direct"
    width: int | None  # None while unknown
    tags: tuple[str, ...] = ()
    upstream: tuple[int, ...] = ()  # calls it takes values from or waits for
    created_s: float = 0.0
    parent: int | None = None  # the direct call whose task run made this one
    code: str | None = None  # digest of the task's code, hexadecimal; see Store.put_code
    partition: str | None = None  # whose cache keys its elements have
    policy: str | None = None  # what the keys are made from
    storage: str | None = None  # where its results are kept
    constants: str | None = None  # JSON: [path, digest, text] of each argument all elements share


@dataclass(slots=True)
class SpanRecord:
    """A span of a report with what it needs to stand alone."""

    span: Span
    started_s: float  # the report's: what the span's ``started`` counts from
    worker: str


@dataclass(slots=True)
class ElementRecord:
    """One element's row: singles, failures, and whatever is looked up singly."""

    call: int
    index: int
    code: int
    started_s: float | None  # epoch seconds; None when it never ran
    ended_s: float | None
    attempts: int
    worker: str | None
    name: str | None = None
    error: ErrorRecord | None = None
    message: str | None = None
    cause: tuple[int, int] | None = None  # NOT_READY: the element that failed first
    key: bytes | None = None  # cache key, 16 bytes
    origin: str | None = None  # CACHED: id of the flow run that computed the value
    due_s: float | None = None  # AWAITING_RETRY: not before, epoch seconds
    cpu_s: float | None = None  # processor time, seconds; see OWN_CPU_FROM_S
    peak_bytes: int | None = None  # the most memory of the process it ran in, by then


RANGE_ERRORS = {int(Code.CRASHED): "dataflow.exceptions.SchedulerLost"}
"""Code of a range → type name of the error that all its elements ended with."""


@dataclass(slots=True)
class RangeRecord:
    """Neighbouring elements that ended alike without having run (CANCELLED, NOT_READY).

    Where they are CRASHED, the runner was lost: nothing else ends neighbours so,
    hence no error stands here; readers name it by :data:`RANGE_ERRORS`.
    """

    call: int
    start: int
    stop: int
    code: int
    time_s: float
    message: str | None = None
    cause: tuple[int, int] | None = None


@dataclass(slots=True)
class Gulp:
    """What one transaction writes. Writing the same gulp twice changes nothing.

    With ``fence`` it is written only while the run has that epoch, which is compared in the
    same transaction. A run that never had a lease of its own, as the inside of a task run, goes
    by the epoch of the flow run around it.
    """

    flow_run: FlowRunRecord | None = None
    calls: list[CallRecord] = field(default_factory=list)
    spans: list[SpanRecord] = field(default_factory=list)
    ranges: list[RangeRecord] = field(default_factory=list)
    elements: list[ElementRecord] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    counts: dict[int, dict[int, int]] = field(default_factory=dict)  # call → code → elements, now
    widths: dict[int, int] = field(default_factory=dict)  # call → width, since it became known
    faults: dict[int, str] = field(default_factory=dict)  # call → why it failed as a whole
    undone: dict[int, set[int]] = field(default_factory=dict)
    """Call → elements that are COMPLETED and whose effects were undone since. Each has a row from
    now on that says ROLLED_BACK, with the times it had, and the counts of its call go along."""
    committed: dict[int, None] = field(default_factory=dict)
    """Calls whose elements, those that completed, were committed by a transaction; a dict, since
    the garbage collector has no work with one that is empty."""
    txn_values: dict[int, bytes] = field(default_factory=dict)
    """Call → what a direct call set in its transaction, for hooks; pickled."""
    inputs: bytes | None = None  # parameters of the run, pickled
    fence: int | None = None  # the epoch under which it may be written; None: any
    passed: list[FlowRunRecord] = field(default_factory=list)
    """Rows of the flow run from before ``flow_run``, where states follow each other faster than
    gulps are written: each state that it was in is an event."""

    def __bool__(self) -> bool:
        return bool(
            self.flow_run or self.calls or self.spans or self.ranges or self.elements
            or self.attempts or self.logs or self.counts or self.widths or self.faults
            or self.undone or self.committed or self.txn_values
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunRow:
    """A flow run as it is read back."""

    id: str
    name: str
    flow_name: str
    flow_version: str | None
    state_type: str
    state_name: str
    message: str | None
    parameters: str
    tags: tuple[str, ...]
    created: datetime
    start_time: datetime | None
    end_time: datetime | None
    run_count: int
    parent_flow_run_id: str | None
    parent_task_run_id: str | None  # of a flow that a task run called
    runner: str | None
    dashboard_link: str | None
    host: str | None
    pid: int | None
    error_type: str | None
    error_message: str | None
    traceback: str | None
    entrypoint: str | None = None
    first_call: int = 0
    epoch: int = 0
    owner: str | None = None
    lease_until_s: float | None = None
    resumed: int = 0
    result_key: bytes | None = None
    alerts: str | None = None  # JSON list of those that the flow brought
    result_place: str | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """A flow that has runs."""

    name: str
    counts: dict[str, int]  # state type → runs
    last_created: datetime  # of its newest run


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """A call as it is read back, with its counts by state name."""

    call: int
    task_name: str
    task_key: str
    kind: str
    width: int | None
    tags: tuple[str, ...]
    upstream: tuple[int, ...]
    created: datetime
    counts: dict[str, int]  # state name → elements, e.g. {"Completed": 990, "Failed": 10}
    fault: str | None = None  # why the map failed as a whole, where it did
    run_id: str = ""  # the flow run, or the inside of a task run, that made the call
    parent_task_run_id: str | None = None  # the task run that made the call, where one did
    code: str | None = None
    partition: str | None = None
    policy: str | None = None
    storage: str | None = None
    constants: str | None = None
    committed: bool = False  # by a transaction: its elements that completed
    txn_values: bytes | None = None  # what it set in its transaction, pickled


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRunRow:
    """An element as it is read back, wherever it was kept.

    ``call`` is a call of ``run_id``: of the flow run itself, or of the inside of
    the task run that made it. Attempts and log lines are asked for by that id.
    """

    id: str
    name: str
    flow_run_id: str
    run_id: str
    parent_task_run_id: str | None
    task_name: str
    task_key: str
    call: int
    map_index: int | None  # None for a single call
    state_type: str
    state_name: str
    message: str | None
    start_time: datetime | None
    end_time: datetime | None
    run_count: int
    worker: str | None
    error_type: str | None
    error_message: str | None
    traceback: str | None
    cause: str | None  # id of the task run that failed first
    kind: str = "submit"  # or "map", "direct", "flow": stands for a flow that was called
    key: bytes | None = None  # cache key, 16 bytes
    origin: str | None = None  # CACHED: the flow run that computed it, where one alone can be meant
    due_s: float | None = None  # AWAITING_RETRY: not before, epoch seconds
    cpu_s: float | None = None  # processor time, seconds; None: not known
    cpu_estimated: bool = False  # it is the element's share of its batch
    peak_bytes: int | None = None  # the most memory of the process it ran in, by then


@dataclass(frozen=True, slots=True)
class CallUsage:
    """What the elements of a call used, those of all tries of the run together."""

    run_id: str  # the flow run, or the inside of a task run, that made the call
    call: int
    cpu_s: float | None  # seconds; None: of none of them it is known
    peak_bytes: int | None  # the most memory of a process that one of them ran in


@dataclass(slots=True)
class RecordedCall:
    """What is recorded of a call, in columns: what a resumed run takes over.

    Elements without a word of their own are as ordinary as can be: executed once (never, in a
    range that ended without having run), without an error, name, cause or message.
    """

    record: CallRow
    codes: bytearray
    """A Code per element: a final one, AWAITING_RETRY, or PENDING for all that has no outcome.
    As long as the call is wide; while that is unknown, as far as something is recorded."""
    attempts: dict[int, int] = field(default_factory=dict)  # executions, of rows where not one
    due: dict[int, float] = field(default_factory=dict)  # of retries, epoch seconds
    errors: dict[int, ErrorRecord] = field(default_factory=dict)  # pickled where that was kept
    names: dict[int, str] = field(default_factory=dict)
    causes: list[tuple[int, int, tuple[int, int]]] = field(default_factory=list)
    """(start, stop, (call, index)) of neighbours that did not run since that one failed."""
    messages: dict[int, str] = field(default_factory=dict)
    range_messages: list[tuple[int, int, str]] = field(default_factory=list)  # (start, stop, text)
    keyed: bool = False  # some of its elements have a key: ask Store.keys
    rows: set[int] = field(default_factory=set)
    """Elements with a row that does not say they completed: their next word has to be a row."""
