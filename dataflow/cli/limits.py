"""``dataflow limit``: ls, set, delete.

Lives here: how a limit is named. Does not live here: who is kept waiting by it
(``stores/agenda/taking.py``).
"""

from __future__ import annotations

from typing import get_args

import click

from dataflow.agenda import LimitKind
from dataflow.cli.options import Output, output_option
from dataflow.cli.pool_names import check_name, check_pool_name
from dataflow.cli.records import opened_store
from dataflow.cli.rendering import print_json, print_table, printable

_KINDS: tuple[LimitKind, ...] = get_args(LimitKind)


@click.group()
def limit() -> None:
    """How many runs may go on at the same time: of a tag, queue, pool or deployment.

    A limit is named tag:db, queue:POOL/QUEUE, pool:default or deployment:flow/name.
    """


def _named(text: str) -> tuple[LimitKind, str]:
    kind, colon, name = text.partition(":")
    if kind not in _KINDS or not colon or not name:
        raise click.UsageError(
            f"{text!r} names no limit: write tag:db, queue:POOL/QUEUE, pool:default or "
            "deployment:flow/name.")
    if kind == "queue" and not all(name.partition("/")):
        raise click.UsageError(f"{text!r}: a queue is named with its pool, queue:POOL/QUEUE.")
    return kind, name


def _check(kind: LimitKind, name: str) -> None:
    """Refuse a name that nothing can have. Raises WorkPoolError."""
    if kind in ("pool", "queue"):
        check_pool_name(name.partition("/")[0] if kind == "queue" else name)
    if kind in ("queue", "tag"):
        check_name(kind, name.partition("/")[2] if kind == "queue" else name)


@limit.command("set")
@click.argument("name")
@click.argument("runs", type=click.IntRange(0, 1_000_000))
@output_option
def set_(name: str, runs: int, output: Output) -> None:
    """Let at most RUNS runs go on at the same time; what goes on goes on. 0: none begins."""
    kind, of = _named(name)
    _check(kind, of)
    with opened_store() as store:
        store.agenda().set_limit(kind, of, runs)
    if output == "json":
        print_json({"kind": kind, "name": of, "limit": runs})
        return
    click.echo(printable(f"At most {runs} run(s) of {kind} {of} at the same time."))


@limit.command()
@click.argument("name")
@output_option
def delete(name: str, output: Output) -> int:
    """Take a limit away: any number of runs may go on at the same time."""
    kind, of = _named(name)
    with opened_store() as store:
        was = store.agenda().set_limit(kind, of, None)
    if not was:
        click.echo(printable(f"Error: {kind} {of} has no limit."), err=True)
        return 1
    if output == "json":
        print_json({"kind": kind, "name": of, "limit": None})
        return 0
    click.echo(printable(f"Any number of runs of {kind} {of} at the same time."))
    return 0


@limit.command()
@output_option
def ls(output: Output) -> None:
    """List the limits, with how many runs go on within each."""
    with opened_store() as store:
        rows = store.agenda().limits()
    if output == "json":
        print_json([{"kind": row.kind, "name": row.name, "limit": row.limit,
                     "running": row.running} for row in rows])
        return
    print_table(("limit", "runs", "running"), [
        (f"{row.kind}:{row.name}", str(row.limit), str(row.running)) for row in rows])
