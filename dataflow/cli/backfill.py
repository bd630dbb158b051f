"""``dataflow deployment backfill``.

Lives here: its options, and what is shown of it. Does not live here: which slots are run
(``service/backfill_slots.py``), running them (``service/backfill.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataflow.cli.options import Output, output_option
from dataflow.cli.records import flow_run_fields, opened_store
from dataflow.cli.rendering import iso, print_json, print_table, printable
from dataflow.cli.run_parameters import run_parameters
from dataflow.store import FlowRunRow

if TYPE_CHECKING:
    from dataflow.service.backfill import Backfill

OK, FAILED = 0, 1


@click.command()
@click.argument("name")
@click.option("--from", "start", required=True, metavar="ISO",
              help="The first slot, or a moment before it. A date is its midnight; without an "
                   "offset it is in the zone of the schedule.")
@click.option("--to", "end", required=True, metavar="ISO",
              help="Up to here; a slot at this very moment does not belong to it.")
@click.option("--reprocess", type=click.Choice(["missing", "failed", "all"]), default="missing",
              show_default=True,
              help="Slots without a run; those whose latest run did not complete; all. One whose "
                   "run waits or goes on is left alone.")
@click.option("--schedule", metavar="SLUG",
              help="Only slots of this schedule.  [default: all that do not rest]")
@click.option("--max-active", type=click.IntRange(1, 10_000), default=8, show_default=True,
              help="Runs at the same time.")
@click.option("--newest-first", is_flag=True, help="The newest slot goes first.")
@click.option("--limit", type=click.IntRange(1), default=10_000, show_default=True,
              help="Refuse a span with more slots.")
@click.option("--param", "-p", "params", multiple=True, metavar="NAME=VALUE",
              help="A parameter of all the runs: JSON, or else a text. May be repeated.")
@click.option("--params", "as_json", metavar="JSON", help="Parameters as one JSON object.")
@click.option("--dry-run", is_flag=True,
              help="Say what would happen to each slot; make no run.")
@click.option("--watch/--detach", default=True,
              help="Wait for the end, or leave it to a process of its own.  [default: watch]")
@output_option
def backfill(name: str, params: tuple[str, ...], as_json: str | None, dry_run: bool,
             watch: bool, output: Output, **options: Any) -> int:
    """Run a deployment for slots of its schedules that lie behind.

    The backfill is one flow run with a map of its slots, which makes runs that workers of the
    deployment's pool take. Ctrl-C or `flow-run cancel` cancels those that still wait. `flow-run
    resume` goes on with it, also after it was killed: no slot is run twice. `flow-run retry` runs
    again what failed. Exit code 0 where all slots completed, 1 where one did not.
    """
    from dataflow.service.backfill import performed, planned

    with opened_store() as store:
        given = run_parameters(params, as_json, store.agenda().deployment(name))
        plan = planned(store, name, parameters=given, **options)
    _say_what(plan, dry_run or output == "json")
    if dry_run or not plan.chosen:
        _show_plan(plan, None, dry_run, output)
        return OK
    if not watch:
        from dataflow.service.backfill_process import detached

        flow_run_id = detached(plan.asked)
    else:
        flow_run_id = performed(plan.asked, _say_begun)
    with opened_store() as store:
        row = store.find_flow_run(flow_run_id)
    _show_plan(plan, row, dry_run, output)
    return OK if not watch or row.state_type == "COMPLETED" else FAILED


def _say_what(plan: Backfill, short: bool) -> None:
    """Say on stderr what is done."""
    if plan.cut:
        click.echo("What is still to come is left out.", err=True)
    if not short and plan.chosen:
        left = len(plan.slots) - len(plan.chosen)
        click.echo(f"{len(plan.chosen)} slot(s) are run, {left} are left as they are.", err=True)


def _say_begun(flow_run_id: str) -> None:
    click.echo(f"Backfill {flow_run_id}. If it is cut off, go on with it: "
               f"dataflow flow-run resume {flow_run_id[:8]}", err=True)


def _show_plan(plan: Backfill, row: FlowRunRow | None, dry_run: bool, output: Output) -> None:
    if output == "json":
        print_json({
            "deployment": plan.deployment, "dry_run": dry_run, "cut": plan.cut,
            "slots": [{"schedule": slot.schedule, "slot": slot.at.isoformat(),
                       "slot_utc": iso(slot.at), "runs": slot.runs, "why": slot.why,
                       "flow_run_id": slot.flow_run_id} for slot in plan.slots],
            "run": None if row is None else flow_run_fields(row)})
        return
    if row is not None:
        message = f": {row.message}" if row.message else ""
        click.echo(printable(f"Backfill {row.name} ({row.id}) is {row.state_name}{message}"))
        return
    if dry_run:
        print_table(("slot", "schedule", "what happens", "why"), [
            (slot.at.isoformat(), slot.schedule, "runs" if slot.runs else "stays", slot.why)
            for slot in plan.slots])
    click.echo(f"{len(plan.chosen)} of {len(plan.slots)} slot(s) "
               + ("would run (--dry-run)." if dry_run else "are to be run: nothing was done."))
