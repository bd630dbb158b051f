"""Dask clients for the code of tasks and flows: :func:`get_dask_client` and its async twin.

Lives here: which client belongs to where the code runs. Does not live here: the
runner's own client, which users do not get (``link.py``).
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from dataflow.context import current_flow, current_task
from dataflow.exceptions import MissingContextError

if TYPE_CHECKING:
    from distributed import Client

    from runners.dask.seats import Seat

Timeout = int | float | str | timedelta | None

_making = threading.Lock()


class _Cluster(NamedTuple):
    """Where a client has to connect to; ``seat`` on a worker, ``client`` where one is there."""

    address: Any
    security: Any
    seat: Seat | None = None
    client: Any = None


@contextmanager
def get_dask_client(timeout: Timeout = None, **client_kwargs: Any) -> Iterator[Client]:
    """Give a client of the cluster on which this code runs, for the time of the block.

    Inside of it, ``.compute()`` of Dask collections is spread over the cluster.

    - In a task on Dask it is the worker's own client, security included; the
      task's slot is free for others as long as the block lasts, so that as many
      tasks as there are slots may wait for the cluster at once.
    - In a flow it is a new client to the cluster of the flow's task runner, which
      is started if need be. It is closed after the block.
    - Outside of runs it is the client that is active in this process.

    Parameters
    ----------
    timeout
        For the connection, in seconds or as ``"10s"``.
    client_kwargs
        Keywords of a ``distributed.Client`` that is made for the block.

    Raises
    ------
    MissingContextError
        There is no Dask here: another task runner, or no client in this process.
    """
    found = _cluster_here()
    with ExitStack() as stack:
        if found.seat is not None:
            stack.enter_context(found.seat.left())
        client = _shared_client(found, timeout) if not client_kwargs else None
        if client is None:
            client = stack.enter_context(_new_client(found, timeout, client_kwargs))
        stack.enter_context(_current(client))
        yield client


@asynccontextmanager
async def get_async_dask_client(
    timeout: Timeout = None, **client_kwargs: Any
) -> AsyncIterator[Client]:
    """As :func:`get_dask_client`, for async code: a client of the running event loop.

    It is made for the block, with the security of the cluster; futures of it are
    awaited (``await client.compute(collection)``).
    """
    found = _cluster_here()
    with ExitStack() as stack:
        if found.seat is not None:
            stack.enter_context(found.seat.left())
        async with _new_client(found, timeout, {**client_kwargs, "asynchronous": True}) as client:
            with _current(client):
                yield client


def _cluster_here() -> _Cluster:
    """Return the cluster that the running code belongs to. Raises MissingContextError."""
    from runners.dask.cluster import address_of, current_client
    from runners.dask.runner import DaskTaskRunner
    from runners.dask.seats import seat_here, seat_of_run

    task, flow = current_task.get(), current_flow.get()
    run = task.run if task is not None else None
    runner = flow.runner if flow is not None else None
    seat = seat_here()
    if seat is None and isinstance(runner, DaskTaskRunner):
        runner.start()
        return _Cluster(runner.scheduler_address, runner.security)
    if seat is None and run is not None:
        seat = seat_of_run(run)
    if seat is not None:
        worker = seat.worker
        return _Cluster(worker.scheduler.address, worker.security, seat)
    if task is not None and run is not None:
        raise _no_dask(f"task run {task.name!r} runs on no Dask worker")
    if flow is not None:
        name = getattr(runner, "name", type(runner).__name__)
        raise _no_dask(f"flow run {flow.run.flow_run_name!r} runs on {name!r}")
    client = current_client()
    if client is None:
        raise MissingContextError(
            "get_dask_client() finds no Dask here: use it in a flow or task on the Dask task "
            "runner, or make a distributed.Client first.")
    return _Cluster(address_of(client), client.security, client=client)


def _no_dask(why: str) -> MissingContextError:
    return MissingContextError(
        f"get_dask_client() needs the Dask task runner, and {why}. Write "
        "@flow(task_runner=DaskTaskRunner()).")


def _shared_client(found: _Cluster, timeout: Timeout) -> Client | None:
    """Return the client that is there already, None where one has to be made."""
    if found.client is not None or found.seat is None:
        client: Client | None = found.client
        return client
    from runners.dask.compat import client_of_worker

    with _making:
        return client_of_worker(found.seat.worker, _seconds(timeout))


def _new_client(found: _Cluster, timeout: Timeout, client_kwargs: dict[str, Any]) -> Client:
    from distributed import Client

    options = {"set_as_default": False, "security": found.security, **client_kwargs}
    if timeout is not None:
        options["timeout"] = _seconds(timeout)
    return Client(found.address, **options)


@contextmanager
def _current(client: Client) -> Iterator[None]:
    """Let Dask collections of this code use a client."""
    from runners.dask.compat import current_client_variable

    variable = current_client_variable()
    if variable is None:
        with client.as_current():
            yield
        return
    token = variable.set(client)  # as_current() would also change the process's configuration
    try:
        yield
    finally:
        variable.reset(token)


def _seconds(timeout: Timeout) -> Any:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
