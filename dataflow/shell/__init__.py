"""Shell commands from flows and tasks, in any language, with their output in the run's log.

::

    from dataflow import shell

    done = shell.run("sort -n readings.txt | uniq -c")
    done.exit_code, done.stdout

Lives here: the public names and what they share. Does not live here: the
process (``process.py``), what users of prefect_shell know (``operation.py``).
"""

from __future__ import annotations

from dataflow.shell.operation import ShellOperation, ShellProcess, shell_run_command
from dataflow.shell.running import ShellResult, arun, run

__all__ = [
    "ShellOperation",
    "ShellProcess",
    "ShellResult",
    "arun",
    "run",
    "shell_run_command",
]
