"""Runs that a command takes elsewhere: into a container, a job of a cluster or batch system.

Lives here: running the template's command for a run, watching it, its last words, its
cancel. Does not live here: the template (``command_template.py``), the files it is given
(``order_files.py``), what happens in the container (``run_process.py``).

The command stands for the run: it lasts as long. Where the worker dies it goes on, and so
does the run, whose lease its own process renews.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dataflow.agenda import QueuedRun
from dataflow.exceptions import WorkPoolError
from dataflow.service.command_template import CommandTemplate, filled, filled_value
from dataflow.service.order_files import RunFiles
from dataflow.service.orders import VARIABLE, Order

NOT_STARTED = 127
_LOOK_S = 0.2
_CANCEL_S = 60.0
_NO_USE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOEXEC, errno.E2BIG)
_WORDS = 20  # lines of stderr that are kept in the run's message
_WORDS_BYTES = 4000

logger = logging.getLogger("dataflow.worker")


class CommandRun:
    """A run that a command stands for.

    Parameters
    ----------
    process
        The command, started in a process group of its own.
    cancel_words
        Words of the command that ends it; None: it is interrupted.
    files
        What was written for it; taken away when it has ended.
    """

    kills = None  # it is not the process that computes

    def __init__(self, process: subprocess.Popen[bytes], cancel_words: Sequence[str] | None,
                 files: RunFiles) -> None:
        self._process = process
        self._cancel_words = cancel_words
        self._files = files
        self._asked_s: float | None = None
        self._said = ""
        self._over = threading.Event()

    @property
    def pid(self) -> int:
        """Return the process id of the command."""
        return self._process.pid

    @property
    def told_to_end(self) -> bool:
        """Tell whether it was cancelled."""
        return self._asked_s is not None

    def watch(self, ended: Callable[[], object]) -> None:
        """Pass on what the command says, in a thread, and note its end."""
        threading.Thread(target=self._watch, args=(ended,), daemon=True,
                         name="dataflow-command").start()

    def _watch(self, ended: Callable[[], object]) -> None:
        shown = 0
        while True:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_S)
            with suppress(OSError):  # the disk, or whoever reads what the worker says
                shown = self._files.pass_on(shown, sys.stderr)
            if self._process.returncode is not None:
                break
        self._said = self._files.last_lines(_WORDS, _WORDS_BYTES)
        self._files.remove()
        self._over.set()
        ended()

    def exit_code(self) -> int | None:
        """Return its exit code, the negative number of a signal, None while it goes on."""
        return self._process.returncode if self._over.is_set() else None

    def words(self) -> str:
        """Return the last lines that it wrote to stderr."""
        return self._said

    def cancel(self, now_s: float, patience_s: float) -> None:
        """End the run by the template's command, or interrupt it; past the patience, kill it."""
        if self._asked_s is None:
            self._asked_s = now_s
            if self._cancel_words is None:
                self._signal(signal.SIGINT)
            else:
                threading.Thread(target=self._call_off, args=(self._cancel_words,), daemon=True,
                                 name="dataflow-cancel").start()
        elif now_s - self._asked_s > patience_s:
            self._signal(signal.SIGKILL)

    def _call_off(self, words: Sequence[str]) -> None:
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=_CANCEL_S, check=False, text=True, errors="replace")
        except (OSError, subprocess.TimeoutExpired) as error:
            logger.error("%s: %s. The run's command is interrupted instead.", words[0], error)
        else:
            if done.returncode == 0:
                return
            logger.error("%s ended with exit code %d: %s. The run's command is interrupted "
                         "instead.", words[0], done.returncode, done.stderr.strip()[-500:])
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End the command at once; what it started elsewhere sees that the run is not its own."""
        self._signal(signal.SIGKILL)

    def end_children(self) -> None:
        """End what the command left in its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


class NotBegun:
    """A run whose command could not even be started.

    Parameters
    ----------
    said
        Why.
    """

    pid = 0
    told_to_end = False
    kills = None

    def __init__(self, said: str) -> None:
        self._said = said

    def exit_code(self) -> int:
        """Return what a shell returns then."""
        return NOT_STARTED

    def words(self) -> str:
        """Return why."""
        return self._said

    def cancel(self, now_s: float, patience_s: float) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""

    def end_children(self) -> None:
        """Do nothing."""


class Commands:
    """Begins runs by a pool's template.

    Parameters
    ----------
    template
        Returns it as it is now: a change counts for the next run.
    settings
        ``store`` and ``home`` as the command is to know them.
    worker
        Name of the worker.
    folder
        Where files of runs are written.
    """

    def __init__(self, template: Callable[[], CommandTemplate], settings: Mapping[str, str],
                 worker: str, folder: Path) -> None:
        self._template = template
        self._settings = settings
        self._worker = worker
        self._folder = folder

    def begin(self, run: QueuedRun, order: Order,
              ended: Callable[[], object]) -> CommandRun | NotBegun:
        """Start the command of a run."""
        files = RunFiles(self._folder, f"{run.flow_run_id}.{run.tries}")
        try:
            begun = self._started(run, order, files)
        except (WorkPoolError, OSError) as error:
            files.remove()
            if isinstance(error, OSError) and error.errno not in _NO_USE:
                raise  # for want of memory or processes: another time
            ended()
            return NotBegun(str(error))
        begun.watch(ended)
        return begun

    def _started(self, run: QueuedRun, order: Order, files: RunFiles) -> CommandRun:
        template = self._template()
        facts = {**template.variables, **self._settings, **facts_of_run(run, order),
                 "worker": self._worker}
        if template.uses("order_file"):
            facts["order_file"] = files.put("order", f"{order.text()}\n")
        if template.manifest is not None:
            facts["manifest"] = files.put_json("manifest", filled_value(
                template.manifest, {**facts, "order_file": facts.get("order_file", "")}))
        words = filled(template.command, facts, order.environment)
        cancel = None if template.cancel is None else filled(template.cancel, facts)
        environment = {
            **os.environ, VARIABLE: facts["order"], "DATAFLOW_STORE": facts["store"],
            "DATAFLOW_HOME": facts["home"]}
        with files.stderr() as stderr:
            process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stderr=stderr, process_group=0)
        return CommandRun(process, cancel, files)

    def prepare(self) -> None:
        """Do nothing: commands start by themselves."""

    def close(self) -> None:
        """Do nothing."""


def facts_of_run(run: QueuedRun, order: Order) -> dict[str, str]:
    """Return what placeholders stand for that a run decides."""
    flow, _, _ = run.deployment.partition("/")
    return {
        "flow_run_id": run.flow_run_id, "name": f"dataflow-{run.flow_run_id}-{run.tries}",
        "attempt": str(run.tries), "priority": str(run.priority), "flow": flow,
        "deployment": run.deployment, "version": str(run.version), "pool": run.pool,
        "queue": run.queue, "python": sys.executable, "order": order.text(),
    }
