"""How long a worker's look into a long queue takes, beside one into a short queue, on SQLite.

    python -m benchmarks.take_latency [--runs 100000] [--turns 50]

So many runs wait, ten are taken at a time; the median of the turns. ``due``: all are due, of 20
deployments; ``later``: all but 5,000 are due tomorrow; ``full``: all belong to a deployment whose
limit is reached; ``tag``: likewise to a tag; ``priorities``: each of 1,000 priorities stands for
some. Beside each the same with 100 runs in the queue.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert

from benchmarks.harness import Report, arguments
from dataflow.agenda import Agenda, NewDeployment
from dataflow.ids import new_run_id
from dataflow.stores import open_store
from dataflow.stores.agenda.schema import queued_runs, tag_text

NOW = 1_000_000.0
FEW = 100
Fields = Callable[[int], dict[str, object]]
CASES: dict[str, tuple[Fields, Callable[[Agenda], object]]] = {
    "due": (lambda at: {}, lambda agenda: None),
    "later": (lambda at: {"due_s": NOW + 86_400 + at if at > 5000 else NOW}, lambda agenda: None),
    "full": (lambda at: {"deployment": 1},
             lambda agenda: agenda.set_limit("deployment", "f/d0", 1)),
    "tag": (lambda at: {"tags": tag_text(["db"])},
            lambda agenda: agenda.set_limit("tag", "db", 1)),
    "priorities": (lambda at: {"priority": at % 1000}, lambda agenda: None),
}


def main() -> int:
    """Measure all cases; return the exit code."""
    options = arguments(__doc__, runs=100_000, turns=50).parse_args()
    report = Report("take_latency", f"Ten runs taken out of {options.runs:,} that wait")
    for name in CASES:
        ours, few = (taken_ms(name, runs, options.turns) for runs in (options.runs, FEW))
        report.add(name, ours, "ms", other=few, against=f"the same of {FEW}")
    return report.finish(strict=options.strict)


def taken_ms(name: str, runs: int, turns: int) -> float:
    """Return the median of so many turns."""
    fields, set_up = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(str(Path(folder) / "dataflow.db"))
        agenda = store.agenda()
        for number in range(20):
            agenda.put(NewDeployment(name=f"f/d{number}", flow_name="f", digest="d", spec={}), NOW)
        set_up(agenda)
        rows = [{
            "flow_run_id": new_run_id(), "deployment": at % 20 + 1, "version": 1,
            "parameters": "{}", "pool": "default", "queue": "default", "priority": 0,
            "due_s": NOW - at % 1000, "phase": 0, "serial": 0, "tries": 0, "cancel": 0,
            "tags": "", **fields(at)} for at in range(runs)]
        with store._engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(insert(queued_runs), rows)
        times = []
        for _ in range(turns):
            begin = time.perf_counter()
            agenda.take("default", "w", 10, now_s=NOW, until_s=NOW + 30)
            times.append((time.perf_counter() - begin) * 1e3)
        store.close()
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
