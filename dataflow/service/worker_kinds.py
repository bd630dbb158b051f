"""The kinds of workers, and what each needs before it may begin.

Lives here: which kind a pool asks for, the parts that make a worker of it. Does not live
here: the worker's loop (``worker.py``), how each kind begins runs (``processes.py``,
``inline.py``, ``commands.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Literal

from dataflow.agenda import PoolRow, QueuedRun
from dataflow.claims import owner_of_this_process
from dataflow.exceptions import SettingsError, WorkPoolError
from dataflow.service.command_template import CommandTemplate
from dataflow.service.deploying import order_of
from dataflow.service.inline import MainThread
from dataflow.service.orders import Order
from dataflow.service.starters import Starter
from dataflow.service.worker import Worker
from dataflow.settings import get_settings
from dataflow.store import Store

Kind = Literal["process", "inline", "dask", "command"]
DASK_ADDRESS = "DATAFLOW_DASK_ADDRESS"
KINDS: tuple[Kind, ...] = ("process", "inline", "dask", "command")


def worker_of(
    store: Store, pool: str, *, kind: str | None = None, limit: int | None = None,
    queues: Collection[str] | None = None, name: str | None = None,
    dask_address: str | None = None,
) -> tuple[Worker, MainThread | None]:
    """Return a worker of a pool, and what keeps the main thread busy where runs are to be there.

    Parameters
    ----------
    kind
        None: what the pool says, ``process`` where it says nothing.
    dask_address
        Of the scheduler that all flows share; None: what ``DATAFLOW_DASK_ADDRESS``, else the
        pool, says.

    Raises
    ------
    WorkPoolError
        Kind, pool and options do not go together, or no Dask scheduler answers there.
    """
    row = pool_named(store, pool)
    kind = _kind(row, pool, kind)
    address = dask_address or os.environ.get(DASK_ADDRESS) or (
        (row.template or {}).get("dask_address") if row else None)
    if dask_address is not None and kind != "dask":
        raise WorkPoolError(f"A Dask address goes with --type dask, not with {kind}.")
    starter: Starter | None = None
    main: MainThread | None = None
    order: Callable[[QueuedRun], Order] = order_of
    name = name or owner_of_this_process()
    if kind == "inline":
        if limit not in (None, 1):
            raise WorkPoolError(f"A worker of type inline runs one at a time, not {limit}.")
        limit, starter = 1, (main := MainThread())
    elif kind == "dask":
        order = on_cluster(reached(address, pool, made=row is not None))
    elif kind == "command":
        starter = _commands(store, pool, name)
    made = Worker(store, pool, order_of=order, limit=limit, queues=queues, name=name,
                  starter=starter, kind=kind)
    return made, main


def pool_named(store: Store, name: str) -> PoolRow | None:
    """Return what is said of a pool."""
    return next((row for row in store.agenda().pools() if row.name == name), None)


def _kind(row: PoolRow | None, pool: str, kind: str | None) -> str:
    said = "process" if row is None else row.kind
    if kind is None or kind == said:
        return said
    if said == "command":
        raise WorkPoolError(
            f"Pool {pool!r} has a command for its runs: a worker of it is of type command, not "
            f"{kind}. Start it without --type.")
    if kind == "command":
        raise WorkPoolError(
            f"Pool {pool!r} has no command for its runs. Say which: dataflow pool "
            f"{'create' if row is None else 'set'} {pool} --type command --command '…'")
    return kind


def on_cluster(address: str) -> Callable[[QueuedRun], Order]:
    """Return what gives orders whose flows run their tasks on one Dask cluster."""
    def order(run: QueuedRun) -> Order:
        return replace(order_of(run), task_runner={
            "name": "dask", "options": {"address": address}})

    return order


def reached(address: str | None, pool: str, *, made: bool) -> str:
    """Return a Dask scheduler's address, at which one answers. Raises WorkPoolError.

    ``made``: something is said of the pool.
    """
    from dataflow.runner_choice import runner_class

    if not address:
        raise WorkPoolError(
            "A worker of type dask needs the address of a Dask scheduler: --dask-address "
            "tcp://host:8786, DATAFLOW_DASK_ADDRESS, or once for all: dataflow pool "
            f"{'set' if made else 'create'} {pool} --type dask --dask-address tcp://host:8786")
    kind: Any = runner_class("dask")
    try:
        runner = kind(address=address)
        runner.start()
    except (OSError, ValueError) as error:
        raise WorkPoolError(f"No worker was started: {error}") from error
    runner.close()
    return address


def _commands(store: Store, pool: str, worker: str) -> Starter:
    from dataflow.service.commands import Commands
    from dataflow.service.order_files import remove_old

    def template() -> CommandTemplate:
        row = pool_named(store, pool)
        if row is None or row.kind != "command" or row.template is None:
            raise WorkPoolError(f"Pool {pool!r} has no command for its runs any more.")
        return CommandTemplate.of_json(row.template)

    template()
    settings = get_settings()
    folder = settings.home / "orders"
    try:
        remove_old(folder, store.agenda())
    except OSError as error:
        raise SettingsError(f"{folder} cannot be used for files of runs: {error}") from error
    return Commands(template, {"store": settings.store_location, "home": str(settings.home)},
                    worker, folder)
