"""``dataflow worker``: start, ls.

Lives here: the options of a worker, and what is shown of those there are. Does
not live here: the worker (``service/worker.py``).
"""

from __future__ import annotations

import logging
import time

import click

from dataflow.agenda import DEFAULT_POOL, WorkerRow
from dataflow.cli.agenda_rows import worker_fields
from dataflow.cli.options import Output, output_option
from dataflow.cli.pool_names import check_name
from dataflow.cli.records import moment_of, opened_store
from dataflow.cli.rendering import local_time, print_json, print_table

KINDS = ("process", "inline", "dask", "command")
_SILENT_S = 60.0


@click.group()
def worker() -> None:
    """Processes that run deployments when they are due."""


@worker.command()
@click.option("--pool", "-p", default=DEFAULT_POOL, show_default=True, metavar="NAME",
              help="Take the runs of this work pool.")
@click.option("--type", "-t", "kind", type=click.Choice(KINDS),
              help="How runs are begun: each in a process of its own (process); in this process, "
                   "one at a time (inline); in processes whose tasks run on one Dask cluster "
                   "(dask); by the pool's command (command).  [default: the pool's]")
@click.option("--queue", "-q", "queues", multiple=True, metavar="NAME",
              help="Only of this queue of the pool; may be repeated.")
@click.option("--limit", "-l", type=click.IntRange(1, 10_000), help="Runs at the same time.")
@click.option("--name", "-n", metavar="NAME", help="Name of the worker; else host and pid.")
@click.option("--dask-address", metavar="ADDRESS",
              help="With --type dask: of the scheduler, tcp://host:8786.  [default: "
                   "DATAFLOW_DASK_ADDRESS, else the pool's]")
@click.option("--no-scheduler", is_flag=True,
              help="Make no runs of schedules: another process does.")
def start(pool: str, kind: str | None, queues: tuple[str, ...], limit: int | None,
          name: str | None, dask_address: str | None, no_scheduler: bool) -> None:
    """Run what is due in a pool, until SIGTERM or Ctrl-C; a second one cancels what goes on."""
    from dataflow.service.serving import work
    from dataflow.service.worker_kinds import worker_of

    if name is not None:
        check_name("worker", name)
    logging.basicConfig(level=logging.INFO,
                        format="%(asctime)s | %(levelname)-7s | %(name)s - %(message)s")
    with opened_store() as store:
        made, main = worker_of(store, pool, kind=kind, limit=limit, queues=queues or None,
                               name=name, dask_address=dask_address)
        work(store, made, schedule=not no_scheduler, main=main)


@worker.command()
@output_option
def ls(output: Output) -> None:
    """List workers, the last one seen first."""
    with opened_store() as store:
        rows = store.agenda().workers()
    if output == "json":
        print_json([worker_fields(row) for row in rows])
        return
    now_s = time.time()
    print_table(
        ("name", "pool", "type", "limit", "seen", "status"),
        [(row.name, row.pool, row.kind, "" if row.limit is None else str(row.limit),
          local_time(moment_of(row.seen_s)), _status(row, now_s)) for row in rows])


def _status(row: WorkerRow, now_s: float) -> str:
    if row.status != "gone" and now_s - row.seen_s > _SILENT_S:
        return "silent"
    return row.status
