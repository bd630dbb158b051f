"""The flow's process is interrupted, told to end, or killed: what is recorded, who stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.run_support import (
    alive,
    descendants,
    end_all,
    ledger,
    recorded,
    script_of,
    started,
    wait_until,
)

RUNNERS = {
    "threads": "ThreadPoolTaskRunner(4)",
    "dask": "DaskTaskRunner(cluster_kwargs=dict(n_workers=2, threads_per_worker=1, "
            "silence_logs=50))",
}

HEAD = """
    import os, sys, time
    from dataflow import flow, task
    from runners import DaskTaskRunner, ThreadPoolTaskRunner
    from tests.run_support import note

    BOOK, RUNNER = sys.argv[1], sys.argv[2]
"""

SLEEPERS = HEAD + """
    @task
    def quick(x):
        note(BOOK, f"quick {x}")
        return x

    @task(OPTIONS)
    def sleeps(x):
        note(BOOK, f"begun {x}")
        time.sleep(120)
        note(BOOK, f"ended {x}")

    @task
    def after(x):
        note(BOOK, f"after {x}")

    @flow(task_runner=eval(RUNNER))
    def sleepers():
        quick.map(range(20)).wait()
        after.map(sleeps.map(range(50))).wait()

    if __name__ == "__main__":
        sleepers()
"""

Family = list[psutil.Process]


@pytest.fixture
def family() -> Iterator[Family]:
    """Return a list of processes that are dead after the test whatever happens."""
    members: Family = []
    yield members
    end_all(members)


def begin(tmp_path: Path, text: str, runner: str, family: Family, begun: int
          ) -> subprocess.Popen[bytes]:
    """Start a driver and wait until so many of its tasks have begun."""
    book = tmp_path / "book"
    driver = started(script_of(tmp_path, text), book, RUNNERS[runner], out=tmp_path / "out")
    family.append(psutil.Process(driver.pid))

    def enough() -> bool:
        assert driver.poll() is None, (tmp_path / "out").read_text()
        return sum(line.startswith("begun") for line in ledger(book)) >= begun

    wait_until(enough, "tasks have begun", 30)
    family += descendants(driver.pid)
    return driver


def gone(family: Family, within_s: float) -> None:
    until = time.monotonic() + within_s
    while alive(family) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(family), [p.cmdline() for p in alive(family)]


@pytest.mark.parametrize("whom", ["driver", "group"])
@pytest.mark.parametrize("runner, options", [
    ("threads", ""), ("threads", "isolation='process'"), ("dask", ""),
    ("dask", "isolation='process'"), ("threads", "timeout_seconds=100"),
])
def test_ctrl_c_records_cancelled_states_and_leaves_no_process(
    tmp_path: Path, family: Family, runner: str, options: str, whom: str
) -> None:
    """``group``: as a terminal does it, to every process of the foreground."""
    driver = begin(tmp_path, SLEEPERS.replace("OPTIONS", options), runner, family, 2)
    before = time.monotonic()
    if whom == "group":
        os.killpg(driver.pid, signal.SIGINT)
    else:
        driver.send_signal(signal.SIGINT)
    code = driver.wait(20)
    took = time.monotonic() - before
    text = (tmp_path / "out").read_text()
    assert code in (130, -signal.SIGINT), text
    assert "KeyboardInterrupt" in text
    assert took < 5, text
    gone(family, max(0.0, 5 - took))
    story = recorded()
    assert (story.run.state_type, story.run.message) == ("CANCELLED", "Interrupted")
    assert story.run.end_time is not None
    assert story.counts == {"quick": {"Completed": 20}, "sleeps": {"Cancelled": 50},
                            "after": story.counts["after"]}
    assert sum(story.counts["after"].values()) == 50
    assert set(story.counts["after"]) <= {"Cancelled", "NotReady"}
    done = ledger(tmp_path / "book")
    assert not [line for line in done if line.startswith(("ended", "after"))]


@pytest.mark.parametrize("runner, options", [
    ("threads", ""), ("threads", "isolation='process'"), ("dask", ""),
    ("dask", "isolation='process'"),
])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_driver_that_is_ended_leaves_no_process_and_records_that_are_true(
    tmp_path: Path, family: Family, runner: str, options: str, how: signal.Signals
) -> None:
    driver = begin(tmp_path, SLEEPERS.replace("OPTIONS", options), runner, family, 2)
    time.sleep(1.2)
    driver.send_signal(how)
    assert driver.wait(20) != 0
    gone(family, 6)
    story = recorded()
    assert story.run.state_type in ({"RUNNING"} if how == signal.SIGKILL
                                    else {"RUNNING", "CRASHED", "CANCELLED"})
    assert story.counts["quick"] == {"Completed": 20}
    assert "Completed" not in story.counts.get("sleeps", {})


MANY = HEAD + """
    import itertools

    @task
    def work(x):
        time.sleep(PAUSE)
        note(BOOK, f"begun {x} {time.time()}")
        if x % 50 == 49:
            raise ValueError(f"no {x}")
        return x

    @task
    def single(x):
        note(BOOK, f"single {x} {time.time()}")
        return x

    @flow(task_runner=eval(RUNNER))
    def many():
        for x in range(10):
            single(x)
        work.map(SOURCE).wait()

    if __name__ == "__main__":
        many()
