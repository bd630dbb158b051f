"""What we use of Dask that its documentation does not promise.

Lives here: every access to a private attribute or undocumented text of dask and
distributed (tried on 2026.8), each with what happens where it is gone. Does not
live here: anything that the public interface can do.

Nothing in here may be needed for correctness: each function does nothing, or
says "unknown", when Dask looks different.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

from distributed.deploy.cluster import Cluster

_CLOSE_S = 2.0
_SEND_INTERVAL_S = 0.0005
"""Messages of ours are held back at most so long, to be sent together."""


def quicken_client(client: Any) -> None:
    """Let our own client send at once, and keep no copies of what it sent.

    Dask gathers a client's messages for 10 ms and remembers the last 1,000 of
    them whole: 10 ms more per round trip, and hundreds of MB with large graphs.
    """
    comm = getattr(client, "scheduler_comm", None)
    if comm is not None and hasattr(comm, "interval"):
        comm.interval = _SEND_INTERVAL_S
    if comm is not None and hasattr(comm, "recent_message_log"):
        comm.recent_message_log = deque(maxlen=0)


def quicken_scheduler(cluster: Any) -> None:
    """Let the scheduler of our own cluster send to its workers every 1 ms instead of 5."""
    comms = getattr(getattr(cluster, "scheduler", None), "stream_comms", None)
    if isinstance(comms, dict):
        for comm in list(comms.values()):
            if hasattr(comm, "interval"):
                comm.interval = _SEND_INTERVAL_S


@contextmanager
def tuned_cluster() -> Iterator[None]:
    """Settings of our own cluster while it is built; the user's settings stay as they are."""
    import dask

    settings: dict[str, Any] = {
        # the engine does the counting: a death is reported at once
        "distributed.scheduler.allowed-failures": 0,
        # the last 1,000 messages to each worker are kept whole otherwise
        "distributed.admin.low-level-log-length": 50,
    }
    with dask.config.set(settings):
        yield


def keep_nannies(cluster: Any) -> None:
    """Let the nannies of our own cluster start workers anew for as long as they die.

    15 s after a death a SpecCluster looks whether a worker of that name is there,
    and closes its nanny for good where none is: also where the second one has
    died just then and the third is about to start.
    """
    plain = getattr(Cluster, "_update_worker_status", None)
    if plain is not None and hasattr(cluster, "_update_worker_status"):
        cluster._update_worker_status = partial(plain, cluster)


def cancel_reason(future: Any) -> str | None:
    """Return why a future is cancelled, None where nothing is known."""
    exception = getattr(getattr(future, "_state", None), "exception", None)
    reason = getattr(exception, "reason", None)
    return str(reason) if reason else None


def purge_topic(topic: str, forget: bool = False, dask_scheduler: Any = None) -> None:
    """Drop the events of a topic on the scheduler; runs there.

    A scheduler keeps the last 1,000 events of each topic for ever.
    """
    broker = getattr(dask_scheduler, "_broker", None)
    if broker is None:
        return
    broker.truncate(topic)
    topics = getattr(broker, "_topics", None)
    if forget and isinstance(topics, dict):
        topics.pop(topic, None)
        # what a worker had said before it was told to stop may still be on its way
        dask_scheduler.loop.call_later(2.0, topics.pop, topic, None)


class Process(Protocol):
    """A worker process as its nanny knows it."""

    @property
    def pid(self) -> int | None:
        """Process id."""

    @property
    def exitcode(self) -> int | None:
        """None while it runs; minus the signal where one killed it."""


def worker_processes(cluster: Any) -> list[tuple[str | None, Process]]:
    """Return the worker processes of the nannies of this process; with addresses once known."""
    found: list[tuple[str | None, Process]] = []
    workers = getattr(cluster, "workers", None)
    for nanny in list(workers.values()) if isinstance(workers, dict) else ():
        started = getattr(nanny, "process", None)
        process: Process | None = getattr(started, "process", None)
        # while it restarts, the nanny still tells the address of the worker that died
        running = getattr(getattr(started, "status", None), "name", None) == "running"
        address = getattr(started, "worker_address", None) if running else None
        if process is not None and hasattr(process, "exitcode"):
            found.append((address if isinstance(address, str) else None, process))
    return found


def worker_pids(cluster: Any) -> list[int]:
    """Return the ids of the worker processes that run, of nannies that live in this process."""
    workers = getattr(cluster, "workers", None)
    nannies = list(workers.values()) if isinstance(workers, dict) else []
    pids = [getattr(nanny, "pid", None) for nanny in nannies]
    return [pid for pid in pids if isinstance(pid, int)]


def no_restarts(cluster: Any) -> None:
    """Tell the nannies of our own cluster to let their workers die."""
    workers = getattr(cluster, "workers", None)
    if isinstance(workers, dict):
        for nanny in list(workers.values()):
            with suppress(AttributeError):
                nanny.close_gracefully("dataflow ends its cluster")


def client_of_worker(worker: Any, timeout_s: Any) -> Any | None:
    """Return the client that a worker shares with its tasks; None where it has none to give."""
    shared = getattr(worker, "_get_client", None)
    return None if shared is None else shared(timeout=timeout_s)


def close_worker_clients(cluster: Any) -> None:
    """Close the clients that workers of this process gave to their tasks.

    Such a client is the process's default one and would try to find its
    scheduler again long after the cluster is closed.
    """
    from distributed import Worker

    made = getattr(Worker, "_initialized_clients", ())
    workers = getattr(cluster, "workers", None)
    for worker in list(workers.values()) if isinstance(workers, dict) else ():
        client = getattr(worker, "_client", None)
        if client is not None and client in made:
            client.close(timeout=_CLOSE_S)


def current_client_variable() -> ContextVar[Any] | None:
    """Return the context variable in which ``Client.current`` looks first."""
    from distributed import client

    variable = getattr(client, "_current_client", None)
    return variable if isinstance(variable, ContextVar) else None


def last_worker(error: Any) -> str | None:
    """Return the address of the worker that a KilledWorker names."""
    address = getattr(getattr(error, "last_worker", None), "address", None)
    return address if isinstance(address, str) else None
