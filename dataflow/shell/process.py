"""One command under way: started, read to its end, killed with all it has started.

Lives here: :class:`Command`, its thread, its process group. Does not live here:
what people call (``__init__.py``, ``operation.py``), what becomes of its lines.

A thread of its own starts the process, reads it and reaps it, so that neither
Ctrl-C nor an error raised in the task's thread by a timeout can come between a
process and the one who knows of it. Who waits does so in short slices, so that
such an error arrives.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, cast

from dataflow.shell import guard
from dataflow.shell.lines import LineSplitter

SLICE_S = 0.1
"""How often somebody who waits looks up."""

GRACE_S = 3.0
"""Seconds between TERM and KILL."""

_CHUNK_BYTES = 1 << 16
_GONE_S = 2.0  # that who ends a command waits for it beyond its grace
_STUCK_S = 0.5  # after KILL, for output that a process outside the group holds open
_lock = threading.Lock()
_live: set[Command] = set()

OnLine = Callable[[bool, str], None]
"""Called in the command's thread with (is stderr, line)."""


class Command:
    """A command and its process group.

    Parameters
    ----------
    args
        Program and arguments.
    env
        The whole environment; None for this process's own.
    cwd
        Where it runs; None for this process's own.
    input
        What it reads on stdin, which is empty otherwise.
    on_line
        Called for each line as it comes, in the command's thread and the caller's context.
        When it raises, the command is ended and :meth:`wait` raises the same.
    grace_s
        Seconds between TERM and KILL.

    Attributes
    ----------
    pid
        Process id, which is the id of its group too; None before it started.
    exit_code
        None while it runs; negative for a signal.
    ended_by
        Why it was ended by us: ``"timeout"``, ``"cancel"``, …; None otherwise.
    """

    def __init__(self, args: Sequence[str], *, env: Mapping[str, str] | None = None,
                 cwd: str | os.PathLike[str] | None = None, input: bytes | None = None,
                 on_line: OnLine, grace_s: float = GRACE_S) -> None:
        self.args = list(args)
        self.env = env
        self.cwd = cwd
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.ended_by: str | None = None
        self.began = self.elapsed_s = 0.0
        self._input = memoryview(input or b"")
        self._on_line = on_line
        self._grace_s = grace_s
        self._kill_at: float | None = None
        self._error: BaseException | None = None
        self._begun = False
        self._reaped = False
        self._border = threading.Lock()  # between a signal and the moment the pid is free again
        self._started = threading.Event()
        self._done = threading.Event()
        self._on_done: list[Callable[[], None]] | None = []

    # ---- for who waits

    def start(self) -> None:
        """Start the process and return when it runs.

        Raises
        ------
        OSError
            It cannot be started: no such program or folder, no right to run it.
        """
        context = contextvars.copy_context()
        self._begun = True
        thread = threading.Thread(
            target=context.run, args=(self._run,), daemon=True, name="dataflow-shell")
        thread.start()
        while not self._started.wait(SLICE_S):
            pass
        if self.pid is None and self._error is not None:
            raise self._error

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False when the time is up first."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._done.is_set():
            left = SLICE_S if until is None else min(SLICE_S, until - time.monotonic())
            if left <= 0:
                return False
            self._done.wait(left)
        if self._error is not None:
            raise self._error
        return True

    async def wait_async(self, timeout_s: float | None = None) -> bool:
        """Wait for the end without blocking the event loop; False when the time is up first."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(ended.set)
            except RuntimeError:  # the loop is closed: nobody waits any more
                pass

        self.when_done(tell)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            return False
        if self._error is not None:
            raise self._error
        return True

    def when_done(self, fn: Callable[[], None]) -> None:
        """Call ``fn()`` when the command has ended, at once if it has."""
        with self._border:
            if self._on_done is not None:
                self._on_done.append(fn)
                return
        fn()

    def done(self) -> bool:
        """Tell whether it has ended."""
        return self._done.is_set()

    def end(self, why: str) -> None:
        """Send TERM to the whole group, and KILL after the grace; does not wait."""
        with self._border:
            if self._done.is_set() or self.ended_by is not None:
                return
            self.ended_by = why
            self._kill_at = time.monotonic() + self._grace_s
            self._signal(signal.SIGTERM)

    def settle(self, why: str) -> None:
        """End what still runs and wait until it is gone, which a kernel may delay for ever."""
        if not self._begun or self._done.is_set():
            return
        self.end(why)
        until = time.monotonic() + self._grace_s + _GONE_S
        while not self._done.wait(SLICE_S) and time.monotonic() < until:
            pass

    # ---- in the command's own thread

    def _run(self) -> None:
        try:
            process = self._spawn()
            try:
                self._read(process)
            except BaseException:
                self.end("error")
                raise
            finally:
                self._reap(process)
        except BaseException as error:  # OSError of the start, or what on_line raised
            self._error = error
        finally:
            with _lock:
                _live.discard(self)
            self._finish()

    def _spawn(self) -> subprocess.Popen[bytes]:
        guard.prepare()
        self.began = time.monotonic()
        process = subprocess.Popen(
            self.args, env=self.env, cwd=self.cwd, start_new_session=True,
            stdin=subprocess.PIPE if self._input else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        guard.watch(process.pid)
        with _lock:
            _live.add(self)
        with self._border:
            self.pid = process.pid
            if self.ended_by is not None:  # nobody wants it any more
                self._signal(signal.SIGTERM)
        self._started.set()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None and process.stderr is not None
        splitters = {stream: (is_error, LineSplitter())
                     for is_error, stream in enumerate((process.stdout, process.stderr))}
        with selectors.DefaultSelector() as selector:
            for stream in splitters:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
            if process.stdin is not None:
                os.set_blocking(process.stdin.fileno(), False)
                selector.register(process.stdin, selectors.EVENT_WRITE)
            reading = len(splitters)
            while reading or (selector.get_map() and not _has_ended(process.pid)):
                for key, _ in selector.select(SLICE_S):
                    stream = cast(IO[bytes], key.fileobj)
                    if stream is process.stdin:
                        if not self._write(stream):
                            selector.unregister(stream)
                            stream.close()
                    elif not self._take(stream, *splitters[stream]):
                        selector.unregister(stream)
                        reading -= 1
                if self._kill_when_due() and self._stuck():
                    return

    def _write(self, stream: IO[bytes]) -> bool:
        try:
            self._input = self._input[os.write(stream.fileno(), self._input[:_CHUNK_BYTES]):]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it does not read to the end, which is its own affair
            return False
        return bool(self._input)

    def _take(self, stream: IO[bytes], is_error: int, splitter: LineSplitter) -> bool:
        try:
            data = os.read(stream.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return True
        for line in splitter.feed(data, last=not data):
            self._on_line(bool(is_error), line)
        return bool(data)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the process, and where it is ended by us for all of its group."""
        assert self.pid is not None
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        pause = 0.001
        while not _has_ended(self.pid) or (
                self._kill_at is not None and _others_of(self.pid) and not self._stuck()):
            self._kill_when_due()
            time.sleep(pause)
            pause = min(SLICE_S, pause * 2)
        with self._border:
            if self._kill_at is not None:
                self._signal(signal.SIGKILL)  # the group's id is ours until the process is reaped
            self._reaped = True
            self.exit_code = process.wait()
        guard.forget(self.pid)

    def _kill_when_due(self) -> bool:
        """Send KILL when the grace is over; tell whether it is."""
        if self._kill_at is None or time.monotonic() < self._kill_at:
            return False
        with self._border:
            self._signal(signal.SIGKILL)
        return True

    def _stuck(self) -> bool:
        """Tell whether something goes on long after KILL, which then is not of the group."""
        return self._kill_at is not None and time.monotonic() > self._kill_at + _STUCK_S

    def _signal(self, number: int) -> None:
        if self.pid is None or self._reaped:
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            pass

    def _finish(self) -> None:
        self.elapsed_s = time.monotonic() - self.began
        with self._border:
            callbacks, self._on_done = self._on_done or [], None
        for fn in callbacks:
            fn()
        self._done.set()
        self._started.set()


def _has_ended(pid: int) -> bool:
    """Tell whether a child has ended, and leave it to be reaped."""
    try:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, pid, flags) is not None
    except ChildProcessError:  # somebody else reaps all children of this process
        return True


def _others_of(group: int) -> bool:
    """Tell whether processes of a group run besides its first one."""
    import psutil

    for pid in psutil.pids():
        try:
            if (pid != group and os.getpgid(pid) == group
                    and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE):
                return True
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return False


def _end_all() -> None:
    with _lock:
        commands = list(_live)
    for command in commands:
        command.end("exit")
    for command in commands:
        command.settle("exit")


def _after_fork() -> None:
    """A forked child has no commands: those are its parent's."""
    global _lock
    _lock = threading.Lock()
    _live.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_after_fork)
