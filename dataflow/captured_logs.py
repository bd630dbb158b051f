"""Lines of other libraries' loggers in a run's log.

Lives here: the handler that is put on the loggers named by the setting
``logging_extra_loggers``. Does not live here: the runs' own loggers
(``logging.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from dataflow.context import TaskRunContext, current_flow, current_task

_OURS = ("dataflow.flow_runs", "dataflow.task_runs")


class _Capture(logging.Handler):
    """Adds a line to the log of the run in which it was logged; elsewhere does nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; one that was relayed from a worker is in the log already."""
        around = current_task.get() or current_flow.get()
        if around is None or around.run is None or around.logs is None:
            return
        run = around.run
        if record.levelno < run.log_level or not _is_wanted(record.name, run.extra_loggers):
            return
        call, index, attempt = -1, 0, 1
        if isinstance(around, TaskRunContext):
            call, index, attempt = around.code.call, around.index, around.attempt
        try:
            text = self.format(record)
        except Exception:  # user code: __str__ of an argument, or a format that does not fit
            self.handleError(record)
            return
        around.logs.add(call, index, attempt, record.created, record.levelno, record.name, text)


_capture = _Capture()


def capture(names: Iterable[str], level: int) -> None:
    """Let what is logged under these names be kept in the run in which it is logged.

    A logger without a level of its own gets ``level``; all else about it stays.
    """
    for name in names:
        logger = logging.getLogger(name)
        if _capture not in logger.handlers:
            logger.addHandler(_capture)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)


def _is_wanted(name: str, names: Iterable[str]) -> bool:
    if name.startswith(_OURS):
        return False
    return any(name == each or name.startswith(f"{each}.") or each == "root" for each in names)
