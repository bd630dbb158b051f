"""What one element of a map costs: a no-op, results gathered, states durable.

    python -m benchmarks.map_overhead [--elements 100000] [--dask-elements 10000] [--peer prefect]

Raw Dask is measured with fewer elements, since 100,000 of them take minutes; the figures are per
element. Dask chunked by hand and joblib keep no state at all: they show how far there is to go.
"""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
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
from benchmarks.peers import prefect_map
from benchmarks.work import identity, identity_chunk, identity_chunk_pickled

CHUNK = 2_000
SMALLER = 10_000  # ours is measured with so many, too
FOR_PEERS = 500  # and with so many beside frameworks that take 5 to 100 ms for each


def main() -> int:
    """Measure; return the exit code."""
    options = arguments(__doc__, elements=100_000, dask_elements=10_000).parse_args()
    n, few = options.elements, min(options.dask_elements, options.elements)
    report = Report("map_overhead", f"No-op map of {n:,}, results gathered, cost per element")
    with home():
        few_s = {"Prefect, Dask": on_dask(report, n, few, options.repeats),
                 "Prefect, threads": on_threads(report, n, options.repeats)}
        if "prefect" in options.peer:
            for name, theirs_s in prefect_map(options.peer_python, FOR_PEERS).items():
                report.add(f"{name.split(', ')[1]}, {FOR_PEERS:,}", few_s[name] / FOR_PEERS * 1e6,
                           "µs", other=theirs_s / FOR_PEERS * 1e6,
                           against=f"{name}, {FOR_PEERS:,}")
    return report.finish(strict=options.strict)


def on_dask(report: Report, n: int, few: int, repeats: int) -> float:
    """Compare on one cluster: client.map, ours, and chunks by hand; return what 500 take in s."""
    import joblib

    from dataflow import flow, task
    from runners import DaskTaskRunner

    noop = task(identity)

    with local_client() as client:
        @flow(task_runner=DaskTaskRunner(client=client))
        def ours(count: int) -> Any:
            return noop.map(range(count)).result()

        def run_ours(count: int) -> None:
            assert ours(count) == list(range(count))

        def run_client_map() -> None:
            futures = client.map(identity, range(few), pure=False)
            assert client.gather(futures) == list(range(few))

        def run_chunks() -> None:
            futures = client.map(identity_chunk, chunks(n), pure=False)
            assert list(chain.from_iterable(client.gather(futures))) == list(range(n))

        def run_chunks_pickled() -> None:
            futures = client.map(identity_chunk_pickled, chunks(n), pure=False)
            values = chain.from_iterable(map(pickle.loads, client.gather(futures)))
            assert list(values) == list(range(n))

        def run_joblib() -> None:
            out = joblib.Parallel(n_jobs=WORKERS)(joblib.delayed(identity)(i) for i in range(n))
            assert out == list(range(n))

        run_ours(SMALLER)
        joblib.Parallel(n_jobs=WORKERS)(joblib.delayed(identity)(i) for i in range(10))
        seconds = alternate({
            "ours": lambda: run_ours(n),
            "ours, smaller": lambda: run_ours(SMALLER),
            "ours, for peers": lambda: run_ours(FOR_PEERS),
            "chunked by hand, lists": run_chunks,
            "chunked by hand, pickled": run_chunks_pickled,
            "joblib loky": run_joblib,
        }, repeats, report)
        run_ours(n)
        assert recorded() == {"Completed": n}
        seconds |= alternate({"client.map": run_client_map}, 1, report)
    mine, raw = seconds["ours"] / n * 1e6, seconds["client.map"] / few * 1e6
    for count, side in ((n, "ours"), (SMALLER, "ours, smaller")):
        cost = seconds[side] / count * 1e6
        report.add(f"Dask, {count:,}", cost, "µs", other=raw, against=f"client.map, {few:,}",
                   must="≥ 100", passed=raw / cost >= 100)
    for name in ("chunked by hand, lists", "chunked by hand, pickled", "joblib loky"):
        report.add(f"Dask, {n:,}", mine, "µs", other=seconds[name] / n * 1e6, against=name,
                   must="how near")
    return seconds["ours, for peers"]


def on_threads(report: Report, n: int, repeats: int) -> float:
    """Compare in one process: ThreadPoolExecutor.map and ours; return what 500 take in s."""
    from dataflow import flow, task
    from runners import ThreadPoolTaskRunner

    noop = task(identity)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def ours(count: int) -> Any:
        return noop.map(range(count)).result()

    def run_ours(count: int) -> None:
        assert ours(count) == list(range(count))

    def run_pool() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            assert list(pool.map(identity, range(n))) == list(range(n))

    run_ours(n)
    assert recorded() == {"Completed": n}
    seconds = alternate({
        "threads": lambda: run_ours(n),
        "threads, for peers": lambda: run_ours(FOR_PEERS),
        "ThreadPoolExecutor": run_pool,
    }, repeats, report)
    mine, theirs = seconds["threads"] / n * 1e6, seconds["ThreadPoolExecutor"] / n * 1e6
    report.add(f"threads, {n:,}", mine, "µs", other=theirs, against="ThreadPoolExecutor.map",
               must="≥ 1", passed=mine <= theirs)
    return seconds["threads, for peers"]


def chunks(n: int) -> list[range]:
    """Cut so many elements into chunks, as one does by hand."""
    return [range(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]


if __name__ == "__main__":
    sys.exit(main())
