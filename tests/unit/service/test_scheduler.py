"""The scheduler's turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.agenda import NewDeployment, NewSchedule
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
