"""``dataflow version``."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of

import click

from dataflow import __version__
from dataflow.cli.options import Output, output_option
from dataflow.cli.rendering import print_fields, print_json

_SHOWN = ("dask", "distributed", "pydantic", "sqlalchemy")


@click.command()
@output_option
def version(output: Output) -> None:
    """Show the versions of dataflow and of what it stands on."""
    versions = {
        "dataflow": __version__,
        "python": platform.python_version(),
        **{name: version_of(name) for name in _SHOWN},
    }
    if output == "json":
        print_json(versions)
    else:
        print_fields(versions)
