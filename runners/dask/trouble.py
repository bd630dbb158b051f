"""What no worker tells: dead workers, cancelled tasks, reports unheard, nowhere to run.

Lives here: looking after the flights of a session, some ten times a second, on
the link's watch. Does not live here: the good way (``session.py``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from distributed.scheduler import KilledWorker

from dataflow.exceptions import MissingModule
from dataflow.failures import record_of
from dataflow.runner import BatchRefused
from runners.dask import compat, worker_side
from runners.dask.flight import Death, Flight
from runners.dask.link import Link
from runners.dask.placement import describe

logger = logging.getLogger("dataflow.runners.dask")

_UNHEARD_S = 0.3
"""Finished for Dask, but no report heard: it is asked for after so long."""

_CAUSE_S = 2.0
"""How long a loss waits for the nanny to say how the worker died."""

_DEATH_S = 60.0
"""For so long all news of a worker's death is of one and the same."""

_LATE_NEWS_S = 1.0
"""A worker that came so soon after its death is the one that died: the news was late."""

_NOWHERE_S = 10.0
_ASK_TIMEOUT_S = 60.0
_ERROR_TIMEOUT_S = 5.0


class Watched(Protocol):
    """What looking after a session needs of it."""

    link: Link

    def flights(self) -> list[Flight]:
        """Return the batches on their way."""

    def report(self, flight: Flight, data: bytes, kept: bool) -> None:
        """Take in a report, and whether values were kept."""

    def lose(self, flight: Flight, reason: str, *, blame: bool) -> None:
        """Report a batch as lost."""

    def refuse(self, flight: Flight, event: BatchRefused) -> None:
        """Report a batch as refused."""

    def check_connection(self, reason: str | None = None) -> bool:
        """Tell whether the scheduler is gone, and report that it is."""


