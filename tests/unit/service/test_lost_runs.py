"""What becomes of runs whose process or worker is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.agenda import Agenda, NewDeployment, NewRun, QueuedRun
from dataflow.claims import owner_of_this_process
from dataflow.ids import new_run_id
from dataflow.memory_kills import MemoryKills
from dataflow.service.lost_runs import TRIES, look_after, process_gone
from dataflow.store import Store
from dataflow.stores import open_store

NOW = 1_000_000.0
LATER = NOW + 60
_HOST, _, _START = owner_of_this_process().split(":")
_DEAD = f"{_HOST}:4194304:{_START.partition('.')[0]}.1"  # of this boot; no process has that number


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(str(tmp_path / "dataflow.db"))
    yield made
    made.close()


@pytest.fixture
def agenda(store: Store) -> Agenda:
    return store.agenda()


def taken(agenda: Agenda, **fields: Any) -> QueuedRun:
    agenda.put(NewDeployment(name="f/d", flow_name="f", digest="d",
                             spec={"entrypoint": "f.py:f"}, **fields), NOW)
    agenda.queue(NewRun(flow_run_id=new_run_id(), name="tidy-owl", deployment="f/d",
                        parameters={}, due_s=NOW), NOW)
    return take(agenda, NOW)


def take(agenda: Agenda, now_s: float) -> QueuedRun:
    (run,) = agenda.take("default", "w", 1, now_s=now_s, until_s=now_s + 30)
    return run


def test_a_run_that_no_process_had_begun_waits_again_a_few_times(
        store: Store, agenda: Agenda) -> None:
    run, now_s = taken(agenda), NOW
    for _ in range(TRIES - 1):
        now_s += 60
        assert look_after(store, [run.flow_run_id], now_s) == 1
        now = agenda.queued(run.flow_run_id)
        assert now is not None and now.phase == "waiting"
        take(agenda, now_s + 30)
        now_s += 30
    assert look_after(store, [run.flow_run_id], now_s + 60) == 1
    assert store.find_flow_run(run.flow_run_id).state_name == "Crashed"


def test_a_run_that_a_process_had_begun_is_crashed(store: Store, agenda: Agenda) -> None:
    run = taken(agenda)
    store.lease(run.flow_run_id, "there:1:2", now_s=NOW, until_s=NOW + 30)
    assert look_after(store, [run.flow_run_id], LATER) == 1
    assert store.find_flow_run(run.flow_run_id).state_name == "Crashed"


def test_a_run_whose_process_lives_here_is_left_alone_though_its_lease_is_over(
        store: Store, agenda: Agenda) -> None:
    run = taken(agenda)
    store.lease(run.flow_run_id, owner_of_this_process(), now_s=NOW, until_s=NOW + 30)
    assert look_after(store, [run.flow_run_id], LATER) == 0
    assert store.find_flow_run(run.flow_run_id).owner == owner_of_this_process()


@pytest.mark.parametrize("on_crash", ["crash", "resume"])
def test_a_run_that_was_to_be_cancelled_is_cancelled_when_its_worker_is_lost(
        store: Store, agenda: Agenda, on_crash: str) -> None:
    run = taken(agenda, on_crash=on_crash)
    agenda.ask_to_cancel(run.flow_run_id, NOW)
    assert look_after(store, [run.flow_run_id], LATER) == 1
    assert store.find_flow_run(run.flow_run_id).state_name == "Cancelled"


@pytest.mark.parametrize("on_crash", ["crash", "resume"])
@pytest.mark.parametrize("by", ["agenda", "worker"])
def test_a_process_that_was_told_to_end_before_it_began_leaves_its_run_cancelled(
        store: Store, agenda: Agenda, on_crash: str, by: str) -> None:
    run = taken(agenda, on_crash=on_crash)
    if by == "agenda":
        agenda.ask_to_cancel(run.flow_run_id, NOW)
    process_gone(store, run, -2, 7, "w", NOW, cancelled=by == "worker")
    assert store.find_flow_run(run.flow_run_id).state_name == "Cancelled"
    now = agenda.queued(run.flow_run_id)
    assert now is not None and now.phase == "ended"


@pytest.mark.parametrize(("code", "kernel", "said"), [
    (-9, True, "was killed by SIGKILL (killed by the kernel: out of memory)"),
    (-9, False, "was killed by SIGKILL (out of memory, perhaps)"),
    (-15, True, "was killed by SIGTERM"), (3, True, "ended with exit code 3"),
])
def test_a_run_whose_process_the_kernel_killed_for_its_memory_says_so(
        store: Store, agenda: Agenda, tmp_path: Path, code: int, kernel: bool,
        said: str) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    kills = MemoryKills(counter, log=list)
    counter.write_text(f"oom_kill {int(kernel)}\n")
    run = taken(agenda)
    process_gone(store, run, code, 4194304, "w", NOW, kills=kills)
    row = store.find_flow_run(run.flow_run_id)
    assert row.state_name == "Crashed"
    assert row.message == f"The run's process 4194304 {said}"


def test_a_run_that_waits_to_go_on_can_be_cancelled(store: Store, agenda: Agenda) -> None:
    run = taken(agenda, on_crash="resume")
    store.lease(run.flow_run_id, _DEAD, now_s=NOW, until_s=NOW + 30)
    process_gone(store, run, -9, 4194304, "w", NOW)
    assert agenda.ask_to_cancel(run.flow_run_id, NOW + 1)
    assert store.find_flow_run(run.flow_run_id).state_name == "Cancelled"


def test_a_run_that_ended_or_was_given_away_meanwhile_is_no_lost_one(
        store: Store, agenda: Agenda) -> None:
    run = taken(agenda)
    assert agenda.give_back(run.flow_run_id, "w", NOW + 90)
    assert look_after(store, [run.flow_run_id], LATER) == 0
    take(agenda, NOW + 90)
    assert agenda.end(run.flow_run_id, "w")
    assert look_after(store, [run.flow_run_id], LATER) == 0
    assert store.find_flow_run(run.flow_run_id).state_name == "Scheduled"
