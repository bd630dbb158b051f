"""Large arguments: looking for futures in them, against a walk in plain Python.

    python -m benchmarks.large_arguments [--floats 10000000] [--peer prefect]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Report, alternate, arguments, home
from benchmarks.peers import prefect_walk
from benchmarks.work import identity

ROWS = 100
_ATOMS = (int, float, str, bytes, bool, type(None))


def walk(value: Any) -> int:
    """Look at every item, as one writes it in an afternoon; return how many there are."""
    if isinstance(value, _ATOMS):
        return 1
    if isinstance(value, (list, tuple, set)):
        return sum(walk(item) for item in value)
    if isinstance(value, dict):
        return sum(walk(key) + walk(item) for key, item in value.items())
    return 1


def main() -> int:
    """Measure; return the exit code."""
    import numpy as np

    from dataflow import flow, task, unmapped
    from runners import ThreadPoolTaskRunner

    options = arguments(__doc__, floats=10_000_000).parse_args()
    n = options.floats
    report = Report("large_arguments", f"{n:,} floats as an argument, in the caller")
    first, pick = task(identity), task(_first)
    rows = [[float(i) for i in range(n // ROWS)] for _ in range(ROWS)]
    table = np.zeros(n)
    took: dict[str, float] = {}

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def ours() -> None:
        one = first.submit(1)
        calls: dict[str, Callable[[], Any]] = {
            "submit, ndarray": lambda: pick.submit(table),
            "submit, list of lists": lambda: pick.submit(rows),
            "submit, with a future beside": lambda: pick.submit([one, rows]),
            "map, unmapped": lambda: pick.map(unmapped(rows), [1, 2]),
            "map over the lists": lambda: pick.map(rows),
            "direct call": lambda: pick(rows),
        }
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            took.setdefault(name, time.perf_counter() - began)
            took[name] = min(took[name], time.perf_counter() - began)

    def plain() -> None:
        assert walk(rows) == n // ROWS * ROWS

    with home():
        ours()
        seconds = alternate({"ours": ours, "plain": plain}, options.repeats, report)
    by_hand = seconds["plain"] * 1e3
    theirs = prefect_walk(options.peer_python, n) if "prefect" in options.peer else None
    for name, value in took.items():
        array = "ndarray" in name
        report.add(name, value * 1e3, "ms", other=by_hand, against="a walk in Python",
                   must="≤ 1 ms" if array else "≥ 3",
                   passed=value <= 1e-3 if array else by_hand / 3 >= value * 1e3)
    if theirs is not None:
        report.add("submit, list of lists", took["submit, list of lists"] * 1e3, "ms",
                   other=theirs * 1e3, against="Prefect's visit_collection")
    return report.finish(strict=options.strict)


def _first(x: Any, y: Any = 0) -> Any:
    return x[0] if len(x) < ROWS else 0


if __name__ == "__main__":
    sys.exit(main())
