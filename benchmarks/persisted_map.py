"""What it costs to keep the results of a map on disk: a no-op, with and without.

    python -m benchmarks.persisted_map [--elements 100000]

``persist_result=True`` keeps results under the default key (inputs, source, run);
``cache_policy=NO_CACHE`` beside it keeps them for their own run alone, without a key of the inputs.
No run finds anything of another one: all elements are executed, and all results are written.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

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

LIMIT = 3.0


def main() -> int:
    """Measure; return the exit code."""
    from runners import DaskTaskRunner, ThreadPoolTaskRunner

    options = arguments(__doc__, elements=100_000).parse_args()
    n = options.elements
    report = Report("persisted_map", f"No-op map of {n:,} with results kept, cost per element")
    with home() as folder:
        with local_client() as client:
            compare(report, "Dask", DaskTaskRunner(client=client), n, options.repeats)
        compare(report, "threads", ThreadPoolTaskRunner(max_workers=WORKERS), n, options.repeats)
        add_sizes(report, folder / "results", 2 * 2 * n * (options.repeats + 1))
    return report.finish(strict=options.strict)


def compare(report: Report, where: str, runner: Any, n: int, repeats: int) -> None:
    """Time a map without and with results kept, in turn."""
    from dataflow import flow, task
    from dataflow.cache_policies import NO_CACHE

    tasks = {
        "not kept": task(identity, name="plain"),
        "kept": task(identity, name="kept", persist_result=True),
        "kept, NO_CACHE": task(identity, name="own", persist_result=True, cache_policy=NO_CACHE),
    }

    @flow(task_runner=runner)
    def ours(which: str) -> Any:
        return tasks[which].map(range(n)).result()

    def run(which: str) -> None:
        assert ours(which) == list(range(n))

    for which in tasks:
        run(which)
    states = recorded()
    assert states == {"Completed": n}, states
    seconds = alternate(
        {f"{where}, {which}": partial(run, which) for which in tasks}, repeats, report)
    plain, kept, own = (taken / n * 1e6 for taken in seconds.values())
    report.add(f"{where}, {n:,}, kept", kept, "µs", other=plain, against="not kept",
               must=f"≤ {LIMIT:.0f} times", passed=kept <= LIMIT * plain,
               note=f"{kept / plain:.2f} times")
    report.add(f"{where}, {n:,}, kept, NO_CACHE", own, "µs", other=plain, against="not kept",
               must="how near", note=f"{own / plain:.2f} times")


def add_sizes(report: Report, folder: Path, results: int) -> None:
    """Say what lies on disk."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    report.add("on disk, one result", sum(sizes) / results, "bytes",
               note=f"{results:,} results in {len(sizes):,} files")


if __name__ == "__main__":
    sys.exit(main())
