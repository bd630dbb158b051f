"""``dataflow schedule``: preview, ls, pause, resume.

Lives here: the options and what is shown of a schedule. Does not live here: when it
is due (``dataflow.schedules``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from dataflow.agenda import ScheduleRow
from dataflow.cli.agenda_rows import schedule_fields
from dataflow.cli.options import Output, output_option
from dataflow.cli.quantities import Age
from dataflow.cli.records import moment_of, opened_store
from dataflow.cli.rendering import local_time, print_json, print_table, printable
from dataflow.exceptions import ScheduleError
from dataflow.schedules import At, Cron, Interval, RRule, Schedule

_MOST = 10_000


class _Length(Age):
    """Seconds: ``900``, ``15m``, ``1d``."""

    name = "LENGTH"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        text = str(value).strip()
        if re.fullmatch(r"[+-]?\d+(\.\d+)?", text, re.ASCII):
            return float(text)
        try:
            return super().convert(text, param, ctx)
        except click.BadParameter:
            self.fail(f"{text!r} is no length of time. Write 900 (seconds), 15m, 12h or 1d.",
                      param, ctx)


@click.group()
def schedule() -> None:
    """Look at schedules; let those of deployments rest."""


@schedule.command()
@click.argument("deployment", required=False)
@output_option
def ls(deployment: str | None, output: Output) -> None:
    """List the schedules of all deployments, or of one."""
    with opened_store() as store:
        rows = store.agenda().schedules(deployment)
    if output == "json":
        print_json([schedule_fields(row) for row in rows])
    else:
        print_schedules(rows)


def print_schedules(rows: Sequence[ScheduleRow], *, with_deployment: bool = True) -> None:
    """Print schedules in words, with the slot that comes and what happens to missed ones."""
    head = ("deployment", "slug", "when", "next", "missed", "overlap")
    cells = [(row.deployment, row.slug, _in_words(row), _next(row),
              str(row.spec.get("catch_up", "")), str(row.spec.get("overlap", "")))
             for row in rows]
    skip = 0 if with_deployment else 1
    print_table(head[skip:], [each[skip:] for each in cells])


def _in_words(row: ScheduleRow) -> str:
    from dataflow.schedules import schedule_from_json

    return schedule_from_json(row.spec).describe()


def _next(row: ScheduleRow) -> str:
    if row.paused or not row.active:
        return "paused"
    return "" if row.next_s is None else local_time(moment_of(row.next_s))


@schedule.command()
@click.argument("deployment")
@click.argument("slug")
@output_option
def pause(deployment: str, slug: str, output: Output) -> None:
    """Let one schedule of a deployment rest; what it would have made is not missed."""
    _pause(deployment, slug, True, output)


@schedule.command()
@click.argument("deployment")
@click.argument("slug")
@output_option
def resume(deployment: str, slug: str, output: Output) -> None:
    """Let one schedule of a deployment go on."""
    _pause(deployment, slug, False, output)


def _pause(deployment: str, slug: str, paused: bool, output: Output) -> None:
    with opened_store() as store:
        agenda = store.agenda()
        agenda.pause_schedule(deployment, slug, paused, time.time())
        (row,) = (each for each in agenda.schedules(deployment) if each.slug == slug)
    if output == "json":
        print_json(schedule_fields(row))
        return
    click.echo(printable(
        f"Schedule {slug} of {deployment} is {'paused' if paused else 'active'}."))


@schedule.command()
@click.argument("cron", required=False)
@click.option("--interval", type=_Length(), metavar="LENGTH",
              help="Seconds, or a length such as 15m, 1h, 1d.")
@click.option("--anchor", metavar="ISO", help="With --interval: a moment from which is counted.")
@click.option("--rrule", metavar="RULE", help="A recurrence rule, e.g. FREQ=WEEKLY;BYDAY=MO.")
@click.option("--at", "when", multiple=True, metavar="ISO", help="A moment; may be repeated.")
@click.option("--timezone", "-z", default="UTC", show_default=True, metavar="ZONE",
              help="The zone whose clock it goes by, e.g. Europe/Berlin.")
@click.option("--day-and", is_flag=True,
              help="With CRON: only dates that both day fields allow, not either.")
@click.option("--from", "begin", metavar="ISO",
              help="Show times later than this, in the zone unless it has an offset.  "
                   "[default: now]")
@click.option("--count", "-n", type=click.IntRange(1, _MOST), default=10, show_default=True,
              help="At most so many times.")
@output_option
def preview(
    cron: str | None, interval: float | None, anchor: str | None, rrule: str | None,
    when: tuple[str, ...], timezone: str, day_and: bool, begin: str | None, count: int,
    output: Output,
) -> None:
    """Show a schedule in words, and its next times with their offsets.

    CRON is an expression in quotes, such as "0 9 * * mon-fri"; or give one of --interval,
    --rrule, --at. With --output json: a list of ISO times with offset.
    """
    given = {"CRON": cron, "--interval": interval, "--rrule": rrule, "--at": when or None}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        raise click.UsageError(
            f"Give one of CRON (in quotes), --interval, --rrule and --at"
            f"{', not ' + ' and '.join(names) if names else ''}.")
    for flag, value, needed in (("--anchor", anchor, "--interval"), ("--day-and", day_and, "CRON")):
        if value and names != [needed]:
            raise click.UsageError(f"{flag} goes with {needed}, not with {names[0]}.")
    try:
        if cron is not None:
            made: Schedule = Cron(cron, timezone=timezone, day_or=not day_and)
        elif interval is not None:
            made = Interval(interval, anchor=anchor, timezone=timezone)  # type: ignore[arg-type]  # text is read
        elif rrule is not None:
            made = RRule(rrule, timezone=timezone)
        else:
            made = At(when, timezone=timezone)
        after = _moment(begin, made)
    except ScheduleError as error:
        raise click.UsageError(str(error)) from error
    times = made.after(after, count)
    if output == "json":
        print_json([each.isoformat() for each in times])
    else:
        _print(made, times, after)


def _moment(text: str | None, made: Schedule) -> datetime:
    """Return the moment after which times are shown."""
    if text is None:
        return datetime.now(UTC)
    from dataflow.schedules.definition import checked_moment

    return checked_moment("--from", text, made.zone)


def _print(made: Schedule, times: list[datetime], after: datetime) -> None:
    click.echo(printable(made.describe()))
    click.echo()
    if not times:
        click.echo(f"No time after {after.astimezone(made.zone).isoformat(' ', 'seconds')}.")
        return
    print_table(
        ("time", "day", "clock"),
        [(each.isoformat(" "), f"{each:%a}", made.remark(each) or "") for each in times],
    )
