"""What it costs to measure what elements use: a no-op map on threads, with and without.

    python -m benchmarks.usage_overhead [--elements 1000000]

"Without" the clocks and the peak of memory are not asked; all else is the same. Figures are
processor time of the process, which other work on the machine disturbs less than seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.harness import WORKERS, Report, alternate, arguments, home, recorded
from benchmarks.work import identity


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import ThreadPoolTaskRunner

    options = arguments(__doc__, elements=1_000_000).parse_args()
    n = options.elements
    report = Report("usage_overhead", f"No-op map of {n:,} on threads, measured and not")
    noop = task(identity)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def ours() -> Any:
        return noop.map(range(n)).wait()

    with home():
        ours()
        assert recorded() == {"Completed": n}
        used: dict[str, list[float]] = {"measured": [], "not": []}

        def side(name: str) -> Callable[[], None]:
            def run() -> None:
                began_s = time.process_time()
                ours()
                used[name].append(time.process_time() - began_s)

            return run

        def unmeasured() -> None:
            with nothing_asked():
                side("not")()

        alternate({"measured": side("measured"), "not": unmeasured}, options.repeats, report)
    report.samples.update({f"{name}, cpu": seconds for name, seconds in used.items()})
    measured, plain = (min(used[name]) / n * 1e6 for name in ("measured", "not"))
    report.add(f"an element, of {n:,}", measured, "µs", other=plain, against="not measured",
               note=f"{(measured - plain) * 1e3:+.0f} ns; the least of {options.repeats} each")
    return report.finish(strict=options.strict)


@contextmanager
def nothing_asked() -> Iterator[None]:
    """Let clocks and memory say nothing, for as long as this lasts."""
    with (
        patch("dataflow.worker.usage._cpu", lambda: 0.0),
        patch("dataflow.worker.usage.OWN_FROM_S", 1e9),
        patch("dataflow.worker.batch.peak_memory", lambda: None),
    ):
        yield


if __name__ == "__main__":
    sys.exit(main())
