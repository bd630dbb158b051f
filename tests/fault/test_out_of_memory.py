"""A worker of a real cluster uses more memory than it may: its nanny ends it, and that is said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from dataflow import flow, task
from runners import DaskTaskRunner
from tests.run_support import recorded

pytestmark = [pytest.mark.fault, pytest.mark.dask]

LIMIT = 400 * 2**20
STEP = 20 * 2**20
STEPS = 12  # 240 MiB on top of what a worker has: past 0.6 of its limit

_SETTINGS = {f"distributed.worker.memory.{name}": value for name, value in {
    "target": False, "spill": False, "pause": False, "terminate": 0.6}.items()}


@pytest.fixture
def small() -> Iterator[LocalCluster]:
    """Start one worker of one thread that may not use much."""
    with dask.config.set(_SETTINGS), LocalCluster(
        n_workers=1, threads_per_worker=1, memory_limit=LIMIT, host="127.0.0.1",
        dashboard_address=None, silence_logs=50,
    ) as cluster:
        yield cluster


def test_an_element_whose_worker_the_nanny_killed_says_so_with_the_limit(
        dataflow_home: Path, small: LocalCluster) -> None:
    @task
    def greedy(x: int) -> int:
        held = []
        for _ in range(STEPS if x == 1 else 0):
            held.append(bytearray(b"x" * STEP))
            time.sleep(0.05)
        time.sleep(4 if x == 1 else 0)  # the nanny looks ten times a second
        return len(held)

    @flow(task_runner=DaskTaskRunner(cluster=small))
    def eat() -> None:
        greedy.map(range(3)).wait()

    eat(return_state=True)
    rows = {row.map_index: row for row in recorded().check().task_runs}
    assert {index: row.state_name for index, row in rows.items()} == {
        0: "Completed", 1: "Crashed", 2: "Completed"}
    message = rows[1].error_message
    assert message is not None
    assert "was killed by its nanny, out of memory: it used " in message
    assert f"too near its memory limit of {LIMIT // 2**20} MiB" in message
    assert rows[1].cpu_s is None, "nobody measured what died"
    assert rows[0].cpu_s is not None
