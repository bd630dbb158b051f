"""A run whose process found the store away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.agenda import NewDeployment
from dataflow.service.asking import ask
from dataflow.service.lost_runs import process_gone
from dataflow.service.orders import NO_STORE, NOT_COMPLETED
from dataflow.store import Store
from dataflow.stores import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(str(tmp_path / "dataflow.db"))
    made.agenda().put(NewDeployment(name="f/d", flow_name="f", digest="d",
                                    spec={"entrypoint": "f.py:f"}), 1.0)
    yield made
    made.close()


@pytest.mark.parametrize(("code", "begun", "state"), [
    (NO_STORE, False, "Scheduled"), (NO_STORE, True, "Crashed"),
    (NOT_COMPLETED, False, "Crashed"),
])
def test_a_run_that_had_not_begun_waits_again(
        store: Store, code: int, begun: bool, state: str) -> None:
    agenda, now = store.agenda(), time.time()
    flow_run_id = ask(store, "f/d", {}, now)
    (run,) = agenda.take("default", "w", 1, now_s=now, until_s=now + 30)
    if begun:
        store.lease(flow_run_id, "far:1:2", now_s=now, until_s=now - 1)
    process_gone(store, run, code, 77, "w", now)
    assert store.find_flow_run(flow_run_id).state_name == state
    queued = agenda.queued(flow_run_id)
    assert queued is not None
    assert queued.phase == ("waiting" if state == "Scheduled" else "ended")


@pytest.mark.parametrize(("code", "owner", "on_crash", "state", "said"), [
    (125, None, "crash", "Crashed", "never began: its command ended with exit code 125"),
    (0, None, "crash", "Crashed", "never began: its command ended with exit code 0"),
    (0, None, "resume", "Scheduled", ""),
    (NO_STORE, None, "crash", "Scheduled", ""),
    (137, "far:1:2", "crash", "Crashed", "The run's command ended with exit code 137"),
])
def test_a_run_whose_command_has_ended(store: Store, code: int, owner: str | None,
                                       on_crash: str, state: str, said: str) -> None:
    agenda, now = store.agenda(), time.time()
    agenda.put(NewDeployment(
        name="f/d", flow_name="f", digest="d", spec={"entrypoint": "f.py:f"},
        on_crash="resume" if on_crash == "resume" else "crash"), now)
    flow_run_id = ask(store, "f/d", {}, now)
    (run,) = agenda.take("default", "w", 1, now_s=now, until_s=now + 30)
    if owner is not None:
        store.lease(flow_run_id, owner, now_s=now, until_s=now + 30)
    process_gone(store, run, code, 77, "w", now, words="no such image")
    row = store.find_flow_run(flow_run_id)
    assert row.state_name == state
    assert said in (row.message or "")
    assert ("Its last words:\nno such image" in (row.message or "")) == (state == "Crashed")
    queued = agenda.queued(flow_run_id)
    assert queued is not None and queued.phase == {
        "Crashed": "ended", "Scheduled": "waiting"}[state]


def test_a_command_of_a_run_that_was_taken_again_changes_nothing(store: Store) -> None:
    agenda, now = store.agenda(), time.time()
    flow_run_id = ask(store, "f/d", {}, now)
    (run,) = agenda.take("default", "w", 1, now_s=now, until_s=now + 30)
    assert agenda.give_back(flow_run_id, "w", now)
    (again,) = agenda.take("default", "w", 1, now_s=now, until_s=now + 30)
    process_gone(store, run, 1, 77, "w", now, words="")
    assert agenda.queued(flow_run_id) == again
