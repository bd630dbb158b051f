"""Two processes want one run: leases, fences, and a driver that was stopped past its lease."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.store import FlowRunRow
from dataflow.stores import open_store
from tests.nursery import Nursery
from tests.run_support import ledger, recorded, script_of, wait_until

SCRIPT = """
    import os, sys, time
    from pathlib import Path
    from dataflow import flow, run_lease, task
    from dataflow.exceptions import RunFenced, RunOwned
    from tests.run_support import note, wait_until

    BOOK, HOW, RUNNER = sys.argv[1], sys.argv[2], sys.argv[3]
    run_lease.LEASE_S, run_lease.RENEW_S = 1.0, 0.2

    def heard(flow, flow_run, state):
        note(BOOK, f"hook {HOW} {state.name}")

    @task(persist_result=True)
    def step(x):
        if x >= 5:
            wait_until(Path(BOOK + "." + HOW).exists, "the gate is open", 60)
        note(BOOK, f"{HOW} {x}")
        return x

    @flow(task_runner=RUNNER, on_completion=[heard], on_failure=[heard], on_crashed=[heard],
          on_cancellation=[heard])
    def shared():
        one = step.with_options(batch_size=1, max_in_flight=1)
        return sum(one.map(range(10)).result())

    if __name__ == "__main__":
        try:
            assert (shared() if HOW == "first" else shared.resume("last")) == 45
        except (RunFenced, RunOwned) as error:
            print(type(error).__name__, error, flush=True)
            sys.exit(7)
"""


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


def the_run() -> FlowRunRow:
    store = open_store()
    try:
        return store.find_flow_run("last")
    finally:
        store.close()


def completed() -> int:
    store = open_store()
    try:
        return sum(call.counts.get("Completed", 0)
                   for row in store.flow_runs() for call in store.calls(row.id))
    finally:
        store.close()


@pytest.mark.parametrize("runner", ["threads", "inline"])
def test_driver_that_was_stopped_past_its_lease_is_fenced_and_says_so(
    tmp_path: Path, nursery: Nursery, runner: str
) -> None:
    script, book = script_of(tmp_path, SCRIPT), tmp_path / "book"
    first = nursery.start(script, book, "first", runner)
    first.until(lambda: completed() == 5, 20)

    refused = nursery.start(script, book, "refused", runner)
    refused.wait(20)
    assert refused.code == 7
    said = refused.out.read_text()
    assert "RunOwned" in said and f"{socket.gethostname()}:{first.pid}:" in said

    os.kill(first.pid, signal.SIGSTOP)
    wait_until(lambda: (the_run().lease_until_s or 0) < time.time(), "the lease is over")
    Path(f"{book}.second").touch()
    second = nursery.start(script, book, "second", runner)
    second.wait(30)
    assert second.code == 0, second.out.read_text()
    ended = the_run()
    assert (ended.state_type, ended.owner, ended.resumed) == ("COMPLETED", None, 1)

    Path(f"{book}.first").touch()
    os.kill(first.pid, signal.SIGCONT)
    first.wait(20)
    said = first.out.read_text()
    assert first.code == 7, said
    assert "RunFenced" in said and ended.id in said
    assert the_run() == ended
    story = recorded()
    assert story.counts == {"step": {"Completed": 10}}
    assert len(story.task_runs) == 10
    done = ledger(book)
    assert {line for line in done if line.startswith("hook")} == {"hook second Completed"}
    assert {line for line in done if line.startswith("second")} == {
        f"second {x}" for x in range(5, 10)}


def test_a_run_that_was_taken_over_by_force_is_fenced_in_the_first_process(
    tmp_path: Path, nursery: Nursery
) -> None:
    text = SCRIPT.replace('shared.resume("last")', 'shared.resume("last", take_over=True)')
    script, book = script_of(tmp_path, text), tmp_path / "book"
    first = nursery.start(script, book, "first", "threads")
    first.until(lambda: completed() == 5, 20)
    second = nursery.start(script, book, "second", "threads")
    first.wait(20)  # it hears of it while it waits
    said = first.out.read_text()
    assert first.code == 7, said
    assert f":{second.pid}:" in said
    Path(f"{book}.second").touch()
    Path(f"{book}.first").touch()
    second.wait(20)
    assert second.code == 0, second.out.read_text()
    assert recorded().counts == {"step": {"Completed": 10}}


def test_a_dead_drivers_run_is_free_at_once(tmp_path: Path, nursery: Nursery) -> None:
    script, book = script_of(tmp_path, SCRIPT.replace("= 1.0, 0.2", "= 3600.0, 600.0")), \
        tmp_path / "book"
    first = nursery.start(script, book, "first", "threads")
    first.until(lambda: completed() == 5, 20)
    first.kill()
    assert (the_run().lease_until_s or 0) > time.time() + 1000
    Path(f"{book}.second").touch()
    second = nursery.start(script, book, "second", "threads")
    second.wait(20)
    assert second.code == 0, second.out.read_text()
