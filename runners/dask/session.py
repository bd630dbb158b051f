"""One flow run on Dask: batches out, one event per batch back.

Lives here: the session of the port, and who emits which event when. Does not
live here: pickling (``wire.py``), the client (``link.py``), what runs on the
worker (``worker_side.py``), looking after what went wrong (``trouble.py``).

Whoever takes a flight out of ``_flights`` emits its event: a dict's ``pop`` is
atomic, so a batch has one event whichever of report, death and loss comes first.
"""

from __future__ import annotations

import itertools
import logging
import pickle
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError as LocalCancelledError
from contextlib import suppress
from typing import Any

from dataflow.batch import Batch, Block, RunInfo
from dataflow.exceptions import BlockLost, UnpicklableResult
from dataflow.runner import (
    BatchDone,
    BatchLost,
    BatchRefused,
    Capacity,
    CapacityChanged,
    Handle,
    RunnerEvent,
    RunnerLost,
    RunnerSession,
    Sink,
)
from runners.dask import worker_side
from runners.dask.flight import Flight, calls_of
from runners.dask.link import Link
from runners.dask.parcel import Parcel, Result
from runners.dask.placement import ambient, submit_options
from runners.dask.refusal import find_elements, find_guilty
from runners.dask.trouble import Trouble
from runners.dask.wire import Packer, dumps_by_value

logger = logging.getLogger("dataflow.runners.dask")

_DEAD = ("cancelled", "error")
_SCATTER_TIMEOUT_S = 5.0


