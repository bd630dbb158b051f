"""The port between the driver and whatever executes batches.

Lives here: the contract of a task runner. Its adapters live in the top-level
package ``runners`` and are found by name through the entry-point group
``dataflow.runners``; nothing in ``dataflow`` imports them, and only they import
Dask.

A runner is a description until :meth:`TaskRunner.start`. A started runner
serves any number of sessions, one per flow run (a subflow shares its parent's
runner). A session reports through one callable, the *sink*, which is safe to
call from any thread and only enqueues.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self

from dataflow.batch import Batch, Block, RunInfo
from dataflow.outcomes import ErrorRecord, Report

_BLOCKS = "dataflow.runner_block"  # by name: the port knows nobody who uses it

Handle = Any
"""A runner's own reference to a block that lies where it was made."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much a runner can do at once.

    ``slots`` elements can compute at the same time (threads of all workers);
    ``ceiling`` elements can be in flight if they mostly wait (equal to
    ``slots`` where every element occupies a worker thread for good).
    """

    slots: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A batch ran. ``handle`` is None when no value was to be kept."""

    batch: int
    report: Report
    handle: Handle | None


@dataclass(frozen=True, slots=True)
class BatchLost:
    """The infrastructure lost a batch (worker died); its elements may or may not have run."""

    batch: int
    reason: str
    blame: bool = True  # False: certainly not the batch's doing (a lost input, a restart)


@dataclass(frozen=True, slots=True)
class BatchRefused:
    """A batch could not be sent.

    ``errors`` names the calls at fault; the others may go again. Where a call
    stands in ``elements`` too, only those of its elements are at fault.
    """

    batch: int
    errors: dict[int, ErrorRecord] = field(default_factory=dict)
    elements: dict[int, dict[int, ErrorRecord]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CapacityChanged:
    """Workers came or went."""

    capacity: Capacity


@dataclass(frozen=True, slots=True)
class RunnerLost:
    """Nothing submitted will come back (scheduler gone, client closed)."""

    reason: str


RunnerEvent = BatchDone | BatchLost | BatchRefused | CapacityChanged | RunnerLost
Sink = Callable[[RunnerEvent], None]


class RunnerSession(abc.ABC):
    """One flow run's use of a started runner."""

    @abc.abstractmethod
    def capacity(self) -> Capacity:
        """Return the capacity now; changes follow as :class:`CapacityChanged`."""

    @abc.abstractmethod
    def submit(self, batch: Batch, inputs: Sequence[Handle]) -> None:
        """Send a batch. Never blocks for the batch and never raises for its content.

        ``inputs`` are the handles of ``batch.inputs``, in that order; None for a
        block that is gone: the batch then reports what it lacks. Exactly
        one of BatchDone, BatchLost, BatchRefused or RunnerLost follows.
        """

    @abc.abstractmethod
    def fetch(self, handles: Sequence[Handle], timeout_s: float | None = None) -> list[Block]:
        """Bring blocks to the caller's process. Blocks the calling thread.

        Raises
        ------
        TimeoutError
            The blocks did not arrive in time; nothing changed.
        BlockLost
            A block cannot be had any more (``dataflow.exceptions``).
        """

    @abc.abstractmethod
    def release(self, handles: Iterable[Handle]) -> None:
        """Let go of blocks that nobody will ask for again."""

    @abc.abstractmethod
    def cancel(self, batches: Sequence[int]) -> None:
        """Stop batches before their next element, best effort; each still reports."""

    def close(self, *, cancelled: bool = False) -> None:
        """End the session: what it still holds is released, nothing is reported any more."""


class ThreadBudget(Protocol):
    """How many threads several runners of a process may have together. Safe from any thread."""

    def take(self, *, owed: bool = False) -> bool:
        """Take a thread; False where there is none left and none is ``owed``."""

    def give_back(self) -> None:
        """Give a thread back that has ended."""


class TaskRunner(abc.ABC):
    """A task runner as the user writes it: ``@flow(task_runner=DaskTaskRunner(...))``."""

    name: str = "runner"
    synchronous: bool = False
    """True: ``submit`` runs the batch in the calling thread before it returns."""
    local: bool = False
    """True: values stay in this process, so that fetching them takes no time."""
    started: bool = False
    """Set by the driver that started it; a subflow shares its parent's runner."""
    budget: ThreadBudget | None = None
    """Threads that it shares with other runners of this process; None: it has its own."""

    def __enter__(self) -> Self:
        """Begin a flow run that lasts as long as the block: its tasks need no flow."""
        import_module(_BLOCKS).begin(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End it when all that was submitted has ended."""
        import_module(_BLOCKS).end(error)

    @abc.abstractmethod
    def duplicate(self) -> TaskRunner:
        """Return an unstarted runner with the same settings; each flow run gets its own."""

    @abc.abstractmethod
    def start(self) -> None:
        """Acquire what is needed (cluster, client, threads). Called once, lazily."""

    @abc.abstractmethod
    def session(self, run: RunInfo, sink: Sink) -> RunnerSession:
        """Open a session for one flow run."""

    @abc.abstractmethod
    def close(self, *, cancelled: bool = False) -> None:
        """Give back what :meth:`start` acquired and nothing else.

        With ``cancelled`` (Ctrl-C), what still runs is ended within 5 s.
        """

    def restart(self, session: RunnerSession, give_up: Callable[[], bool]) -> bool:
        """Acquire again what a session lost; blocks until that is there or will not be.

        Parameters
        ----------
        session
            One that emitted RunnerLost; it is closed already. Where another run that
            shares the runner has restarted it since, there is nothing to do.
        give_up
            Asked now and then; True ends the waiting.

        Returns
        -------
        bool
            Whether a new session can be opened. Values of the old one are gone.
        """
        return False

    @property
    def dashboard_link(self) -> str | None:
        """Address of a page to watch the runner in, where it has one."""
        return None