"""


@pytest.mark.parametrize("runner, pause, source, least", [
    ("threads", "0.002", "range(1_000_000)", 1_000),
    ("threads", "0.002", "itertools.count()", 1_000),
    ("threads", "0.3", "range(1_000)", 10),
    ("dask", "0.002", "range(1_000_000)", 1_000),
])
def test_kill_9_of_the_driver_loses_a_second_and_what_was_in_flight_at_most(
    tmp_path: Path, family: Family, runner: str, pause: str, source: str, least: int
) -> None:
    text = MANY.replace("PAUSE", pause).replace("SOURCE", source)
    driver = begin(tmp_path, text, runner, family, least)
    time.sleep(0.7)
    died = time.time()
    driver.kill()
    driver.wait(10)
    gone(family, 6)
    done = {int(line.split()[1]): float(line.split()[2])
            for line in ledger(tmp_path / "book") if line.startswith("begun")}
    assert max(ledger(tmp_path / "book").values()) == 1, "something ran twice"
    story = recorded()
    assert story.run.state_type == "RUNNING" and story.run.pid == driver.pid
    assert story.counts["single"] == {"Completed": 10}
    work = {row.map_index: row for row in story.task_runs if row.task_name == "work"}
    ended = {i: r for i, r in work.items() if r.state_name in ("Completed", "Failed")}
    assert not {r.state_name for r in work.values()} - {"Completed", "Failed", "Pending"}
    assert set(ended) <= set(done), "recorded without having run"
    for index, row in ended.items():
        assert row.state_name == ("Failed" if (index or 0) % 50 == 49 else "Completed")
        assert row.end_time is not None and abs(row.end_time.timestamp() - done[index]) < 1.0
    # a gulp each 0.25 s, and batches of up to half a second in flight when the process died
    lost = [died - when for index, when in done.items() if index not in ended]
    assert max(lost, default=0) < 2.0, sorted(lost)[-5:]
    assert len(ended) >= least / 2


def test_a_run_that_was_killed_does_not_stand_in_the_way_of_the_next(
    tmp_path: Path, family: Family
) -> None:
    from dataflow import flow, task
    from dataflow.stores import open_store

    driver = begin(tmp_path, SLEEPERS.replace("OPTIONS", ""), "threads", family, 2)
    time.sleep(0.6)  # the next gulp
    driver.kill()
    driver.wait(10)

    @flow
    def next_one() -> list[int]:
        return task(abs).map([-1, -2]).result()

    assert next_one() == [1, 2]
    store = open_store()
    assert [row.state_type for row in store.flow_runs()] == ["COMPLETED", "RUNNING"]
    store.close()


def test_a_second_ctrl_c_does_not_cost_the_records(tmp_path: Path, family: Family) -> None:
    driver = begin(tmp_path, SLEEPERS.replace("OPTIONS", ""), "dask", family, 2)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(20) in (130, -signal.SIGINT)
    gone(family, 6)
    story = recorded()
    assert story.run.state_type == "CANCELLED"
    assert story.counts["sleeps"] == {"Cancelled": 50}


@pytest.mark.parametrize("runner", ["inline", "threads"])
def test_ctrl_c_in_the_process_keeps_what_was_recorded(
    tmp_path: Path, family: Family, runner: str
) -> None:
    """The inline runner is in user code when the signal comes."""
    text = HEAD + """
    @task
    def quick(x):
        note(BOOK, f"quick {x}")

    @task
    def sleeps(x):
        note(BOOK, f"begun {x}")
        time.sleep(60)

    @flow(task_runner=RUNNER if RUNNER == "inline" else eval(RUNNER))
    def two():
        quick.map(range(10)).wait()
        sleeps.map(range(10)).wait()

    if __name__ == "__main__":
        two()
    """
    book = tmp_path / "book"
    driver = started(script_of(tmp_path, text), book, RUNNERS.get(runner, runner),
                     out=tmp_path / "out")
    family.append(psutil.Process(driver.pid))
    wait_until(lambda: any(line.startswith("begun") for line in ledger(book)), "it sleeps")
    driver.send_signal(signal.SIGINT)
    assert driver.wait(5) in (130, -signal.SIGINT), (tmp_path / "out").read_text()
    story = recorded()
    assert story.run.state_type == "CANCELLED"
    met = {"Crashed": 1, "Cancelled": 9} if runner == "inline" else {"Cancelled": 10}
    assert story.counts == {"quick": {"Completed": 10}, "sleeps": met}


UNHEARD = """
    import signal, sys, threading, time
    from dataflow import flow, task
    from runners import ThreadPoolTaskRunner
    from tests.run_support import note

    BOOK, TIMEOUT_S = sys.argv[1], eval(sys.argv[2])

    @task
    def slow():
        note(BOOK, "begun")
        for _ in range(300):
            time.sleep(0.1)
        note(BOOK, "done")

    @flow(task_runner=ThreadPoolTaskRunner(2), timeout_seconds=TIMEOUT_S)
    def waiting():
        slow.submit().result()

    def interrupt_elsewhere():
        time.sleep(1.0)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    if __name__ == "__main__":
        threading.Thread(target=interrupt_elsewhere, daemon=True).start()
        waiting()
"""


@pytest.mark.parametrize("timeout_s", [None, 100])
def test_ctrl_c_that_does_not_wake_the_main_thread_is_heard_all_the_same(
        tmp_path: Path, timeout_s: int | None) -> None:
    # as where it comes in the instant before a lock blocks
    book = tmp_path / "book"
    driver = started(script_of(tmp_path, UNHEARD), book, timeout_s)
    try:
        assert driver.wait(20) != 0
    finally:
        driver.kill()
    assert recorded().run.state_name == "Cancelled"
    assert ledger(book)["done"] == 0
