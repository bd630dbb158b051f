"""A task called in a flow, recorded, against the plain function.

    python -m benchmarks.direct_call [--calls 5000]
"""

from __future__ import annotations

import sys
import time

from benchmarks.harness import Report, alternate, arguments, home
from benchmarks.work import increment


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import ThreadPoolTaskRunner

    options = arguments(__doc__, calls=5_000).parse_args()
    n = options.calls
    report = Report("direct_call", f"{n:,} direct calls of a task in a flow, cost per call")
    recorded = task(increment)
    inside: list[float] = []

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def ours() -> int:
        began, x = time.perf_counter(), 0
        for _ in range(n):
            x = recorded(x)
        inside.append(time.perf_counter() - began)
        return x

    def plain() -> None:
        x = 0
        for _ in range(n):
            x = increment(x)
        assert x == n

    with home():
        assert ours() == n
        inside.clear()
        seconds = alternate({"ours": ours, "plain": plain}, options.repeats, report)
    on_top = (seconds["ours"] - seconds["plain"]) / n * 1e6
    loop = sorted(inside)[len(inside) // 2] / n * 1e6
    report.add("on top, whole flow", on_top, "µs", other=seconds["plain"] / n * 1e6,
               against="plain function", must="≤ 100 µs", passed=on_top <= 100)
    report.add("the calls alone", loop, "µs", note="without the start and the end of the flow run")
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
