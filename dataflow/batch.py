"""A slice of the graph on its way to a worker, and the values that come back.

Lives here: what a batch says (which function, where each parameter comes from,
which elements) and :class:`Block`, the values that a batch leaves behind beside
the worker. Does not live here: how a batch is chosen (``engine/``) or run
(``worker/``).

Everything here is made by the flow's process and pickled by runners that
cross a process border; local runners hand over the very same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.outcomes import ErrorRecord


@dataclass(frozen=True, slots=True)
class Const:
    """The same value for every element."""

    value: Any


@dataclass(frozen=True, slots=True)
class Items:
    """Mapped over values the flow's process has: element i takes item i.

    The items themselves travel sliced, in :attr:`Part.items`. An item may be a
    source itself (a list of futures was mapped over).
    """


@dataclass(frozen=True, slots=True)
class Aligned:
    """Mapped over another map: element i takes element i of ``call``."""

    call: int
    allow_failure: bool = False


@dataclass(frozen=True, slots=True)
class One:
    """One element of ``call``, the same for every element."""

    call: int
    index: int = 0
    allow_failure: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """All elements of ``call``, as a list in input order."""

    call: int
    allow_failure: bool = False


@dataclass(frozen=True, slots=True)
class ItemOf:
    """Mapped over the value of one future: element i takes its i-th item."""

    call: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class FlatItem:
    """One item of one element's value, with all but one of ``depth`` levels taken away."""

    call: int
    index: int
    position: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """A container with futures inside: ``template`` with the values of ``leaves`` put in."""

    template: Any
    leaves: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Flat:
    """The items of the items of what ``source`` gives, as one list."""

    source: Source
    what: str  # is flattened, for messages
    allow_failure: bool = False  # an exception, or None, stands for itself


@dataclass(frozen=True, slots=True)
class Gone:
    """Stands for a generator's item that is not kept, of an element that is only read back."""

    call: int
    index: int


Source = Const | Items | Aligned | One | Whole | ItemOf | FlatItem | Tree | Flat | Gone


@dataclass(slots=True)
class TaskCode:
    """A task as a worker needs it; the same object for all calls of a task with equal options."""

    token: str  # unique per task and options: workers keep what they have unpickled by it
    fn: Callable[..., Any]
    name: str
    retries: int = 0
    retry_delay: Any = None  # dataflow.retry.RetryPolicy
    retry_condition: Callable[..., Any] | None = None
    timeout_s: float | None = None
    isolation: str = "thread"  # or "process"
    log_prints: bool = False
    run_name: str | Callable[..., str] | None = None
    tags: frozenset[str] = frozenset()
    kind: str = "sync"  # or "async", "generator", "async_generator"
    concurrency: int = 0  # runs of an async function side by side on one loop; 0: on none
    hooks: Any = None  # dataflow.hooks.TaskHooks, None where there are none
    owner: Any = None  # the Task itself, where hooks or conditions are to be given it
    caching: Any = None  # dataflow.caching.Caching; None: results are neither kept nor looked up
    effects: Any = None  # dataflow.task_transactions.Effects, None where there are none


@dataclass(slots=True)
class CallCode:
    """What all batches of one call have in common."""

    call: int
    task: TaskCode
    args: tuple[Source, ...]
    kwargs: dict[str, Source]
    names: tuple[str, ...]  # parameter names of ``args``
    mapped: bool
    tags: frozenset[str] = frozenset()
    ordinal: int = 0  # among the calls of its task in this try of the flow function
    joins: bool = False  # a transaction where it was submitted calls the hooks of its effects


@dataclass(slots=True)
class Part:
    """One call's share of a group."""

    code: CallCode
    items: dict[int | str, Sequence[Any]]  # position or keyword → items, in the order of indexes
    attempts: dict[int, int]  # index → executions before this one; absent: none
    keep: bool  # the values are needed after the batch
    max_failures: int | None = None  # stop after one failure more than this
    item_sources: bool = False  # some of ``items`` are sources (futures were mapped over)
    keys: dict[int, bytes] | None = None
    """Of values that are only to be read back: index → key under which the result is kept."""


