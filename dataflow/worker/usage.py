"""Processor time of a batch: read from the clock of its thread, shared out among its elements.

Lives here: :class:`CpuMeter` and the sharing out. Does not live here: the elements
(``step.py``, ``batch.py``), memory (``dataflow.process_memory``), what a run used in all
(``dataflow.run_usage``).

A reading costs 1 µs, a third of what an element that does nothing costs: so the clock is not
read for each one. It is read after an element when the last reading is a millisecond old. An
element that took longer than that has a figure of its own, to within a millisecond; shorter
ones share what is left by how long they took.

The clock is that of the thread: what the element's function starts in other threads (a
threaded BLAS, a pool of its own) and in other processes is not seen. A function that runs in a
thread or child of ours, for its timeout or its isolation, is: it is measured there.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from dataflow.outcomes import SHARED_CPU, UNKNOWN_CPU, Span

OWN_FROM_S = 0.001
"""Elements that take longer have a figure of their own, in seconds."""

_clock = time.perf_counter
_cpu = time.thread_time


class CpuMeter:
    """The processor time of the thread that runs a batch, or a direct call.

    Attributes
    ----------
    due
        After an element that ends past this time (``perf_counter``), :meth:`note` is called.
    children_s
        Of what was used, the part of child processes.
    unknown
        What the element at hand used is not known in full.
    """

    __slots__ = ("_at", "_began_s", "_elsewhere_s", "_last_s", "_noted_s", "_told_s",
                 "children_s", "due", "unknown")

    def __init__(self) -> None:
        self.due = math.inf  # until it begins, nothing is measured
        self._at = self._began_s = self._last_s = 0.0
        self._elsewhere_s = self._noted_s = self._told_s = self.children_s = 0.0
        self.unknown = False

    def begin(self) -> None:
        """Begin, in the thread that is measured."""
        self._began_s = self._last_s = _cpu()
        self._at = _clock()
        self.due = self._at + OWN_FROM_S

    def add(self, cpu_s: float | None) -> None:
        """Count what the element at hand used in another thread or process; None: unknown."""
        self.due = 0.0
        if cpu_s is None:
            self.unknown = True
        else:
            self._elsewhere_s += cpu_s

    def add_child(self, cpu_s: float | None) -> None:
        """Count what it used in a child process, which no clock of this process sees."""
        self.children_s += cpu_s or 0.0
        self.add(cpu_s)

    def note(self, elapsed_s: float, now: float) -> float | None:
        """Return what the element used that has just ended; None where it only has a share.

        Parameters
        ----------
        elapsed_s
            How long it took, in seconds.
        now
            When it ended, by ``perf_counter``.
        """
        cpu_s, elsewhere_s = _cpu(), self._elsewhere_s - self._noted_s
        used_s, wall_s = cpu_s - self._last_s, now - self._at
        own = elapsed_s > OWN_FROM_S or self.due == 0.0
        unknown, self.unknown = self.unknown, False
        self._last_s, self._at, self._noted_s = cpu_s, now, self._elsewhere_s
        self.due = now + OWN_FROM_S
        if unknown:
            return UNKNOWN_CPU
        if not own:
            return None
        return elsewhere_s + used_s * min(1.0, elapsed_s / wall_s if wall_s > 0 else 1.0)

    def spent_s(self) -> float:
        """Return what was used since the last time that this was asked; in the thread itself."""
        return self._tell(_cpu())

    def noted_s(self) -> float:
        """Return the same up to the last reading; from any thread, while an element is at hand.

        What is not told yet is told next time.
        """
        return self._tell(self._last_s)

    def _tell(self, cpu_s: float) -> float:
        whole_s = cpu_s - self._began_s + self._elsewhere_s
        told_s, self._told_s = self._told_s, max(whole_s, self._told_s)
        return max(0.0, whole_s - told_s)


def measured(fn: Callable[..., Any], spent: Callable[[float], None]) -> Callable[..., Any]:
    """Return a function that is to run in another thread and tells what it used there."""
    def call(*args: Any, **kwargs: Any) -> Any:
        began_s = _cpu()
        try:
            return fn(*args, **kwargs)
        finally:
            spent(_cpu() - began_s)

    return call


def own_column(own: dict[int, float], positions: Sequence[int]) -> array[float] | None:
    """Return a figure for each of some positions, None where none of them has one."""
    if not own or not any(at in own for at in positions):
        return None
    return array("f", [own.get(at, SHARED_CPU) for at in positions])


def share_out(spans: Sequence[Span], cpu_s: float) -> None:
    """Let each span say what its elements used: their own, and of the rest a share by time."""
    if len(spans) == 1:
        spans[0].cpu_s = cpu_s
        return
    owns = [span.measured_cpu_s() for span in spans]
    times = [span.shared_elapsed_s() for span in spans]
    total_s, rest_s = sum(times), max(0.0, cpu_s - sum(owns))
    for span, own, time_s in zip(spans, owns, times, strict=True):
        share = time_s / total_s if total_s > 0 else 1 / len(spans)
        span.cpu_s = own + rest_s * share


def share_out_side_by_side(spans: Sequence[Span], cpu_s: float, elements: int) -> None:
    """Let spans of elements that shared one event loop say what they used together.

    Which of them used how much no clock tells, nor does the time that they took: they wait most
    of it. Where they are of several calls, nothing is said but in the report as a whole.

    Parameters
    ----------
    cpu_s
        Of the loop's thread.
    elements
        How many the loop has run; one alone used all of it.
    """
    if len({span.call for span in spans}) != 1:
        return
    share = cpu_s if elements == 1 else UNKNOWN_CPU
    for span in spans:
        span.cpu_s = cpu_s / len(spans)
        span.own_cpu = array("f", [share]) * len(span.codes)
