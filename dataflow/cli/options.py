"""Options that several commands share.

Lives here: click decorators and the check of their values. Does not live here:
any command.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from dataflow.outcomes import STATE_OF

Output = Literal["table", "json"]
Command = TypeVar("Command", bound=Callable[..., Any])

TASK_RUN_STATES = tuple(dict.fromkeys(name for pair in STATE_OF.values() for name in pair))
FLOW_RUN_STATES = tuple(dict.fromkeys((
    *TASK_RUN_STATES, "SCHEDULED", "Scheduled", "Late", "PAUSED", "Paused", "Suspended",
    "Retrying", "CANCELLING", "Cancelling",
)))
"""Types and names; the names of flow runs are the wider set."""


def output_option(command: Command) -> Command:
    """Add ``--output table|json`` and its short form ``--json``."""
    as_json = click.option(
        "--json", "output", flag_value="json", type=str, help="Short for --output json."
    )
    either = click.option(
        "--output", "-o", "output", type=click.Choice(["table", "json"]), default="table",
        help="How to show it.",
    )
    return either(as_json(command))


def limit_option(default: int | None, what: str) -> Callable[[Command], Command]:
    """Add ``--limit``."""
    return click.option(
        "--limit", "-n", type=click.IntRange(1, 2**31), default=default,
        help=f"At most so many {what}." + (f"  [default: {default}]" if default else ""),
    )


def state_option(known: tuple[str, ...]) -> Callable[[Command], Command]:
    """Add ``--state``, which takes a type or a name in any case."""

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is None:
            return None
        matching = [name for name in known if name.casefold() == value.casefold()]
        if not matching:
            raise click.BadParameter(f"{value!r} is no state. Known are: {', '.join(known)}.")
        return matching[0]

    return click.option(
        "--state", "-s", callback=check, metavar="STATE",
        help="Only runs in this state, a type (FAILED) or a name (TimedOut), in any case.",
    )


def element_options(command: Command) -> Command:
    """Add the ways to name one task run: a reference, or flow run, task and map index."""
    for option in (
        click.option("--task", metavar="NAME", help="Only of the task of this name."),
        click.option(
            "--map-index", "-i", type=click.IntRange(0, 2**36), help="Only this element of a map."
        ),
        click.option("--flow-run", "-f", metavar="REF", help="Only of this flow run."),
    ):
        command = option(command)
    return command


def parameter(text: str) -> tuple[str, Any]:
    """Return name and value of ``NAME=VALUE``: JSON, or else a text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is no parameter: write NAME=VALUE, e.g. -p year=2013.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
