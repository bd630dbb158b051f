"""Hard isolation: an element in a child process that can be killed.

Lives here: the children (one per thread that needs one, kept while they live),
the talk with them, and what their death means. Does not live here: the code
that runs inside the child (``child.py``).

The child is a plain ``python -m dataflow.worker.child`` with two pipes: Dask's
worker processes are daemons, which multiprocessing forbids to have children. A
child whose parent dies sees its pipe end and leaves.
"""

from __future__ import annotations

import math
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle

from dataflow.context import TaskRunContext
from dataflow.exceptions import (
    TaskRunTimeoutError,
    UnpicklableArgument,
    UnpicklableTask,
    WorkerLost,
)
from dataflow.failures import exception_of, text_of
from dataflow.logging import relay
from dataflow.memory_kills import MemoryKills, why_killed
from dataflow.named_classes import dumps_naming
from dataflow.outcomes import ErrorRecord, LogLine
from dataflow.worker.control import current_control

CRASH_LIMIT = 2
"""Times an element is run again after its child died, before it is CRASHED."""

_HEAD = struct.Struct("<Q")
_LONGEST_WAIT_S = 3600.0
_UTIME = 11  # among the fields of /proc/<pid>/stat behind the name; stime follows
_lock = threading.Lock()
_idle: list[Child] = []
_busy: dict[Child, str | None] = {}  # with the flow run that it works for


class IsolatedCrash(WorkerLost):
    """The child process of an element died, or user code left it by SystemExit."""


class _Died(Exception):
    pass


class Child:
    """A child process that runs one element after another."""

    def __init__(self) -> None:
        down_read, self._write_fd = os.pipe()
        self._read_fd, up_write = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dataflow.worker.child", str(down_read), str(up_write)],
                pass_fds=(down_read, up_write), stdin=subprocess.DEVNULL, close_fds=True,
            )
        finally:
            os.close(down_read)
            os.close(up_write)
        self.dismissed = False  # killed since nobody wants its answer any more
        self.known: set[str] = set()  # tokens of tasks that the child has
        self.cpu_s = 0.0  # all that it has used by its last answer
        self.kills = MemoryKills()

    def talk(self, message: bytes, timeout_s: float | None) -> bytes:
        """Send a message and wait for the answer. Raises _Died or TimeoutError."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            _write_all(self._write_fd, _HEAD.pack(len(message)) + message)
            (size,) = _HEAD.unpack(self._read(_HEAD.size, until))
            return self._read(size, until)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise _Died from error

    def _read(self, size: int, until: float | None) -> bytes:
        parts: list[bytes] = []
        answer = select.poll()  # select.select refuses descriptors from 1024 on
        answer.register(self._read_fd, select.POLLIN)
        while size:
            if not answer.poll(_wait_ms(until)):
                if until is None or time.monotonic() < until:
                    continue
                raise TimeoutError
            part = os.read(self._read_fd, min(size, 1 << 20))
            if not part:
                raise _Died
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def unanswered_s(self) -> float | None:
        """Return the processor time since its last answer, before it is ended; None: not known."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[_UTIME]) + int(fields[_UTIME + 1])
        except (OSError, ValueError, IndexError):  # no Linux, or somebody else has seen its end
            return None
        return max(0.0, ticks / os.sysconf("SC_CLK_TCK") - self.cpu_s)

    def end(self) -> int:
        """Kill the process and return its exit code (negative: by signal)."""
        for fd in (self._write_fd, self._read_fd):
            os.close(fd)
        try:
            code = self.process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return code


def call_isolated(context: TaskRunContext, timeout_s: float | None,
                  nested: list[tuple[str, Any]],
                  used: Callable[[float | None, int | None], None]) -> Any:
    """Run an element in a child process and return its value.

    Records of what it ran itself are appended to ``nested``. ``used`` is told its processor
    time in seconds and the peak memory of the child in bytes, of each child that it took; None
    where that is not known.

    Raises
    ------
    TaskRunTimeoutError
        The deadline passed; the child was killed.
    IsolatedCrash
        The child died (signal or exit code in the text), again and again.
    Exception
        Whatever the user's function raised, rebuilt.
    """
    control = current_control.get()
    for crash in range(CRASH_LIMIT + 1):
        child = _take(context.run.flow_run_id if context.run is not None else None)
        dismiss = partial(_dismiss, child)
        if control is not None:  # asked to stop when nobody wants the outcome any more
            control.on_stop(dismiss)
        try:
            answer = child.talk(_request(child, context), timeout_s)
        except TimeoutError:
            used(child.unanswered_s(), None)
            child.process.kill()
            child.end()
            raise TaskRunTimeoutError(
                f"Task run exceeded timeout of {timeout_s} second(s); its process was killed",
                timeout_seconds=timeout_s,
            ) from None
        except _Died:
            used(child.unanswered_s(), None)
            code = child.end()
            how = _how_it_ended(code)
            if child.dismissed:
                raise IsolatedCrash("its process was ended with its run", exit=how) from None
            if (why := why_killed(code, child.process.pid, child.kills)) is not None:
                how += f" ({why})"
            if crash == CRASH_LIMIT:
                raise IsolatedCrash(
                    f"the process of task {context.code.task.name!r} died {crash + 1} times, "
                    f"the last time by {how}", exit=how,
                ) from None
            continue
        except BaseException:
            child.process.kill()
            child.end()
            raise
        finally:
            with _lock:
                _busy.pop(child, None)
            if control is not None:
                control.forget(dismiss)
        with _lock:
            _idle.append(child)
        kind, payload, lines, records, cpu_s, child.cpu_s, peak = cloudpickle.loads(answer)
        used(cpu_s, peak)
        for _, gulp in records:
            if gulp.flow_run is not None:  # what it ran itself is in the child's own time
                gulp.flow_run.cpu_s = None
        nested += records
        return _open(kind, payload, lines, context)
    raise AssertionError("unreachable")