class Trouble:
    """Looks after the flights of one session."""

    def __init__(self, session: Watched) -> None:
        self._session = session
        self._link = session.link
        self._deaths: dict[str, Death] = {}
        self._doomed: dict[int, tuple[Flight, Death, float]] = {}  # by number: until when
        self._now_s = 0.0
        self._looks: dict[str, Callable[[Flight], None]] = {
            "finished": self._finished, "error": self._erred, "cancelled": self._cancelled,
        }

    def worker_died(self, address: str, keys: frozenset[Any], threads: int) -> None:
        """Doom the flights that a dead worker had, wherever Dask would try them next."""
        self._now_s = time.monotonic()
        death = self._death(address, threads)
        for flight in self._session.flights():
            if flight.key not in keys and flight.worker != address:
                continue
            if compat.cancel_reason(flight.future) is not None:
                self._cancelled(flight)  # a restart by somebody: the worker did not die of it
            else:
                self._doom(flight, death)

    def worker_came(self, address: str) -> None:
        """Be done with the worker that had this address before, if there was one."""
        self._now_s = time.monotonic()
        death = self._deaths.get(address)
        if death is not None and self._now_s - death.at_s > _LATE_NEWS_S:
            del self._deaths[address]
            self._execute_dooms(at=address)

    def tick(self, now_s: float) -> None:
        """Look at every flight once."""
        self._now_s = now_s
        for flight in self._session.flights():
            look = None if flight.future is None else self._looks.get(flight.future.status)
            if look is not None and flight.number not in self._doomed:
                look(flight)
            elif now_s - flight.sent_s > _NOWHERE_S and not flight.warned:
                self._nowhere(flight)
        self._execute_dooms()

    # deaths

    def _death(self, address: str, threads: int) -> Death:
        death = self._deaths.get(address)
        if death is None or self._now_s - death.at_s > _DEATH_S:
            running = {f.number for f in self._session.flights() if f.worker == address}
            # only when all its threads are known to be busy were the others certainly waiting
            full = 0 < threads <= len(running)
            innocent = frozenset(f.number for f in self._session.flights()
                                 if f.number not in running) if full else frozenset()
            death = self._deaths[address] = Death(address, self._now_s, innocent)
        return death

    def _doom(self, flight: Flight, death: Death) -> None:
        wait_s = _CAUSE_S if self._link.deaths.expects_news else 0.0
        if flight.number not in self._doomed:
            self._doomed[flight.number] = (flight, death, self._now_s + wait_s)
            self._forget(flight)

    def _execute_dooms(self, at: str | None = None) -> None:
        """Report what is lost once the cause is known, or its time is over (``at`` a worker)."""
        for number, (flight, death, until_s) in list(self._doomed.items()):
            cause = self._link.deaths.cause(death.address)
            if cause is None and self._now_s < until_s and death.address != at:
                continue
            del self._doomed[number]
            innocent = number in death.innocent
            role = "had it waiting" if innocent else "ran it"
            self._session.lose(
                flight, f"the worker {death.address} that {role} died"
                + (f": {cause}" if cause else " (how is not known)"), blame=not innocent)

    def _forget(self, flight: Flight) -> None:
        """Keep Dask from trying a lost batch again by itself."""
        if flight.future is not None and flight.future.status == "pending":
            with suppress(OSError, RuntimeError, TimeoutError):
                self._link.client.cancel([flight.future])

    # what a future says

    def _finished(self, flight: Flight) -> None:
        if flight.finished_s is None:
            flight.finished_s = self._now_s
        if not flight.ask and self._now_s - flight.finished_s < _UNHEARD_S:
            return
        task = self._link.client.submit(
            worker_side.report_of, flight.future, key=("report-" + flight.key[0], flight.number),
            pure=False, priority=100)
        try:
            data, kept = self._link.call(
                self._link.client.gather(task, asynchronous=True), _ASK_TIMEOUT_S)
        except Exception as error:  # what Dask raises when the holder died meanwhile
            self._session.lose(flight, f"its report cannot be had: {error}", blame=False)
        else:
            self._session.report(flight, data, kept)
        finally:
            task.release()

    def _erred(self, flight: Flight) -> None:
        try:
            error = flight.future.exception(timeout=_ERROR_TIMEOUT_S)
        except Exception as problem:  # whatever Dask could not bring back
            error = problem
        if isinstance(error, KilledWorker):
            if str(error.task) != str(flight.key):
                self._session.lose(flight, f"an input was lost with its worker ({error.task})",
                                   blame=False)
                return
            address = compat.last_worker(error) or flight.worker or "?"
            self._doom(flight, self._death(address, self._link.threads.get(address, 0)))
        elif isinstance(error, ImportError):
            self._session.refuse(flight, _not_installed(flight, error))
        else:
            self._session.lose(flight, f"Dask: {type(error).__name__}: {error}", blame=True)

    def _cancelled(self, flight: Flight) -> None:
        reason = compat.cancel_reason(flight.future)
        if reason == "scheduler-connection-lost":
            self._session.check_connection(reason)
        else:
            self._session.lose(
                flight, "cancelled by somebody else, or an input was lost"
                + (f" ({reason})" if reason else ""), blame=False)

    # nowhere to run

    def _nowhere(self, flight: Flight) -> None:
        if flight.worker is not None:
            return
        placement, link = flight.placement, self._link
        if link.threads and not placement.resources and not placement.workers:
            return
        flight.warned = True
        if not link.threads:
            logger.warning("Batches wait since %d s: the Dask cluster at %s has no workers.",
                           _NOWHERE_S, link.address)
            return
        there = _workers(link.client)
        if not any(_fits(worker, address, placement) for address, worker in there.items()):
            logger.warning(
                "A batch waits since %d s for %s, which no Dask worker has. Workers: %s",
                _NOWHERE_S, describe(placement),
                ", ".join(f"{address} {worker.get('resources') or ''}".strip()
                          for address, worker in there.items()))


def _workers(client: Any) -> dict[str, dict[str, Any]]:
    info: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return info


def _fits(worker: dict[str, Any], address: str, placement: Any) -> bool:
    resources = worker.get("resources") or {}
    if any(resources.get(name, 0) < amount for name, amount in placement.resources):
        return False
    names = {address, str(worker.get("name")), str(worker.get("host"))}
    return not placement.workers or bool(names & set(placement.workers))


def _not_installed(flight: Flight, error: ImportError) -> BatchRefused:
    made = MissingModule(
        f"The Dask scheduler or its workers cannot import what every batch needs: {error}. "
        "Install this package there, in the version of the flow's process.", module=error.name)
    made.__cause__ = error
    record = record_of(made, remote=False)
    return BatchRefused(flight.batch, dict.fromkeys(flight.calls, record))
