"""``dataflow deployment``: ls, inspect, run, backfill, pause, resume, delete.

Lives here: what is asked of the agenda and what of it is shown. Does not live
here: registering (``deploy.py``), ``backfill`` (``backfill.py``), parameters of runs
(``run_parameters.py``), the keys of JSON (``agenda_rows.py``).
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import click

from dataflow.agenda import DeploymentRow
from dataflow.cli.agenda_rows import (
    deployment_fields,
    queued_fields,
    schedule_fields,
    shown_spec,
)
from dataflow.cli.backfill import backfill
from dataflow.cli.options import Output, limit_option, output_option
from dataflow.cli.records import flow_run_fields, moment_of, opened_store
from dataflow.cli.rendering import (
    local_time,
    print_fields,
    print_json,
    print_section,
    print_table,
    printable,
)
from dataflow.cli.run_parameters import run_parameters

OK, FAILED = 0, 1


@click.group()
def deployment() -> None:
    """Flows that run without somebody who calls them.

    A deployment is named `flow/name`, by `name` alone where that is unique, or by id.
    """


deployment.add_command(backfill)


@deployment.command()
@output_option
def ls(output: Output) -> None:
    """List the deployments."""
    with opened_store() as store:
        agenda = store.agenda()
        rows, schedules = agenda.deployments(), agenda.schedules()
    if output == "json":
        print_json([deployment_fields(row) for row in rows])
        return
    coming: dict[str, list[float]] = {}
    for each in schedules:
        if each.active and not each.paused and each.next_s is not None:
            coming.setdefault(each.deployment, []).append(each.next_s)
    print_table(
        ("name", "pool", "version", "next run", "tags"),
        [(row.name, row.pool, row.label or str(row.version),
          "paused" if row.paused else
          local_time(moment_of(min(coming[row.name]))) if row.name in coming else "",
          ", ".join(row.spec.get("tags", ()))) for row in rows])


@deployment.command()
@click.argument("name")
@limit_option(5, "runs")
@output_option
def inspect(name: str, limit: int, output: Output) -> None:
    """Show a deployment: its schedules, its versions, its last runs."""
    with opened_store() as store:
        agenda = store.agenda()
        row = agenda.deployment(name)
        schedules, versions = agenda.schedules(row.name), agenda.versions(row.name)
        runs = agenda.queue_of(row.name, limit=limit)
        states = {run.flow_run_id: store.find_flow_run(run.flow_run_id) for run in runs}
    if output == "json":
        print_json({
            **deployment_fields(row),
            "schedules": [schedule_fields(each) for each in schedules],
            "versions": [{"number": each.number, "label": each.label, "digest": each.digest,
                          "created": moment_of(each.created_s),
                          "provenance": each.provenance} for each in versions],
            "runs": [queued_fields(run, states[run.flow_run_id]) for run in runs],
        })
        return
    _print_head(row)
    from dataflow.cli.schedules import print_schedules

    if schedules:
        print_section("Schedules")
        print_schedules(schedules, with_deployment=False)
    _print_triggers(row)
    print_section("Versions")
    print_table(("number", "label", "made", "commit"), [
        (str(each.number), each.label or "", local_time(moment_of(each.created_s)),
         str(each.provenance.get("commit") or "")[:12]) for each in versions[:limit]])
    if runs:
        print_section("Runs")
        print_table(
            ("id", "name", "state", "due", "why"),
            [(run.flow_run_id[:8], states[run.flow_run_id].name,
              states[run.flow_run_id].state_name, local_time(moment_of(run.due_s)),
              run.cause or "") for run in runs],
            states=[states[run.flow_run_id].state_type for run in runs])


def _print_triggers(row: DeploymentRow) -> None:
    from dataflow.triggers.carried import carried

    found = carried([row])
    if found:
        print_section("Triggers")
        print_table(("name", "upon", "does"), [
            (each.slug, each.trigger.describe(), " ".join(filter(None, (
                each.trigger.action, each.trigger.deployment,
                "" if each.trigger.active else "(rests)")))) for each in found])


def _print_head(row: DeploymentRow) -> None:
    spec = row.spec
    print_fields({
        "deployment": row.name,
        "state": "paused" if row.paused else "active",
        "description": spec.get("description"),
        "id": row.id,
        "entry point": spec.get("entrypoint"),
        "source": spec.get("source"),
        "version": f"{row.version}" + (f" ({row.label})" if row.label else ""),
        "pool": f"{row.pool}, queue {row.queue}",
        "priority": row.priority or None,
        "limit": None if row.limit is None else f"{row.limit} at a time ({row.collision})",
        "on crash": row.on_crash,
        "tags": ", ".join(spec.get("tags", ())),
        "parameters": json.dumps(shown_spec(spec)["parameters"], ensure_ascii=False)
        if spec.get("parameters") else None,
    })


@deployment.command()
@click.argument("name")
@click.option("--param", "-p", "params", multiple=True, metavar="NAME=VALUE",
              help="A parameter of the run: JSON, or else a text. May be repeated.")
@click.option("--params", "as_json", metavar="JSON", help="Parameters as one JSON object.")
@click.option("--at", "at", metavar="ISO", help="Not before this moment; in UTC unless it has "
                                                "an offset.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag of the run.")
@click.option("--idempotency-key", metavar="KEY", help="The same key again is the same run.")
@click.option("--priority", type=click.IntRange(-(2**31) + 1, 2**31 - 1),
              help="Instead of the deployment's.")
@click.option("--watch", is_flag=True, help="Wait for its end; exit code 1 unless it completes.")
@output_option
def run(name: str, params: tuple[str, ...], as_json: str | None, at: str | None,
        tags: tuple[str, ...], idempotency_key: str | None, priority: int | None, watch: bool,
        output: Output) -> int:
    """Queue a run of a deployment. Its parameters are checked before."""
    from dataflow.service.asking import POLL_S, ask, waited

    with opened_store() as store:
        row = store.agenda().deployment(name)
        given = run_parameters(params, as_json, row)
        flow_run_id = ask(store, row.name, given, time.time(), due=_moment(at), tags=tags,
                          idempotency_key=idempotency_key, priority=priority)
        found = waited(store, flow_run_id, None if watch else 0.0, POLL_S)
    if output == "json":
        print_json(flow_run_fields(found))
    else:
        message = f": {found.message}" if found.message else ""
        click.echo(printable(
            f"Flow run {found.name} ({found.id}) is {found.state_name}{message}"))
        if not watch:
            click.echo(f"Watch it: dataflow flow-run watch {found.id[:8]}")
    return OK if not watch or found.state_type == "COMPLETED" else FAILED


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"--at {text!r} is no moment: write 2026-12-31T04:00:00+01:00.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@deployment.command()
@click.argument("name")
@output_option
def pause(name: str, output: Output) -> None:
    """Let the schedules of a deployment rest; what they would have made is not missed."""
    _pause(name, True, output)


@deployment.command()
@click.argument("name")
@output_option
def resume(name: str, output: Output) -> None:
    """Let the schedules of a deployment go on."""
    _pause(name, False, output)


def _pause(name: str, paused: bool, output: Output) -> None:
    with opened_store() as store:
        agenda = store.agenda()
        agenda.pause(name, paused, time.time())
        row = agenda.deployment(name)
    if output == "json":
        print_json(deployment_fields(row))
        return
    click.echo(printable(f"{row.name} is {'paused' if paused else 'active'}."))


@deployment.command()
@click.argument("name")
@output_option
def delete(name: str, output: Output) -> None:
    """Take a deployment away; runs that wait are cancelled, those that ended stay on record."""
    with opened_store() as store:
        agenda = store.agenda()
        row = agenda.deployment(name)
        cancelled = agenda.delete(row.name, time.time())
    if output == "json":
        print_json({"name": row.name, "id": row.id, "deleted": True, "cancelled": cancelled})
        return
    waiting = f", {cancelled} waiting run(s) cancelled" if cancelled else ""
    click.echo(printable(f"{row.name} is deleted{waiting}."))