def _take(flow_run_id: str | None) -> Child:
    with _lock:
        while _idle:
            child = _idle.pop()
            if child.process.poll() is None:
                child.kills.look()
                _busy[child] = flow_run_id
                return child
            child.end()
    child = Child()
    with _lock:
        _busy[child] = flow_run_id
    return child


def _send_copied_script() -> None:
    """Let the script travel by value where multiprocessing has copied it, as any script does."""
    script = sys.modules.get("__mp_main__")
    if script is not None and "__mp_main__" not in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.register_pickle_by_value(script)


def _request(child: Child, context: TaskRunContext) -> bytes:
    task = context.code.task
    try:
        _send_copied_script()
        body = dumps_naming((context.args, context.kwargs))
    except Exception as error:  # user values: __reduce__ may raise anything
        raise UnpicklableArgument(
            f"an argument of task {task.name!r} cannot be pickled for its own process "
            f"(isolation='process'): {type(error).__name__}: {text_of(error)}", task=task.name,
        ) from error
    code = None
    if task.token not in child.known:
        try:
            code = dumps_naming(replace(
                task, hooks=None, owner=None, retry_condition=None, run_name=None, caching=None,
                effects=None))
        except Exception as error:  # user values: a closure may hold anything
            raise UnpicklableTask(
                f"task {task.name!r} cannot be pickled for its own process "
                f"(isolation='process'): {type(error).__name__}: {text_of(error)}", task=task.name,
            ) from error
        child.known.add(task.token)
    call = context.code
    head = (task.token, code, context.run, call.call, call.mapped, call.tags, context.index,
            context.attempt, context.chosen_name)
    return dumps_naming((head, body))


def _open(kind: str, payload: Any, lines: list[LogLine], context: TaskRunContext) -> Any:
    if context.logs is not None:
        for line in lines:
            context.logs.add(*line)
    _relay(lines, context)
    if kind == "value":
        return cloudpickle.loads(payload)
    record: ErrorRecord = payload
    if kind == "crash":
        raise IsolatedCrash(f"{record.type_name}: {record.message}", record=record)
    raise exception_of(record)


def _relay(lines: list[LogLine], context: TaskRunContext) -> None:
    """Hand the child's lines to the standard loggers of this process, as if logged here."""
    run = context.run
    for line in lines:
        relay(line, task_run_id=context.id, task_run_name=context.name,
              task_name=context.code.task.name,
              flow_run_id=run.flow_run_id if run else None,
              flow_run_name=run.flow_run_name if run else None,
              flow_name=run.flow_name if run else None)


def _wait_ms(until: float | None) -> int | None:
    """Return how long to wait, at most what a platform can wait for at once."""
    if until is None:
        return None
    return math.ceil(min(max(0.0, until - time.monotonic()), _LONGEST_WAIT_S) * 1000)


def _how_it_ended(code: int) -> str:
    if code < 0:
        try:
            return f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _dismiss(child: Child) -> None:
    """Kill a child at work whose answer nobody wants any more."""
    with _lock:
        if child in _busy:
            child.dismissed = True
            child.process.kill()


def end_busy_children(flow_run_id: str) -> None:
    """Kill the children at work for a flow run; called when it was cancelled as a whole."""
    with _lock:
        children = [child for child, owner in _busy.items() if owner == flow_run_id]
        for child in children:
            child.dismissed = True
            child.process.kill()


def end_idle_children() -> None:
    """End the children that wait for work; called when a runner closes."""
    with _lock:
        children, _idle[:] = list(_idle), []
    for child in children:
        child.end()
