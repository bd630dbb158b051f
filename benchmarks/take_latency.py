"""How long a worker's look into a long queue takes, on SQLite.

    python -m benchmarks.take_latency [RUNS]

Prints one line of JSON per case: RUNS (100,000) wait, ten are taken, 50 times; milliseconds,
the median and the greatest, and the median of the processor's time. ``waiting``: all are due,
of 20 deployments; ``later``: all but a few are due tomorrow; ``full``: all belong to a
deployment whose limit is reached; ``tag``: likewise to a tag; ``priorities``: each of 1,000
priorities stands for some.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert

from dataflow.agenda import Agenda, NewDeployment
from dataflow.ids import new_run_id
from dataflow.stores import open_store
from dataflow.stores.agenda.schema import queued_runs, tag_text

NOW = 1_000_000.0
TURNS = 50
Fields = Callable[[int], dict[str, object]]


def measured(name: str, runs: int, fields: Fields, set_up: Callable[[Agenda], None],
             room: int = 10) -> dict[str, object]:
    """Return the times of one case."""
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
        times, cpu = [], []
        for _ in range(TURNS):
            begin, begin_cpu = time.perf_counter(), time.process_time()
            agenda.take("default", "w", room, now_s=NOW, until_s=NOW + 30)
            times.append((time.perf_counter() - begin) * 1e3)
            cpu.append((time.process_time() - begin_cpu) * 1e3)
        store.close()
    return {"case": name, "runs": runs, "median_ms": round(statistics.median(times), 2),
            "max_ms": round(max(times), 2), "cpu_ms": round(statistics.median(cpu), 2)}


def nothing(agenda: Agenda) -> None:
    """Set no limit."""


def main() -> None:
    """Measure all cases."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    cases: dict[str, tuple[Fields, Callable[[Agenda], None]]] = {
        "waiting": (lambda at: {}, nothing),
        "later": (lambda at: {"due_s": NOW + 86400 + at if at > 5000 else NOW}, nothing),
        "full": (lambda at: {"deployment": 1},
                 lambda agenda: agenda.set_limit("deployment", "f/d0", 1)),
        "tag": (lambda at: {"tags": tag_text(["db"])},
                lambda agenda: agenda.set_limit("tag", "db", 1)),
        "priorities": (lambda at: {"priority": at % 1000}, nothing),
    }
    for name, (fields, set_up) in cases.items():
        print(json.dumps(measured(name, runs, fields, set_up)), flush=True)


if __name__ == "__main__":
    main()
