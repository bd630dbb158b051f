"""Workers die under async elements, many of them side by side: each is accounted for."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from dataflow import flow, task
from runners import DaskTaskRunner
from tests.fault.test_runs_workers import (  # noqa: F401  # fixtures
    frail,
    in_background,
    pids_of,
    whole,
)
from tests.run_support import ledger, note, recorded, wait_until

pytestmark = [pytest.mark.dask, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("pause", [0.05, 1.5], ids=["within the batch", "long after its report"])
def test_kill_9_of_a_worker_under_async_elements_costs_nothing_but_time(
    whole: LocalCluster, tmp_path: Path, pause: float  # noqa: F811  # the fixture
) -> None:
    book, width = tmp_path / "book", 300

    @task(retries=1)
    async def element(x: int) -> int:
        await asyncio.sleep(pause)
        note(book, x)
        return x

    @task
    def follow(x: int) -> int:
        return x + 1

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def mapped() -> Any:
        return sum(follow.map(element.map(range(width))).result())

    victim = pids_of(whole)[0]
    outcome = in_background(mapped)
    wait_until(lambda: len(ledger(book)) >= 16, "some are done")
    os.kill(victim, signal.SIGKILL)
    assert outcome(60) == sum(range(width)) + width
    story = recorded()
    assert story.counts == {"element": {"Completed": width}, "follow": {"Completed": width}}
    assert {row.run_count for row in story.task_runs} == {1}, "retries used"
    assert set(ledger(book)) == {str(x) for x in range(width)}


def test_async_element_that_kills_its_worker_is_crashed_alone(
    whole: LocalCluster, tmp_path: Path  # noqa: F811  # the fixture
) -> None:
    width = 60

    @task
    async def element(x: int) -> int:
        await asyncio.sleep(0.01 * (x % 5))
        if x == 23:
            os._exit(1)
        await asyncio.sleep(0.1)
        return x

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def mapped() -> Any:
        futures = element.map(range(width))
        futures.wait()
        return [future.state.name for future in futures]

    states = in_background(mapped)(90)
    assert [x for x, name in enumerate(states) if name != "Completed"] == [23]
    assert recorded().counts == {"element": {"Completed": width - 1, "Crashed": 1}}


def test_cancelled_flow_ends_while_thousands_wait(
    whole: LocalCluster, tmp_path: Path  # noqa: F811  # the fixture
) -> None:
    book = tmp_path / "book"

    @task
    async def endless(x: int) -> None:
        note(book, x)
        await asyncio.sleep(300)

    @flow(task_runner=DaskTaskRunner(cluster=whole), on_exit="cancel")
    def leaves() -> str:
        endless.map(range(3000))
        wait_until(lambda: len(ledger(book)) > 500, "many wait")
        return "left"

    began = time.monotonic()
    assert in_background(leaves)(60) == "left"
    assert time.monotonic() - began < 40
    assert recorded().counts == {"endless": {"Cancelled": 3000}}
    assert in_background(flow(task_runner=DaskTaskRunner(cluster=whole))(
        lambda: task(abs).map(range(10)).result()))(30) == list(range(10))


@pytest.mark.dask
def test_lost_values_of_elements_that_outlast_their_batch_are_computed_again_once(
    whole: LocalCluster, tmp_path: Path  # noqa: F811  # the fixture
) -> None:
    book, width = tmp_path / "book", 20

    @task
    async def element(x: int) -> int:
        await asyncio.sleep(0.6)
        note(book, x)
        return x

    @task
    def follow(x: int) -> int:
        return x + 1

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def lossy() -> Any:
        made = element.map(range(width))
        made.wait()
        os.kill(victim, signal.SIGKILL)
        return follow.map(made).result()

    victim = pids_of(whole)[0]
    assert in_background(lossy)(30) == list(range(1, width + 1))
    assert max(ledger(book).values()) <= 3, "once more, or twice where Dask had begun it too"
