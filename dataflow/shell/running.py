"""Run one command to its end: :func:`run`, its async twin, its result and its errors.

Lives here: what goes to the log and what is kept, timeouts, cancels, exit
codes. Does not live here: the process itself (``process.py``).
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.context import current_flow, current_task
from dataflow.exceptions import (
    CancelledRun,
    DefinitionError,
    DefinitionTypeError,
    ShellError,
    ShellTimeoutError,
)
from dataflow.logging import get_run_logger
from dataflow.shell.lines import Tail
from dataflow.shell.process import GRACE_S, Command
from dataflow.worker.control import current_control

KEEP_LINES = 1000
"""Lines of each stream that a result keeps where nothing else is asked for."""

_LINES_IN_ERROR = 20
_COMMAND_IN_ERROR = 200  # characters
_outside = logging.getLogger("dataflow.shell")

Log = logging.Logger | logging.LoggerAdapter[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellResult:
    """What a command that has ended left behind.

    Attributes
    ----------
    command
        As it was given.
    exit_code
        0 for success; ``-n`` where signal n ended it.
    stdout, stderr
        The last lines of both streams, without line ends.
    stdout_count, stderr_count
        How many lines there were.
    pid
        Process id it had.
    elapsed_s
        Seconds it took.
    """

    command: str
    exit_code: int
    stdout: list[str] = field(repr=False)
    stderr: list[str] = field(repr=False)
    stdout_count: int
    stderr_count: int
    pid: int
    elapsed_s: float

    @property
    def text(self) -> str:
        """The kept lines of stdout as one text."""
        return "\n".join(self.stdout)


class Running:
    """A command, its lines, its log: what run, arun and ShellOperation share."""

    def __init__(self, args: Sequence[str], *, shown: str, env: Mapping[str, Any] | None,
                 cwd: str | os.PathLike[str] | None, input: str | bytes | None = None,
                 timeout_s: float | None = None, keep_lines: int | None = KEEP_LINES,
                 levels: tuple[int | None, int | None] = (logging.INFO, logging.WARNING),
                 log_prefix: str | None = None, grace_s: float = GRACE_S) -> None:
        check_number("timeout", timeout_s, or_none=True)
        check_number("grace_seconds", grace_s)
        _check_rest(keep_lines, log_prefix)
        self.shown = shown
        self.timeout_s = timeout_s
        self.out, self.err = Tail(keep_lines), Tail(keep_lines)
        self._cwd = cwd
        self._levels = levels
        self._prefix = log_prefix
        self._log = current_log()
        self.command = Command(
            args, env=whole_environment(env), cwd=cwd,
            input=input.encode() if isinstance(input, str) else input, on_line=self._line,
            grace_s=grace_s)
        self._control = current_control.get()

    def start(self) -> None:
        """Start the process; it is killed when its batch is told to stop."""
        if self._control is not None:
            self._control.on_stop(self._cancel)
            self.command.when_done(self._forget)
        try:
            self.command.start()
        except OSError as error:
            raise ShellError(
                f"Command {_short(self.shown)!r} could not be started: {error.strerror or error}"
                + (f": {error.filename!r}" if error.filename else "")
                + (f" (working directory {str(self._cwd)!r})" if self._cwd else ""),
                command=self.shown, exit_code=None, pid=None, lines=[]) from error

    def _cancel(self) -> None:
        self.command.end("cancel")

    def _forget(self) -> None:
        if self._control is not None:
            self._control.forget(self._cancel)

    def wait(self) -> None:
        """Wait for the end; raise when it was not a natural one."""
        if not self.command.wait(self.timeout_s):
            self.command.settle("timeout")
        self._natural()

    async def wait_async(self) -> None:
        """Wait for the end without blocking the event loop."""
        if not await self.command.wait_async(self.timeout_s):
            self.command.end("timeout")
            await self.command.wait_async()
        self._natural()

    def _natural(self) -> None:
        why = self.command.ended_by
        if why == "timeout":
            raise ShellTimeoutError(
                f"Command {_short(self.shown)!r} (pid {self.command.pid}) exceeded its timeout of "
                f"{self.timeout_s} second(s); it was killed with all it had started"
                + self._last_words(), **self._fields(), timeout_seconds=self.timeout_s)
        if why == "cancel":
            raise CancelledRun(
                f"Command {_short(self.shown)!r} (pid {self.command.pid}) was killed since its "
                "run was cancelled")

    def check(self) -> None:
        """Raise ShellError where the exit code is not 0."""
        code = self.command.exit_code
        if code == 0:
            return
        assert code is not None
        raise ShellError(
            f"Command {_short(self.shown)!r} (pid {self.command.pid}) {how_it_ended(code)}"
            + self._last_words(), **self._fields())

    def result(self) -> ShellResult:
        """Return what there is to know of a command that has ended."""
        command = self.command
        assert command.pid is not None and command.exit_code is not None
        return ShellResult(
            command=self.shown, exit_code=command.exit_code, pid=command.pid,
            stdout=self.out.last(), stderr=self.err.last(), stdout_count=self.out.count,
            stderr_count=self.err.count, elapsed_s=command.elapsed_s)

    def _fields(self) -> dict[str, Any]:
        return {"command": self.shown, "exit_code": self.command.exit_code,
                "pid": self.command.pid, "lines": self._last_lines(),
                "elapsed_s": self.command.elapsed_s}

    def _last_lines(self) -> list[str]:
        return (self.err if self.err.count else self.out).last(_LINES_IN_ERROR)

    def _last_words(self) -> str:
        lines = self._last_lines()
        if not lines:
            return "; it wrote nothing"
        which = "stderr" if self.err.count else "stdout"
        return f"; its last lines on {which}:\n" + "\n".join(f"  {line}" for line in lines)

    def _line(self, is_error: bool, line: str) -> None:
        (self.err if is_error else self.out).add(line)
        level = self._levels[is_error]
        if level is None:
            return
        if self._prefix is not None:
            label = "stderr" if is_error else "stream output"
            line = self._prefix.format(pid=self.command.pid, label=label) + line
        self._log.log(level, "%s", line)


def run(
    command: str | Sequence[str], *, env: Mapping[str, Any] | None = None,
    cwd: str | os.PathLike[str] | None = None, timeout: float | None = None, check: bool = True,
    input: str | bytes | None = None, shell: str | None = None, stream_output: bool = True,
    keep_lines: int | None = KEEP_LINES, grace_seconds: float = GRACE_S,
) -> ShellResult:
    """Run a command to its end, with each line of output in the run's log as it comes.

    The command runs in a process group of its own. On a timeout, a cancel, Ctrl-C, an error
    raised in this thread (the timeout of the task) and at the exit of the interpreter the whole
    group is sent TERM, and KILL after the grace. As with ``subprocess``, the command has ended
    when nobody holds its output any more: what it starts in the background is waited for unless
    that writes elsewhere.

    Parameters
    ----------
    command
        A text for the shell, or a program with its arguments, which no shell sees.
    env
        Environment variables on top of this process's own.
    cwd
        Working directory.
    timeout
        Seconds until it is killed.
    check
        Raise where the exit code is not 0.
    input
        What the command reads on stdin, which is empty otherwise.
    shell
        A program that takes ``-c``, such as ``bash``, ``"bash -e"`` or ``python3``; by default
        bash, or sh where there is none.
    stream_output
        Log stdout at INFO and stderr at WARNING; False logs nothing.
    keep_lines
        Lines of each stream that are kept, the last ones; None keeps all.
    grace_seconds
        Seconds between TERM and KILL.

    Raises
    ------
    ShellError
        The exit code is not 0 (with ``check``), or it could not be started.
    ShellTimeoutError
        It was killed after ``timeout`` seconds; a ``ShellError`` and a ``TimeoutError``.
    CancelledRun
        It was killed since its run was cancelled.
    """
    running = _running(command, env, cwd, timeout, input, shell, stream_output, keep_lines,
                       grace_seconds)
    to_the_end_here(running)
    if check:
        running.check()
    return running.result()


async def arun(
    command: str | Sequence[str], *, env: Mapping[str, Any] | None = None,
    cwd: str | os.PathLike[str] | None = None, timeout: float | None = None, check: bool = True,
    input: str | bytes | None = None, shell: str | None = None, stream_output: bool = True,
    keep_lines: int | None = KEEP_LINES, grace_seconds: float = GRACE_S,
) -> ShellResult:
    """Run a command as :func:`run` does, without blocking the event loop.

    When the awaiting coroutine is cancelled, the process group is killed first.
    """
    running = _running(command, env, cwd, timeout, input, shell, stream_output, keep_lines,
                       grace_seconds)
    await to_the_end(running)
    if check:
        running.check()
    return running.result()


def to_the_end_here(running: Running) -> None:
    """Start a command and wait for it; on any error it is killed and gone first."""
    try:
        running.start()
        running.wait()
    finally:
        running.command.settle("error")


async def to_the_end(running: Running) -> None:
    """Start a command and wait for it; on any error it is killed and gone first."""
    try:
        running.start()
        await running.wait_async()
    finally:
        if running.command.pid is not None and not running.command.done():
            running.command.end("error")
            await running.command.wait_async()


def _running(command: str | Sequence[str], env: Mapping[str, Any] | None,
             cwd: str | os.PathLike[str] | None, timeout: float | None,
             input: str | bytes | None, shell: str | None, stream_output: bool,
             keep_lines: int | None, grace_seconds: float) -> Running:
    if isinstance(command, str):
        args, shown = [*shell_of(shell), "-c", command], command
    else:
        args = [os.fspath(part) for part in command]
        shown = shlex.join(args)
        if shell is not None:
            raise DefinitionError(
                f"shell={shell!r} goes with a command given as text, not as a list of arguments",
                option="shell")
    if not command:
        raise DefinitionError("command is empty: there is nothing to run", option="command")
    return Running(
        args, shown=shown, env=env, cwd=cwd, input=input, timeout_s=timeout,
        keep_lines=keep_lines, grace_s=grace_seconds,
        levels=(logging.INFO, logging.WARNING) if stream_output else (None, None))


def shell_of(shell: str | None) -> list[str]:
    """Return the words of a shell: the one asked for, else bash, else sh."""
    if shell:
        return shlex.split(shell)
    return ["bash" if shutil.which("bash") else "sh"]


def whole_environment(extra: Mapping[Any, Any] | None) -> dict[str, str] | None:
    """Return this process's environment with some variables on top."""
    if not extra:
        return None
    wrong = [name for name, value in extra.items()
             if not isinstance(name, str) or not isinstance(value, str | os.PathLike)]
    if wrong:
        raise DefinitionTypeError(
            f"env must map names to texts; {wrong[0]!r} is {extra[wrong[0]]!r}", option="env")
    return {**os.environ, **{name: os.fspath(value) for name, value in extra.items()}}


