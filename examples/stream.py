"""A stream without end: windows of readings are mapped as they come, until there were enough.

A generator gives a window of sensor readings for ever. Two steps follow it element by element; it
is only read as far ahead as the workers need, so that memory stays flat however long it goes on.
The flow looks at the aggregates as they come and cancels the map after so many.

    python examples/stream.py
"""

from __future__ import annotations

import resource
import sys
from array import array
from collections.abc import Iterator
from itertools import count
from math import sin
from statistics import fmean
from typing import NamedTuple

from dataflow import flow, task
from runners import DaskTaskRunner

CLUSTER = {"n_workers": 2, "threads_per_worker": 1, "silence_logs": 50}
WINDOW = 200  # readings
ENOUGH = 3_000  # windows
LOOK = 500  # windows that are looked at together
AHEAD = 1_000  # windows under way at most
taken = 0  # windows that the generator has given out, in the flow's process


class Aggregate(NamedTuple):
    """What is left of a window."""

    number: int
    mean: float
    highest: float


def windows() -> Iterator[tuple[int, array[float]]]:
    """Yield windows of readings in degrees, for ever."""
    global taken
    for number in count():
        first = number * WINDOW
        taken = number + 1
        yield number, array("f", [20 + 5 * sin(at / 997) + (at * 7919 % 101) / 50
                                  for at in range(first, first + WINDOW)])


@task(max_in_flight=AHEAD)
def aggregate(window: tuple[int, array[float]]) -> Aggregate:
    """Reduce a window to its mean and its highest reading."""
    number, readings = window
    return Aggregate(number, fmean(readings), max(readings))


@task
def alarm(found: Aggregate) -> bool:
    """Tell whether somebody should look at it."""
    return found.highest > 26.9


@flow(task_runner=DaskTaskRunner(cluster_kwargs=CLUSTER))
def watch() -> tuple[float, list[int], int, int]:
    """Return the mean of all readings, the windows with an alarm, and what it took."""
    aggregates = aggregate.map(windows())
    alarms = alarm.map(aggregates)
    total, loud, ahead = 0.0, [], 0
    for start in range(0, ENOUGH, LOOK):
        part = slice(start, start + LOOK)
        total += sum(found.mean for found in aggregates[part].result())
        loud += [start + at for at, is_loud in enumerate(alarms[part].result()) if is_loud]
        ahead = max(ahead, taken - aggregates.counts()["Completed"])
        if start == 0:
            before_kib = peak_kib()
    aggregates.cancel()  # ends the generator; what follows it ends with it
    return total / ENOUGH, loud, ahead, peak_kib() - before_kib


def peak_kib() -> int:
    """Return the most memory that this process ever had, in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    mean, loud, ahead, grown_kib = watch()
    known = [aggregate.fn(window) for _, window in zip(range(ENOUGH), windows(), strict=False)]
    print(f"{ENOUGH:,} windows of {WINDOW} readings: mean {mean:.3f}, {len(loud)} alarms")
    print(f"{ahead:,} windows under way at most; peak {peak_kib() / 1024:,.0f} MiB, "
          f"{grown_kib / 1024:.1f} MiB more than after the first {LOOK}")
    right = (abs(mean - fmean(a.mean for a in known)) < 1e-9
             and loud == [a.number for a in known if alarm.fn(a)] and grown_kib < 50 * 1024)
    print("Equal to plain Python, in flat memory: " + ("yes" if right else "NO"))
    sys.exit(0 if right else 1)
