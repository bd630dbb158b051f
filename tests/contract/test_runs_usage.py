"""What runs and task runs used, on real runners, and how the commands show it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, task
from dataflow.cli import main
from dataflow.cli.usage_rows import memory_text
from dataflow.memory_kills import MemoryKills
from dataflow.store import FlowRunRow, TaskRunRow
from dataflow.worker.isolate import Child, end_idle_children
from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner
from tests.run_support import recorded

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("dataflow_home")]

SPIN_S = 0.05
LARGE = 60 * 2**20


def spin(seconds: float) -> None:
    """Compute for so long, by the clock of the thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def compute(x: int) -> int:
    spin(SPIN_S)
    return x


def wait(x: int) -> int:
    time.sleep(SPIN_S)
    return x


def quick(x: int) -> int:
    return x


def rows_of(task_name: str) -> list[TaskRunRow]:
    return [row for row in recorded().task_runs if row.task_name == task_name]


def run_of(body: Any, runner: Any = None) -> FlowRunRow:
    flow(body, task_runner=runner or ThreadPoolTaskRunner(max_workers=2))()
    return recorded().run


def assert_computed(cpu_s: float | None, least_s: float, most_s: float) -> None:
    assert cpu_s is not None
    assert least_s <= cpu_s <= most_s


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner(max_workers=2), InlineTaskRunner()],
                         ids=["threads", "inline"])
def test_elements_that_compute_have_their_time_and_those_that_wait_have_not(runner: Any) -> None:
    def body() -> None:
        for fn in (compute, wait):
            task(fn, name=fn.__name__).map(range(4)).wait()
        task(compute, name="single").submit(1).wait()
        task(compute, name="direct")(1)

    run = run_of(body, runner)
    for name in ("compute", "single", "direct"):
        for row in rows_of(name):
            assert_computed(row.cpu_s, SPIN_S, 2 * SPIN_S)
            assert not row.cpu_estimated
    for row in rows_of("wait"):
        assert_computed(row.cpu_s, 0.0, 0.4 * SPIN_S)
    assert_computed(run.cpu_s, 6 * SPIN_S, 6 * SPIN_S + 2.0)
    peaks = {row.peak_bytes for row in recorded().task_runs} | {run.peak_bytes}
    assert all(peak is not None and peak > 10 * 2**20 for peak in peaks)


def test_short_elements_share_the_time_of_their_batch() -> None:
    run_of(lambda: task(quick).map(range(2_000)).wait() and None)
    rows = rows_of("quick")
    assert all(row.cpu_s is not None for row in rows)
    assert sum(row.cpu_estimated for row in rows) > 1_900
    assert_computed(sum(row.cpu_s or 0.0 for row in rows), 0.0005, 1.0)


def test_what_a_timeout_has_run_in_another_thread_is_measured_there() -> None:
    @task(timeout_seconds=60)
    def in_time(x: int) -> None:
        spin(SPIN_S)

    @task(timeout_seconds=0.05)
    def too_late(x: int) -> None:
        time.sleep(0.5)

    def body() -> None:
        in_time.map(range(2)).wait()
        in_time(1)
        too_late.map(range(1)).wait()
        too_late(1, return_state=True)

    run_of(body)
    assert len(rows_of("in_time")) == 3
    for row in rows_of("in_time"):
        assert_computed(row.cpu_s, SPIN_S, 2 * SPIN_S)
    assert [row.cpu_s for row in rows_of("too_late")] == [None, None]


def test_an_isolated_element_has_the_time_and_the_memory_of_its_process() -> None:
    @task(isolation="process")
    def alone(x: int) -> int:
        spin(SPIN_S)
        return len(bytearray(b"x" * LARGE))

    def body() -> None:
        alone.map(range(2)).wait()
        alone(1)
        task(quick).submit(1).wait()

    try:
        run = run_of(body)
    finally:
        end_idle_children()
    own = rows_of("alone")
    assert len(own) == 3
    for row in own:
        assert_computed(row.cpu_s, SPIN_S, SPIN_S + 2.0)
        assert row.peak_bytes is not None and row.peak_bytes > LARGE
    assert_computed(run.cpu_s, 3 * SPIN_S, 60.0)


def test_a_large_process_does_not_make_its_children_large() -> None:
    @task(isolation="process")
    def small() -> None: ...

    held = bytearray(b"x" * (4 * LARGE))
    try:
        run = run_of(lambda: small.submit().wait())
    finally:
        end_idle_children()
    (row,) = rows_of("small")
    assert len(held) and run.peak_bytes is not None and row.peak_bytes is not None
    assert row.peak_bytes < 3 * LARGE < 4 * LARGE < run.peak_bytes


def test_async_elements_on_one_loop_have_a_time_together_and_one_alone_its_own() -> None:
    @task
    async def beside(x: int) -> None:
        await asyncio.sleep(0.01)
        spin(SPIN_S)

    def body() -> None:
        beside.map(range(4)).wait()
        beside.with_options(name="one").submit(1).wait()

    run_of(body)
    many = recorded()
    assert [row.cpu_s for row in rows_of("beside")] == [None] * 4
    assert_computed(rows_of("one")[0].cpu_s, SPIN_S, SPIN_S + 0.2)
    shown = inspected()
    by_task = {call["task_name"]: call["cpu_seconds"] for call in shown["calls"]}
    assert_computed(by_task["beside"], 4 * SPIN_S, 4 * SPIN_S + 0.5)
    assert many.run.cpu_s is not None and many.run.cpu_s >= 5 * SPIN_S


