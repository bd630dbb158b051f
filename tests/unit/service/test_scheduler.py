"""The scheduler's turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.agenda import NewDeployment, NewRun, NewSchedule
from dataflow.exceptions import StoreError
from dataflow.ids import new_run_id
from dataflow.schedules import Interval
from dataflow.service.scheduler import AGAIN_S, Scheduler
from dataflow.store import Store
from dataflow.stores import open_store

NOW = 1_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(str(tmp_path / "dataflow.db"))
    yield made
    made.close()


def test_a_schedule_that_cannot_be_read_holds_up_no_other(store: Store) -> None:
    agenda = store.agenda()
    for name, spec in (("f/bad", {"cron": "0 0 * * *", "timezone": "Mars/Olympus"}),
                       ("f/good", Interval(60).to_json())):
        agenda.put(NewDeployment(
            name=name, flow_name="f", digest="d", spec={"entrypoint": "f.py:f"},
            schedules=[NewSchedule(slug="s", spec=spec, next_s=NOW)]), NOW - 300)
    assert Scheduler(store, clock=lambda: NOW).turn() == 1
    assert len(agenda.queue_of("f/good")) == 1
    bad, _ = agenda.schedules()
    assert (bad.next_s, bad.handled_s) == (NOW + AGAIN_S, None)


@pytest.mark.parametrize("apart_s", [-600.0, 600.0])
@pytest.mark.parametrize("dies", ["worker", "both"])
def test_runs_of_a_host_whose_clock_is_minutes_apart_are_lost_when_it_falls_silent_and_not_before(
        store: Store, apart_s: float, dies: str) -> None:
    """The scheduler's host and that of worker and process go by clocks of their own."""
    agenda, true_s = store.agenda(), [0.0]
    agenda.put(NewDeployment(name="f/d", flow_name="f", digest="d",
                             spec={"entrypoint": "f.py:f"}), NOW)
    run_id = new_run_id()
    agenda.queue(NewRun(flow_run_id=run_id, name="r", deployment="f/d", parameters={},
                        due_s=NOW - 1000), NOW)
    there_s = NOW + apart_s
    agenda.take("default", "w", 1, now_s=there_s, until_s=there_s + 30)
    epoch = store.lease(run_id, "there:1:2", now_s=there_s, until_s=there_s + 30)
    scheduler = Scheduler(store, clock=lambda: NOW + true_s[0], monotonic=lambda: true_s[0])

    def live(until_s: float, *, worker: bool, process: bool) -> None:
        while true_s[0] < until_s:
            true_s[0] += 5.0
            if worker:
                agenda.hold("w", [run_id], now_s=0.0, until_s=there_s + true_s[0] + 30)
            if process and true_s[0] % 10 == 0:
                store.renew(run_id, epoch, there_s + true_s[0] + 30)
            scheduler.turn()

    live(300.0, worker=True, process=True)
    live(600.0, worker=False, process=dies == "worker")
    if dies == "worker":  # the run goes on by itself
        assert store.find_flow_run(run_id).state_name == "Scheduled"
        live(660.0, worker=False, process=False)
    row = store.find_flow_run(run_id)
    assert (row.state_name, row.epoch) == ("Crashed", epoch + 1)
    queued = agenda.queued(run_id)
    assert queued is not None and queued.phase == "ended"


def test_a_lost_run_is_settled_within_a_minute(store: Store) -> None:
    agenda, true_s = store.agenda(), [0.0]
    agenda.put(NewDeployment(name="f/d", flow_name="f", digest="d",
                             spec={"entrypoint": "f.py:f"}), NOW)
    run_id = new_run_id()
    agenda.queue(NewRun(flow_run_id=run_id, name="r", deployment="f/d", parameters={},
                        due_s=NOW), NOW)
    agenda.take("default", "w", 1, now_s=NOW, until_s=NOW + 30)
    scheduler = Scheduler(store, clock=lambda: NOW + true_s[0], monotonic=lambda: true_s[0])
    while (queued := agenda.queued(run_id)) is not None and queued.phase == "taken":
        scheduler.turn()
        true_s[0] += 1.0
        assert true_s[0] < 60
    assert true_s[0] > 30


def test_a_store_that_is_away_is_told_of_once_and_waited_for(
        store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("dataflow.service.scheduler.GLANCE_S", 0.0)
    scheduler, turns = Scheduler(store), list[int]()

    def turn() -> int:
        turns.append(len(turns))
        if len(turns) == 5:
            scheduler.stop()
        raise StoreError("The store is away.", reason="away")

    monkeypatch.setattr(scheduler, "turn", turn)
    scheduler.run()
    assert len(turns) == 5 and caplog.text.count("The store is away.") == 1
