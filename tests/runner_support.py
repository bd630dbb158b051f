"""What the contract of the task runners is written with: one run of a flow, and its records.

Lives here: playing a function as a flow and holding its records against what
every run must leave behind; counting executions across processes. Does not
live here: the runners themselves (``tests/contract/conftest.py``).
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataflow import State, flow
from dataflow.store import Store, TaskRunRow
from dataflow.stores import open_store

FINAL = {"Completed", "Cached", "Failed", "TimedOut", "Crashed", "Cancelled", "NotReady",
         "RolledBack"}
NEVER_BEGUN = {"NotReady"}


class Records:
    """What the store says of one flow run."""

    def __init__(self, flow_run: str = "last") -> None:
        self.store: Store = open_store(None)
        self.run = self.store.find_flow_run(flow_run)
        self.calls = self.store.calls(self.run.id, nested=True)
        self.rows = self.store.task_runs(self.run.id, limit=None)

    def check(self) -> None:
        """Hold the records against what is true of every run that has ended."""
        assert {row.state_name for row in self.rows} <= FINAL
        for call in self.calls:
            rows = [row for row in self.rows if (row.run_id, row.call) == (call.run_id, call.call)]
            assert dict(Counter(row.state_name for row in rows)) == call.counts, call.task_name
            if call.width is not None:
                assert len(rows) == call.width, call.task_name
        for row in self.rows:
            if row.state_name in NEVER_BEGUN:
                assert (row.run_count, row.start_time) == (0, None), row
            elif row.state_name in ("Completed", "RolledBack"):
                assert row.run_count >= 1 and row.start_time is not None, row
                assert row.end_time is not None and row.end_time >= row.start_time, row
        assert self.run.end_time is not None or self.run.state_name == "NotReady"

    def of(self, task_name: str) -> list[TaskRunRow]:
        """Return the rows of a task's runs, in order of call and index."""
        return [row for row in self.rows if row.task_name == task_name]

    def states(self, task_name: str) -> list[str]:
        """Return the names of a task's final states, in order of call and index."""
        return [row.state_name for row in self.of(task_name)]

    def run_counts(self, task_name: str) -> list[int]:
        """Return how often each run of a task was executed."""
        return [row.run_count for row in self.of(task_name)]

    def messages(self) -> list[str]:
        """Return the text of every log line."""
        return [line.message for line in self.store.logs(self.run.id)]


class Play:
    """Runs functions as flows on one runner; after each the records are checked."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner

    def state(self, fn: Callable[[], Any], **options: Any) -> State:
        """Run a function as a flow and return its final state."""
        state: State = flow(task_runner=self.runner, **options)(fn)(return_state=True)
        self.records.check()
        return state

    def __call__(self, fn: Callable[[], Any], **options: Any) -> Any:
        """Run a function as a flow and return what the caller of a flow gets."""
        try:
            return flow(task_runner=self.runner, **options)(fn)()
        finally:
            self.records.check()

    @property
    def records(self) -> Records:
        """Records of the last run."""
        return Records()


def note(folder: Path | str, name: str = "ran") -> int:
    """Leave a mark in a folder, from any process; return how many of that name there are."""
    Path(folder, f"{name}.{uuid.uuid4().hex}").touch()
    return noted(folder, name)


def noted(folder: Path | str, name: str = "ran") -> int:
    """Count the marks of a name."""
    return sum(1 for _ in Path(folder).glob(f"{name}.*"))


class Busy:
    """Measures how many run at once, across processes: an entry per run, by its two times."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def work(self, seconds: float, name: str = "busy") -> None:
        """Take some time, and note when."""
        begin = time.time()
        time.sleep(seconds)
        Path(self.folder, f"{name}.{uuid.uuid4().hex}").write_text(f"{begin} {time.time()}")

    def spans(self, name: str = "busy") -> list[tuple[float, float]]:
        """Return (begin, end) of each."""
        found = [path.read_text().split() for path in Path(self.folder).glob(f"{name}.*")]
        return sorted((float(begin), float(end)) for begin, end in found)

    def most(self, name: str = "busy") -> int:
        """Return the greatest number that ran at one time."""
        edges = [edge for begin, end in self.spans(name) for edge in ((begin, 1), (end, -1))]
        now = most = 0
        for _, step in sorted(edges):
            now += step
            most = max(most, now)
        return most
