"""Futures under the name by which users import them, and waiting for several.

Lives here: :func:`wait` and :func:`as_completed`. Does not live here:
:class:`Future` (``future.py``) and :class:`FutureList` (``future_list.py``),
which are only named here.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from dataflow.future import Future, all_done
from dataflow.future_list import FutureList
from dataflow.handles import CallHandle, Deadline
from dataflow.states import State

__all__ = [
    "DoneAndNotDoneFutures", "Future", "FutureList", "PrefectFuture", "PrefectFutureList",
    "as_completed", "wait",
]

R = TypeVar("R", covariant=True)
_CALLBACK_LAG_MS = 20
_LOOK_S = 0.05  # how long one of several flow runs is waited for before the next is looked at

PrefectFuture = Future
PrefectFutureList = FutureList


class DoneAndNotDoneFutures(NamedTuple):
    """What :func:`wait` returns."""

    done: set[Future[Any]]
    not_done: set[Future[Any]]


def wait(futures: Iterable[Any], timeout: float | None = None) -> DoneAndNotDoneFutures:
    """Wait for futures and return those that are done and those that are not.

    Parameters
    ----------
    futures
        Futures, futures of maps and final states, of one or of several flow runs.
    timeout
        Seconds to wait at most.

    Raises
    ------
    ValueError
        The timeout is negative.
    TypeError
        Something among them is neither a future nor a state.
    """
    deadline = Deadline(timeout)
    unique, states = _sorted_out(futures)
    by_run: dict[int, deque[Future[Any]]] = {}
    for future in unique:
        by_run.setdefault(id(future.handle.flow_run), deque()).append(future)
    for own in by_run.values():
        own[0].handle.wait(all_done(own), deadline)
    done = {future for future in unique if future.done()}
    return DoneAndNotDoneFutures(done | states, set(unique) - done)


def as_completed(futures: Iterable[Any], timeout: float | None = None) -> Iterator[Any]:
    """Yield futures in the order they end, each once; states, which have ended, come first.

    Parameters
    ----------
    futures
        Futures, futures of maps and final states, of one or of several flow runs.
    timeout
        Seconds to wait at most, for all of them.

    Raises
    ------
    TimeoutError
        Not all ended in time; "n (of m) futures unfinished".
    ValueError
        The timeout is negative.
    TypeError
        Something among them is neither a future nor a state.
    """
    deadline = Deadline(timeout)
    unique, states = _sorted_out(futures)
    ended: deque[Future[Any]] = deque()
    for future in unique:
        future.add_done_callback(ended.append)
    return itertools.chain(states, _as_they_end(unique, ended, deadline, len(states)))


def _sorted_out(things: Iterable[Any]) -> tuple[list[Future[Any]], set[Any]]:
    """Return the futures, each once and in order, and the states that no future stands behind."""
    futures: dict[Future[Any], None] = {}
    states: dict[State, None] = {}
    if isinstance(things, (Future, State)):
        things = (things,)
    elif not isinstance(things, Iterable):
        raise TypeError("wait() and as_completed() take futures, e.g. a list of them, got "
                        f"{type(things).__name__} {things!r:.80}")
    for thing in things:
        if isinstance(thing, State) and isinstance(thing.future, Future):
            thing = thing.future
        match thing:
            case Future():
                futures[thing] = None
            case FutureList():
                futures.update(dict.fromkeys(thing))
            case State() if thing.is_final():
                states[thing] = None
            case State():
                raise TypeError(
                    f"The state {thing} does not say when its run ends: pass the run's future")
            case _:
                raise TypeError(
                    f"Futures are waited for, and states; got {type(thing).__name__} {thing!r:.80}")
    return list(futures), set(states)


def _as_they_end(
    unique: list[Future[R]], ended: deque[Future[R]], deadline: Deadline, before: int
) -> Iterator[Future[R]]:
    """Yield futures as their callbacks come; so many others were yielded ``before``."""
    handles = {future.handle for future in unique}
    for count in range(len(unique)):
        while not ended:
            _wait_for_one(handles, ended, deadline)
            if not ended and deadline.left_s() == 0:
                left = len(unique) - count
                raise TimeoutError(f"{left} (of {len(unique) + before}) futures unfinished")
        yield ended.popleft()


def _one_per_run(handles: set[CallHandle]) -> list[CallHandle]:
    """Return one handle of each flow run, the open ones where there are several; at least one."""
    runs = {id(handle.flow_run): handle for handle in handles}
    if len(runs) > 1:
        runs = {id(h.flow_run): h for h in handles if not h.view.is_done()} or runs
    return list(runs.values())


def _wait_for_one(handles: set[CallHandle], ended: deque[Future[R]], deadline: Deadline) -> None:
    """Wait until a callback has come, or a little after an outcome whose callback should come.

    Outcomes wake who waits a moment before the callbacks run on their thread; those of one flow
    run do not wake who waits for another, so that several are looked at in turn.
    """
    views = [handle.view for handle in handles]
    before = sum(view.final for view in views)

    def happened() -> bool:
        return bool(ended) or sum(view.final for view in views) != before

    asked = _one_per_run(handles)
    several = len(asked) > 1
    for handle in itertools.cycle(asked):
        left_s = deadline.left_s()
        if handle.wait(happened, Deadline(_next_look_s(left_s)) if several else deadline):
            break
        if left_s == 0 or not several:
            return
    for _ in range(_CALLBACK_LAG_MS):
        if ended:
            return
        time.sleep(0.001)


def _next_look_s(left_s: float | None) -> float:
    return _LOOK_S if left_s is None else min(_LOOK_S, left_s)
