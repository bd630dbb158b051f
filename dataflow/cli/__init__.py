"""The command ``dataflow``.

Lives here: the list of commands, each imported when it is called, and the one
place where errors become a line on stderr and an exit code. Does not live here:
what a command does (a module each), how it is shown (``rendering.py``).

Exit codes: 0; 1 for an error (no such run, an unusable store or setting) and for a
run that did not complete; 2 for wrong usage; 130 when interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from dataflow.exceptions import DataflowError

OK, FAILED, INTERRUPTED = 0, 1, 130

_COMMANDS = {
    "alert": "dataflow.cli.alerts:alert",
    "cache": "dataflow.cli.cache:cache",
    "config": "dataflow.cli.config:config",
    "deploy": "dataflow.cli.deploy:deploy",
    "deployment": "dataflow.cli.deployments:deployment",
    "event": "dataflow.cli.events:event",
    "flow": "dataflow.cli.flows:flow",
    "flow-run": "dataflow.cli.flow_runs:flow_run",
    "limit": "dataflow.cli.limits:limit",
    "pool": "dataflow.cli.pools:pool",
    "schedule": "dataflow.cli.schedules:schedule",
    "scheduler": "dataflow.cli.server:scheduler",
    "server": "dataflow.cli.server:server",
    "task-run": "dataflow.cli.task_runs:task_run",
    "worker": "dataflow.cli.workers:worker",
    "version": "dataflow.cli.version:version",
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Look at what flows did, from the records in DATAFLOW_HOME, and go on with it.

    A run is named by its id, the front of it (4 characters at least), its name,
    or `last`.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors become one text on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    try:
        code = cli.main(args=arguments, prog_name="dataflow", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        _discard_output()
        return OK
    except DataflowError as error:
        click.echo(f"Error: {error}", err=True)
        return FAILED
    return code if isinstance(code, int) else OK


def _discard_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter can end without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
