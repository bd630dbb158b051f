"""``dataflow pool queue``: set, ls.

Lives here: priority and limit of the queues of a pool. Does not live here: pools
(``pools.py``), limits of other kinds (``limits.py``).
"""

from __future__ import annotations

import click

from dataflow.cli.options import Output, output_option
from dataflow.cli.pool_names import check_name, check_pool_name
from dataflow.cli.records import opened_store
from dataflow.cli.rendering import print_json, print_table, printable


@click.group()
def queue() -> None:
    """The queues of a pool: which goes first, how many of its runs at the same time."""


@queue.command("set")
@click.argument("pool")
@click.argument("name", metavar="QUEUE")
@click.option("--priority", "-p", type=click.IntRange(-(2**31), 2**31 - 1),
              help="Runs of the queue with the greater number go first; 0 where nothing is said.")
@click.option("--limit", "-l", type=click.IntRange(0, 1_000_000),
              help="Runs at the same time.")
@click.option("--no-limit", is_flag=True, help="Any number at the same time.")
@output_option
def set_(pool: str, name: str, priority: int | None, limit: int | None, no_limit: bool,
         output: Output) -> None:
    """Say how a queue stands among those of its pool; what is not named stays."""
    if no_limit and limit is not None:
        raise click.UsageError("--limit and --no-limit contradict each other.")
    if priority is None and limit is None and not no_limit:
        raise click.UsageError("Give --priority, --limit or --no-limit.")
    check_pool_name(pool)
    check_name("queue", name)
    with opened_store() as store:
        agenda = store.agenda()
        there = next((each for each in agenda.queues(pool) if each.name == name), None)
        before = (0, None) if there is None else (there.priority, there.limit)
        priority = before[0] if priority is None else priority
        limit = None if no_limit else before[1] if limit is None else limit
        agenda.put_queue(pool, name, priority=priority, limit=limit)
    if output == "json":
        print_json({"pool": pool, "name": name, "priority": priority, "limit": limit})
        return
    click.echo(printable(f"Queue {name} of pool {pool} is changed."))


@queue.command()
@click.argument("pool", required=False)
@output_option
def ls(pool: str | None, output: Output) -> None:
    """List the queues of which something was said, of all pools or of one."""
    with opened_store() as store:
        rows = store.agenda().queues(pool)
    if output == "json":
        print_json([{"pool": row.pool, "name": row.name, "priority": row.priority,
                     "limit": row.limit} for row in rows])
        return
    print_table(("pool", "queue", "priority", "limit"), [
        (row.pool, row.name, str(row.priority), "" if row.limit is None else str(row.limit))
        for row in rows])
