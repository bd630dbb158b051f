"""Three maps over each other, element by element, against the same in ``client.map``.

    python -m benchmarks.map_chain [--elements 20000] [--dask-elements 2000]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.harness import Report, alternate, arguments, home, local_client
from benchmarks.work import increment


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import DaskTaskRunner

    options = arguments(__doc__, elements=20_000, dask_elements=2_000).parse_args()
    n, few = options.elements, min(options.dask_elements, options.elements)
    report = Report("map_chain", "Three no-op maps, element by element, cost per element of each")
    step = task(increment)

    with home(), local_client() as client:
        @flow(task_runner=DaskTaskRunner(client=client))
        def ours(count: int) -> Any:
            return step.map(step.map(step.map(range(count)))).result()

        def run_ours() -> None:
            assert ours(n) == list(range(3, n + 3))

        def run_client_map() -> None:
            futures: Any = range(few)
            for _ in range(3):
                futures = client.map(increment, futures, pure=False)
            assert client.gather(futures) == list(range(3, few + 3))

        ours(100)
        seconds = alternate({"ours": run_ours, "client.map": run_client_map},
                            options.repeats, report)
    mine, raw = seconds["ours"] / n / 3 * 1e6, seconds["client.map"] / few / 3 * 1e6
    report.add(f"3 maps of {n:,}", mine, "µs", other=raw, against=f"client.map, 3 of {few:,}",
               must="≥ 50", passed=raw / mine >= 50)
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
