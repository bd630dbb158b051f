"""How rows look on a terminal, in a pipe, and as JSON.

Lives here: tables, times, texts made safe to print. Does not live here: what is
shown (the commands). rich is imported only where a terminal is written to;
elsewhere columns are plain, uncut, and two spaces apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

_STYLES = {
    "COMPLETED": "green", "FAILED": "red", "CRASHED": "bold red", "CANCELLED": "yellow",
    "RUNNING": "cyan", "PENDING": "dim", "SCHEDULED": "blue",
}
Row = Sequence[str]


def print_table(
    head: Row, rows: Sequence[Row], *, states: Sequence[str] = (), title: str | None = None
) -> None:
    """Print rows under a head.

    Parameters
    ----------
    states
        State type of each row, for its colour.
    """
    safe = [[printable(cell, newlines=False) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(head, safe, states, title)
        return
    if title is not None:
        click.echo(title)
    widths = [max(len(row[at]) for row in [head, *safe]) for at in range(len(head))]
    for row in [[cell.upper() for cell in head], *safe]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _print_rich(
    head: Row, rows: Sequence[Row], states: Sequence[str], title: str | None
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for at, row in enumerate(rows):
        style = _STYLES.get(states[at], "") if at < len(states) else ""
        table.add_row(*(
            Text(cell, style=style if name == "state" else "")
            for name, cell in zip(head, row, strict=True)
        ))
    Console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print name and value, one below the other; fields without a value are left out."""
    shown = {name: value for name, value in fields.items() if value not in (None, "", ())}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        click.echo(f"{name.ljust(width)}  {printable(str(value), newlines=False)}")


def print_section(title: str) -> None:
    """Print a title with an empty line before it."""
    click.echo()
    click.secho(title, bold=True)


def print_json(value: object) -> None:
    """Print a value as JSON, times as ISO-8601 in UTC."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_to_json))


def _to_json(value: Any) -> str:
    return iso(value) if isinstance(value, datetime) else str(value)


def iso(moment: datetime) -> str:
    """Return a moment as ISO-8601 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def local_time(moment: datetime | None) -> str:
    """Return a moment in the zone of this machine, e.g. ``2026-11-21 02:28:03``."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took, e.g. ``1.23 s`` or ``2 min 3 s``; empty while unknown."""
    if start is None or end is None:
        return ""
    return seconds_text((end - start).total_seconds())


def seconds_text(seconds: float) -> str:
    """Return seconds as people read them, e.g. ``1.23 s`` or ``2 min 3 s``."""
    if seconds < 0.0995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def printable(text: str, *, newlines: bool = True) -> str:
    """Return a text without control characters: names and messages may hold escape sequences."""
    if text.isprintable():
        return text
    return "".join(
        each
        if each.isprintable() or (newlines and each in "\n\t")
        else " " if each in "\n\t" else ascii(each)[1:-1]
        for each in text
    )
