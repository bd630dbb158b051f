"""Runs over a store that breaks, logs without end, and what is left after many runs."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from dataflow import flow, get_run_logger, task
from dataflow.exceptions import StoreError, StoreVersionError
from dataflow.stores import open_store
from runners import DaskTaskRunner, ThreadPoolTaskRunner
from tests.run_support import ledger, note, recorded, script_of, wait_until

if TYPE_CHECKING:
    from distributed import Client, LocalCluster


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Mount a disk of 10 MB and let the home be on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (needs root and mount)")
    monkeypatch.setenv("DATAFLOW_HOME", str(disk / "home"))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    return ballast


@task
def twice(x: int) -> int:
    return 2 * x


# the disk

def test_full_disk_that_stays_full_is_an_error_of_the_flow_and_nothing_is_said_to_be_fine(
    small_disk: Path, tmp_path: Path
) -> None:
    book = tmp_path / "book"

    @task
    def noted(x: int) -> int:
        note(book, x)
        raise ValueError("x" * 2_000)

    @flow
    def full() -> str:
        twice.map(range(100)).wait()
        time.sleep(0.6)  # recorded
        fill(small_disk)
        noted.map(range(3_000)).wait()
        return "done"

    with pytest.raises(StoreError) as caught:
        full()
    text = str(caught.value)
    assert "full" in text.lower() or "space" in text.lower(), text
    assert str(small_disk) in text and "3000" in text
    assert len(ledger(book)) == 3_000
    (small_disk / "ballast").unlink()
    story = recorded()
    assert story.run.state_type == "RUNNING", "nobody may take it for completed"
    assert story.counts["twice"] == {"Completed": 100}


def test_full_disk_that_is_freed_in_time_loses_no_record(small_disk: Path) -> None:
    @task
    def fails(x: int) -> int:
        if x % 2:
            raise ValueError("y" * 500)
        return x

    @flow
    def squeezed() -> str:
        ballast = fill(small_disk)
        results = fails.map(range(2_000))
        results.wait()
        time.sleep(1.0)
        ballast.unlink()
        return "done"

    @flow
    def first() -> None:
        twice.submit(1).wait()

    first()
    assert squeezed() == "done"
    story = recorded()
    assert story.run.state_type == "COMPLETED"
    assert story.counts == {"fails": {"Completed": 1_000, "Failed": 1_000}}
    assert all("y" * 500 in (r.error_message or "") for r in story.task_runs
               if r.state_name == "Failed")


def test_disk_that_is_full_from_the_start_is_a_clear_error_and_no_task_runs(
    small_disk: Path, tmp_path: Path
) -> None:
    fill(small_disk)
    book = tmp_path / "book"

    @flow
    def never() -> None:
        note(book, "ran")

    with pytest.raises(StoreError) as caught:
        never()
    assert str(small_disk) in str(caught.value)
    assert not ledger(book)


# the home

@flow
def simple() -> list[int]:
    return twice.map([1, 2]).result()


def test_read_only_home_is_a_clear_error_before_anything_runs(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match="read-only") as caught:
        simple()
    assert "DATAFLOW_HOME" in str(caught.value)


def test_home_that_is_a_file_is_a_clear_error_and_the_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.write_text("mine")
    monkeypatch.setenv("DATAFLOW_HOME", str(home))
    with pytest.raises(StoreError, match="is a file") as caught:
        simple()
    assert str(home) in str(caught.value)
    assert home.read_text() == "mine"


def test_store_of_a_newer_version_is_refused_and_left_as_it_is() -> None:
    assert simple() == [2, 4]
    path = Path(os.environ["DATAFLOW_HOME"]) / "dataflow.db"
    with sqlite3.connect(path) as db:
        [(version,)] = db.execute("SELECT version FROM schema_version").fetchall()
        db.execute("UPDATE schema_version SET version = 1000")
    db.close()
    with pytest.raises(StoreVersionError) as caught:
        simple()
    assert "1000" in str(caught.value) and str(version) in str(caught.value)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE schema_version SET version = ?", (version,))
    db.close()
    store = open_store()
    assert len(store.flow_runs()) == 1
    store.close()


def test_two_processes_record_in_the_same_home_at_once(tmp_path: Path) -> None:
    script = script_of(tmp_path, """
        from dataflow import flow, task

        @task
        def twice(x):
            return 2 * x

        @flow
        def f():
            for _ in range(5):
                twice.map(range(2_000)).wait()

        if __name__ == "__main__":
            f()
    """)
    both = [subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)
            for _ in range(3)]
    for process in both:
        assert process.wait(60) == 0, process.communicate()[1]
        process.communicate()
    store = open_store()
    runs = store.flow_runs()
    store.close()
    assert len(runs) == 3
    for run in runs:
        assert recorded(run.id).counts == {"twice": {"Completed": 10_000}}


# logs

MANY = 1_000_000


def flood(x: int) -> int:
    logger = get_run_logger()
    for line in range(MANY if x == 1 else 3):
        logger.info("line %d of %d", line, x)
    if x == 1:
        raise ValueError("after the flood")
    return x


@pytest.mark.parametrize("where", ["threads", pytest.param("dask", marks=pytest.mark.dask)])
def test_a_flood_of_a_million_log_lines_is_bounded_and_says_so(
    where: str, request: pytest.FixtureRequest
) -> None:
    runner: Any = (ThreadPoolTaskRunner(2) if where == "threads"
                   else DaskTaskRunner(cluster=request.getfixturevalue("dask_cluster")))
    flooding = task(flood)

    @flow(task_runner=runner)
    def wet() -> None:
        flooding.map(range(4)).wait()

    before = psutil.Process().memory_info().rss
    wet()
    assert psutil.Process().memory_info().rss - before < 150e6
    story = recorded()
    assert story.counts == {"flood": {"Completed": 3, "Failed": 1}}
    own = [line for line in story.logs if line.call == 0 and line.index == 1]
    assert 100 <= len(own) <= 20_000
    assert own[0].message == "line 0 of 1", "the first lines are kept"
    said = [line.message for line in story.logs if "dropped" in line.message]
    assert said and sum(int(text.split()[0]) for text in said) + len(own) >= MANY
    for x in (0, 2, 3):
        theirs = [line.message for line in story.logs if line.call == 0 and line.index == x]
        assert theirs[:3] == [f"line {i} of {x}" for i in range(3)], "neighbours keep theirs"


def test_a_flood_of_a_direct_call_and_of_the_flow_itself_is_bounded_and_says_so() -> None:
    flooding = task(flood)

    @flow
    def wet() -> None:
        with pytest.raises(ValueError, match="after the flood"):
            flooding(1)
        logger = get_run_logger()
        for line in range(150_000):
            logger.info("flow line %d", line)

    wet()
    story = recorded()
    own = [line.message for line in story.logs if line.call == 0]
    flows = [line.message for line in story.logs if line.call == -1]
    assert own[:2] == ["line 0 of 1", "line 1 of 1"] and len(own) <= 20_000
    assert flows[1] == "flow line 0" and len(flows) <= 110_000
    for lines in (own, flows):
        assert sum("dropped" in line for line in lines) == 1
    assert any("990000 log lines dropped" in line for line in own)


@pytest.mark.parametrize("where", ["threads", pytest.param("dask", marks=pytest.mark.dask)])
def test_logs_of_elements_that_fail_are_there_with_their_attempts(
    where: str, request: pytest.FixtureRequest
) -> None:
    runner: Any = (ThreadPoolTaskRunner(2) if where == "threads"
                   else DaskTaskRunner(cluster=request.getfixturevalue("dask_cluster")))

    @task(retries=1, log_prints=True)
    def talks(x: int) -> int:
        print(f"printed {x}")
        get_run_logger().warning("warned %d", x)
        raise ValueError(str(x))

    @flow(task_runner=runner)
    def failing() -> None:
        talks.map(range(30)).wait()

    failing()
    story = recorded()
    assert story.counts == {"talks": {"Failed": 30}}
    lines = {(line.index, line.attempt, line.message) for line in story.logs if line.call == 0}
    assert lines >= {(x, a, text) for x in range(30) for a in (1, 2)
                     for text in (f"printed {x}", f"warned {x}")}


# leaks

def descriptors() -> int:
    return psutil.Process().num_fds()


def names() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.is_alive())


def test_thirty_flows_on_threads_leave_no_thread_and_no_descriptor() -> None:
    """Tolerance: 2 descriptors, no thread of ours beyond those of the first flow."""
    @task(retries=1)
    def fails(x: int) -> int:
        if x == 3:
            raise ValueError
        return x

    @flow
    def one() -> None:
        twice.map(fails.map(range(20))).wait()
        twice(1)

    one()
    gc.collect()
    wait_until(lambda: not [n for n in names() if n.startswith("dataflow-thread")], "threads end")
    threads, files = names(), descriptors()
    for _ in range(30):
        one()
    gc.collect()
    wait_until(lambda: len(names()) <= len(threads), f"threads are back: {names()} / {threads}")
    assert descriptors() <= files + 2


def test_thirty_flows_with_processes_of_their_own_leave_no_process() -> None:
    apart = task(abs, isolation="process")

    @flow
    def one() -> None:
        apart.map([-1, -2]).wait()

    one()
    files, children = descriptors(), len(psutil.Process().children())
    for _ in range(5):
        one()
    wait_until(lambda: len(psutil.Process().children()) <= children, "children have ended")
    assert descriptors() <= files + 2


@pytest.mark.dask
def test_five_flows_on_a_users_client_leave_no_key_thread_or_descriptor(
    dask_client: Client, dask_cluster: LocalCluster
) -> None:
    """Tolerance: 4 descriptors (Dask's own pool of connections), no key, no thread, no client."""
    @task
    def fails(x: int) -> int:
        if x == 3:
            raise ValueError
        return x

    @flow(task_runner=DaskTaskRunner(client=dask_client))
    def one() -> list[int]:
        values = twice.map(fails.map(range(100)))
        big = task(bytes).map([500_000, 500_000])
        big.wait()
        return [f.result() for f in values[10:20]]

    scheduler = dask_cluster.scheduler
    clients, keys = set(scheduler.clients), set(scheduler.tasks)

    def clean() -> bool:
        return set(scheduler.tasks) <= keys and set(scheduler.clients) == clients

    one()
    wait_until(clean, f"the first run's keys are gone; there were {keys}")
    gc.collect()
    threads, files = names(), descriptors()
    for _ in range(5):
        assert one() == [2 * x for x in range(10, 20)]
    wait_until(clean, f"keys are gone: {list(scheduler.tasks)[:5]}")
    gc.collect()
    wait_until(lambda: len(names()) <= len(threads), f"threads are back: {names()} / {threads}")
    wait_until(lambda: descriptors() <= files + 4, "descriptors are back")
    # Dask itself notes in a topic of its name that a client left; of ours there is nothing
    def forgotten() -> bool:
        topics = list(scheduler._broker._topics.items())
        return all(len(topic.events) <= 2 for name, topic in topics
                   if name.startswith("Client-dataflow"))

    wait_until(forgotten, "topics are forgotten")
