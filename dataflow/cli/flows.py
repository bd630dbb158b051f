"""``dataflow flow``: plan.

Lives here: from a path and parameters to a flow's plan, and how it is shown.
Does not live here: the plan (``dataflow.flow_plan``), finding the flow
(``dataflow.entrypoints``).
"""

from __future__ import annotations

from dataclasses import asdict

import click

from dataflow.cli.options import Output, output_option, parameter
from dataflow.cli.rendering import print_json, printable


@click.group()
def flow() -> None:
    """Look at a flow in a file."""


@flow.command()
@click.argument("entrypoint", metavar="PATH:FLOW")
@click.option("--param", "-p", "parameters", metavar="NAME=VALUE", multiple=True,
              help="A parameter of the run; the value is JSON, else a text. Can be repeated.")
@output_option
def plan(entrypoint: str, parameters: tuple[str, ...], output: Output) -> None:
    """Show what a run would execute and what it would take from kept results.

    PATH:FLOW is path/to/file.py:function. The file is imported and the flow's function is
    called; its tasks are not, and nothing is written.
    """
    from dataflow.entrypoints import load_flow

    given = dict(map(parameter, parameters))
    planned = load_flow(entrypoint).plan(**given)
    if output == "json":
        print_json({
            "flow_name": planned.flow_name, "cached": planned.cached,
            "would_run": planned.would_run, "unknown": planned.unknown,
            "tasks": [asdict(row) for row in planned.rows], "stopped": planned.stopped,
        })
    else:
        click.echo(printable(planned.text()))
