"""What an element costs that did not change since the last run: a no-op, all of them cached.

    python -m benchmarks.cached_rerun [--elements 100000] [--sampled 2000]

A first run with new elements and a second one with the same, in turn, so that each pair has
elements of its own. ``joblib.Memory`` keeps the same function; its hits are sampled, since each
opens files of its own; the figures are per element. "New workers" have read no index before.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import (
    WORKERS,
    Report,
    alternate,
    arguments,
    home,
    local_client,
    recorded,
)
from benchmarks.work import identity

LIMIT_US = 20.0


def main() -> int:
    """Measure; return the exit code."""
    options = arguments(__doc__, elements=100_000, sampled=2_000).parse_args()
    n, few = options.elements, min(options.sampled, options.elements)
    report = Report("cached_rerun", f"Second run of {n:,} cached elements, cost per element")
    with home() as folder:
        hits = joblib_us(report, folder, few, options.repeats)
        on_dask(report, n, options.repeats, hits)
        on_threads(report, n, options.repeats, hits)
    return report.finish(strict=options.strict)


def joblib_us(report: Report, folder: Path, few: int, repeats: int) -> dict[str, float]:
    """Return what joblib takes for one element, in µs: stored, found, found by two processes."""
    import joblib

    cached = joblib.Memory(str(folder / "joblib"), verbose=0).cache(identity)

    def run(start: int) -> None:
        assert [cached(x) for x in range(start, start + few)] == list(range(start, start + few))

    def run_parallel() -> None:
        parallel = joblib.Parallel(n_jobs=WORKERS)
        assert parallel(joblib.delayed(cached)(x) for x in range(few)) == list(range(few))

    run(0)
    run_parallel()
    started = iter(range(few, few * (repeats + 1), few))
    seconds = alternate({
        "joblib.Memory, first calls": lambda: run(next(started)),
        "joblib.Memory, hits": lambda: run(0),
        f"joblib.Memory, hits, {WORKERS} processes": run_parallel,
    }, repeats, report)
    return {name: taken / few * 1e6 for name, taken in seconds.items()}


class Pairs:
    """First and second runs of a flow; each pair has elements that were never there before."""

    def __init__(self, flow: Callable[[int, int], Any], n: int, start: int) -> None:
        self._flow, self._n, self.start = flow, n, start

    def first(self) -> None:
        """Run elements that are new."""
        self.start += self._n
        self.again()

    def again(self) -> None:
        """Run the elements of the last run."""
        expected = list(range(self.start, self.start + self._n))
        assert self._flow(self.start, self.start + self._n) == expected


def cached_flow(runner: Any) -> Callable[[int, int], Any]:
    """Return a flow of one map whose results are cached by inputs and source."""
    from dataflow import flow, task
    from dataflow.cache_policies import INPUTS, TASK_SOURCE

    kept = task(identity, cache_policy=INPUTS + TASK_SOURCE)

    @flow(task_runner=runner)
    def ours(start: int, stop: int) -> Any:
        return kept.map(range(start, stop)).result()

    return ours


def on_dask(report: Report, n: int, repeats: int, hits: dict[str, float]) -> None:
    """Measure on two workers, and once more on two that were just started."""
    from runners import DaskTaskRunner

    with local_client() as client:
        pairs = Pairs(cached_flow(DaskTaskRunner(client=client)), n, 0)
        compare(report, "Dask", n, pairs, repeats, hits)
    with local_client() as client:
        anew = Pairs(cached_flow(DaskTaskRunner(client=client)), n, pairs.start)
        seconds = alternate({"Dask, new workers": anew.again}, 1, report)
    states = recorded()
    assert states == {"Cached": n}, states
    report.add("Dask, new workers", seconds["Dask, new workers"] / n * 1e6, "µs",
               note=f"they read the index of {(repeats + 1) * n:,} results first")


def on_threads(report: Report, n: int, repeats: int, hits: dict[str, float]) -> None:
    """Measure on two threads of this process, which has the index in memory."""
    from runners import ThreadPoolTaskRunner

    pairs = Pairs(cached_flow(ThreadPoolTaskRunner(max_workers=WORKERS)), n, 1_000_000_000)
    compare(report, "threads", n, pairs, repeats, hits)


def compare(report: Report, where: str, n: int, pairs: Pairs, repeats: int,
            hits: dict[str, float]) -> None:
    """Time first and second runs in turn, and put them beside joblib."""
    pairs.first()
    seconds = alternate(
        {f"{where}, first": pairs.first, f"{where}, re-run": pairs.again}, repeats, report)
    states = recorded()
    assert states == {"Cached": n}, states
    used = cpu_us(pairs.again, n)
    first, again = (taken / n * 1e6 for taken in seconds.values())
    store, *found = hits
    report.add(f"{where}, first run", first, "µs", other=hits[store], against=store)
    report.add(f"{where}, re-run", again, "µs", other=first, against="the first run",
               must=f"≤ {LIMIT_US:.0f} µs", passed=again <= LIMIT_US,
               note=f"{used:.1f} µs of processor time, all processes together")
    for name in found:
        report.add(f"{where}, re-run", again, "µs", other=hits[name], against=name,
                   must="below", passed=again < hits[name])


def cpu_us(run: Callable[[], None], n: int) -> float:
    """Return the processor time of a run per element: of this process and its children."""
    this = psutil.Process()
    processes = [this, *this.children(recursive=True)]

    def used() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    before = used()
    run()
    time.sleep(0.1)  # the counters of other processes move by the tick
    return (used() - before) / n * 1e6


if __name__ == "__main__":
    sys.exit(main())