def check_number(option: str, value: object, *, or_none: bool = False) -> None:
    """Refuse what is no number of seconds above or equal 0."""
    if value is None and or_none:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DefinitionTypeError(
            f"{option} must be a number of seconds, got {value!r}", option=option)
    if not value >= 0:
        raise DefinitionError(f"{option} must not be negative, got {value!r}", option=option)


def _check_rest(keep_lines: object, log_prefix: str | None) -> None:
    if keep_lines is not None and (type(keep_lines) is not int or keep_lines < 0):
        raise DefinitionError(
            f"keep_lines must be a whole number or None, got {keep_lines!r}", option="keep_lines")
    try:
        (log_prefix or "").format(pid=0, label="")
    except (LookupError, ValueError) as error:
        raise DefinitionError(
            f"log_prefix may name {{pid}} and {{label}} only, got {log_prefix!r}",
            option="log_prefix") from error


def current_log() -> Log:
    """Return the logger of the run around, else the plain one of this module."""
    if current_task.get() is None and current_flow.get() is None:
        return _outside
    return get_run_logger()


def how_it_ended(code: int) -> str:
    """Say in words how a process ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed by signal {-code}"


def _short(command: str) -> str:
    cut = len(command) - _COMMAND_IN_ERROR
    return command if cut <= 0 else f"{command[:_COMMAND_IN_ERROR]}... ({cut} characters cut)"