class DaskSession(RunnerSession):
    """A flow run's use of a Dask cluster.

    Parameters
    ----------
    link
        The line to the scheduler.
    run
        The flow run.
    sink
        Takes events; called from the client's loop, from the link's watch and
        from the thread that submits.
    """

    def __init__(self, link: Link, run: RunInfo, sink: Sink) -> None:
        self.token = secrets.token_hex(4)
        self.link = link
        self._sink = sink
        self._flow_run_id = run.flow_run_id
        self._run8 = run.flow_run_id.replace("-", "")[:8]
        # keys of a run that was resumed must not meet those that a worker still knows
        self._numbers = itertools.count(secrets.randbelow(2**31) << 20)
        self._packer = Packer(self.token, link.topic, run, self._scatter)
        self._packing = threading.Lock()
        self._placing = threading.Lock()
        self._flights: dict[int, Flight] = {}
        self._leaving: list[Any] = []  # futures of batches that keep nothing, let go at leisure
        self._surroundings = ambient()
        self._closed = False
        self._lost: str | None = None
        self._trouble = Trouble(self)
        link.add(self)

    # the port

    def capacity(self) -> Capacity:
        """Return the threads of all workers."""
        return self.link.capacity()

    def submit(self, batch: Batch, inputs: Sequence[Handle]) -> None:
        """Send a batch as one Dask task."""
        placement = self._surroundings.fill(batch.placement)
        flight = Flight(next(self._numbers), batch.id, placement, time.monotonic(),
                        calls_of(batch), batch.collect)
        self._flights[flight.number] = flight
        if not self.check_connection():
            self._depart(flight, batch, list(inputs))

    def fetch(self, handles: Sequence[Handle], timeout_s: float | None = None) -> list[Block]:
        """Bring blocks to this process."""
        if not handles:
            return []
        for handle in handles:
            if handle is None or handle.status in _DEAD:
                raise _lost_block(handle)
        work = self.link.client.gather(list(handles), asynchronous=True,
                                       direct=True if self.link.owned else None)
        try:
            results: list[Result] = self.link.call(work, timeout_s)
        except TimeoutError:
            raise TimeoutError(f"{len(handles)} blocks did not arrive in {timeout_s} s") from None
        except (Exception, LocalCancelledError) as error:  # what Dask or a pickle of values raises
            raise _lost_block(handles[0], error) from error
        return [_opened(result) for result in results]

    def release(self, handles: Iterable[Handle]) -> None:
        """Let go of blocks."""
        for handle in handles:
            if handle is not None:
                handle.release()

    def cancel(self, batches: Sequence[int]) -> None:
        """Stop batches: those that run before their next element, the others at once."""
        wanted = set(batches)
        flights = [f for f in self.flights() if f.batch in wanted]
        if not flights or self._lost is not None:
            return
        keys = [(self.token, f.number) for f in flights]
        left = [(self._flow_run_id, f.collects) for f in flights if f.collects is not None]
        self.link.send(self.link.client.run(worker_side.stop, keys, left, on_error="ignore",
                                            asynchronous=True))
        waiting = [f for f in flights if f.worker is None and f.future is not None]
        for flight in waiting:
            self.lose(flight, "cancelled before it started", blame=False)
        if waiting:
            self.link.client.cancel([f.future for f in waiting])

    def close(self, *, cancelled: bool = False) -> None:
        """End the session; whatever is still in flight is stopped and forgotten."""
        if self._closed:
            return
        self._closed = True
        if cancelled:
            self.cancel([flight.batch for flight in self.flights()])
        self.link.remove(self)
        flights = [f.future for f in self.flights() if f.future is not None]
        self._flights.clear()
        self._packer.constants.close()
        self.release([*flights, *self._leaving])
        self._leaving.clear()

    # departures

    def _depart(self, flight: Flight, batch: Batch, inputs: list[Handle]) -> None:
        there = [h is not None and h.status not in _DEAD for h in inputs]
        try:
            with self._packing:
                packed = self._packer.pack(batch, flight.number, there)
        except Exception as error:  # user values: pickling may raise anything
            if self._flights.pop(flight.number, None) is not None:
                errors = find_guilty(batch, dumps_by_value, error)
                self.emit(BatchRefused(batch.id, errors,
                                       find_elements(batch, errors, dumps_by_value)))
            return
        blocks = [handle for handle, here in zip(inputs, there, strict=True) if here]
        flight.key = (f"{batch.label}-{self._run8}", flight.number)
        try:
            future = self.link.client.submit(
                worker_side.run, packed.sealed, [*packed.constants, *blocks], key=flight.key,
                pure=False, **submit_options(flight.placement))
        except Exception as error:  # a client that is closing raises many things
            if not self.check_connection():
                self.lose(flight, f"could not be sent: {type(error).__name__}: {error}",
                          blame=False)
            return
        with self._placing:
            flight.future = future
            landed = flight.landed
        if landed is not None:
            self._land(flight, *landed)

    def _scatter(self, name: str, parcel: Parcel) -> Any:
        """Put a parcel on a worker; where there is none yet, let the scheduler hold it."""
        client = self.link.client
        if self.link.threads:
            with suppress(TimeoutError):
                futures: dict[str, Any] = client.scatter(
                    {name: parcel}, hash=False, timeout=_SCATTER_TIMEOUT_S)
                return futures[name]
        return client.submit(worker_side.hand_over, parcel, key=name, pure=False)

    # news

    def hear(self, kind: str, number: int, worker: str, *content: Any) -> None:
        """Take news of a batch; called on the client's loop."""
        flight = self._flights.get(number)
        if flight is None:
            return  # computed again by Dask after its worker died: its values count, no records
        if kind == worker_side.STARTED:
            flight.worker = worker
            return
        with self._placing:
            if flight.future is None:
                flight.landed = (kind, *content)
                return
        self._land(flight, kind, *content)

    def _land(self, flight: Flight, kind: str, *content: Any) -> None:
        if kind == worker_side.BROKEN:
            self.lose(flight, "the worker could not run it:\n" + content[0], blame=True)
        elif content[0] is None:
            flight.ask = True
        else:
            self.report(flight, content[0], content[1])

    def report(self, flight: Flight, data: bytes, kept: bool) -> None:
        """Emit the report of a batch."""
        if self._flights.pop(flight.number, None) is None:
            return
        future = flight.future
        if not kept:
            # released a moment later, when the task has ended for Dask too
            self._leaving.append(future)
        self.emit(BatchDone(flight.batch, pickle.loads(data), future if kept else None))

    def lose(self, flight: Flight, reason: str, blame: bool) -> None:
        """Emit the loss of a batch."""
        if self._flights.pop(flight.number, None) is not None:
            self.emit(BatchLost(flight.batch, reason, blame))

    def refuse(self, flight: Flight, event: BatchRefused) -> None:
        """Emit that a batch could not be sent, found out late."""
        if self._flights.pop(flight.number, None) is not None:
            self.emit(event)

    def emit(self, event: RunnerEvent) -> None:
        """Hand an event to the sink, unless the session has ended."""
        if not self._closed:
            self._sink(event)

    def worker_died(self, address: str, keys: frozenset[Any], threads: int) -> None:
        """Take news of a death; called on the link's watch."""
        self._trouble.worker_died(address, keys, threads)

    def worker_came(self, address: str) -> None:
        """Take news of a new worker; called on the link's watch."""
        self._trouble.worker_came(address)

    def capacity_changed(self, capacity: Capacity) -> None:
        """Take a new capacity; called on the link's watch."""
        self.emit(CapacityChanged(capacity))

    def tick(self, now_s: float) -> None:
        """Look after what no news tells; called on the link's watch."""
        if self.check_connection():
            return
        leaving = [f for f in self._leaving if f.done()]
        if leaving:
            self._leaving = [f for f in self._leaving if not f.done()]
            self.release(leaving)
        self._trouble.tick(now_s)

    def flights(self) -> list[Flight]:
        """Return what is in flight."""
        return list(self._flights.values())

    def check_connection(self, reason: str | None = None) -> bool:
        """Tell whether the scheduler is lost; if so, say it, once for all flights."""
        reason = self._lost or reason or self.link.lost
        if reason is None:
            return False
        self._lost = reason
        if self._flights:
            self._flights.clear()
            self.emit(RunnerLost(reason))
        return True


def _lost_block(handle: Any, error: BaseException | None = None) -> BlockLost:
    key = getattr(handle, "key", None)
    what = f"{type(error).__name__}: {error}" if error is not None else getattr(
        handle, "status", "never kept")
    return BlockLost(f"The values of batch {key} cannot be had any more ({what})",
                     key=key, reason=str(what))


def _opened(result: Result) -> Block:
    """Return a block's values in this process."""
    try:
        return result.block()
    except Exception as error:  # user code: what a pickle of values calls
        raise UnpicklableResult(
            "a task's result was pickled on the worker but cannot be unpickled in the flow's "
            f"process: {type(error).__name__}: {error}. Return something that survives "
            "pickle.loads(pickle.dumps(value)), or keep it on the workers."
        ) from error
