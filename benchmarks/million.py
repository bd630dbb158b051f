"""A million elements from a generator: what driver, scheduler and file grow by.

    python -m benchmarks.million [--elements 1000000] [--few 10000]

The scheduler runs in a process of its own. "Growth" is the highest memory during the large run less
the memory after a small one, so that imports and warm-up are not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.harness import PeakMemory, Report, arguments, cluster_apart, home, recorded, rss_mb
from benchmarks.work import identity


def numbers(count: int) -> Iterator[int]:
    """Yield so many numbers; nobody can ask for the length."""
    yield from range(count)


def folder_mb(folder: Path) -> float:
    """Return the size of all files in a folder in MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return the processor time that processes have used so far."""
    return sum(t.user + t.system for t in (process.cpu_times() for process in processes))


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import DaskTaskRunner

    options = arguments(__doc__, elements=1_000_000, few=10_000).parse_args()
    n, few = options.elements, options.few
    report = Report("million", f"{n:,} elements from a generator, after {few:,}")
    noop = task(identity)
    driver = psutil.Process()

    with home() as folder, cluster_apart() as cluster:
        @flow(task_runner=DaskTaskRunner(client=cluster.client))
        def ours(count: int) -> None:
            noop.map(numbers(count)).wait()

        ours(few)
        assert recorded() == {"Completed": few}
        before_mb = {"driver": rss_mb(driver), "scheduler": rss_mb(cluster.scheduler)}
        file_before_mb = folder_mb(folder)
        parts = {"driver": [driver], "scheduler": [cluster.scheduler], "workers": cluster.workers}
        cpu_before = {name: cpu_s(processes) for name, processes in parts.items()}
        began = time.perf_counter()
        with PeakMemory(driver=driver, scheduler=cluster.scheduler,
                        worker=cluster.workers[0]) as memory:
            ours(n)
            seconds = time.perf_counter() - began
        cpu_us = {name: (cpu_s(processes) - cpu_before[name]) / n * 1e6
                  for name, processes in parts.items()}
        assert recorded() == {"Completed": n}
        file_mb = folder_mb(folder) - file_before_mb

    for name, limit in (("driver", 150), ("scheduler", 100)):
        growth = memory.peak_mb[name] - before_mb[name]
        report.add(f"{name} grows by", growth, "MB", must=f"< {limit} MB", passed=growth < limit)
    report.add("the run's records", file_mb, "MB", must="≤ 40 MB", passed=file_mb <= 40,
               note=f"{file_mb * 1e6 / n:.1f} bytes an element")
    report.add("time", seconds, "s", note=f"{n / seconds:,.0f} elements a second, "
               f"{seconds / n * 1e6:.1f} µs each; processor time an element: "
               + ", ".join(f"{name} {us:.1f} µs" for name, us in cpu_us.items()) + "; "
               f"a worker's memory reached {memory.peak_mb['worker']:.0f} MB")
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
