"""The futures of a map, what ``map`` returns at once.

Lives here: :class:`FutureList`, a sequence that makes futures when they are
asked for. Does not live here: a single future (``future.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast, overload

from dataflow.awaiting import off_loop, until
from dataflow.exceptions import MapGivenUp
from dataflow.future import Future, all_done
from dataflow.handles import CallHandle, Deadline
from dataflow.outcomes import STATE_OF, Code
from dataflow.resolve import Marker
from dataflow.states import State

if TYPE_CHECKING:
    from dataflow.explaining import Explanation  # loaded when it is asked for

R = TypeVar("R", covariant=True)


class FutureList(Marker, Sequence[Future[R]]):
    """The futures of a map, or a slice of them, in input order; made on index or iteration.

    Equal to any list of the same futures.
    """

    __slots__ = ("handle", "indexes")

    def __init__(self, handle: CallHandle, indexes: range | None = None) -> None:
        self.handle = handle
        self.indexes = indexes  # None: all, also where it is not known yet how many

    def __len__(self) -> int:
        """Return the number of elements; waits where it is not known yet.

        Raises
        ------
        Exception
            What made the map fail as a whole, so that its length was never known.
        """
        if self.indexes is not None:
            return len(self.indexes)
        count = self._width()
        self._raise_fault()
        return count

    def _width(self) -> int:
        """Return how many elements there are, in a map that failed as a whole those it had."""
        view = self.handle.view
        self.handle.wait(lambda: view.width is not None or view.fault is not None, Deadline(None))
        return len(view.codes) if view.width is None else view.width

    def __bool__(self) -> bool:
        return self._has(0)

    def _raise_fault(self) -> None:
        error = self.handle.fault()
        if error is not None:
            raise error

    def _has(self, position: int) -> bool:
        """Tell whether there is such a position, waiting no longer than for it."""
        if self.indexes is not None:
            return position < len(self.indexes)
        view = self.handle.view
        self.handle.wait(
            lambda: len(view.codes) > position or view.width is not None or view.fault is not None,
            Deadline(None),
        )
        if len(view.codes) > position:
            return True
        self._raise_fault()
        return False

    @overload
    def __getitem__(self, at: int) -> Future[R]: ...
    @overload
    def __getitem__(self, at: slice) -> FutureList[R]: ...
    def __getitem__(self, at: int | slice) -> Future[R] | FutureList[R]:
        if isinstance(at, slice):
            return FutureList(self.handle, self._slice(at))
        position = at if at >= 0 else at + len(self)
        if position < 0 or not self._has(position):
            raise IndexError(f"index {at} is out of range of the map's futures")
        return Future(self.handle, position if self.indexes is None else self.indexes[position])

    def _slice(self, at: slice) -> range:
        start, stop, step = at.start or 0, at.stop, at.step or 1
        if self.indexes is None and start >= 0 and stop is not None and stop >= 0 and step > 0:
            if stop <= start or self._has(stop - 1):  # an endless map can be sliced
                return range(start, max(start, stop), step)
        whole = range(len(self)) if self.indexes is None else self.indexes
        return whole[at]

    def __iter__(self) -> Iterator[Future[R]]:
        position = 0
        while self._has(position):
            yield self[position]
            position += 1

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, Future) or item.handle is not self.handle:
            return False
        return self.indexes is None or item.index in self.indexes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FutureList) and other.handle is self.handle:
            return self.known() == other.known()
        if isinstance(other, (list, FutureList)):
            return len(self) == len(other) and all(map(Future.__eq__, self, other))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(id(self.handle))  # asyncio.gather() keeps what it is given in a dict

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Any]) -> list[Any]:
        return [*other, *self]

    def known(self) -> range:
        """Return the indexes of the elements, waiting until it is known how many there are."""
        return range(self._width()) if self.indexes is None else self.indexes

    def done(self) -> bool:
        """Tell whether every task run has ended."""
        view = self.handle.view
        if self.indexes is None:
            return view.is_done()
        return all(map(view.is_done, self.indexes))

    def _waiter(self) -> Callable[[], bool]:
        """Return :meth:`done` in a form that costs little when asked again and again."""
        view = self.handle.view
        if self.indexes is None:
            return view.is_done
        return all_done(deque(Future(self.handle, index) for index in self.indexes))

    def wait(self, timeout: float | None = None) -> None:
        """Block until every task run has ended or ``timeout`` seconds are over."""
        self.handle.wait(self._waiter(), Deadline(timeout))

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[R]:
        """Return the values in input order, waiting for them.

        Raises as soon as one element fails: the first to fail, not the one
        with the lowest index. With ``min_success_ratio`` below 1 it waits for
        all; where the ratio is reached, None stands in the places of the
        failed ones. With ``max_failures`` it waits until the map is given up,
        or all have ended.

        Raises
        ------
        Exception
            Of the element that failed first, see :meth:`Future.result`.
        MapGivenUp
            More elements failed than ``max_failures`` allows.
        TimeoutError
            Not all ended in time; they go on.
        ValueError
            The timeout is negative.
        """
        deadline = Deadline(timeout)
        if not self.handle.wait(self._known_outcome(raise_on_failure), deadline):
            raise self._late(timeout)
        return self._outcome(deadline, raise_on_failure)

    async def result_async(self, timeout: float | None = None,
                           raise_on_failure: bool = True) -> list[R]:
        """Return the values like :meth:`result`; the event loop goes on meanwhile."""
        deadline, known = Deadline(timeout), self._known_outcome(raise_on_failure)
        if not await until(self.handle, None, known, deadline):
            raise self._late(timeout)
        return await off_loop(self.handle, lambda: self._outcome(deadline, raise_on_failure),
                              nothing_to_fetch=not self.done())

    async def wait_async(self, timeout: float | None = None) -> None:
        """Wait like :meth:`wait`; the event loop goes on meanwhile."""
        await until(self.handle, None, self._waiter(), Deadline(timeout))

    def __await__(self) -> Generator[Any, None, list[R]]:
        return self.result_async().__await__()

    def _late(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(
            f"Timed out waiting for all futures: the map of task {self.handle.view.task_name!r} "
            f"did not complete within {timeout} seconds")

    def _known_outcome(self, raise_on_failure: bool) -> Callable[[], bool]:
        """Return a test whether it is known what :meth:`result` gives or raises."""
        done, decided = self._waiter(), self._decided(raise_on_failure)
        return lambda: done() or decided()

    def _outcome(self, deadline: Deadline, raise_on_failure: bool) -> list[R]:
        """Return the values, or raise, once it is known what."""
        if raise_on_failure:
            self._raise_failure()
        elif not self.known():
            self._raise_fault()  # no element to put it in the place of
        return self._values(deadline.to_fetch(), raise_on_failure)

    def _decided(self, raise_on_failure: bool) -> Callable[[], bool]:
        """Return a test whether what :meth:`result` raises is known before all have ended."""
        handle = self.handle
        if not raise_on_failure or handle.min_success_ratio < 1.0:
            return lambda: False
        if self.indexes is None and handle.max_failures is not None:
            return lambda: self._failed() == -1
        return lambda: self._failed() is not None

    def _failed(self) -> int | None:
        """Return the index of the element that failed first, -1 where the whole call did."""
        view = self.handle.view
        if self.indexes is None and (view.fault is not None or view.given_up is not None):
            return -1
        return next((i for i in view.failed_order if self.indexes is None or i in self.indexes),
                    None)

    def _raise_failure(self) -> None:
        """Raise what a caller who wants values has to know."""
        view, whole = self.handle.view, self.indexes is None
        if whole:
            self._raise_fault()
        first = self._failed()
        if whole and view.given_up is not None:
            self.handle.consume(None)
            order = view.failed_order
            raise MapGivenUp(view.given_up) from (
                self.handle.error(order[0]) if order else None)
        if not self.done():
            raise self.handle.error(cast(int, first))
        indexes = self.known()
        bad = [i for i in indexes if not self.handle.succeeded(i)] if self._any_bad() else []
        if not bad:
            return
        self.handle.consume(None)
        if (len(indexes) - len(bad)) / len(indexes) < self.handle.min_success_ratio:
            raise self.handle.error(bad[0] if first is None else first)

    def _any_bad(self) -> bool:
        codes = self.handle.view.codes
        return codes.count(8) + codes.count(9) < len(codes)

    def _values(self, deadline: Deadline, raise_on_failure: bool) -> list[R]:
        indexes = self.known()
        if not self._any_bad():
            return self.handle.values(indexes, deadline)
        good = [i for i in indexes if self.handle.succeeded(i)]
        found = dict(zip(good, self.handle.values(good, deadline), strict=True))
        for index in indexes:
            if index not in found:
                found[index] = None if raise_on_failure else self.handle.error(index)
        return [found[index] for index in indexes]

    @property
    def fault(self) -> BaseException | None:
        """What made the map fail as a whole: lengths that differ, a generator that raised."""
        return self.handle.fault() if self.indexes is None else None

    @property
    def states(self) -> list[State]:
        """States as they are now, of the elements known so far."""
        known = range(len(self.handle.view.codes)) if self.indexes is None else self.indexes
        return [Future(self.handle, index).state for index in known]

    def counts(self) -> dict[str, int]:
        """Return how many elements are in which state, by name, as far as they are known.

        Costs a scan of one byte per element, some 0.1 ms for a million.
        """
        codes = self.handle.view.codes
        if self.indexes is not None:
            codes = codes[self.indexes.start : self.indexes.stop : self.indexes.step]
        found = {STATE_OF[code][1]: codes.count(code) for code in STATE_OF if code != Code.LEFT}
        return {name: number for name, number in found.items() if number}

    def explain(self, index: int) -> Explanation:
        """Return why an element ran, or why it did not; see :meth:`Future.explain`."""
        return self[index].explain()

    def cancel(self) -> bool:
        """Cancel what has not begun of the map; tell whether that changed anything."""
        if self.handle.flow_run.ended:
            return False
        driver, call = self.handle.flow_run.driver, self.handle.call
        self.handle.consume(None)
        if self.indexes is None:
            return driver.cancel(call, None)
        return sum(driver.cancel(call, index) for index in self.indexes) > 0

    def __repr__(self) -> str:
        view = self.handle.view
        width = "?" if view.width is None else view.width
        count = width if self.indexes is None else len(self.indexes)
        return f"FutureList(task {view.task_name!r}, {count} task runs, {view.final} ended)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"The futures of the map of task {self.handle.view.task_name!r} cannot be pickled: "
            "they belong to the process of their flow run. Pass them to a task as an argument, "
            "or take .result() first."
        )
