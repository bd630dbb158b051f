"""The scheduler, or the whole cluster, is gone in the middle of a map: the flow goes on itself."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from dataflow import flow, task
from dataflow.cache_policies import INPUTS
from runners import DaskTaskRunner
from tests.run_support import ledger, note, recorded, wait_until

dask = pytest.mark.dask


class Site:
    """A scheduler at one address, and workers: killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, workers: int = 2) -> None:
        self._run("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", self._port,
                  "--no-dashboard")
        for _ in range(workers):
            self._run("distributed.cli.dask_worker", self.address, "--host", "127.0.0.1",
                      "--nthreads", "1", "--no-dashboard", "--no-nanny", "--death-timeout", "20",
                      "--local-directory", self._folder)

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()

    def _run(self, module: str, *args: object) -> None:
        self._processes.append(subprocess.Popen(
            [sys.executable, "-m", module, *map(str, args)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    there = Site(tmp_path)
    there.start()
    yield there
    there.kill()


@dask
@pytest.mark.parametrize("kept", [True, False], ids=["results kept", "results not kept"])
def test_flow_goes_on_where_its_scheduler_comes_back_at_its_address(
    site: Site, tmp_path: Path, kept: bool
) -> None:
    book = tmp_path / "book"
    options: dict[str, Any] = {"cache_policy": INPUTS} if kept else {}

    @task(**options)
    def load(x: int) -> int:
        note(book, x)
        time.sleep(0.02)
        return x

    @task
    def double(x: int) -> int:
        return 2 * x

    @flow(task_runner=DaskTaskRunner(address=site.address))
    def goes_on() -> int:
        loaded = load.map(range(200))
        doubled = double.map(loaded)
        wait_until(lambda: len(ledger(book)) > 60, "some have run")
        site.kill()
        site.start()
        return sum(doubled.result())

    assert goes_on() == 2 * sum(range(200))
    story = recorded()
    assert story.run.state_type == "COMPLETED"
    assert {name: sum(counts.values()) for name, counts in story.counts.items()} == {
        "load": 200, "double": 200}
    assert all(set(counts) <= {"Completed", "Cached"} for counts in story.counts.values())
    done = ledger(book)
    assert set(done) == {str(x) for x in range(200)}
    if kept:  # what was on disk was not executed again: only what was under way
        assert len(done) <= 200 + 60


@dask
def test_flow_starts_another_cluster_where_its_own_is_gone(tmp_path: Path) -> None:
    book, made = tmp_path / "book", []

    def cluster(**options: Any) -> LocalCluster:
        made.append(LocalCluster(**options))
        return made[-1]

    @task(cache_policy=INPUTS)
    def load(x: int) -> int:
        note(book, x)
        time.sleep(0.02)
        return x

    @flow(task_runner=DaskTaskRunner(cluster_class=cluster, cluster_kwargs={
        "n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0", "silence_logs": 50}))
    def goes_on() -> int:
        loaded = load.map(range(150))
        wait_until(lambda: len(ledger(book)) > 40, "some have run")
        made[0].close()
        return sum(loaded.result())

    assert goes_on() == sum(range(150))
    assert len(made) == 2 and len(ledger(book)) <= 150 + 40
    assert recorded().run.state_type == "COMPLETED"
