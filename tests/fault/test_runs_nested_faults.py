"""Workers die and flows are interrupted while task runs have others inside of them."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import LocalCluster

from dataflow import flow, task
from dataflow.exceptions import WorkerLost
from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner
from tests.run_support import (
    alive,
    descendants,
    end_all,
    ledger,
    note,
    recorded,
    script_of,
    started,
    wait_until,
)

dask = pytest.mark.dask


@pytest.fixture
def frail(tmp_path: Path) -> Iterator[LocalCluster]:
    """Return a cluster of two workers of one thread, which may be killed."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", silence_logs=50,
        dashboard_address="127.0.0.1:0", local_directory=str(tmp_path / "dask"),
    ) as cluster:
        yield cluster


def children_of_parents() -> tuple[list[Any], Counter[str | None]]:
    """Return the rows of the parents, and how many children are recorded of each."""
    rows = recorded().task_runs
    return ([row for row in rows if row.task_name == "parent"],
            Counter(row.parent_task_run_id for row in rows if row.task_name == "child"))


@dask
def test_parents_whose_worker_dies_run_again_and_their_children_stand_once(
        frail: LocalCluster, tmp_path: Path) -> None:
    book = tmp_path / "book"

    @task
    def child(x: int) -> int:
        if x == 7 and not ledger(book)["died"]:
            note(book, "died")
            os.kill(os.getpid(), signal.SIGKILL)
        note(book, f"child {x}")
        time.sleep(0.02)
        return x

    @task
    def parent(n: int) -> int:
        return child(n) + sum(child.map(range(n)).result())

    @flow(task_runner=DaskTaskRunner(cluster=frail))
    def family() -> Any:
        return parent.map([10] * 6).result(timeout=60)

    assert family() == [55] * 6
    parents, children = children_of_parents()
    assert [row.state_name for row in parents] == ["Completed"] * 6
    assert [row.run_count for row in parents] == [1] * 6, "a death uses up no retry"
    assert children == {row.id: 11 for row in parents}
    assert ledger(book)["child 10"] > 6, "no parent ran again"


@dask
def test_parent_under_whose_child_the_worker_dies_is_crashed_and_named(
        frail: LocalCluster, tmp_path: Path) -> None:
    @task
    def child(x: int) -> int:
        if x == 3:
            os._exit(5)
        return x

    @task
    def parent(n: int) -> int:
        return sum(child.map(range(n)).result())

    @flow(task_runner=DaskTaskRunner(cluster=frail))
    def family() -> Any:
        good, bad = parent.submit(3), parent.submit(5)
        return good.result(timeout=60), bad.result(timeout=60, raise_on_failure=False)

    good, error = family()
    assert good == 3
    assert isinstance(error, WorkerLost) and "'parent'" in str(error)
    parents, children = children_of_parents()
    assert sorted(row.state_name for row in parents) == ["Completed", "Crashed"]
    completed = next(row.id for row in parents if row.state_name == "Completed")
    assert children == {completed: 3}, "children of a lost attempt are recorded"


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner(), InlineTaskRunner()], ids=repr)
def test_isolated_parent_that_died_runs_again_and_its_children_stand_once(
        runner: Any, tmp_path: Path) -> None:
    book = tmp_path / "book"

    @task
    def child(x: int) -> int:
        return x

    @task(isolation="process")
    def parent(n: int) -> int:
        total: int = sum(child.map(range(n)).result())
        if not ledger(book):
            note(book, "died")
            os.kill(os.getpid(), signal.SIGKILL)
        return total

    @flow(task_runner=runner)
    def family() -> Any:
        return parent.submit(4).result(timeout=60)

    assert family() == 6
    parents, children = children_of_parents()
    assert children == {parents[0].id: 4}


SCRIPT = """
    import os, sys, time
    from dataflow import flow, task
    from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner
    from tests.run_support import note

    BOOK, RUNNER = sys.argv[1], sys.argv[2]

    @task
    def child(x):
        note(BOOK, "begun")
        time.sleep(0.2)
        return x

    @task
    def parent(n):
        try:
            return sum(child.map(range(n)).result())
        finally:
            note(BOOK, "left")

    @flow(task_runner=eval(RUNNER))
    def family():
        parent.map([20_000, 20_000]).result()

    if __name__ == "__main__":
        family()
"""


@pytest.mark.parametrize("runner", [
    "InlineTaskRunner()", "ThreadPoolTaskRunner(2)",
    pytest.param("DaskTaskRunner(cluster_kwargs=dict(n_workers=2, threads_per_worker=1, "
                 "silence_logs=50))", marks=dask),
], ids=["inline", "threads", "dask"])
def test_ctrl_c_ends_a_flow_whose_tasks_wait_for_what_they_submitted(
        tmp_path: Path, runner: str) -> None:
    book = tmp_path / "book"
    driver = started(script_of(tmp_path, SCRIPT), book, runner, out=tmp_path / "out")
    family = [psutil.Process(driver.pid)]
    try:
        wait_until(lambda: ledger(book)["begun"] >= 2, "children run", 40)
        family += descendants(driver.pid)
        driver.send_signal(signal.SIGINT)
        assert driver.wait(20) != 0
        wait_until(lambda: not alive(family), "every process is gone", 20)
    finally:
        end_all(family)
    run = recorded().run
    assert run.state_name in ("Cancelled", "Crashed"), run
    assert ledger(book)["begun"] < 20_000


@dask
def test_ctrl_c_stops_what_runs_inside_of_tasks_on_a_cluster_that_goes_on(
        frail: LocalCluster, tmp_path: Path) -> None:
    book = tmp_path / "book"
    driver = started(script_of(tmp_path, SCRIPT), book,
                     f"DaskTaskRunner(address={frail.scheduler_address!r})", out=tmp_path / "out")
    family = [psutil.Process(driver.pid)]
    try:
        wait_until(lambda: ledger(book)["begun"] >= 2, "children run", 40)
        driver.send_signal(signal.SIGINT)
        wait_until(lambda: ledger(book)["left"] == 2, "both parents are told and end", 30)
        driver.wait(20)
    finally:
        end_all(family)
    assert ledger(book)["begun"] < 20_000
