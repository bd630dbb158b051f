"""Workers and schedulers die under a flow: what was recorded against what was really done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dask import config as dask_config
from distributed import Client, LocalCluster

import runners.threads
from dataflow import flow, task
from dataflow.exceptions import CrashedRun, SchedulerLost, WorkerLost
from runners import DaskTaskRunner, ThreadPoolTaskRunner
from tests.run_support import ledger, note, recorded, wait_until

OWN = {"n_workers": 2, "threads_per_worker": 1, "silence_logs": 50}

dask = pytest.mark.dask


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Return a cluster whose workers may be killed: nannies start new ones."""
    with LocalCluster(
        host="127.0.0.1", dashboard_address="127.0.0.1:0", processes=True,
        local_directory=str(tmp_path_factory.mktemp("frail")), **OWN,
    ) as cluster:
        yield cluster


@pytest.fixture
def whole(frail: LocalCluster) -> LocalCluster:
    """Return the frail cluster with both workers there."""
    with Client(frail, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
    return frail


def pids_of(cluster: LocalCluster) -> list[int]:
    with Client(cluster, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def in_background(fn: Callable[[], Any]) -> Callable[[], Any]:
    """Run a flow in a thread; return what waits for its outcome (bounded)."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append((True, fn()))
        except BaseException as error:
            box.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def outcome(timeout_s: float = 40) -> Any:
        thread.join(timeout_s)
        assert not thread.is_alive(), "the flow hangs"
        good, value = box[0]
        if not good:
            raise value
        return value

    return outcome


# one poisonous element among many innocent ones

@dask
@pytest.mark.parametrize("way, how", [
    ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9 (SIGKILL)"),
    ("os._exit(7)", "exited with status 7"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11 (SIGSEGV)"),
])
def test_one_poisonous_element_in_a_thousand_is_crashed_and_named_and_nobody_else_suffers(
    whole: LocalCluster, tmp_path: Path, way: str, how: str
) -> None:
    book, poison = tmp_path / "book", 637

    @task(retries=2)
    def small(x: int) -> int:
        note(book, x)
        if x == poison:
            exec(f"import os, signal; {way}")
        return 2 * x

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def thousand() -> Any:
        doubled = small.map(range(1_000))
        doubled.wait(60)
        return [doubled[poison].result(raise_on_failure=False), doubled[0].result(),
                doubled[poison - 1].result(), doubled[999].result()]

    began = time.monotonic()
    error, *values = thousand()
    assert time.monotonic() - began < 45
    assert values == [0, 2 * (poison - 1), 2 * 999]
    assert isinstance(error, WorkerLost)
    for part in ("'small'", f"element {poison}", how):
        assert part in str(error)
    story = recorded()
    assert story.with_state("Crashed") == {poison}
    assert story.with_state("Completed") == set(range(1_000)) - {poison}
    assert {r.run_count for r in story.task_runs if r.map_index != poison} == {1}, "retries used"
    assert all(r.end_time is not None for r in story.task_runs if r.state_name == "Completed")
    done = ledger(book)
    assert set(done) == {str(x) for x in range(1_000)}
    assert 3 <= done[str(poison)] <= 15  # log2 of a batch, and three times alone


@dask
def test_several_poisonous_elements_are_all_found(whole: LocalCluster, tmp_path: Path) -> None:
    poison = {3, 250, 251}

    @task
    def small(x: int) -> int:
        if x in poison:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def hundreds() -> str:
        small.map(range(400)).wait(100)
        return "through"

    assert in_background(hundreds)(90) == "through"
    story = recorded()
    assert story.with_state("Crashed") == poison
    assert story.with_state("Completed") == set(range(400)) - poison


@dask
def test_single_calls_beside_a_poisonous_one_complete(whole: LocalCluster, tmp_path: Path) -> None:
    @task
    def node(x: int) -> int:
        if x == 13:
            os._exit(1)
        return x

    @task
    def total(xs: list[int]) -> int:
        return sum(xs)

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def singles() -> Any:
        nodes = [node.submit(x) for x in range(60)]
        good = total.submit([n for x, n in enumerate(nodes) if x != 13])
        bad = total.submit(nodes)
        bad.wait(60)
        return [good.result(), bad.state.name]

    assert in_background(singles)(60) == [sum(range(60)) - 13, "NotReady"]
    assert recorded().counts["node"] == {"Completed": 59, "Crashed": 1}


# a worker is killed from outside

@dask
@pytest.mark.parametrize("pause, width", [(0.001, 3_000), (0.4, 16)], ids=["small", "long"])
def test_kill_9_of_a_worker_in_the_middle_of_a_map_costs_nothing_but_time(
    whole: LocalCluster, tmp_path: Path, pause: float, width: int
) -> None:
    book = tmp_path / "book"

    @task(retries=1)
    def element(x: int) -> int:
        time.sleep(pause)
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
    wait_until(lambda: len(ledger(book)) >= width // 4, "a quarter is done")
    os.kill(victim, signal.SIGKILL)
    assert outcome() == sum(range(width)) + width
    story = recorded()
    assert story.counts == {"element": {"Completed": width}, "follow": {"Completed": width}}
    assert {row.run_count for row in story.task_runs} == {1}, "retries used"
    done = ledger(book)
    assert set(done) == {str(x) for x in range(width)}
    again = sum(done.values()) - width
    assert again <= width // 2 + 4, f"{again} of {width} ran again"


@dask
def test_finished_elements_keep_their_outcome_and_lost_values_are_computed_again_when_needed(
    whole: LocalCluster, tmp_path: Path
) -> None:
    book = tmp_path / "book"

    @task
    def load(x: int) -> int:
        note(book, f"load {x}")
        return x

    @task
    def unneeded(x: int) -> int:
        note(book, f"unneeded {x}")
        return x

    @task
    def use(x: int) -> int:
        note(book, f"use {x}")
        return 10 * x

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def lossy() -> Any:
        unneeded.map(range(200)).wait()  # nobody holds a future: nothing is kept
        loaded = load.map(range(200))
        loaded.wait()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        return [use.map(loaded).result(), loaded.result()]

    pids = pids_of(whole)
    assert in_background(lossy)() == [[10 * x for x in range(200)], list(range(200))]
    story = recorded()
    assert story.counts == {"load": {"Completed": 200}, "unneeded": {"Completed": 200},
                            "use": {"Completed": 200}}
    done = ledger(book)
    loads = [times for line, times in done.items() if line.startswith("load")]
    # each was lost once; what Dask began anew on the second worker before that died, twice
    assert len(loads) == 200 and min(loads) == 2 and max(loads) <= 3
    assert sum(loads) < 500, f"{sum(loads) - 400} were computed once more than was needed"
    assert {times for line, times in done.items() if line.startswith("unneeded")} == {1}
    assert {row.run_count for row in story.task_runs} == {1}


@dask
def test_value_that_cannot_be_computed_again_crashes_what_needs_it(
    whole: LocalCluster, tmp_path: Path
) -> None:
    once = tmp_path / "once"

    @task
    def only_once() -> int:
        if ledger(once):
            raise ValueError("not a second time")
        note(once, "x")
        return 1

    @task
    def use(x: int) -> int:
        return x

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def lossy() -> Any:
        made = only_once.submit()
        made.wait()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        used = use.submit(made)
        used.wait(30)
        return [used.result(raise_on_failure=False), made.state.name]

    pids = pids_of(whole)
    error, state = in_background(lossy)()
    assert state == "Completed", "a recorded outcome is never replaced"
    assert "'only_once'" in str(error) and "computed again" in str(error)
    assert recorded().counts == {"only_once": {"Completed": 1}, "use": {"Crashed": 1}}


@dask
def test_every_worker_dies_again_and_again_and_the_flow_ends(tmp_path: Path) -> None:
    """Nothing can be computed: every element is CRASHED, in bounded time."""
    @task
    def deadly(x: int) -> None:
        os._exit(1)

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=OWN))
    def doomed() -> str:
        deadly.map(range(4)).wait()
        return "through"

    assert in_background(doomed)(60) == "through"
    assert recorded().counts == {"deadly": {"Crashed": 4}}


@dask
def test_workers_of_our_own_cluster_are_started_anew_however_long_they_are_away() -> None:
    """Dask gives a worker up that is not there at one instant after its death."""
    @task
    def pid(x: int) -> int:
        return os.getpid()

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=OWN))
    def shaken() -> list[int]:
        first = set(pid.map(range(50)).result())
        for each in first:
            os.kill(each, signal.SIGKILL)
        time.sleep(0.5)
        return pid.map(range(50)).result()

    with dask_config.set({"distributed.deploy.lost-worker-timeout": "0s"}):
        assert len(in_background(shaken)()) == 50


# a flow that raises

@dask
@pytest.mark.parametrize("on_exit", ["wait", "cancel"])
@pytest.mark.parametrize("where", ["threads", "dask"])
def test_flow_that_raises_while_maps_run_leaves_every_element_final(
    dask_cluster: LocalCluster, tmp_path: Path, where: str, on_exit: str
) -> None:
    book = tmp_path / "book"
    runner: Any = (ThreadPoolTaskRunner(2) if where == "threads"
                   else DaskTaskRunner(cluster=dask_cluster))

    @task
    def slow(x: int) -> int:
        note(book, x)
        time.sleep(0.05)
        return x

    @task
    def after(x: int) -> int:
        return x

    @flow(task_runner=runner, on_exit=on_exit)
    def raises() -> None:
        after.map(slow.map(range(30)))
        slow.submit(99)
        wait_until(lambda: ledger(book), "one has begun")
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        in_background(raises)()
    story = recorded()
    assert story.run.state_type == "FAILED"
    assert {row.state_name for row in story.task_runs} <= {"Completed", "Cancelled", "NotReady"}
    assert sum(story.counts["slow"].values()) == 31 and sum(story.counts["after"].values()) == 30
    if on_exit == "wait":
        assert story.counts == {"slow": {"Completed": 31}, "after": {"Completed": 30}}
        assert len(ledger(book)) == 31
    else:
        assert story.counts["slow"]["Cancelled"] > 0
        done = {row.map_index for row in story.task_runs
                if row.task_name == "slow" and row.state_name == "Completed"}
        assert {str(x) for x in done - {None}} <= set(ledger(book))


def test_fault_of_the_framework_on_a_thread_is_told_and_the_flow_ends(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a fault of ours")

    monkeypatch.setattr(runners.threads, "run_batch", broken)

    @flow(task_runner=ThreadPoolTaskRunner(2))
    def goes_on() -> Any:
        future = task(abs).submit(-1)
        future.wait(20)
        return [future.result(raise_on_failure=False)]

    [error] = in_background(goes_on)()
    assert isinstance(error, WorkerLost) and "a fault of ours" in str(error)
    assert recorded().counts == {"abs": {"Crashed": 1}}


# the scheduler

class Elsewhere:
    """A scheduler and workers in processes of their own."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        contact = folder / "scheduler.json"
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--scheduler-file", contact)
        wait_until(contact.exists, "the scheduler has started")
        wait_until(contact.read_text, "it says where")
        self.address = json.loads(contact.read_text())["address"]
        for _ in range(workers):
            self._start("distributed.cli.dask_worker", self.address, "--host", "127.0.0.1",
                        "--nthreads", "1", "--no-dashboard", "--no-nanny", "--death-timeout", "5",
                        "--local-directory", folder)

    def _start(self, module: str, *args: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", module, *map(str, args)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    there = Elsewhere(tmp_path, workers=2)
    yield there
    there.end()


@dask
def test_kill_9_of_the_scheduler_crashes_what_was_open_and_keeps_what_was_recorded(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    book = tmp_path / "book"

    @task
    def first(x: int) -> int:
        return x

    @task(retries=3)
    def slow(x: int) -> int:
        note(book, x)
        time.sleep(0.3)
        return x

    @task
    def after(x: int) -> int:
        return x

    @flow(task_runner=DaskTaskRunner(address=elsewhere.address, reconnect_timeout_seconds=1))
    def orphaned() -> Any:
        first.map(range(100)).wait()
        slowly = slow.map(range(200))
        followed = after.map(slowly)
        wait_until(lambda: len(ledger(book)) > 4, "some have run")
        elsewhere.scheduler.kill()
        killed.append(time.monotonic())
        followed.wait()
        late = first.submit(7)
        late.wait()
        return [slowly[199].result(raise_on_failure=False), late.result(raise_on_failure=False),
                first.submit(8).state.name]

    killed: list[float] = []
    outcome = in_background(orphaned)
    error, late, _ = outcome(60)
    assert time.monotonic() - killed[0] < 30
    for each in (error, late):
        assert isinstance(each, SchedulerLost) and isinstance(each, CrashedRun)
    assert "'slow'" in str(error) and "scheduler" in str(error)
    story = recorded()
    assert story.run.state_type == "COMPLETED"  # it returned; its task runs say what they are
    assert story.counts["first"] == {"Completed": 100, "Crashed": 2}
    assert set(story.counts["slow"]) <= {"Completed", "Crashed"}
    assert sum(story.counts["slow"].values()) == 200
    done = {row.map_index for row in story.task_runs
            if row.task_name == "slow" and row.state_name == "Completed"}
    assert {str(x) for x in done} <= set(ledger(book))
    assert {row.error_type for row in story.task_runs if row.state_name == "Crashed"} == {
        "dataflow.exceptions.SchedulerLost"}


@dask
def test_result_after_the_scheduler_died_is_an_error_and_fails_the_flow(
    elsewhere: Elsewhere
) -> None:
    @flow(task_runner=DaskTaskRunner(address=elsewhere.address, reconnect_timeout_seconds=1))
    def asks() -> Any:
        futures = task(abs).map(range(50))
        futures.wait()
        elsewhere.scheduler.kill()
        return sum(futures.result())

    began = time.monotonic()
    with pytest.raises(Exception) as caught:
        in_background(asks)()
    assert time.monotonic() - began < 30
    assert "scheduler" in str(caught.value).lower() or "lost" in str(caught.value).lower()
    story = recorded()
    assert story.run.state_type in ("FAILED", "CRASHED")
    assert story.counts == {"abs": {"Completed": 50}}


@dask
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no address at all"])
def test_runner_that_cannot_start_is_a_clear_error_at_once(address: str) -> None:
    @flow(task_runner=DaskTaskRunner(address=address))
    def nowhere() -> Any:
        return task(abs).map([-1, -2]).result()

    began = time.monotonic()
    with pytest.raises(Exception) as caught:
        in_background(nowhere)()
    assert time.monotonic() - began < 15
    assert address.removeprefix("tcp://") in str(caught.value), str(caught.value)
    story = recorded()
    assert story.run.state_type == "CRASHED"
    assert story.run.end_time is not None
    assert address.removeprefix("tcp://") in (story.run.message or "")


def test_cluster_class_that_breaks_is_an_error_of_the_flow_and_recorded() -> None:
    def broken(**kwargs: Any) -> Any:
        raise RuntimeError("no machines today")

    @flow(task_runner=DaskTaskRunner(cluster_class=broken))
    def nowhere() -> Any:
        return task(abs).submit(-1).result()

    with pytest.raises(RuntimeError, match="no machines today"):
        in_background(nowhere)()
    story = recorded()
    assert story.run.state_type == "CRASHED"
    assert "no machines today" in (story.run.message or "")


# workers that come and go

@dask
def test_adaptive_cluster_grows_and_shrinks_during_a_map(tmp_path: Path) -> None:
    book = tmp_path / "book"

    @task
    def element(x: int) -> int:
        time.sleep(0.05)
        note(book, f"{x} {os.getpid()}")
        return x

    @task
    def follow(x: int) -> int:
        return x + 1

    runner = DaskTaskRunner(
        cluster_kwargs={"n_workers": 0, "threads_per_worker": 1, "silence_logs": 50},
        adapt_kwargs={"minimum": 0, "maximum": 2, "interval": "100ms", "wait_count": 2,
                      "target_duration": "500ms"})

    @flow(task_runner=runner)
    def breathing() -> Any:
        first = follow.map(element.map(range(60))).result()
        time.sleep(1.0)  # nothing to do: workers may leave
        return [sum(first), sum(follow.map(element.map(range(100, 130))).result())]

    assert in_background(breathing)() == [sum(range(60)) + 60, sum(range(100, 130)) + 30]
    story = recorded()
    assert story.counts == {"element": {"Completed": 90}, "follow": {"Completed": 90}}
    assert len({line.split()[1] for line in ledger(book)}) >= 2, "it never grew"


@dask
def test_workers_that_are_retired_during_a_map_cost_no_element(
    whole: LocalCluster, tmp_path: Path
) -> None:
    book = tmp_path / "book"

    @task
    def element(x: int) -> int:
        time.sleep(0.02)
        note(book, x)
        return x

    @flow(task_runner=DaskTaskRunner(cluster=whole))
    def shrinking() -> int:
        return sum(element.map(range(150)).result())

    outcome = in_background(shrinking)
    try:
        wait_until(lambda: len(ledger(book)) > 20, "it has begun")
        whole.scale(1)
        wait_until(lambda: len(ledger(book)) > 80, "it goes on")
        whole.scale(2)
        assert outcome() == sum(range(150))
    finally:
        whole.scale(2)
    assert recorded().counts == {"element": {"Completed": 150}}
