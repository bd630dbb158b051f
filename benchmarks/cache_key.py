"""Keys of values: a small tuple, an array, a table; against joblib.hash and dask.tokenize.

    python -m benchmarks.cache_key [--megabytes 1000] [--rows 1000000] [--calls 20000]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Report, alternate, arguments

NOT_ALIKE = ("dask takes SHA-1 of the bytes as they lie: equal arrays in another order of memory "
             "have other tokens, and so have other NaN; joblib looks at the order too")
SMALL = {"(1, 'a', 2.5)": (1, "a", 2.5), "('x', 3)": ("x", 3)}


def main() -> int:
    """Measure; return the exit code."""
    import joblib
    import numpy as np
    import pandas as pd
    from dask.base import tokenize

    from dataflow.hashing import digest

    options = arguments(
        __doc__, megabytes=1000, rows=1_000_000, calls=20_000, items=300_000).parse_args()
    report = Report("cache_key", "Digests of values, per value")
    others: dict[str, Callable[[Any], Any]] = {
        "joblib.hash": joblib.hash, "dask.tokenize": tokenize}

    def compare(what: str, value: Any, times: int, unit: str, *, limit: float | None = None,
                must: str = "", unlike: tuple[str, ...] = ()) -> None:
        sides = {"ours": digest, **others}

        def side(function: Callable[[Any], Any], count: int) -> Callable[[], None]:
            def run() -> None:
                for _ in range(count):
                    function(value)
            return run

        counts = {name: times if name == "ours" else max(1, times // 10) for name in sides}
        seconds = alternate(
            {name: side(function, counts[name]) for name, function in sides.items()},
            options.repeats)
        scale = {"µs": 1e6, "ms": 1e3}[unit]
        each = {name: taken / counts[name] * scale for name, taken in seconds.items()}
        report.samples[what] = list(each.values())
        for name in others:
            judged = name not in unlike
            report.add(what, each["ours"], unit, other=each[name], against=name,
                       must="faster" if judged else "how near",
                       passed=each["ours"] < each[name] if judged else None)
        if limit is not None:
            report.add(what, each["ours"], unit, must=must, passed=each["ours"] <= limit)
        if unlike:
            report.rows[-1].note = NOT_ALIKE

    for name, value in SMALL.items():
        compare(name, value, options.calls, "µs", limit=5.0, must="≤ 5 µs")
    compare("a dict of 5 options",
            {"rate": 0.1, "n": 3, "name": "x", "on": True, "inner": None}, options.calls, "µs")
    rng = np.random.default_rng(0)
    array = rng.random(options.megabytes * 1_000_000 // 8)
    gigabytes = array.nbytes / 1e9
    compare(f"array, {options.megabytes:,} MB", array, 1, "ms",
            limit=1000 * gigabytes, must="≥ 1 GB/s", unlike=("dask.tokenize",))
    del array
    side = int((options.megabytes * 1_000_000 // 80) ** 0.5)
    compare(f"array in F order, {side * side * 8 // 1_000_000:,} MB",
            np.asfortranarray(rng.random((side, side))), 1, "ms",
            unlike=("dask.tokenize", "joblib.hash"))
    rows = options.rows
    numbers = pd.DataFrame({f"c{n}": rng.random(rows) for n in range(5)})
    compare(f"DataFrame, {rows:,} rows × 5 floats", numbers, 1, "ms",
            unlike=("dask.tokenize",))
    texts = numbers.assign(text=[f"row {n}" for n in range(rows)], count=range(rows))
    compare(f"DataFrame, {rows:,} rows, one of text", texts, 1, "ms",
            unlike=("dask.tokenize",))
    items = options.items
    compare(f"list of {items:,} floats", [float(n) for n in range(items)], 1, "ms")
    compare(f"list of {items:,} tuples", [(n, "a", 2.5) for n in range(items)], 1, "ms")
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
