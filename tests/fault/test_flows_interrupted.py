"""Ctrl-C while a flow has a deadline, is async, or has a flow inside: who is told, how soon."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dataflow.stores import open_store
from tests.run_support import descendants, end_all, ledger, script_of, started, wait_until

HEAD = """
    import asyncio, sys, time
    from dataflow import flow, task
    from runners import InlineTaskRunner, ThreadPoolTaskRunner
    from tests.run_support import note

    BOOK, RUNNER = sys.argv[1], sys.argv[2]

    def heard(flow, flow_run, state):
        note(BOOK, f"{flow.name} {state.name}")

    @task
    def sleeps():
        note(BOOK, "begun")
        time.sleep(60)
"""

FLOWS = {
    "deadline": """
    @flow(task_runner=eval(RUNNER), timeout_seconds=50, on_cancellation=[heard])
    def main():
        sleeps.submit().result()

    main()
    """,
    "blocked": """
    @flow(task_runner=eval(RUNNER), timeout_seconds=50, on_cancellation=[heard])
    def main():
        note(BOOK, "begun")
        time.sleep(60)

    main()
    """,
    "async": """
    @flow(task_runner=eval(RUNNER), on_cancellation=[heard])
    async def main():
        note(BOOK, "begun")
        await asyncio.sleep(60)

    asyncio.run(main())
    """,
    "inside": """
    @flow(on_cancellation=[heard])
    def child():
        sleeps.submit().result()

    @flow(task_runner=eval(RUNNER), timeout_seconds=50, on_cancellation=[heard])
    def main():
        child()

    main()
    """,
}


@pytest.fixture
def family() -> Iterator[list[psutil.Process]]:
    """Return a list of processes that are dead after the test whatever happens."""
    members: list[psutil.Process] = []
    yield members
    end_all(members)


def interrupted(driver: subprocess.Popen[bytes], book: Path, out: Path) -> float:
    """Interrupt a driver whose work has begun; return how long it took to end, in seconds."""
    def begun() -> bool:
        assert driver.poll() is None, out.read_text()
        return ledger(book)["begun"] > 0

    wait_until(begun, "it has begun", 40)
    before = time.monotonic()
    driver.send_signal(signal.SIGINT)
    assert driver.wait(30) in (130, -signal.SIGINT), out.read_text()
    return time.monotonic() - before


@pytest.mark.parametrize("runner", ["InlineTaskRunner()", "ThreadPoolTaskRunner(2)"])
@pytest.mark.parametrize("how", FLOWS)
def test_ctrl_c_ends_a_flow_of_any_kind_and_calls_its_hooks(
        tmp_path: Path, family: list[psutil.Process], how: str, runner: str) -> None:
    book, out = tmp_path / "book", tmp_path / "out"
    driver = started(script_of(tmp_path, HEAD + FLOWS[how]), book, runner, out=out)
    family.append(psutil.Process(driver.pid))
    took = interrupted(driver, book, out)
    family += descendants(driver.pid) if driver.poll() is None else []
    assert took < 15, out.read_text()
    flows = {"main"} | ({"child"} if how == "inside" else set())
    rows = {row.flow_name: row.state_name for row in open_store(None).flow_runs()}
    assert rows == dict.fromkeys(flows, "Cancelled"), out.read_text()
    assert {line for line in ledger(book) if line.endswith("Cancelled")} == {
        f"{name} Cancelled" for name in flows}
