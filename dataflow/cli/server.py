"""``dataflow server``: start, status; ``dataflow scheduler``: start.

Lives here: options, and what is shown of a service. Does not live here: the service
(``dataflow/server/``), the loops (``service/``).
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import click

from dataflow.cli.options import Output, output_option
from dataflow.cli.records import opened_store
from dataflow.cli.rendering import print_fields, print_json
from dataflow.settings import get_settings

OK, FAILED = 0, 1
_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


def _log() -> None:
    logging.basicConfig(level=getattr(logging, get_settings().log_level),
                        format="%(asctime)s | %(levelname)-7s | %(name)s - %(message)s")


@click.group()
def server() -> None:
    """The service: runs, deployments and schedules over HTTP."""


@server.command()
@click.option("--host", metavar="ADDRESS",
              help="Listen here.  [default: DATAFLOW_API_HOST, else 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), metavar="PORT",
              help="0 takes a free one.  [default: DATAFLOW_API_PORT, else 4207]")
@click.option("--certfile", type=_PEM, help="Certificate chain for TLS, PEM.")
@click.option("--keyfile", type=_PEM, help="Its key, PEM.")
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME",
              help="A name under which it is reached, behind a proxy for one; may be repeated.")
@click.option("--insecure", is_flag=True,
              help="Serve another address than loopback without TLS.")
@click.option("--no-scheduler", is_flag=True,
              help="Leave schedules and events to another process.")
def start(host: str | None, port: int | None, certfile: Path | None, keyfile: Path | None,
          allowed_hosts: tuple[str, ...], insecure: bool, no_scheduler: bool) -> None:
    """Answer requests, make the runs of schedules and draw the consequences of events.

    Until SIGTERM or Ctrl-C.

    One line on standard output says the address. Requests bring the token that is in
    DATAFLOW_API_TOKEN, or in the file `token` in DATAFLOW_HOME, as `Authorization: Bearer`.
    """
    from dataflow.server.addresses import Place
    from dataflow.server.running import run

    _log()
    settings = get_settings()
    place = Place(
        host=settings.api_host if host is None else host,
        port=settings.api_port if port is None else port, certfile=certfile, keyfile=keyfile,
        insecure=insecure, allowed_hosts=(*settings.api_allowed_hosts, *allowed_hosts))
    with opened_store() as store:
        run(store, settings, place, schedule=not no_scheduler,
            say=lambda line: print(line, flush=True))


@server.command()
@click.option("--address", metavar="URL",
              help="Ask this one.  [default: the one that runs with this DATAFLOW_HOME]")
@click.option("--cafile", type=_PEM, help="What its certificate is checked with, PEM.")
@output_option
def status(address: str | None, cafile: Path | None, output: Output) -> int:
    """Ask a service whether it lives, and whether it can answer.

    Exit code 0 where both are so, else 1.
    """
    from dataflow.server import notes
    from dataflow.server.asking import status_of
    from dataflow.server.tokens import known_token

    settings = get_settings()
    note = notes.read(settings.home) if address is None else None
    trusted = str(cafile) if cafile is not None else None
    if note is not None:
        address, trusted = note.address, trusted or note.certfile
    asked = address or f"http://127.0.0.1:{settings.api_port}/api/v1"
    found = status_of(asked, known_token(settings), cafile=trusted)
    facts = {**asdict(found), "pid": None if note is None else note.pid,
             "started": None if note is None else note.started}
    if output == "json":
        print_json(facts)
    else:
        print_fields({**facts, "healthy": _word(found.healthy), "ready": _word(found.ready)})
    return OK if found.healthy and found.ready else FAILED


def _word(is_so: bool) -> str:
    return "yes" if is_so else "no"


@click.group()
def scheduler() -> None:
    """The scheduler by itself: workers and the service bring one along."""


@scheduler.command(name="start")
def start_scheduler() -> None:
    """Make the runs of schedules, and what follows from events, until SIGTERM or Ctrl-C.

    Any number may run on one store.
    """
    from dataflow.service.scheduling import schedule

    _log()
    with opened_store() as store:
        schedule(store)
