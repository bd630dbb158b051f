"""Logs of flow runs and task runs.

Lives here: :func:`get_run_logger`, prints that go to the log, and the lines on
the console where the application has configured nothing. Does not live here:
where lines are kept (``recorder.py``, ``stores/``), lines of other libraries
(``captured_logs.py``).

A line goes two ways: to the run's record, and to the standard loggers
``dataflow.flow_runs`` and ``dataflow.task_runs``, whose handlers and levels
belong to the application. The root logger is never touched.
"""

from __future__ import annotations

import builtins
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from dataflow.context import FlowRunContext, TaskRunContext, current_flow, current_task
from dataflow.exceptions import MissingContextError
from dataflow.outcomes import LogLine

F = TypeVar("F", bound=Callable[..., Any])

FLOW_RUNS = "dataflow.flow_runs"
TASK_RUNS = "dataflow.task_runs"
_flow_logger = logging.getLogger(FLOW_RUNS)
_task_logger = logging.getLogger(TASK_RUNS)
_package = logging.getLogger("dataflow")
_package.addHandler(logging.NullHandler())  # else Python prints warnings of its own accord
_print = builtins.print
_nowhere = logging.getLogger("dataflow.nowhere")
_nowhere.disabled = True
_RUN_FIELDS = frozenset({"task_run_id", "task_run_name", "task_name",
                         "flow_run_id", "flow_run_name", "flow_name"})
_PLAIN = (str, int, float, bool, type(None))


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """The logger of one flow run or task run."""

    def __init__(self, logger: logging.Logger, around: FlowRunContext | TaskRunContext,
                 extra: dict[str, Any]) -> None:
        super().__init__(logger, extra)
        self._around = around
        self._level = around.run.log_level if around.run is not None else _level_outside()

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Join the run's fields with the ``extra`` of the line."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs

    def isEnabledFor(self, level: int) -> bool:
        """Tell whether a line of this level goes anywhere."""
        if self.logger.disabled:
            return False
        return level >= self._level or self.logger.isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a line to the run's record and to the standard logger."""
        if self.logger.disabled:
            return
        if level >= self._level:
            self._record(level, msg, args, kwargs)
        if self.logger.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *args, **kwargs)

    def getChild(self, suffix: str, extra: dict[str, Any] | None = None) -> RunLogger:
        """Return a logger of the same run whose name goes on with ``suffix``."""
        child = RunLogger(self.logger.getChild(suffix), self._around, dict(self.extra or {}))
        child.extra = {**(child.extra or {}), **(extra or {})}
        return child

    def _record(self, level: int, msg: object, args: tuple[object, ...],
                kwargs: dict[str, Any]) -> None:
        around = self._around
        if around.logs is None:
            return
        text, exc_info = _text(msg, args), kwargs.get("exc_info")
        if exc_info:
            text = f"{text}\n{_traceback(exc_info)}"
        call, index, attempt = -1, 0, 1
        if isinstance(around, TaskRunContext):
            call, index, attempt = around.code.call, around.index, around.attempt
        own = _users_own({**(self.extra or {}), **(kwargs.get("extra") or {})})
        around.logs.add(call, index, attempt, time.time(), level, self.logger.name, text, own)


