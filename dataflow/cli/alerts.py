"""``dataflow alert``: ls, test, rules.

Lives here: the options, and what is shown of messages, channels and alerts: never a
secret. Does not live here: alerts (``dataflow.alerts``), who delivers
(``service/alert_delivery.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from dataflow.cli.options import Output, limit_option, output_option
from dataflow.cli.records import moment_of, opened_store
from dataflow.cli.rendering import local_time, print_json, print_table, printable
from dataflow.event_log import ParcelRow, ParcelStatus

_STATUSES: dict[str, ParcelStatus] = {
    "waiting": "waiting", "delivered": "delivered", "given-up": "given up"}


@click.group()
def alert() -> None:
    """Who is told when runs come to something: what was told, whether a channel works."""


@alert.command()
@click.option("--status", "-s", type=click.Choice(list(_STATUSES)),
              help="Only messages that became of this.")
@limit_option(50, "messages")
@output_option
def ls(status: str | None, limit: int, output: Output) -> None:
    """List messages, the newest first, and what became of them.

    One that waits is tried again, at longer and longer intervals, for a day.
    """
    wanted = None if status is None else _STATUSES[status]
    with opened_store() as store:
        rows = store.events().parcels(wanted, limit)
    if output == "json":
        print_json([parcel_fields(row) for row in rows])
        return
    print_table(
        ("time", "alert", "channel", "title", "attempts", "status", "error"),
        [(local_time(moment_of(row.parcel.created_s)), row.parcel.alert,
          row.parcel.shown_channel, row.parcel.text.title, str(row.parcel.attempts),
          row.status, row.parcel.error or "") for row in rows])


def parcel_fields(row: ParcelRow) -> dict[str, Any]:
    """Return a message's keys in JSON, without secrets."""
    parcel, waits = row.parcel, row.status == "waiting"
    return {
        "id": parcel.id, "created": moment_of(parcel.created_s), "alert": parcel.alert,
        "channel": parcel.shown_channel, "title": parcel.text.title, "body": parcel.text.body,
        "severity": parcel.text.severity, "data": parcel.text.data, "status": row.status,
        "attempts": parcel.attempts, "error": parcel.error,
        "due": moment_of(parcel.due_s) if waits else None,
        "ended": None if row.ended_s is None else moment_of(row.ended_s),
    }


@alert.command()
@click.argument("channel")
@output_option
def test(channel: str, output: Output) -> int:
    """Send a test message through CHANNEL now, and say what happened.

    CHANNEL is a name from [channels] in dataflow.toml, or a URL. The exit code is 1 where the
    message was not taken.
    """
    from dataflow.alerts.channel_urls import shown, without
    from dataflow.exceptions import AlertError
    from dataflow.service.alert_delivery import named_channel
    from dataflow.settings import get_settings

    name, began_s = shown(channel), time.monotonic()
    error: str | None = None
    try:
        opened = named_channel(channel)
        if opened.shown != name:
            name = f"{name} ({opened.shown})"
        opened.send(_message(), get_settings().alerts_timeout_seconds)
    except AlertError as problem:
        error = without(str(problem), channel)
    except Exception as problem:  # of a channel that others wrote: its text may hold a secret
        error = f"{name} failed with a {type(problem).__name__}"
    took_s = time.monotonic() - began_s
    if output == "json":
        print_json({"channel": name, "delivered": error is None, "error": error,
                    "seconds": round(took_s, 3)})
    elif error is None:
        click.echo(printable(f"A test message was delivered to {name} in {took_s:.2f} s."))
    else:
        click.echo(printable(f"Error: {error}"), err=True)
    return 0 if error is None else 1


def _message() -> Any:
    import socket

    from dataflow.alerts.text import Text

    title = f"[test] dataflow on {socket.gethostname()}"
    body = ("This is a test message: alerts that name this channel arrive here.\n"
            "It was sent by `dataflow alert test`.")
    return Text(title=title, body=body, severity="info", data={"alert": "test"})


@alert.command()
@output_option
def rules(output: Output) -> None:
    """List the alerts there are and where they stand: files of settings, and deployments.

    Those of flows that no deployment has come with their runs, and are not listed.
    """
    found = list(_rules())
    if output == "json":
        print_json([{"alert": label, "channels": channels, "where": where}
                    for label, channels, where in found])
        return
    print_table(("alert", "channels", "where"),
                [(label, ", ".join(channels), where) for label, channels, where in found])


def _rules() -> Iterator[tuple[str, list[str], str]]:
    """Yield what an alert is called, its channels without secrets, where it stands."""
    from dataflow.alerts.alert_files import usable
    from dataflow.alerts.channel_urls import shown
    from dataflow.service.alert_sources import AlertSources

    files, problems = usable()
    for alert, where in zip(files.alerts, files.places, strict=True):
        yield alert.label, [shown(each) for each in alert.channels], where
    sources = AlertSources(lambda: (files, []))
    with opened_store() as store:
        rows = store.agenda().deployments()
    for row in rows:
        for alert in sources.own(row.spec.get("alerts", ()), f"deployment {row.name!r}"):
            yield alert.label, [shown(each) for each in alert.channels], f"deployment {row.name}"
    for problem in problems:
        click.echo(printable(f"Not usable: {problem}"), err=True)