@dataclass(slots=True)
class Group:
    """Calls run element by element, depth first, in the order of ``parts``."""

    parts: list[Part]
    indexes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a batch wants to run; handed to Dask as it is."""

    resources: tuple[tuple[str, float], ...] = ()
    priority: int = 0
    workers: tuple[str, ...] = ()
    prefer: str | None = None  # a worker to go to if it is still there


FAULT = -1
"""Index that stands for a call which failed as a whole, in :attr:`Batch.holes`."""


@dataclass(slots=True)
class Batch:
    """One unit of dispatch."""

    id: int
    label: str  # task name for the Dask key, e.g. "load" or "load-clean-store"
    groups: list[Group]
    inputs: list[int]  # ids of the batches whose blocks are needed, in the order of the handles
    widths: dict[int, int] = field(default_factory=dict)  # of the calls taken whole
    holes: dict[tuple[int, int], ErrorRecord | None] = field(default_factory=dict)
    """Inputs that did not complete and are allowed to be missing: their error, or None."""
    nones: frozenset[int] = frozenset()
    """Calls taken whole whose failed elements arrive as None (min_success_ratio reached)."""
    budget_s: float | None = None  # overrun: hand back what has not started after so long
    at_once: int = 0  # so many elements side by side on an event loop; 0: one after another
    placement: Placement = Placement()
    collect: int | None = None
    """Nothing to run: wait for the element that this earlier batch left running, and report it."""
    lengths_of: tuple[tuple[int, int, int], ...] = ()
    """A "lengths" batch: of these (call, element, depth) report how many items there are."""


@dataclass(slots=True)
class Column:
    """Values of one call's elements; ``indexes`` is a range or ascending."""

    indexes: Sequence[int]
    values: list[Any]


class Block:
    """The values that one batch leaves behind, by call. Stays where it was made."""

    __slots__ = ("columns", "size_bytes")

    def __init__(self, columns: dict[int, Column], size_bytes: int = 0) -> None:
        self.columns = columns
        self.size_bytes = size_bytes

    def get(self, call: int, index: int) -> Any:
        """Return one value. Raises KeyError when the block does not hold it."""
        column = self.columns.get(call)
        if column is None:
            raise KeyError((call, index))
        try:
            return column.values[column.indexes.index(index)]
        except ValueError:
            raise KeyError((call, index)) from None

    def __getstate__(self) -> tuple[dict[int, Column], int]:
        return (self.columns, self.size_bytes)

    def __setstate__(self, state: tuple[dict[int, Column], int]) -> None:
        self.columns, self.size_bytes = state

    def __sizeof__(self) -> int:
        return max(self.size_bytes, 64)


@dataclass(slots=True)
class RunInfo:
    """What every element of a flow run may ask about its run; travels once per worker."""

    flow_run_id: str
    flow_run_name: str
    flow_name: str
    flow_version: str | None
    parameters: dict[str, Any]
    tags: tuple[str, ...]
    started_s: float
    parent_flow_run_id: str | None = None
    run_count: int = 1
    log_level: int = 20
    log_limit: int = 10_000  # log lines kept of one batch; the rest is counted
    outer_flow_run_id: str | None = None  # of the run users see, where this is a task run's inside
    parent_task_run_id: str | None = None
    root_flow_run_id: str | None = None  # at the top of those that call each other; None: itself
    extra_loggers: tuple[str, ...] = ()  # of other libraries, whose lines are kept too
    worker: str | None = None  # of an inside: the process of another machine or worker it is in
    within: str = ""  # " of task run 'a' of flow run 'b'", where a task run is around
    key: str | None = None  # of an inside: the key of the task run that it is in
    fence: int | None = None  # the epoch under which the run at the top is driven
    keeping: Any = None  # dataflow.caching.KeepingDefaults, for tasks called on workers too
    deployed: Any = None  # dataflow.deployed_run.DeployedRun, where a deployment made the run

    @property
    def shown_flow_run_id(self) -> str:
        """Id of the flow run that users see: of the flow, also inside of its task runs."""
        return self.outer_flow_run_id or self.flow_run_id

    @property
    def place(self) -> str:
        """Where a task run of this run stands, for messages: begins with ``" of "``."""
        return self.within or f" of flow run {self.flow_run_name!r}"
