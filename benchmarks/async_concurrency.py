"""Many that wait: 10,000 sleeps of 100 ms on two workers of one thread each.

    python -m benchmarks.async_concurrency [--elements 10000] [--sampled 60]

What holds a worker's thread while it waits is sampled, with fewer elements, and
extrapolated: its time is proportional to their number. asyncio.gather in one
process, without records and without workers, shows how far there is to go.
"""

from __future__ import annotations

import asyncio
import sys
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
from benchmarks.work import NAP_S, nap, nap_async

MUST = 20  # times what slots allow; two loops of 1,000 would give 1,000 without any overhead


def main() -> int:
    """Measure; return the exit code."""
    options = arguments(__doc__, elements=10_000, sampled=60).parse_args()
    n, few = options.elements, min(options.sampled, options.elements)
    report = Report("async_concurrency",
                    f"{n:,} sleeps of {NAP_S * 1000:.0f} ms on {WORKERS} workers of one thread")
    with home():
        on_dask(report, n, few, options.repeats)
    return report.finish(strict=options.strict)


def on_dask(report: Report, n: int, few: int, repeats: int) -> None:
    """Compare on one cluster; what is sampled is extrapolated to ``n``."""
    from dataflow import flow, task
    from runners import DaskTaskRunner

    waiting, blocking = task(nap_async), task(nap)

    with local_client() as client:
        @flow(task_runner=DaskTaskRunner(client=client))
        def mapped() -> Any:
            return waiting.map(range(n)).result()

        @flow(task_runner=DaskTaskRunner(client=client))
        def submitted() -> Any:
            return [future.result() for future in [waiting.submit(x) for x in range(n)]]

        @flow(task_runner=DaskTaskRunner(client=client))
        def blocked() -> Any:
            return blocking.map(range(few)).result()

        async def gathered() -> list[int]:
            return await asyncio.gather(*(nap_async(x) for x in range(n)))

        def run_client_map() -> None:
            futures = client.map(nap_async, range(few), pure=False)
            assert client.gather(futures) == list(range(few))

        seconds = alternate({
            "mapped": lambda: check(mapped(), n),
            "submitted": lambda: check(submitted(), n),
            "gather": lambda: check(asyncio.run(gathered()), n),
        }, repeats, report)
        assert recorded() == {"Completed": n}
        seconds |= alternate({"time.sleep": lambda: check(blocked(), few),
                              "client.map": run_client_map}, 1, report)
    ideal_s = n * NAP_S / WORKERS
    ours = seconds["mapped"]
    note = f"{few} measured, the rest extrapolated"
    for side in ("time.sleep", "client.map"):
        report.add(f"map of {n:,}", ours, "s", other=seconds[side] / few * n, note=note,
                   against=f"{side} (sampled)", must=f"≥ {MUST}",
                   passed=seconds[side] / few * n / ours >= MUST)
    report.add(f"map of {n:,}", ours, "s", other=ideal_s, against="two slots without overhead")
    report.add(f"map of {n:,}", ours, "s", other=seconds["gather"], must="how near",
               against="asyncio.gather, one process")
    report.add(f"{n:,} submits", seconds["submitted"], "s", other=seconds["gather"],
               must="how near", against="asyncio.gather, one process")


def check(found: list[int], count: int) -> None:
    """Raise where values are not those that were asked for."""
    assert found == list(range(count))


if __name__ == "__main__":
    sys.exit(main())
