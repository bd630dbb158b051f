"""Many processes ask for one result at once: how many compute it, how soon the others have it.

    python -m benchmarks.single_flight [--processes 32]

All are inside of a flow run of their own when a barrier lets them go. The task sleeps for a second
and returns when it ended; each process compares that with the time at which it has the result.
Once with direct calls, once with ``submit`` on threads; ``joblib.Memory`` beside it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.harness import Report, arguments, home
from benchmarks.work import enter_and_sleep

LIMIT_MS = 200.0
PATIENCE_S = 90.0
LINE = 16  # bytes of the ledger
PRELOADED = [  # by the process that all others are forked from: imports are not measured
    "joblib", "numpy", "sqlalchemy.dialects.sqlite.pysqlite", "dataflow.driver",
    "dataflow.stores.sqlite", "dataflow.settings_sources", "dataflow.task_caching",
    "dataflow.storages.local", "dataflow.worker.keeping_one", "runners.threads",
    "benchmarks.harness", "benchmarks.work",
]


def main() -> int:
    """Measure; return the exit code."""
    options = arguments(__doc__, processes=32).parse_args()
    many = options.processes
    report = Report("single_flight", f"{many} processes ask for one result at once")
    ways: dict[str, Callable[..., None]] = {
        "direct call": direct, "submit": submitted, "joblib": by_joblib}
    with home() as folder:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        taken: dict[str, list[tuple[int, list[float]]]] = {name: [] for name in ways}
        for number in range(options.repeats):
            for name, way in ways.items():
                ledger = folder / f"ledger-{name}-{number}"
                ledger.mkdir()
                waits_ms = ask_at_once(context, way, many, ledger)
                taken[name].append((executions(ledger), waits_ms))
    add_rows(report, taken)
    return report.finish(strict=options.strict)


def add_rows(report: Report, taken: dict[str, list[tuple[int, list[float]]]]) -> None:
    """Say how it went."""
    theirs = max(count for count, _ in taken.pop("joblib"))
    for name, rounds in taken.items():
        most = max(count for count, _ in rounds)
        report.samples[name] = [wait for _, waits in rounds for wait in waits]
        waits = sorted(report.samples[name])
        report.add(f"{name}: executions", most, "", other=theirs, against="joblib.Memory",
                   must="one", passed=most == 1)
        report.add(f"{name}: waiters have it, median", statistics.median(waits), "ms")
        report.add(f"{name}: waiters have it, last", waits[-1], "ms", must=f"≤ {LIMIT_MS:.0f} ms",
                   passed=waits[-1] <= LIMIT_MS,
                   note=f"of {len(waits)} in {len(rounds)} rounds; "
                   f"{sum(wait > LIMIT_MS for wait in waits)} were later than that")


def ask_at_once(context: Any, way: Callable[..., None], many: int, ledger: Path) -> list[float]:
    """Have so many processes ask; return after how many ms each of the waiters had it."""
    barrier, answers = context.Barrier(many), context.Queue()
    processes: list[BaseProcess] = [
        context.Process(target=way, args=(str(ledger), barrier, answers), daemon=True)
        for _ in range(many)]
    try:
        for process in processes:
            process.start()
        delays = [answers.get(timeout=PATIENCE_S) for _ in processes]
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    return sorted(delays)[1:]  # the first is the one that computed it


def executions(ledger: Path) -> int:
    """Return how often the function was called."""
    return sum(file.stat().st_size for file in ledger.iterdir()) // LINE


# ------------------------------------------------------------------ what each process does


def direct(ledger: str, barrier: Any, answers: Any) -> None:
    """Call the task in a flow."""
    ask(ledger, barrier, answers, lambda asked, *args: asked(*args))


def submitted(ledger: str, barrier: Any, answers: Any) -> None:
    """Submit the task in a flow."""
    ask(ledger, barrier, answers, lambda asked, *args: asked.submit(*args).result())


def ask(ledger: str, barrier: Any, answers: Any, how: Callable[..., float]) -> None:
    """Ask for the result, and tell how long after its end it is here."""
    from dataflow import flow, task
    from dataflow.cache_policies import INPUTS
    from runners import ThreadPoolTaskRunner

    asked = task(enter_and_sleep, cache_policy=INPUTS)
    plain = task(float, name="warm", cache_policy=INPUTS)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def ours() -> None:
        how(plain, time.time())  # imports and files are no part of it
        barrier.wait(PATIENCE_S)
        ended = how(asked, ledger, 0)
        answers.put((time.time() - ended) * 1e3)

    ours()


def by_joblib(ledger: str, barrier: Any, answers: Any) -> None:
    """Ask ``joblib.Memory``."""
    import joblib

    cached = joblib.Memory(ledger + "-joblib", verbose=0).cache(enter_and_sleep)
    barrier.wait(PATIENCE_S)
    ended = cached(ledger, 0)
    answers.put((time.time() - ended) * 1e3)


if __name__ == "__main__":
    sys.exit(main())
