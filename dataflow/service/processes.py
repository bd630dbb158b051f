"""Processes that run flows, one each, with a spare one that is ready.

Lives here: starting, handing an order over, watching for the end, stopping. Does
not live here: what such a process does (``run_process.py``), which runs begin
(``worker.py``).
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from dataflow.agenda import QueuedRun
from dataflow.memory_kills import MemoryKills
from dataflow.service.orders import Order, counts_at_start

REST_S = 5.0
"""Between spare processes that die before they have an order, in seconds."""

logger = logging.getLogger("dataflow.worker")

_BEGIN = ("import sys; sys.path.append(sys.argv.pop()); "
          "from dataflow.service.run_process import main; sys.exit(main())")
_COMMAND = (sys.executable, "-P", "-c", _BEGIN, str(Path(__file__).parents[2]))
"""``-P``: the folder that the worker stands in is no place for modules of the run."""


class RunProcess:
    """The process of one run.

    Parameters
    ----------
    process
        Started, waiting for its order.

    Attributes
    ----------
    kills
        Says whether the kernel killed it for its memory; looked at while it lives.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._asked_s: float | None = None
        self.kills = MemoryKills()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def begin(self, order: Order, ended: Callable[[], object]) -> None:
        """Hand the order over; ``ended`` is called, in a thread, when the process has ended."""
        threading.Thread(target=self._watch, args=(order.line(), ended), daemon=True,
                         name="dataflow-run-process").start()

    def _watch(self, line: str, ended: Callable[[], object]) -> None:
        """Write in this thread: one that still imports does not read, and a pipe holds 64 KiB."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            with pipe:
                pipe.write(line)
        except OSError:  # it died
            pass
        self._process.wait()
        ended()

    def exit_code(self) -> int | None:
        """Return the exit code, the negative number of a signal, None while it goes on."""
        return self._process.poll()

    def words(self) -> str | None:
        """Return None: what it says goes where the worker writes."""
        return None

    @property
    def told_to_end(self) -> bool:
        """Tell whether it was cancelled."""
        return self._asked_s is not None

    def cancel(self, now_s: float, patience_s: float) -> None:
        """Interrupt the flow as Ctrl-C would; past the patience, kill it with its children.

        ``now_s`` is of a clock that nobody sets.
        """
        if self._asked_s is None:
            self._asked_s = now_s
            self._signal(signal.SIGINT)
        elif now_s - self._asked_s > patience_s:
            self._signal(signal.SIGKILL)

    def kill(self) -> None:
        """End the process and its children at once."""
        self._signal(signal.SIGKILL)

    def end_children(self) -> None:
        """End what a process that has ended left in its group: a Dask cluster, above all."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def discard(self) -> None:
        """Let a spare one go."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass


class Processes:
    """Starts processes of runs; keeps one spare, so that a run need not wait for imports.

    Parameters
    ----------
    output
        Where they write; None: where this process does.
    """

    def __init__(self, output: IO[str] | None = None) -> None:
        self._output = output
        self._spare: RunProcess | None = None
        self._rest_until = 0.0

    def begin(self, run: QueuedRun, order: Order, ended: Callable[[], object]) -> RunProcess:
        """Begin a run in a process of its own.

        One whose environment holds what counts only at the start of a process gets a fresh one.
        """
        if any(counts_at_start(name) for name in order.environment):
            process = self._start(order.environment)
        else:
            spare, self._spare = self._spare, None
            if spare is not None and spare.exit_code() is not None:
                spare = None
            process = spare or self._start()
        process.begin(order, ended)
        return process

    def prepare(self) -> None:
        """Have a spare process ready; where one dies by itself, the next one comes after a rest."""
        now_s = time.monotonic()
        if self._spare is not None and self._spare.exit_code() is not None:
            self._spare, self._rest_until = None, now_s + REST_S
        if self._spare is None and now_s >= self._rest_until:
            try:
                self._spare = self._start()
            except OSError as error:  # no process, no memory: what goes on goes on
                logger.warning("No process could be started: %s", error)
                self._rest_until = now_s + REST_S

    def close(self) -> None:
        """Let the spare one go."""
        if self._spare is not None:
            self._spare.discard()
            self._spare = None

    def _start(self, environment: Mapping[str, str] | None = None) -> RunProcess:
        return RunProcess(subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, text=True, stdout=self._output,
            stderr=self._output, process_group=0,
            env={**os.environ, **environment} if environment else None))
