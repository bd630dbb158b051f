"""Runs that keep their results while workers die, the folder goes away, or its disk is full."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataflow import flow, task
from dataflow.cache_policies import INPUTS
from runners import DaskTaskRunner, ThreadPoolTaskRunner
from tests.run_support import ledger, note, recorded, wait_until

pytest.importorskip("distributed")


def kept_task(book: Path, name: str, **options: Any) -> Any:
    @task(name=name, persist_result=True, **options)
    def step(x: Any) -> Any:
        note(book, f"{name} {x}")
        return x

    return step


@pytest.mark.dask
def test_all_workers_killed_three_times_cost_nothing_that_was_kept(tmp_path: Path) -> None:
    """As with spot machines: each time all of them are gone, with all values in their memory."""
    from distributed import Client, LocalCluster

    book = tmp_path / "book"
    load, clean, score = (kept_task(book, name) for name in ("load", "clean", "score"))

    def kill_all(client: Client) -> None:
        pids = list(client.run(os.getpid).values())
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "they are dead")

    with LocalCluster(host="127.0.0.1", dashboard_address="127.0.0.1:0", n_workers=2,
                      threads_per_worker=1, silence_logs=50,
                      local_directory=str(tmp_path / "dask")) as cluster, \
            Client(cluster, set_as_default=False) as client:
        @flow(task_runner=DaskTaskRunner(cluster=cluster))
        def spot() -> int:
            loaded = load.map(range(300))
            loaded.wait(60)
            kill_all(client)
            cleaned = clean.map(loaded)
            cleaned.wait(60)
            kill_all(client)
            scored = score.map(cleaned)
            scored.wait(60)
            kill_all(client)
            return sum(scored.result())

        assert spot() == sum(range(300))
    assert ledger(book) == {f"{name} {x}": 1 for name in ("load", "clean", "score")
                            for x in range(300)}
    story = recorded()
    assert {name: sum(counts.values()) for name, counts in story.counts.items()} == {
        "load": 300, "clean": 300, "score": 300}
    assert {row.state_name for row in story.task_runs} == {"Completed"}


@pytest.mark.parametrize("place", ["a link that leads nowhere", "a folder that cannot be made"])
def test_folder_of_results_that_is_not_to_be_had_costs_no_outcome(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str,
) -> None:
    folder = Path("/proc/results")
    if place == "a link that leads nowhere":
        folder = tmp_path / "results"
        folder.symlink_to(tmp_path / "not mounted")
    load = kept_task(tmp_path / "book", "load", result_storage=folder)

    @flow(task_runner="inline")
    def work() -> list[int]:
        return [load(0), *load.map([1, 2]).result()]

    assert work() == [0, 1, 2]
    assert f"Cannot write to the result storage {folder}" in caplog.text
    assert "a link leads nowhere" in caplog.text


def test_folder_of_results_that_goes_away_under_the_run_costs_no_outcome(tmp_path: Path) -> None:
    book, folder = tmp_path / "book", tmp_path / "results"
    load, clean = (kept_task(book, name, result_storage=folder) for name in ("load", "clean"))

    @flow(task_runner=ThreadPoolTaskRunner(4))
    def main() -> int:
        loaded = load.map(range(200))
        loaded.wait()
        shutil.rmtree(folder)
        if not Path(f"{book}.failed").exists():
            Path(f"{book}.failed").touch()
            raise RuntimeError("the first time")
        return sum(clean.map(loaded).result())

    with pytest.raises(RuntimeError):
        main()
    assert set(ledger(book).values()) == {1}
    folder.mkdir(mode=0o700)
    assert main.resume() == sum(range(200))
    done = ledger(book)
    assert {done[f"load {x}"] for x in range(200)} == {2}, "computed again since it was needed"
    assert {done[f"clean {x}"] for x in range(200)} == {1}
    assert recorded().counts == {"load": {"Completed": 200}, "clean": {"Completed": 200}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (needs root and mount)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1 << 12))


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@pytest.mark.parametrize("spoil", [fill, make_read_only])
def test_results_that_cannot_be_kept_any_more_cost_no_outcome_and_it_is_said(
    tmp_path: Path, small_disk: Path, caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
) -> None:
    book = tmp_path / "book"
    load, clean = (kept_task(book, name, result_storage=small_disk / "results",
                             cache_policy=INPUTS) for name in ("load", "clean"))

    @flow(task_runner=ThreadPoolTaskRunner(2))
    def main() -> int:
        loaded = load.map(range(100))
        loaded.wait()
        if not Path(f"{book}.spoilt").exists():
            Path(f"{book}.spoilt").touch()
            spoil(small_disk)
        return sum(clean.map(loaded).result())

    with caplog.at_level(logging.WARNING):
        assert main() == sum(range(100))
    assert "are not kept" in caplog.text
    story = recorded()
    assert story.counts == {"load": {"Completed": 100}, "clean": {"Completed": 100}}
    keyed = {name: sum(row.key is not None for row in story.task_runs if row.task_name == name)
             for name in ("load", "clean")}
    assert keyed == {"load": 100, "clean": 0}, "a key says that the result is kept"
    assert main() == sum(range(100))
    done = ledger(book)
    assert {done[f"load {x}"] for x in range(100)} == {1}
    assert {done[f"clean {x}"] for x in range(100)} == {2}


# leaks

def counted() -> dict[str, int]:
    gc.collect()
    process = psutil.Process()
    return {"threads": threading.active_count(), "files": process.num_fds(),
            "children": len(process.children(recursive=True))}


def test_fifty_runs_with_kept_results_leave_no_thread_file_or_process(tmp_path: Path) -> None:
    book = tmp_path / "book"
    load = kept_task(book, "load", cache_policy=INPUTS)

    @flow(task_runner=ThreadPoolTaskRunner(4))
    def main(fail: bool = False) -> int:
        total = sum(load.map(range(20)).result()) + load(7) + load.submit(8).result()
        if fail:
            raise RuntimeError("resumed")
        return total

    def some(times: int) -> None:
        for time_ in range(times):
            if time_ % 5:
                main()
            else:
                with pytest.raises(RuntimeError):
                    main(True)
                main.resume(parameters={"fail": False})

    some(5)
    time.sleep(0.3)
    before = counted()
    some(50)
    until = time.monotonic() + 5
    while any(now > before[name] for name, now in counted().items()) and time.monotonic() < until:
        time.sleep(0.1)
    after = counted()
    assert all(now <= before[name] for name, now in after.items()), (before, after)
    assert ledger(book) == Counter({f"load {x}": 1 for x in range(20)})
