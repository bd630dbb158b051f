"""Real work of 1 to 200 ms, very unequal: how much of the slots' time is work.

    python -m benchmarks.skewed [--elements 600]

The ideal is the sum of what the elements really took, divided by the slots. Raw Dask does the same
list in the same run.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from benchmarks.harness import WORKERS, Report, alternate, arguments, home, local_client
from benchmarks.work import busy


def durations(count: int) -> list[float]:
    """Return unequal durations between 1 and 200 ms, the same in every run."""
    rng = random.Random(7)
    return [min(0.2, max(0.001, rng.lognormvariate(-4.0, 1.2))) for _ in range(count)]


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import DaskTaskRunner

    options = arguments(__doc__, elements=600).parse_args()
    work = durations(options.elements)
    report = Report("skewed", f"{len(work):,} elements of 1–200 ms, {sum(work):.1f} s in all")
    step = task(busy)
    efficiency: dict[str, list[float]] = {"ours": [], "client.map": []}

    with home(), local_client() as client:
        @flow(task_runner=DaskTaskRunner(client=client))
        def ours(items: list[float]) -> Any:
            return step.map(items).result()

        def measured(name: str, run: Any) -> Any:
            def timed() -> None:
                began = time.perf_counter()
                taken = run()
                wall = time.perf_counter() - began
                efficiency[name].append(sum(taken) / WORKERS / wall)
            return timed

        ours(work[:20])
        seconds = alternate({
            "ours": measured("ours", lambda: ours(work)),
            "client.map": measured(
                "client.map", lambda: client.gather(client.map(busy, work, pure=False))),
        }, options.repeats, report)
    for name, shares in efficiency.items():
        report.samples[f"{name}, share of ideal"] = shares
    mine, raw = (100 * sorted(v)[len(v) // 2] for v in efficiency.values())
    report.add("share of the ideal", mine, "%", must="≥ 95 %", passed=mine >= 95,
               note=f"client.map reaches {raw:.1f} %")
    report.add("whole time", seconds["ours"], "s", other=seconds["client.map"],
               against="client.map")
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
