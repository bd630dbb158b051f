"""``dataflow config``: the settings and where each came from."""

from __future__ import annotations

import click

from dataflow.cli.options import Output, output_option
from dataflow.cli.rendering import print_json, print_table
from dataflow.settings import NAMES, get_settings, variable


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@output_option
def view(output: Output) -> None:
    """Show each setting, its value, and where the value came from."""
    settings = get_settings()
    values = {name: getattr(settings, name) for name in NAMES}
    if output == "json":
        print_json([
            {"name": variable(name), "value": _plain(value), "source": settings.sources[name]}
            for name, value in values.items()
        ])
        return
    print_table(
        ("setting", "value", "source"),
        [
            (variable(name), "" if value is None else str(value), settings.sources[name])
            for name, value in values.items()
        ],
    )


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else str(value)
