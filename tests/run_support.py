"""Flow runs under test: a ledger of what was really done, and what the store says of it.

Lives here: what the fault and acceptance tests of whole runs share. Does not
live here: batches and sessions of one runner (``dask_support.py``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from dataflow.store import FlowRunRow, TaskRunRow
from dataflow.stores import open_store

ROOT = Path(__file__).parents[1]
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def note(path: str | Path, what: object) -> None:
    """Write a line that no death can take back: one write, appended."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{what}\n".encode())
    finally:
        os.close(fd)


def ledger(path: str | Path) -> Counter[str]:
    """Return what was done, and how often."""
    try:
        return Counter(Path(path).read_text().split("\n")[:-1])
    except FileNotFoundError:
        return Counter()


@dataclass
class Recorded:
    """What a store says of one flow run."""

    run: FlowRunRow
    task_runs: list[TaskRunRow]
    counts: dict[str, dict[str, int]]  # task name → state name → elements
    logs: list[Any]

    def states(self) -> dict[int | None, str]:
        """Return the state name of each element of the run's only call."""
        assert len({row.call for row in self.task_runs}) == 1
        return {row.map_index: row.state_name for row in self.task_runs}

    def with_state(self, name: str) -> set[int | None]:
        return {index for index, state in self.states().items() if state == name}

    def check(self) -> Recorded:
        """Assert what holds of every run: an element stands once, and the counts agree."""
        elements = Counter((row.run_id, row.call, row.map_index) for row in self.task_runs)
        assert not [key for key, times in elements.items() if times > 1], "recorded twice"
        by_task: dict[str, Counter[str]] = {}
        for row in self.task_runs:
            by_task.setdefault(row.task_name, Counter())[row.state_name] += 1
        for name, counted in self.counts.items():
            assert {k: v for k, v in counted.items() if v and k in FINAL_NAMES} == {
                k: v for k, v in by_task.get(name, Counter()).items() if k in FINAL_NAMES}, name
        return self


FINAL_NAMES = {"Completed", "Failed", "TimedOut", "Crashed", "Cancelled", "NotReady"}


def recorded(ref: str = "last") -> Recorded:
    """Read a flow run from the store of ``DATAFLOW_HOME``, checked."""
    store = open_store()
    try:
        run = store.find_flow_run(ref)
        counts: dict[str, dict[str, int]] = {}
        for call in store.calls(run.id, nested=True):
            into = counts.setdefault(call.task_name, {})
            for state, many in call.counts.items():
                into[state] = into.get(state, 0) + many
        return Recorded(run, store.task_runs(run.id, limit=None), counts,
                        list(store.logs(run.id))).check()
    finally:
        store.close()


# processes

def script_of(folder: Path, text: str, name: str = "flow_script.py") -> Path:
    """Write a driver's script; it finds ``tests`` and the ledger's ``note``."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def started(script: Path, *args: object, out: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a driver in a process group of its own, as a shell would."""
    stream: Any = subprocess.DEVNULL if out is None else out.open("wb")
    try:
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, args)], cwd=ROOT, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)})
    finally:
        if out is not None:
            stream.close()


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that are there and no zombies."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def end_all(processes: Iterable[psutil.Process]) -> None:
    """Kill what a test started and is still there."""
    for process in alive(processes):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass


def wait_until(true: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
