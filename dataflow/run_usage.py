"""What a flow run used: processor time of its process and of its elements elsewhere, memory.

Lives here: adding up. Does not live here: measuring a batch (``worker/usage.py``), the records
(``run_record.py``).

A run that has its process to itself, from its start to its end, used what the process used:
function, driver, elements in threads and the threads that these started, flows that it called.
What its elements used in other processes (workers of a cluster, children for isolation) is added.
Where another run goes on in the same process, and in a flow that another one called, nobody can
tell whose the process's time is: then it is that of the elements alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from dataflow.outcomes import Report
from dataflow.process_memory import peak_memory

_lock = threading.Lock()
_going: dict[str, RunUsage] = {}  # runs of this process by id


class RunUsage:
    """Adds up what one flow run uses.

    Parameters
    ----------
    flow_run_id
        The run.
    around
        Id of the run that it was called in, None: it is one at the top.
    before_s
        What it had used before this process took it up; None: it is new.
    in_task_run
        A task run is around it, whose thread's time counts what the run does in that thread.
    """

    def __init__(self, flow_run_id: str, around: str | None, before_s: float | None, *,
                 in_task_run: bool = False) -> None:
        self._id = flow_run_id
        self._in_task_run = in_task_run
        self._before_s = before_s or 0.0
        self._began_s = time.process_time()
        self._here_s = self._elsewhere_s = self._direct_s = 0.0
        self._shared = around is not None
        self._sum = threading.Lock()
        with _lock:
            self._around = _going.get(around) if around is not None else None
            if around is None:
                for other in _going.values():
                    if other._around is None and other._id != flow_run_id:
                        self._shared = other._shared = True
            _going[flow_run_id] = self

    def took(self, report: Report, *, in_place: bool) -> None:
        """Count a batch; ``in_place``: it ran in the thread that waited for it."""
        if in_place and self._in_task_run:
            return
        children_s = report.cpu_s if report.remote else report.children_cpu_s
        self._add(report.cpu_s - children_s, children_s + (
            _nested_s(report.nested) if report.remote else 0.0))

    def called(self, cpu_s: float | None) -> None:
        """Count a direct call that the flow's function made."""
        if not self._in_task_run:
            with self._sum:
                self._direct_s += cpu_s or 0.0

    def _add(self, here_s: float, elsewhere_s: float) -> None:
        with self._sum:
            self._here_s += here_s
            self._elsewhere_s += elsewhere_s
        if self._around is not None:
            self._around._add(here_s, elsewhere_s)

    def so_far(self) -> tuple[float, int | None]:
        """Return the processor time in seconds, and the peak memory of this process in bytes."""
        own_s = time.process_time() - self._began_s
        if self._shared:
            own_s = self._here_s + self._direct_s
        return self._before_s + own_s + self._elsewhere_s, peak_memory()

    def end(self) -> None:
        """Count nothing more."""
        with _lock:
            if _going.get(self._id) is self:
                del _going[self._id]


def _nested_s(gulps: Iterable[tuple[str, Any]]) -> float:
    """Return what task runs used in other threads of their worker, for what they ran themselves."""
    return sum(gulp.flow_run.cpu_s or 0.0 for _, gulp in gulps if gulp.flow_run is not None)