def test_a_slow_element_that_outlasts_its_batch_keeps_its_own_time() -> None:
    @task
    def uneven(x: int) -> None:
        spin(1.2 if x == 5 else 0.002)

    run_of(lambda: uneven.map(range(12)).wait() and None, ThreadPoolTaskRunner(max_workers=1))
    rows = rows_of("uneven")
    assert_computed(rows[5].cpu_s, 1.2, 1.5)
    assert_computed(sum(row.cpu_s or 0.0 for row in rows), 1.2 + 11 * 0.002, 1.6)


def test_a_run_on_workers_counts_what_its_elements_used_there(dask_client: Any) -> None:
    run = run_of(lambda: task(compute).map(range(8)).wait() and None,
                 DaskTaskRunner(client=dask_client))
    rows = rows_of("compute")
    for row in rows:
        assert_computed(row.cpu_s, SPIN_S, 2 * SPIN_S)
        assert row.worker is not None and row.worker.startswith("tcp://")
        assert row.peak_bytes is not None and row.peak_bytes > 10 * 2**20
    assert_computed(run.cpu_s, 8 * SPIN_S, 30.0)


def test_what_task_runs_run_themselves_is_counted() -> None:
    inner = task(compute, name="inner")

    @task
    def outer(x: int) -> None:
        inner.map(range(2)).wait()

    run = run_of(lambda: outer.map(range(2)).wait() and None)
    for row in rows_of("inner"):
        assert_computed(row.cpu_s, SPIN_S, 2 * SPIN_S)
    for row in rows_of("outer"):
        assert_computed(row.cpu_s, 0.0, SPIN_S)
    assert_computed(run.cpu_s, 4 * SPIN_S, 10.0)


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_a_run_that_goes_on_keeps_what_was_used_before(dataflow_home: Path, killed: bool) -> None:
    broken = [True]

    @task(persist_result=True)
    def work(x: int) -> int:
        spin(SPIN_S)
        if x == 3 and broken:
            raise ValueError(x)
        return x

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def many() -> list[int]:
        return work.map(range(4)).result()  # type: ignore[no-any-return]

    many(return_state=True)
    first = recorded().run
    assert_computed(first.cpu_s, 4 * SPIN_S, 30.0)
    before_s = first.cpu_s or 0.0
    if killed:  # before it could say what it had used: its elements had
        with closing(sqlite3.connect(dataflow_home / "dataflow.db")) as store, store:
            store.execute("UPDATE flow_runs SET cpu_s = NULL, peak_bytes = NULL")
        before_s = sum(row.cpu_s or 0.0 for row in rows_of("work"))
    broken.clear()
    many.retry("last")
    again = recorded().run
    assert again.id == first.id
    assert_computed(again.cpu_s, before_s + SPIN_S, before_s + 30.0)
    assert again.peak_bytes is not None


def test_a_killed_child_is_said_to_be_out_of_memory_where_the_kernel_says_so(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    made = Child.__init__

    def watched(child: Child) -> None:
        made(child)
        child.kills = MemoryKills(counter, log=list)

    monkeypatch.setattr(Child, "__init__", watched)

    @task(isolation="process")
    def killed(told: bool) -> None:
        spin(SPIN_S)
        if told:
            counter.write_text(f"oom_kill {os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    run_of(lambda: [killed.submit(told).wait() for told in (False, True)] and None)
    silent, told = rows_of("killed")
    assert (silent.state_name, told.state_name) == ("Crashed", "Crashed")
    assert silent.error_message is not None and told.error_message is not None
    assert "SIGKILL) (out of memory, perhaps)" in silent.error_message
    assert "SIGKILL) (killed by the kernel: out of memory)" in told.error_message
    for row in (silent, told):  # each of the children that died of it
        assert_computed(row.cpu_s, 3 * SPIN_S - 0.06, 10.0)  # the kernel counts in 10 ms
        assert row.peak_bytes is None


# as shown


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    assert main(list(args)) == 0
    return capsys.readouterr().out


def inspected() -> dict[str, Any]:
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["flow-run", "inspect", "last", "--output", "json"]) == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def test_the_commands_show_what_was_used(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        task(compute).map(range(3)).wait()
        task(quick).map(range(50)).wait()

    run = run_of(body)
    text = shown(capsys, "flow-run", "inspect", "last")
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert lines["CPU"].endswith(" s")
    assert lines["peak memory"].endswith(f"  {memory_text(run.peak_bytes)}")
    assert socket.gethostname() in lines["process"]
    head = next(line for line in text.splitlines() if line.startswith("TASK"))
    assert head.split("  ")[0] == "TASK" and "CPU" in head and "PEAK MEMORY" in head
    facts = inspected()
    assert (facts["cpu_seconds"], facts["peak_memory_bytes"]) == (run.cpu_s, run.peak_bytes)
    assert facts["host"] == socket.gethostname()
    assert_computed(facts["calls"][0]["cpu_seconds"], 3 * SPIN_S, 3 * SPIN_S + 0.5)
    of_task = shown(capsys, "task-run", "inspect", "--task", "quick", "--map-index", "7")
    assert "(a share of its batch)" in of_task
    row = json.loads(shown(capsys, "task-run", "inspect", "--task", "compute", "--map-index", "1",
                           "--output", "json"))
    assert row["cpu_is_estimate"] is False and row["host"] == socket.gethostname()
    assert_computed(row["cpu_seconds"], SPIN_S, 2 * SPIN_S)
    assert row["peak_memory_bytes"] > 10 * 2**20
    of_task = shown(capsys, "task-run", "inspect", "--task", "compute", "--map-index", "1")
    assert "\nCPU " in of_task and "\nhost " in of_task
    assert f"{memory_text(row['peak_memory_bytes'])} (of its process)" in of_task