def _users_own(extra: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a line that the user added, as plain values."""
    return tuple(
        (name, value if isinstance(value, _PLAIN) else str(value))
        for name, value in extra.items() if name not in _RUN_FIELDS)


def _level_outside() -> int:
    """Return the level for tasks that are called outside of a flow, and set up the console."""
    from dataflow.settings import get_settings

    settings = get_settings()
    level = logging.getLevelNamesMapping()[settings.log_level]
    show_on_console(level, settings.logging_to_console)
    return level


def _text(msg: object, args: tuple[object, ...]) -> str:
    try:
        if len(args) == 1 and isinstance(args[0], dict) and args[0]:
            return str(msg) % args[0]
        return str(msg) % args if args else str(msg)
    except Exception as broken:  # user code: __str__ of an argument, or a format that does not fit
        return f"{msg!r} {args!r} ({type(broken).__name__}: {broken})"


def _traceback(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        return "".join(traceback.format_exception(exc_info)).rstrip()
    if isinstance(exc_info, tuple):
        return "".join(traceback.format_exception(*exc_info)).rstrip()
    return traceback.format_exc().rstrip()


def task_logger(around: TaskRunContext) -> RunLogger:
    """Return the logger of a task run."""
    run = around.run
    return RunLogger(_task_logger, around, {
        "task_run_id": around.id, "task_run_name": around.name,
        "task_name": around.code.task.name,
        "flow_run_id": run.shown_flow_run_id if run else None,
        "flow_run_name": run.flow_run_name if run else None,
        "flow_name": run.flow_name if run else None,
    })


def flow_logger(around: FlowRunContext) -> RunLogger:
    """Return the logger of a flow run."""
    run = around.run
    return RunLogger(_flow_logger, around, {
        "flow_run_id": run.shown_flow_run_id, "flow_run_name": run.flow_run_name,
        "flow_name": run.flow_name,
    })


def get_run_logger(
    context: TaskRunContext | FlowRunContext | None = None, **extra: Any
) -> logging.LoggerAdapter[logging.Logger]:
    """Return the logger of the task run, else the flow run, that this code runs in.

    Parameters
    ----------
    context
        Of another run than the one around.
    extra
        Fields of every line, for handlers and formatters.

    Raises
    ------
    MissingContextError
        There is no run around, and no :func:`disable_run_logger`.
    """
    around = context or current_task.get() or current_flow.get()
    if isinstance(around, TaskRunContext):
        logger = task_logger(around)
    elif around is not None:
        logger = flow_logger(around)
    elif _flow_logger.disabled and _task_logger.disabled:
        return logging.LoggerAdapter(_nowhere, extra)
    else:
        raise MissingContextError(
            "There is no flow run or task run here: get_run_logger() works in functions that run "
            "as a task or flow. Elsewhere use logging.getLogger(); in a test, wrap the call in "
            "disable_run_logger().")
    if extra:
        logger.extra = {**(logger.extra or {}), **extra}
    return logger


def get_logger(name: str | None = None) -> logging.Logger:
    """Return the standard logger ``dataflow.<name>``, or the package's own."""
    if name is None or name == "dataflow":
        return _package
    return logging.getLogger(name if name.startswith("dataflow.") else f"dataflow.{name}")


@contextmanager
def disable_run_logger() -> Iterator[None]:
    """Silence the loggers of runs, and let ``get_run_logger()`` work outside of runs.

    For tests of a task's or flow's function (``my_task.fn(...)``); also usable
    as a decorator.
    """
    before = _flow_logger.disabled, _task_logger.disabled
    _flow_logger.disabled = _task_logger.disabled = True
    try:
        yield
    finally:
        _flow_logger.disabled, _task_logger.disabled = before


def prints_to_log(fn: F) -> F:
    """Make ``print`` look for the run it is in, and return ``fn`` as it is.

    ``print`` is replaced once for the whole process; it costs two looks at
    context variables and changes nothing outside of runs with ``log_prints``.
    """
    builtins.print = _logged_print
    return fn


def _logged_print(*values: object, sep: str | None = " ", end: str | None = "\n",
                  file: Any = None, flush: bool = False) -> None:
    """Print, or log at INFO where the running code has ``log_prints``."""
    logger = _print_logger() if file is None or file is sys.stdout else None
    if logger is None:
        _print(*values, sep=sep, end=end, file=file, flush=flush)
    else:
        logger.info("%s", (" " if sep is None else sep).join(map(str, values)), stacklevel=2)


def _print_logger() -> RunLogger | None:
    task, flow = current_task.get(), current_flow.get()
    if task is not None:
        return task_logger(task) if task.code.task.log_prints else None
    return flow_logger(flow) if flow is not None and flow.log_prints else None


class _Formatter(logging.Formatter):
    """``12:34:56.789 | INFO    | Task run 'load-3fa' - message``."""

    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s | %(levelname)-7s | %(run)s - %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        name = record.name
        if getattr(record, "task_run_name", None):
            name = f"Task run {record.task_run_name!r}"  # type: ignore[attr-defined]
        elif getattr(record, "flow_run_name", None):
            name = f"Flow run {record.flow_run_name!r}"  # type: ignore[attr-defined]
        record.run = name
        return super().format(record)


class _Console(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(_Formatter())

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # the base class has a plain attribute
        return sys.stderr


_console = _Console()


def show_on_console(level: int, shown: bool = True) -> None:
    """Show lines on stderr where the application has set up no handler; undo it where it has."""
    ours = (_console, *(h for h in _package.handlers if isinstance(h, logging.NullHandler)))
    configured = bool(logging.getLogger().handlers) or any(
        handler not in ours for handler in _package.handlers)
    if configured or not shown:
        if _console in _package.handlers:
            _package.removeHandler(_console)
            _package.setLevel(logging.NOTSET)
        return
    if _console not in _package.handlers:
        _package.addHandler(_console)
    _package.setLevel(level)


def relay(line: LogLine, **run: str | None) -> None:
    """Hand a line that was logged in another process to the standard loggers of this one.

    Parameters
    ----------
    line
        The line, with the user's own fields.
    run
        Ids and names of the run that logged it, as fields of the record.
    """
    logger = logging.getLogger(line.logger)
    if not logger.isEnabledFor(line.level):
        return
    record = logger.makeRecord(
        line.logger, line.level, "", 0, line.message, (), None, extra={**dict(line.extra), **run})
    record.created, record.msecs = line.time_s, line.time_s % 1 * 1000
    logger.handle(record)
