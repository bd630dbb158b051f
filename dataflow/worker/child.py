"""The inside of an isolated child process: ``python -m dataflow.worker.child READ WRITE``.

Lives here: the loop that reads an element from one pipe and answers on the
other, and the end of the process with its parent. Does not live here: who
starts and kills it (``isolate.py``).
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
import time
from typing import Any

import cloudpickle

from dataflow.batch import CallCode, TaskCode
from dataflow.captured_logs import capture
from dataflow.context import Inside, TaskRunContext, current_task
from dataflow.exceptions import UnpicklableResult
from dataflow.failures import record_of, text_of
from dataflow.outcomes import Code
from dataflow.process_memory import peak_memory
from dataflow.worker.kinds import blocking
from dataflow.worker.logs import BatchLog

_HEAD = struct.Struct("<Q")
_LOOK_S = 0.25


def main(read_fd: int, write_fd: int) -> None:
    """Serve elements until the other end closes its pipe, or its process is gone."""
    # Ctrl-C is for the flow, which ends its children; a handler is not inherited as SIG_IGN is
    signal.signal(signal.SIGINT, lambda number, frame: None)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    tasks: dict[str, TaskCode] = {}
    with os.fdopen(read_fd, "rb") as requests, os.fdopen(write_fd, "wb") as answers:
        while head := requests.read(_HEAD.size):
            (size,) = _HEAD.unpack(head)
            began_s = time.process_time()
            served = _serve(requests.read(size), tasks)
            cpu_s = time.process_time()
            answer = cloudpickle.dumps((*served, cpu_s - began_s, cpu_s, peak_memory()))
            answers.write(_HEAD.pack(len(answer)) + answer)
            answers.flush()


def _end_with(parent: int) -> None:
    """Leave when the parent is gone, also in the middle of user code."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _serve(request: bytes, tasks: dict[str, TaskCode]) -> tuple[str, Any, list[Any], list[Any]]:
    """Return kind of answer, value or error, log lines, records of what it ran itself."""
    logs = BatchLog(10_000)
    nested: list[tuple[str, Any]] = []
    try:
        context = _context(request, tasks, logs)
        value = _pickled(_call(context, nested), context.code.task.name)
        return "value", value, logs.close(), nested
    except Exception as error:  # user code may raise anything
        return "error", record_of(error, remote=True, skip_frames=2), logs.close(), nested
    except BaseException as error:  # SystemExit, KeyboardInterrupt: the element crashed
        return "crash", record_of(error, remote=True, skip_frames=2), logs.close(), nested


def _context(request: bytes, tasks: dict[str, TaskCode], logs: BatchLog) -> TaskRunContext:
    head, body = cloudpickle.loads(request)
    token, code, run, call, mapped, tags, index, attempt, name = head
    if code is not None:
        tasks[token] = cloudpickle.loads(code)
    args, kwargs = cloudpickle.loads(body)
    call_code = CallCode(call, tasks[token], (), {}, (), mapped, tags)
    context = TaskRunContext(run, call_code, index, attempt, logs, args, kwargs)
    context.chosen_name = name
    return context


def _call(context: TaskRunContext, nested: list[tuple[str, Any]]) -> Any:
    task = context.code.task
    fn = blocking(task)
    if task.log_prints:
        from dataflow.logging import prints_to_log

        fn = prints_to_log(fn)
    if context.run is not None and context.run.extra_loggers:
        capture(context.run.extra_loggers, context.run.log_level)
    current_task.set(context)
    inside: Inside | None
    try:
        value = fn(*context.args, **context.kwargs)
        if context.inside is not None:
            value = context.inside.leave(value)
    except BaseException as error:
        if (inside := context.end()) is not None:
            inside.abandon(Code.FAILED, error)
        raise
    finally:
        if (inside := context.inside) is not None:
            nested += inside.records
    return value


def _pickled(value: Any, task: str) -> bytes:
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:  # user values: __reduce__ may raise anything
        raise UnpicklableResult(
            f"the result of task {task!r} cannot be pickled, so it cannot leave its own process "
            f"(isolation='process'): {type(error).__name__}: {text_of(error)}", task=task,
        ) from error


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
