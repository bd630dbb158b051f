"""The future of one task run, what ``submit`` returns before anything has run.

Lives here: :class:`Future`. Does not live here: how an outcome is read from
the columns (``handles.py``), what a future means as an argument
(``arguments.py``).

A future is a view of one element: the call and an index. Making one costs
nothing that the driver would have to keep.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from dataflow.awaiting import off_loop, until
from dataflow.handles import CallHandle, Deadline
from dataflow.resolve import Marker
from dataflow.states import State

if TYPE_CHECKING:
    from dataflow.explaining import Explanation  # loaded when it is asked for

R = TypeVar("R", covariant=True)
_UNSET: Any = object()
_log = logging.getLogger("dataflow.futures")


class Future(Marker, Generic[R]):
    """The outcome of one task run, which may not exist yet.

    Made by ``submit`` and by :class:`FutureList`; not made by users. Equal to
    another future of the same task run.
    """

    __slots__ = ("_value", "handle", "index")

    def __init__(self, handle: CallHandle, index: int = 0) -> None:
        self.handle = handle
        self.index = index
        self._value: Any = _UNSET

    @property
    def fetched(self) -> bool:
        """Tell whether the value is here already."""
        return self._value is not _UNSET

    @property
    def task_run_id(self) -> str:
        """Id of the task run."""
        return self.handle.id_of(self.index)

    @property
    def name(self) -> str:
        """Name of the task run."""
        return self.handle.name_of(self.index)

    @property
    def state(self) -> State:
        """State as it is now, without waiting."""
        if self.done() and not self.handle.succeeded(self.index):
            self.handle.consume(self.index)
        return self.handle.state(self.index, self)

    def done(self) -> bool:
        """Tell whether the task run has ended."""
        return self.handle.view.is_done(self.index)

    def wait(self, timeout: float | None = None) -> None:
        """Block until the task run has ended or ``timeout`` seconds are over; never raises for it.

        Raises
        ------
        ValueError
            The timeout is negative.
        """
        self.handle.wait(self.done, Deadline(timeout))

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        """Return the value, waiting for it.

        Parameters
        ----------
        timeout
            Seconds to wait at most for its end; the value then has at least 5 s to arrive.
        raise_on_failure
            False: return the exception instead of raising it.

        Raises
        ------
        Exception
            The task's own exception.
        UpstreamTaskError
            The task did not run; the exception of the task run that failed first is chained.
        CancelledRun, CrashedRun
            The task run was cancelled, or the infrastructure failed under it.
        TimeoutError
            The task run did not end in time; it goes on.
        MissingResult
            The flow run has ended and the value was not fetched before.
        ValueError
            The timeout is negative.
        """
        deadline = Deadline(timeout)
        if self._value is not _UNSET:
            return cast(R, self._value)
        if not self.handle.wait(self.done, deadline):
            raise self._late(timeout)
        return self._outcome(deadline, raise_on_failure)

    async def result_async(self, timeout: float | None = None,
                           raise_on_failure: bool = True) -> R:
        """Return the value like :meth:`result`; the event loop goes on meanwhile."""
        deadline = Deadline(timeout)
        if self._value is not _UNSET:
            return cast(R, self._value)
        if not await until(self.handle, self.index, self.done, deadline):
            raise self._late(timeout)
        return await off_loop(self.handle, lambda: self._outcome(deadline, raise_on_failure),
                              nothing_to_fetch=not self.handle.succeeded(self.index))

    async def wait_async(self, timeout: float | None = None) -> None:
        """Wait like :meth:`wait`; the event loop goes on meanwhile."""
        await until(self.handle, self.index, self.done, Deadline(timeout))

    def __await__(self) -> Generator[Any, None, R]:
        return self.result_async().__await__()

    def _late(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"Task run {self.name!r} did not complete within {timeout} seconds")

    def _outcome(self, deadline: Deadline, raise_on_failure: bool) -> R:
        """Return the value, raise or return the error, of a task run that has ended."""
        if self.handle.succeeded(self.index):
            self._value = self.handle.values((self.index,), deadline.to_fetch())[0]
            return cast(R, self._value)
        error = self.handle.error(self.index)
        if raise_on_failure:
            raise error
        return cast(R, error)

    def explain(self) -> Explanation:
        """Return why the task run ran, or why it did not; waits until it has ended.

        ``print(future.explain())`` names the nearest old result and what changed since:
        inputs, code (with a diff), or that it expired. See also
        ``dataflow task-run why``, which tells the same later.

        Raises
        ------
        RunNotFound
            It is not recorded: inside of a task run, where records come with its end.
        """
        from dataflow.explaining import explain_recorded

        self.wait()
        flow_run = self.handle.flow_run
        return explain_recorded(
            None if flow_run.ended else flow_run.store, flow_run.run.flow_run_id,
            self.handle.call, self.index if self.handle.mapped else None)

    def cancel(self) -> bool:
        """Cancel the task run where it has not begun; tell whether that changed anything.

        Downstream of it does not run; the flow goes on.
        """
        if self.handle.flow_run.ended:
            return False
        self.handle.consume(self.index)
        return self.handle.flow_run.driver.cancel(self.handle.call, self.index)

    def add_done_callback(self, fn: Callable[[Future[R]], object]) -> None:
        """Call ``fn(future)`` once the task run has ended, at once if it has.

        It runs on a thread of the framework and should be short; what it
        raises is logged.
        """
        def call() -> None:
            try:
                fn(self)
            except Exception:  # user code: a callback may raise anything
                _log.exception("A done callback of task run %r raised", self.name)

        if self.done():
            call()
        else:
            self.handle.flow_run.driver.subscribe(self.handle.call, self.index, call)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Future) and self.index == other.index
            and self.handle is other.handle
        )

    def __hash__(self) -> int:
        return hash((id(self.handle), self.index))

    def __repr__(self) -> str:
        return f"Future({self.name!r}, {self.handle.state(self.index, None).name})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"The future of task run {self.name!r} cannot be pickled: it belongs to the process "
            "of its flow run. Pass it to a task as an argument, where it arrives as its value, "
            "or take .result() first."
        )


def all_done(pending: deque[Future[Any]]) -> Callable[[], bool]:
    """Return a test whether all have ended that looks at each future about once."""
    def done() -> bool:
        while pending and pending[-1].done():
            pending.pop()
        return not pending

    return done
