"""The port between a flow run and the place where its records are kept.

Lives here: what can be written and asked, the contract of a store. Adapters
live in ``stores/``. Does not live here: the records themselves
(``records.py``), when a gulp is written (``recorder.py``), or any decision
about states.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dataflow.exceptions import StoreError
from dataflow.outcomes import Attempt, LogLine
from dataflow.records import (
    OWN_CPU_FROM_S,
    PICKLED_BYTES,
    RANGE_ERRORS,
    CallRecord,
    CallRow,
    CallUsage,
    ElementRecord,
    FlowRow,
    FlowRunRecord,
    FlowRunRow,
    Gulp,
    RangeRecord,
    RecordedCall,
    SpanRecord,
    TaskRunRow,
)

if TYPE_CHECKING:
    from dataflow.agenda import Agenda
    from dataflow.claim import Claims
    from dataflow.event_log import EventLog

__all__ = [
    "OWN_CPU_FROM_S",
    "PICKLED_BYTES",
    "RANGE_ERRORS",
    "CallRecord",
    "CallRow",
    "CallUsage",
    "ElementRecord",
    "FlowRow",
    "FlowRunRecord",
    "FlowRunRow",
    "Gulp",
    "RangeRecord",
    "RecordedCall",
    "SpanRecord",
    "Store",
    "TaskRunRow",
]


class Store(abc.ABC):
    """A place where records are kept. One writer at a time per flow run; any number of readers.

    Every method raises :class:`dataflow.exceptions.StoreError` (or a subclass)
    and nothing else when the store fails; the text names the path, what
    happened and what to do, and nothing was written.
    """

    def rest(self) -> bool:
        """Wait for the next flow run of this process; False: it cannot, and is closed.

        What was written is where another process, or who copies a file, finds it.
        """
        self.close()
        return False

    def use_again(self) -> None:
        """End a rest, or raise StoreError: the store is closed and opened anew then.

        Whatever opening it would find is found: that it was moved, replaced, made read-only,
        or written by a newer version.
        """

    @abc.abstractmethod
    def write(self, flow_run_id: str, gulp: Gulp) -> None:
        """Write a gulp in one transaction; on return it survives ``kill -9``.

        Idempotent: rows are keyed by (flow run, call, index, attempt), spans by
        (flow run, call, first index, worker start), so a repeated gulp changes nothing.
        """

    def write_all(self, gulps: Sequence[tuple[str, Gulp]]) -> None:
        """Write gulps of several runs, (flow run id, gulp) each, in one transaction if it can."""
        for flow_run_id, gulp in gulps:
            self.write(flow_run_id, gulp)

    @abc.abstractmethod
    def flow_runs(
        self, *, limit: int | None = 50, state: str | None = None, flow: str | None = None,
        parent: str | None = None, deployment: str | None = None, tag: str | None = None,
        since_s: float | None = None, before: str | None = None,
    ) -> list[FlowRunRow]:
        """Newest first. The insides of task runs are no flow runs.

        Parameters
        ----------
        state
            A state type or name, in any case.
        parent
            Id of the task run that called them.
        deployment
            Full name of the one whose runs they are.
        since_s
            Made at this moment or later, epoch seconds.
        before
            Id of the last run of the page before; this one costs what that one did.

        Raises
        ------
        RunNotFound
            There is no run ``before``.
        """

    @abc.abstractmethod
    def flows(self, *, limit: int | None = 50, after: str | None = None) -> list[FlowRow]:
        """Return the flows that have runs, by name; ``after``: the last of the page before.

        Cost grows with the number of all runs, some 2 µs each.
        """

    @abc.abstractmethod
    def find_flow_run(self, ref: str) -> FlowRunRow:
        """Find by id, unique id prefix (4 characters at least), name, or ``"last"``.

        Raises
        ------
        RunNotFound
            Nothing matches (a LookupError), or several do: the text lists them.
        """

    @abc.abstractmethod
    def calls(self, flow_run_id: str, *, nested: bool = False) -> list[CallRow]:
        """Return the calls of a run in the order they were made, with counts.

        With ``nested`` also those that its task runs made, at every depth, after its own.
        """

    @abc.abstractmethod
    def task_runs(
        self,
        flow_run_id: str | None = None,
        *,
        state: str | None = None,
        call: int | None = None,
        map_index: int | None = None,
        limit: int | None = 50,
        after: tuple[str, int, int] | None = None,
    ) -> list[TaskRunRow]:
        """Elements of a run (of all runs when None) in call and index order; cost grows with
        ``limit``, not with the width of the maps, unless ``state`` is rare in packed spans.

        What task runs ran themselves, at every depth, comes after the run's own. ``call`` is a
        call of ``flow_run_id``, which may be a ``run_id``: then only that one's own are given.
        ``after`` is (run id, call, index) of the last element of the page before, of this
        ``flow_run_id``.
        """

    @abc.abstractmethod
    def children(self, task_run: TaskRunRow, *, limit: int | None = 50) -> list[TaskRunRow]:
        """Return the task runs that a task run made itself, of all its attempts."""

    @abc.abstractmethod
    def find_task_run(self, ref: str, flow_run_id: str | None = None) -> TaskRunRow:
        """Find by id, unique id prefix, name, or ``"last"``. Raises RunNotFound."""

    @abc.abstractmethod
    def usage(self, flow_run_id: str) -> list[CallUsage]:
        """Return what the calls of a run and of what its task runs ran used, of those that say so.

        Elements that have not ended are not in it, nor what is not kept: an element of a map
        that is to be retried, and what a call's earlier attempts used. Cost: a read of each span.
        """

    @abc.abstractmethod
    def attempts(self, flow_run_id: str, call: int, index: int) -> Sequence[Attempt]:
        """Return the executions of an element that were followed by a retry."""

    @abc.abstractmethod
    def logs(
        self, flow_run_id: str, *, call: int | None = None, index: int | None = None,
        limit: int | None = None,
    ) -> Iterable[LogLine]:
        """Log lines of a run, or of one element, in time order; a run's own, not of insides."""

    @abc.abstractmethod
    def nested_logs(
        self, flow_run_id: str, *, limit: int | None = None, since_s: float | None = None,
    ) -> Iterable[tuple[str, LogLine]]:
        """Log lines of a run and of what its task runs ran, in time order: (run id, line).

        ``since_s``: only those of this moment or later, epoch seconds.
        """

    @abc.abstractmethod
    def lease(
        self, flow_run_id: str, owner: str, *, now_s: float, until_s: float,
        take_over: bool = False,
    ) -> int:
        """Make a process the one that drives a run; return the run's new epoch.

        What an earlier owner still writes under its epoch is refused from now on.

        Parameters
        ----------
        owner
            See :func:`dataflow.claims.owner_of_this_process`.
        until_s
            Epoch seconds; :meth:`renew` moves it on.
        take_over
            Also where somebody else's lease is not over.

        Raises
        ------
        RunOwned
            Another's lease is not over, and its process is not known to be dead.
        RunNotFound
            There is no such run.
        """

    @abc.abstractmethod
    def renew(self, flow_run_id: str, epoch: int, until_s: float) -> None:
        """Move the end of a lease on. Raises RunFenced where the run has another epoch now."""

    @abc.abstractmethod
    def give_up_lease(self, flow_run_id: str, epoch: int) -> None:
        """Let the next one have the run at once; nothing happens where it has it already."""

    @abc.abstractmethod
    def reopen(
        self, flow_run_id: str, codes: Sequence[int],
        elements: Mapping[int, Sequence[int] | None] | None = None, *, fence: int | None = None,
    ) -> int:
        """Let elements begin anew that ended so: their rows are PENDING from now on.

        Ranges that ended so are forgotten. What ended as part of a span has no row; a row that
        follows has the last word on it. Returns how many rows there were that ended so. Raises
        RunFenced, and nothing changed.

        Parameters
        ----------
        codes
            How they ended.
        elements
            Call → other elements that begin anew: each has a row from now on, PENDING. None:
            the map as a whole, of whose elements and width nothing is kept.
        """

    @abc.abstractmethod
    def put_inputs(self, flow_run_id: str, blob: bytes) -> None:
        """Keep the parameters that a run was started with, pickled. Raises RunNotFound."""

    @abc.abstractmethod
    def inputs(self, flow_run_id: str) -> bytes | None:
        """Return what :meth:`put_inputs` kept, None where there is nothing."""

    @abc.abstractmethod
    def put_code(self, digest: str, text: str) -> None:
        """Keep the description of a task's code under its digest; what is there stays."""

    @abc.abstractmethod
    def code(self, digest: str) -> str | None:
        """Return what :meth:`put_code` kept, None where there is nothing."""

    @abc.abstractmethod
    def recorded(self, flow_run_id: str, first_call: int = 0) -> Iterator[RecordedCall]:
        """Yield what is recorded of a run's own calls, in order, from ``first_call`` on.

        One transaction for all of it. Cost: some µs per span, row and range; a byte per element.
        """

    @abc.abstractmethod
    def keys(self, flow_run_id: str, call: int, indexes: Iterable[int]) -> dict[int, bytes]:
        """Return the cache keys of elements, of those that have an outcome and a key."""

    @abc.abstractmethod
    def key_column(self, flow_run_id: str, call: int, width: int) -> bytearray:
        """Return the keys of the first ``width`` elements of a call, 16 bytes each.

        Of zeros where :meth:`keys` gives none. A million of them take some 0.1 s.
        """

    @abc.abstractmethod
    def claims(self) -> Claims:
        """Return where cache keys are claimed by those who compute them; always the same."""

    def agenda(self) -> Agenda:
        """Return what is to run: deployments, schedules, the queue.

        Raises
        ------
        StoreError
            This kind of store keeps none.
        """
        raise StoreError(
            "This run store keeps no deployments, schedules or queued runs. Nothing was changed. "
            "What to do: use a file or PostgreSQL (DATAFLOW_STORE).", path="", reason="no agenda")

    def events(self) -> EventLog:
        """Return what has happened, and what is to follow from it.

        Raises
        ------
        StoreError
            This kind of store keeps none.
        """
        raise StoreError(
            "This run store keeps no events. Nothing was changed. What to do: use a file or "
            "PostgreSQL (DATAFLOW_STORE).", path="", reason="no events")

    @abc.abstractmethod
    def close(self) -> None:
        """Give the connections back."""
