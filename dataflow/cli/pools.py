"""``dataflow pool``: create, set, ls, inspect, pause, resume, delete, queue.

Lives here: the options and what is shown of pools. Does not live here: what a template may
say (``service/command_template.py``), the queues of a pool (``pool_queues.py``).
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from dataflow.agenda import PoolRow
from dataflow.cli.options import Output, output_option
from dataflow.cli.pool_names import check_pool_name
from dataflow.cli.pool_queues import queue
from dataflow.cli.records import opened_store
from dataflow.cli.rendering import print_fields, print_json, print_table, printable
from dataflow.exceptions import WorkPoolError
from dataflow.store import Store

KINDS = ("process", "inline", "dask", "command")
_UNTOLD: Any = object()


@click.group()
def pool() -> None:
    """Work pools: where runs wait, and what their workers do with them."""


pool.add_command(queue)


def _described(command: Any) -> Any:
    """Add the options that say what a pool is."""
    for option in (
        click.option("--type", "-t", "kind", type=click.Choice(KINDS),
                     help="What its workers are unless told otherwise.  [default: process]"),
        click.option("--command", "-c", metavar="TEMPLATE",
                     help="What a worker of type command runs for each run, with placeholders: "
                          "'docker run --rm --name {name} -e DATAFLOW_ORDER -e DATAFLOW_STORE "
                          "{image} dataflow flow-run perform'. It lasts as long as the run."),
        click.option("--cancel", metavar="TEMPLATE",
                     help="A command that ends a run: 'docker stop {name}'. Without one the "
                          "command is interrupted as by Ctrl-C."),
        click.option("--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="A YAML file with placeholders; {manifest} in the command is the "
                          "file that is made of it."),
        click.option("--variable", "-v", "variables", multiple=True, metavar="NAME=VALUE",
                     help="A placeholder of the pool's own, e.g. image=flows:7; may be repeated."),
        click.option("--dask-address", metavar="ADDRESS",
                     help="Of the scheduler that workers of type dask share."),
        click.option("--limit", "-l", type=click.IntRange(1, 1_000_000),
                     help="Runs at the same time, of all its workers."),
    ):
        command = option(command)
    return command


@pool.command()
@click.argument("name")
@_described
@output_option
def create(name: str, limit: int | None, output: Output, **given: Any) -> None:
    """Make a pool."""
    check_pool_name(name)
    with opened_store() as store:
        if _found(store, name) is not None:
            raise WorkPoolError(
                f"There is a pool {name!r}. Change it: dataflow pool set {name} …")
        made = _with(PoolRow(name=name, limit=limit, paused=False), **given)
        _put(store, made)
    _say(made, output, f"Pool {name} is made, of type {made.kind}. "
                       f"Start a worker: dataflow worker start --pool {shlex.quote(name)}")


@pool.command("set")
@click.argument("name")
@_described
@click.option("--no-limit", is_flag=True, help="Any number of runs at the same time.")
@output_option
def set_(name: str, limit: int | None, no_limit: bool, output: Output, **given: Any) -> None:
    """Change what is said of a pool; what is not named stays. The next runs are begun by it."""
    if no_limit and limit is not None:
        raise click.UsageError("--limit and --no-limit contradict each other.")
    with opened_store() as store:
        row = _known(store, name, make=True)
        new_limit = None if no_limit else row.limit if limit is None else limit
        made = _with(PoolRow(
            name=name, limit=new_limit, paused=row.paused, kind=row.kind,
            template=row.template), **given)
        _put(store, made)
    _say(made, output, f"Pool {name} is changed.")


def _with(row: PoolRow, *, kind: str | None, command: str | None, cancel: str | None,
          manifest: Path | None, variables: tuple[str, ...],
          dask_address: str | None) -> PoolRow:
    """Return a pool with what was given in place of what was said of it."""
    from dataflow.service.command_template import CommandTemplate

    told = {"--command": command, "--cancel": cancel, "--manifest": manifest,
            "--variable": variables or None}
    kind = kind or row.kind
    template = dict(row.template or {}) if kind == row.kind else {}
    for flag, value in told.items():
        if value is not None and kind != "command":
            raise click.UsageError(f"{flag} goes with --type command, not with {kind}.")
    if dask_address is not None and kind != "dask":
        raise click.UsageError(f"--dask-address goes with --type dask, not with {kind}.")
    if kind == "command":
        if command is None and "command" not in template:
            raise click.UsageError("A pool of type command needs --command.")
        own = {**template.get("variables", {}), **dict(map(_variable, variables))}
        template = CommandTemplate.made(
            template.get("command") if command is None else command,  # type: ignore[arg-type]  # one is there
            template.get("cancel") if cancel is None else cancel or None,
            template.get("manifest") if manifest is None else _manifest(manifest), own).to_json()
    elif kind == "dask" and dask_address is not None:
        template = {"dask_address": dask_address}
    return PoolRow(name=row.name, limit=row.limit, paused=row.paused, kind=kind,
                   template=template or None)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is no variable: write NAME=VALUE, e.g. -v image=flows:7.")
    return name, value


def _manifest(path: Path) -> Any:
    import yaml

    try:
        found = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WorkPoolError(f"{path} cannot be read as YAML: {error}") from error
    if len(found) != 1 or not isinstance(found[0], dict):
        raise WorkPoolError(f"{path} holds {len(found)} documents: one mapping is needed. Several "
                            "objects go into one of kind List.")
    try:
        return json.loads(json.dumps(found[0]))
    except TypeError as error:
        raise WorkPoolError(f"{path}: {error}: put dates and the like in quotes.") from error


@pool.command()
@output_option
def ls(output: Output) -> None:
    """List the pools."""
    with opened_store() as store:
        rows = store.agenda().pools()
    if output == "json":
        print_json([pool_fields(row) for row in rows])
        return
    print_table(("name", "type", "limit", "status"), [
        (row.name, row.kind, "" if row.limit is None else str(row.limit),
         "paused" if row.paused else "active") for row in rows])


@pool.command()
@click.argument("name")
@output_option
def inspect(name: str, output: Output) -> None:
    """Show a pool with its template and its queues."""
    with opened_store() as store:
        row = _known(store, name)
        queues = store.agenda().queues(name)
    fields = pool_fields(row)
    if output == "json":
        print_json({**fields, "queues": [
            {"name": each.name, "priority": each.priority, "limit": each.limit}
            for each in queues]})
        return
    template = fields.pop("template") or {}
    print_fields({**fields, **{key: value if isinstance(value, str) else json.dumps(value)
                               for key, value in template.items()}})
    for each in queues:
        print_fields({"queue": f"{each.name}: priority {each.priority}"
                      + ("" if each.limit is None else f", limit {each.limit}")})


@pool.command()
@click.argument("name")
@output_option
def pause(name: str, output: Output) -> None:
    """Let no run of a pool begin; what goes on goes on."""
    _pause(name, True, output)


@pool.command()
@click.argument("name")
@output_option
def resume(name: str, output: Output) -> None:
    """Let runs of a pool begin again."""
    _pause(name, False, output)


def _pause(name: str, paused: bool, output: Output) -> None:
    with opened_store() as store:
        row = _known(store, name, make=True)
        made = PoolRow(name=name, limit=row.limit, paused=paused, kind=row.kind,
                       template=row.template)
        _put(store, made)
    _say(made, output, f"Pool {name} is {'paused' if paused else 'active'}.")


@pool.command()
@click.argument("name")
@output_option
def delete(name: str, output: Output) -> None:
    """Take a pool away, with what is said of its queues; runs that wait in it stay."""
    with opened_store() as store:
        _known(store, name)
        store.agenda().delete_pool(name)
    if output == "json":
        print_json({"name": name, "deleted": True})
        return
    click.echo(printable(f"Pool {name} is deleted."))


def _say(row: PoolRow, output: Output, text: str) -> None:
    if output == "json":
        print_json(pool_fields(row))
    else:
        click.echo(printable(text))


def pool_fields(row: PoolRow) -> dict[str, Any]:
    """Return a pool's keys in JSON."""
    return {"name": row.name, "type": row.kind, "limit": row.limit, "paused": row.paused,
            "template": row.template}


def _found(store: Store, name: str) -> PoolRow | None:
    return next((row for row in store.agenda().pools() if row.name == name), None)


def _known(store: Store, name: str, *, make: bool = False) -> PoolRow:
    """Return a pool; ``make``: one that deployments or workers name is there as well."""
    row = _found(store, name)
    if row is not None:
        return row
    agenda = store.agenda()
    named = {*(each.pool for each in agenda.deployments()),
             *(each.pool for each in agenda.workers())}
    if make and name in named:
        return PoolRow(name=name, limit=None, paused=False)
    known = sorted({*named, *(each.name for each in agenda.pools())})
    raise WorkPoolError(
        f"Nothing is said of a pool {name!r}. "
        + (f"Pools are: {', '.join(known)}." if known else "There are none yet.")
        + f" Make it: dataflow pool create {name}")


def _put(store: Store, row: PoolRow) -> None:
    store.agenda().put_pool(row.name, limit=row.limit, paused=row.paused, kind=row.kind,
                            template=row.template)
