"""What users of prefect_shell know: ShellOperation, its process, shell_run_command.

Lives here: scripts of several commands, processes that run beside the flow.
Does not live here: running and its errors (``running.py``), the process
(``process.py``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import cast

from dataflow.exceptions import DefinitionTypeError
from dataflow.shell.running import (
    KEEP_LINES,
    Running,
    current_log,
    shell_of,
    to_the_end,
    to_the_end_here,
)
from dataflow.tasks import task


class ShellProcess:
    """A command that runs beside the code that started it."""

    def __init__(self, running: Running) -> None:
        self._running = running

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group too."""
        assert self._running.command.pid is not None
        return self._running.command.pid

    @property
    def return_code(self) -> int | None:
        """The exit code; None while it runs, ``-n`` where signal n ended it."""
        return self._running.command.exit_code

    def wait_for_completion(self) -> None:
        """Wait for the end.

        Raises
        ------
        ShellError
            The exit code is not 0.
        ShellTimeoutError
            The operation's timeout, counted from here, is over; all processes were killed.
        """
        if _in_event_loop():
            return cast(None, self.await_for_completion())
        self._running.wait()
        self._running.check()
        return None

    async def await_for_completion(self) -> None:
        """Wait for the end without blocking the event loop."""
        await self._running.wait_async()
        self._running.check()

    def fetch_result(self) -> list[str]:
        """Return the lines on stdout so far: all of them once the command has ended."""
        if _in_event_loop():
            return cast(list[str], self.afetch_result())
        return self._running.out.last()

    async def afetch_result(self) -> list[str]:
        """Return the lines on stdout so far."""
        return self._running.out.last()

    def kill(self) -> None:
        """Send TERM to all its processes, KILL after the grace, and wait until they are gone."""
        self._running.command.settle("kill")


@dataclass(kw_only=True)
class ShellOperation:
    """A script of several commands.

    Parameters
    ----------
    commands
        Lines of the script, run by one shell one after another; as in every script the last one
        makes the exit code (``shell="bash -e"`` ends at the first that fails).
    stream_output
        Log stdout at INFO and stderr at WARNING as it comes.
    log_prefix
        Stands before each logged line; may name ``{pid}`` and ``{label}``.
    env
        Environment variables on top of this process's own.
    working_dir
        Where it runs.
    shell
        The program that is given the script's file: ``bash`` by default (sh where there is
        none), or ``"python3 -u"``, ``perl``, ….
    extension
        Of the script's file, ``.sh`` by default.
    timeout_seconds
        Kills it, with a ShellTimeoutError.
    keep_lines
        Lines of each stream that are kept, the last ones; None, as in prefect_shell, keeps all.

    Notes
    -----
    A triggered process that is not waited for runs until the operation is closed (``with``), the
    task that triggered it is cancelled, or the interpreter exits. In an event loop ``run`` and
    ``trigger`` return awaitables, as in prefect_shell; ``arun`` and ``atrigger`` always do.
    """

    commands: Sequence[str]
    stream_output: bool = True
    log_prefix: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | os.PathLike[str] | None = None
    shell: str | None = None
    extension: str | None = None
    timeout_seconds: float | None = None
    keep_lines: int | None = None
    _open: list[Running] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.commands, str) or not all(isinstance(c, str) for c in self.commands):
            raise DefinitionTypeError(
                f"commands must be a list of texts, got {self.commands!r}", option="commands")
        self._running()  # which checks the rest

    def run(self) -> list[str]:
        """Run to the end and return the lines on stdout; raise as ``wait_for_completion`` does."""
        if _in_event_loop():
            return cast(list[str], self.arun())
        running = self._new()
        to_the_end_here(running)
        running.check()
        return running.out.last()

    async def arun(self) -> list[str]:
        """Run to the end without blocking the event loop."""
        running = self._new()
        await to_the_end(running)
        running.check()
        return running.out.last()

    def trigger(self) -> ShellProcess:
        """Start and return at once."""
        if _in_event_loop():
            return cast(ShellProcess, self.atrigger())
        return self._trigger()

    async def atrigger(self) -> ShellProcess:
        """Start and return at once."""
        return self._trigger()

    def close(self) -> None:
        """Kill what was triggered and still runs, and wait until it is gone."""
        open_now, self._open = self._open, []
        for running in open_now:
            running.command.end("close")
        for running in open_now:
            running.command.settle("close")

    async def aclose(self) -> None:
        """Kill what was triggered and still runs, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> ShellOperation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> ShellOperation:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.aclose()

    def _trigger(self) -> ShellProcess:
        running = self._new()
        self._open = [one for one in self._open if not one.command.done()]
        self._open.append(running)
        try:
            running.start()
        except BaseException:
            running.command.settle("error")
            raise
        log = current_log()
        log.info("PID %s triggered with %s commands running inside the %s directory.",
                 running.command.pid, len(self.commands), self.working_dir or os.getcwd())
        return ShellProcess(running)

    def _new(self) -> Running:
        running = self._running()
        path = _script("\n".join(self.commands), self.extension or ".sh")
        running.command.args = [*shell_of(self.shell), path]
        running.command.when_done(lambda: os.unlink(path))
        return running

    def _running(self) -> Running:
        return Running(
            [], shown="; ".join(self.commands), env=self.env, cwd=self.working_dir,
            timeout_s=self.timeout_seconds, keep_lines=self.keep_lines,
            log_prefix=self.log_prefix,
            levels=(logging.INFO, logging.WARNING) if self.stream_output else (None, None))


@task
async def shell_run_command(
    command: str, env: Mapping[str, str] | None = None, helper_command: str | None = None,
    shell: str | None = None, extension: str | None = None, return_all: bool = False,
    stream_level: int = logging.INFO, cwd: str | os.PathLike[str] | None = None,
) -> list[str] | str:
    """Run a command as a task of its own; awaited, or submitted and mapped.

    Parameters
    ----------
    command
        What the shell runs.
    env
        Environment variables on top of the process's own.
    helper_command
        Runs first in the same shell, such as ``cd`` or ``. venv/bin/activate``.
    shell, extension
        As for :class:`ShellOperation`.
    return_all
        Return all lines on stdout instead of the last one.
    stream_level
        Level at which stdout is logged.
    cwd
        Where it runs.

    Returns
    -------
    str or list of str
        The last line on stdout (empty where there is none), or all of them.

    Raises
    ------
    ShellError
        The exit code is not 0.
    """
    text = command if helper_command is None else f"{helper_command}\n{command}"
    path = _script(text, extension or ".sh")
    try:
        running = Running(
            [*shell_of(shell), path], shown=text, env=env, cwd=cwd,
            keep_lines=None if return_all else KEEP_LINES,
            levels=(stream_level, logging.WARNING))
        await to_the_end(running)
    finally:
        os.unlink(path)
    running.check()
    lines = running.out.last()
    return lines if return_all else lines[-1] if lines else ""


def _script(text: str, extension: str) -> str:
    with tempfile.NamedTemporaryFile(
            "w", prefix="dataflow-", suffix=extension, delete=False, encoding="utf-8") as file:
        file.write(text + "\n")
    return file.name


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
