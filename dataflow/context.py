"""Where the running code is: which flow run, which task run, which tags.

Lives here: the context variables, the small objects in them, and what users may
ask of these objects. Does not live here: the shorter ways to the same facts
(``runtime.py``, ``logging.py``), nor the driver itself: :class:`RunDriver` is
what the flow's side asks of one.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, Self, cast

from dataflow.batch import CallCode, RunInfo
from dataflow.exceptions import MissingContextError
from dataflow.graph import CallSpec, CallView
from dataflow.ids import task_run_id
from dataflow.names import element_name
from dataflow.outcomes import Attempt, Code, ErrorRecord, LogLine
from dataflow.run_views import FlowRunView, TaskRunView
from dataflow.store import CallRecord, ElementRecord
from dataflow.worker.control import Control


class LogSink:
    """Where log lines of the running code go; a batch's buffer or the driver's recorder."""

    __slots__ = ()

    def add(self, call: int, index: int, attempt: int, time_s: float, level: int,
            logger: str, message: str, extra: tuple[tuple[str, Any], ...] = ()) -> None:
        """Take one line; never blocks, never raises."""
        raise NotImplementedError


class Inside(Protocol):
    """What a task run calls, submits and maps itself; made at its first call."""

    in_place: bool
    """It is to be left in the thread of the task run, since that thread does its work."""
    records: list[tuple[str, Any]]
    """Once it is closed: (run id, dataflow.store.Gulp) of all that ran in it, to be sent home."""

    def enter(self) -> FlowRunContext:
        """Return the run that calls go to. Raises where nothing may be called any more."""

    def leave(self, value: Any) -> Any:
        """End it with what the task returned; wait for what is under way, resolve futures."""

    def abandon(self, code: Code, error: BaseException) -> None:
        """End it since the task run did not complete: what is under way is cancelled."""


class _Ended:
    """Stands for the inside of a task run that has ended without one."""

    def __init__(self) -> None:
        self.in_place = True
        self.records: list[tuple[str, Any]] = []

    def enter(self) -> FlowRunContext:
        raise has_ended("The task run")

    def leave(self, value: Any) -> Any:
        return value

    def abandon(self, code: Code, error: BaseException) -> None:
        pass


_ENDED: Inside = _Ended()
entering = threading.Lock()
"""Held while a task run gets its inside or ends."""


def has_ended(who: str) -> MissingContextError:
    """Return the error of a call from a task run that is over."""
    return MissingContextError(
        f"{who} has ended (its time was up, perhaps): what goes on in it can call, submit or map "
        "nothing any more. Nothing was submitted.")


class TaskRunContext:
    """The task run that the current code belongs to. Cheap to make: a million are made."""

    __slots__ = ("args", "attempt", "chosen_name", "code", "index", "inside", "kwargs", "logs",
                 "run")

    caller: FlowRunContext | None = None
    """Of a direct call: the run that made it, to which its own calls are added."""
    around: TaskRunContext | None = None
    """Of a direct call: the task run that made it, if one did."""

    def __init__(self, run: RunInfo | None, code: CallCode, index: int, attempt: int,
                 logs: LogSink | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.run = run
        self.code = code
        self.index = index
        self.attempt = attempt
        self.logs = logs
        self.args = args
        self.kwargs = kwargs
        self.chosen_name: str | None = None
        self.inside: Inside | None = None

    @classmethod
    def get(cls) -> TaskRunContext | None:
        """Return the context of the task that this code runs in, None outside of one."""
        return current_task.get()

    @property
    def task(self) -> Any:
        """The task; on a worker what it knows of it: ``name``, ``fn``, ``tags``, ``retries``."""
        return self.code.task.owner or self.code.task

    @property
    def task_run(self) -> TaskRunView:
        """The task run: ``id``, ``name``, ``run_count``, ``tags``."""
        return TaskRunView(self)

    @property
    def log_prints(self) -> bool:
        """Whether prints go to the log."""
        return self.code.task.log_prints

    @property
    def id(self) -> str | None:
        """Task run id, or None outside a flow run."""
        if self.run is None:
            return None
        return task_run_id(self.run.flow_run_id, self.code.call, self.index)

    @property
    def key(self) -> str | None:
        """What names the work of this task run, or None outside a flow run.

        The same in all its attempts, in later tries of the flow function and when the
        run is resumed, as long as the flow makes the same calls in the same order.
        """
        run, code = self.run, self.code
        if run is None:
            return None
        text = f"{run.key or run.flow_run_id}:{code.task.name}:{code.ordinal}:{self.index}"
        return blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()

    @property
    def name(self) -> str:
        """Task run name."""
        if self.chosen_name is not None:
            return self.chosen_name
        if self.run is None:
            return self.code.task.name
        return element_name(self.run.flow_run_id, self.code.call, self.index,
                            self.code.task.name, self.code.mapped)

    def end(self) -> Inside | None:
        """Note that the task run has ended; return its inside, if it has one.

        Whoever goes on in it (a thread left behind at a timeout) can call nothing any more.
        """
        with entering:
            inside = self.inside
            self.inside = _ENDED if inside is None else inside
        return inside

    @property
    def parameters(self) -> dict[str, Any]:
        """All call parameters by name, defaults included; worked out when asked for."""
        try:
            bound = inspect.signature(self.code.task.fn).bind(*self.args, **self.kwargs)
        except (TypeError, ValueError):  # a function that tells no signature, as some builtins
            return {**dict(zip(self.code.names, self.args, strict=False)), **self.kwargs}
        bound.apply_defaults()
        return dict(bound.arguments)


class DirectCallContext(TaskRunContext):
    """The task run of a direct call."""

    __slots__ = ("around", "caller")

    def __init__(self, caller: FlowRunContext, around: TaskRunContext | None,
                 *fields: Any) -> None:
        super().__init__(*fields)
        self.caller = caller
        self.around = around


class RunDriver(Protocol):
    """What the flow's side asks of the driver of one flow run."""

    run: RunInfo
    deadline: tuple[float, BaseException] | None
    runner: Any  # dataflow.runner.TaskRunner
    fatal: BaseException | None  # what ended it from within

    def start(self) -> None:
        """Begin to take calls; the runner starts at first need."""

    def next_attempt(self, run: RunInfo, *, cancelled: bool = False) -> RunDriver:
        """End here; return the driver of the run's next attempt."""

    def abandon(self, message: str) -> RunDriver:
        """Cancel what is open while another thread is at work in here; return what goes on."""

    def record_subflow(self, call: CallRecord | None, element: ElementRecord) -> None:
        """Record the call that stands for a flow called in this one."""

    def next_call(self, task_name: str = "", kind: str = "") -> int:
        """Return the id for the next call of this run, which is of that task and kind."""

    def ordinal(self, task_name: str) -> int:
        """Return how many calls of a task were made before in this try of the function."""

    def add(self, spec: CallSpec) -> CallView:
        """Add a call to the graph; never blocks."""

    def direct(self, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
               task_key: str, caller: FlowRunContext) -> tuple[CallView, Any]:
        """Run a call here and now; the value is None when it did not complete."""

    async def direct_awaited(self, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
                             task_key: str, caller: FlowRunContext) -> tuple[CallView, Any]:
        """Run a call of an async task on the caller's event loop, else as :meth:`direct`."""

    def stream_began(self, code: CallCode, task_key: str, began_s: float) -> None:
        """Record that the consumption of a generator began."""

    def stream_ended(self, code: CallCode, task_key: str, began_s: float, outcome: Any,
                     history: list[Attempt]) -> CallView:
        """Record how a generator ended that was consumed directly."""

    def view(self, call: int) -> CallView:
        """Return the live columns of a call."""

    def rolled_back(self, call: int, indexes: Sequence[int]) -> None:
        """Say of completed elements that their effects were undone."""

    def committed(self, call: int, *, soon: bool) -> None:
        """Say of a call that a transaction committed it."""

    def keep_txn_values(self, call: int, values: bytes) -> None:
        """Keep what a direct call set in its transaction, for a run that goes on."""

    def wait(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block until ``done()``; return False when the time is up first."""

    def values(self, call: int, indexes: Sequence[int],
               timeout_s: float | None = None) -> list[Any]:
        """Bring the values of completed elements here, in the order asked for."""

    def subscribe(self, call: int, index: int, fn: Callable[[], None]) -> None:
        """Call ``fn()`` once, when the element is final (at once if it is)."""

    def watch(self, watch: Any) -> None:
        """Wake somebody once something is final: a :class:`dataflow.watching.Watch`."""

    def unwatch(self, watch: Any) -> None:
        """Forget somebody who does not wait any more."""

    def cancel(self, call: int, index: int | None = None) -> bool:
        """Cancel what has not begun of a call or an element."""

    def cancel_children(self, parent: int) -> None:
        """Cancel the calls that the task run of a direct call made and that have not ended."""

    def release(self, call: int) -> None:
        """Say that nobody holds a future of the call any more."""

    def record_state(self, state_type: str, state_name: str, message: str | None = None,
                     error: ErrorRecord | None = None) -> None:
        """Record a state of the flow run."""

    def record_result(self, key: bytes | None, place: str | None) -> None:
        """Record under which key the flow run's own result is kept."""

    def log(self, line: LogLine) -> None:
        """Record a log line."""

    def failures(self) -> list[tuple[CallView, int]]:
        """Return the first failed elements of each call."""

    def finish(self, *, cancel: bool, stop_generators: bool = False) -> None:
        """Return when every element is final, after cancelling what can be if asked to."""

    def stop(self, reason: str) -> None:
        """Cancel what can be and refuse further calls; from any thread, without waiting."""

    def close(self, *, cancelled: bool = False) -> None:
        """Write what is left, let go of values and runner."""


class FlowRunContext:
    """The run that calls of the current code belong to: a flow run, or the inside of a task run."""

    __slots__ = (
        "children", "consumed", "control", "driver", "dry", "ended", "flow", "log_prints",
        "logs", "records", "root_flow_run_id", "run", "runner", "store", "tags",
    )

    def __init__(self, run: RunInfo, driver: RunDriver, flow: Any, log_prints: bool,
                 logs: LogSink | None, runner: Any = None,
                 root_flow_run_id: str | None = None) -> None:
        self.run = run
        self.driver = driver
        self.flow = flow
        self.log_prints = log_prints
        self.logs = logs
        self.runner = runner  # shared with flows called inside this one
        self.root_flow_run_id = root_flow_run_id or run.flow_run_id
        self.dry: Any = None  # of a dry run: what stands in for tasks (flow_dry_run.py)
        self.ended = False  # the driver is closed: nothing can be fetched any more
        self.children: set[Any] = set()  # flow runs called in this one that have not ended
        self.tags: frozenset[str] = frozenset()  # of ``with tags(...)`` around a task run
        self.control: Control | None = None  # tells what a task run began that it is to stop
        self.store: Any = None  # open while the run goes on; flows called in it write there too
        self.records: Any = None  # dataflow.recorder.Gathered where no store is at hand
        self.consumed: set[tuple[int, int | None]] = set()
        """Failures that somebody has looked at: (call, index), None for all of a call."""

    @classmethod
    def get(cls) -> Self | None:
        """Return the context of the flow run that this code belongs to, None outside of one.

        Inside of a task it tells of the flow run whatever a worker knows:
        ``flow_run``, ``parameters`` and the flow's name and version.
        """
        here = current_flow.get()
        if here is not None:
            return cast(Self, here)
        task = current_task.get()
        if task is None or task.run is None:
            return None
        return cls._seen_from_task(task.run, task)

    @classmethod
    def _seen_from_task(cls, run: RunInfo, task: TaskRunContext) -> Self:
        flow = FlowFacts(run.flow_name, run.flow_version)
        return cls(run, cast(RunDriver, None), flow, task.log_prints, task.logs, None,
                   run.root_flow_run_id)

    @property
    def flow_run(self) -> FlowRunView:
        """The flow run: ``id``, ``name``, ``parameters``, ``tags``, ``run_count``."""
        return FlowRunView(self.run)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the flow run."""
        return dict(self.run.parameters)

    @property
    def task_runner(self) -> Any:
        """The task runner; None inside of a task on another worker."""
        return self.runner


class FlowFacts(NamedTuple):
    """What a worker knows of the flow whose task it runs."""

    name: str
    version: str | None


def get_run_context() -> TaskRunContext | FlowRunContext:
    """Return the context of the task run, else of the flow run, that this code runs in.

    Raises
    ------
    MissingContextError
        There is no run around.
    """
    around = current_task.get() or current_flow.get()
    if around is None:
        raise MissingContextError(
            "There is no flow run or task run here: get_run_context() works in functions that run "
            "as a task or flow.")
    return around


class TagsContext:
    """The tags of the ``with tags(...)`` blocks around the running code."""

    @property
    def current_tags(self) -> set[str]:
        """The tags of all blocks around together."""
        return set(current_tags.get())

    @classmethod
    def get(cls) -> TagsContext:
        """Return the tags of this moment."""
        return cls()


current_task: ContextVar[TaskRunContext | None] = ContextVar("dataflow_task", default=None)
current_flow: ContextVar[FlowRunContext | None] = ContextVar("dataflow_flow", default=None)
current_tags: ContextVar[frozenset[str]] = ContextVar("dataflow_tags", default=frozenset())
current_transaction: ContextVar[Any] = ContextVar("dataflow_transaction", default=None)
"""A :class:`dataflow.transaction_state.BaseTransaction`, None outside of one."""


@contextmanager
def tags(*names: str) -> Iterator[set[str]]:
    """Add tags to every task and flow run made inside the block; blocks nest.

    Raises
    ------
    TypeError
        A tag is no str.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"tags() takes each tag as a str of its own, e.g. tags('a', 'b'), "
                            f"got {type(name).__name__} {name!r:.80}")
    together = current_tags.get() | frozenset(names)
    token = current_tags.set(together)
    try:
        yield set(together)
    finally:
        current_tags.reset(token)
