"""What the benchmarks share: a cluster, alternating timings, memory readings, tables and JSON.

Lives here: measuring and reporting. Does not live here: what is measured
(``work.py``, and each benchmark by its name).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from distributed import Client

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("BENCHMARK_RESULTS", PROJECT / "benchmarks" / "results"))
WORKERS = 2  # processes of one thread each
VERSIONS_OF = ("dataflow", "dask", "distributed", "cloudpickle", "sqlalchemy", "joblib", "prefect")


# ------------------------------------------------------------------ what was measured


@dataclass
class Row:
    """One line of a table: what was measured, against what, and whether it reaches its mark."""

    what: str
    ours: float
    unit: str
    other: float | None = None
    against: str = ""
    must: str = ""
    passed: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the alternative costs what ours costs."""
        return self.other / self.ours if self.other is not None and self.ours else None


@dataclass
class Report:
    """The rows of one benchmark; printed and written as JSON at the end."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, ours: float, unit: str, **more: Any) -> Row:
        """Add a row."""
        row = Row(what, ours, unit, **more)
        self.rows.append(row)
        return row

    def finish(self, *, strict: bool = False) -> int:
        """Print the table and write the JSON; return the exit code (0 unless ``strict``)."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title=self.title, title_justify="left", title_style="bold")
        for heading in ("measured", "ours", "against", "theirs", "theirs / ours", "must", ""):
            right = heading in ("ours", "theirs", "theirs / ours")
            table.add_column(heading, justify="right" if right else "left")
        for row in self.rows:
            table.add_row(
                row.what, f"{shorten(row.ours)} {row.unit}", row.against,
                "" if row.other is None else f"{shorten(row.other)} {row.unit}",
                "" if row.ratio is None else f"{row.ratio:.2f}",
                row.must, {True: "pass", False: "FAIL", None: ""}[row.passed],
            )
        console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
        console.print(table)
        for row in self.rows:
            if row.note:
                console.print(f"  {row.what}: {row.note}")
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps({
            "benchmark": self.name, "title": self.title, "command": sys.argv,
            "time": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(),
            "rows": [{**asdict(row), "ratio": row.ratio} for row in self.rows],
            "samples": self.samples,
        }, indent=1) + "\n")
        return int(strict and any(row.passed is False for row in self.rows))


def shorten(number: float) -> str:
    """Return three significant digits, without an exponent."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def machine() -> dict[str, Any]:
    """Describe the machine and the versions, without naming it."""
    versions = {}
    for package in VERSIONS_OF:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cores": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_after": [round(x, 1) for x in os.getloadavg()],
        "python": platform.python_version(), "system": platform.system(), "versions": versions,
    }


# ------------------------------------------------------------------ timing


def alternate(
    sides: dict[str, Callable[[], Any]], repeats: int, report: Report | None = None
) -> dict[str, float]:
    """Time the sides in turn, A B A B …, so that a noisy moment hits both; return medians in s."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            gc.collect()
            time.sleep(0.1)  # what the other side left behind is released meanwhile
            began = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - began)
    if report is not None:
        report.samples.update(taken)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


# ------------------------------------------------------------------ places to run


@contextmanager
def home() -> Iterator[Path]:
    """Keep records in a folder of this benchmark's own; it is removed afterwards."""
    before = os.environ.get("DATAFLOW_HOME")
    with tempfile.TemporaryDirectory(prefix="dataflow-bench-") as folder:
        os.environ["DATAFLOW_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["DATAFLOW_HOME"]
            else:
                os.environ["DATAFLOW_HOME"] = before


def recorded() -> dict[str, int]:
    """Return how many task runs of the last flow run are on record, by state name.

    Asked by a process of its own, as a user does: what it answers is durable.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dataflow", "flow-run", "inspect", "last", "--output", "json"],
        check=True, capture_output=True, text=True, cwd=PROJECT)
    counts: Counter[str] = Counter()
    for call in json.loads(done.stdout)["calls"]:
        counts.update(call["counts"])
    return dict(counts)


@contextmanager
def local_client() -> Iterator[Client]:
    """Start two worker processes of one thread; the scheduler lives in this process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1",
                     dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.submit(sum, [1, 2]).result()
        yield client


@dataclass
class Apart:
    """A cluster whose scheduler is a process of its own."""

    client: Client
    address: str
    scheduler: psutil.Process
    workers: list[psutil.Process]


@contextmanager
def cluster_apart() -> Iterator[Apart]:
    """Start scheduler and workers as processes of their own, so that each one's memory shows."""
    from distributed import Client

    with tempfile.TemporaryDirectory(prefix="dataflow-bench-") as folder, ExitStack() as stack:
        file = str(Path(folder) / "scheduler.json")
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
                env=environment, cwd=folder,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            return process

        scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0",
                          "--dashboard-address", "127.0.0.1:0", "--scheduler-file", file)
        deadline = time.monotonic() + 30
        while not Path(file).exists():
            if time.monotonic() > deadline or scheduler.poll() is not None:
                raise RuntimeError("the scheduler did not start")
            time.sleep(0.05)
        workers = [
            start("dask_worker", "--scheduler-file", file, "--nthreads", "1", "--nworkers", "1",
                  "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0",
                  "--memory-limit", "0", "--no-nanny", "--local-directory", folder)
            for _ in range(WORKERS)
        ]
        client = stack.enter_context(Client(scheduler_file=file, set_as_default=False))
        client.wait_for_workers(WORKERS, timeout=30)
        yield Apart(client, client.scheduler.address, psutil.Process(scheduler.pid),
                    [psutil.Process(worker.pid) for worker in workers])


# ------------------------------------------------------------------ memory


def rss_mb(process: psutil.Process) -> float:
    """Return the resident memory of a process in MB (10^6 bytes)."""
    return float(process.memory_info().rss) / 1e6


class PeakMemory:
    """Reads the memory of processes every so often and keeps the highest figure of each."""

    def __init__(self, every_s: float = 0.1, **processes: psutil.Process) -> None:
        self.processes = processes
        self.peak_mb: dict[str, float] = dict.fromkeys(processes, 0.0)
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _read(self) -> None:
        for name, process in self.processes.items():
            self.peak_mb[name] = max(self.peak_mb[name], rss_mb(process))

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self._read()

    def __enter__(self) -> PeakMemory:
        self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._read()


# ------------------------------------------------------------------ command line


def arguments(doc: str, **defaults: int) -> argparse.ArgumentParser:
    """Return a parser with what all benchmarks take, and a number for each of ``defaults``."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default,
                            help=f"default {default:,}")
    parser.add_argument("--repeats", type=int, default=3, help="each side so many times, in turn")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a mark is missed")
    parser.add_argument("--peer", choices=["prefect"], action="append", default=[],
                        help="one more column where it is installed")
    parser.add_argument("--peer-python", default=sys.executable,
                        help="the interpreter that has the peer, if not this one")
    return parser


def started_ms(script: Path, times: int) -> list[float]:
    """Start a script as a fresh interpreter; return how long after that its flow began, in ms."""
    from dataflow.stores import open_store

    took = []
    for _ in range(times):
        at_s = time.time()
        subprocess.run([sys.executable, str(script), "now"], cwd=script.parent, check=True,
                       env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True)
        store = open_store(None)
        row = store.flow_runs(limit=1)[0]
        store.close()
        assert row.start_time is not None
        took.append((row.start_time.timestamp() - at_s) * 1e3)
    return took
