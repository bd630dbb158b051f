"""How soon the first element of a large map runs, and how soon its result is in hand.

    python -m benchmarks.first_element [--elements 100000]
"""

from __future__ import annotations

import statistics
import sys
import time

from benchmarks.harness import Report, arguments, home, local_client
from benchmarks.work import now


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import DaskTaskRunner

    options = arguments(__doc__, elements=100_000).parse_args()
    n = options.elements
    report = Report("first_element", f"A map of {n:,}: after the call of map")

    with home(), local_client() as client:
        @flow(task_runner=DaskTaskRunner(client=client))
        def ours(count: int) -> tuple[float, float, float]:
            stamp = task(now)  # a new task each time: nothing is known of its cost
            called = time.time()
            marks = stamp.map(range(count))
            returned = time.time()
            first = marks[0].result()
            in_hand = time.time()
            return returned - called, first - called, in_hand - called

        ours(100)
        runs = [ours(n) for _ in range(options.repeats)]
    names = ("map returns", "first element starts", "its result is in hand")
    for name, values in zip(names, zip(*runs, strict=True), strict=True):
        report.samples[name] = list(values)
        ms = statistics.median(values) * 1e3
        is_mark = name == "first element starts"
        report.add(name, ms, "ms", must="< 200 ms" if is_mark else "",
                   passed=ms < 200 if is_mark else None)
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
