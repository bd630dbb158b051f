"""After a run that nobody watches: when a process is started, and when it ends."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow
from dataflow.alerts import Alert, RunEvent
from dataflow.event_log import NewEvent
from dataflow.ids import new_run_id
from dataflow.service import watch_alone, watch_once
from dataflow.service.alert_delivery import AlertDelivery, named_channel
from dataflow.service.watch_alone import concerned, watch_if_needed
from dataflow.service.watcher import LOOP
from dataflow.settings import temporary_settings
from dataflow.store import Store
from dataflow.stores import open_store
from tests.alert_support import Receiver, receiver
from tests.alerting_support import Scene

TOLD = Alert(on="failed", channels=["json://127.0.0.1:1"], group_seconds=0, throttle_seconds=0)


class Begun(list[tuple[str, float]]):
    """Stands for the process: notes with what it is started."""

    def __call__(self, owner: str, since_s: float, settings: Any) -> Any:
        self.append((owner, since_s))

        class Process:
            def poll(self) -> int:
                return 0

        return Process()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Begun:
    monkeypatch.chdir(tmp_path)
    found = Begun()
    monkeypatch.setattr(watch_alone, "_started", found)
    return found


@pytest.fixture
def store(dataflow_home: Path) -> Iterator[Store]:
    found = open_store()
    yield found
    found.close()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@flow(alerts=[TOLD])
def failing() -> None:
    raise ValueError("no")


@flow(alerts=[TOLD])
def fine() -> None: ...


@flow
def calling() -> None:
    try:
        failing()
    except ValueError:
        pass


def fails() -> None:
    with pytest.raises(ValueError, match="no"):
        failing()


def test_one_process_is_started_for_all_that_fails_and_none_where_all_is_well(
    begun: Begun, store: Store,
) -> None:
    fine()
    assert begun == []
    before_s = time.time()
    fails()
    ((owner, since_s),) = begun
    assert before_s <= since_s <= time.time()
    assert store.events().leader(LOOP, time.time()) == owner
    fails()
    assert len(begun) == 1
    store.events().lead(LOOP, owner, time.time(), 0.0)  # it has ended
    fails()
    assert len(begun) == 2


def test_where_somebody_watches_nothing_more_is_even_imported(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "dataflow.service.watch_alone", None)
    store.events().lead(LOOP, "a worker", time.time(), time.time() + 10)
    with caplog.at_level(logging.WARNING, "dataflow.alerts"):
        fails()
        assert "could be told" not in caplog.text
        store.events().lead(LOOP, "a worker", time.time(), 0.0)
        fails()
    assert "Nobody could be told" in caplog.text


def test_flow_called_in_a_flow_has_its_own_alerts_looked_at(begun: Begun) -> None:
    calling()
    assert len(begun) == 1


def test_completed_run_is_told_of_where_somebody_was_told_of_a_failure(
    begun: Begun, store: Store,
) -> None:
    scene = Scene(store)
    fails()
    assert len(scene.turn(time.time())) == 1
    store.events().lead(LOOP, begun[0][0], time.time(), 0.0)
    fine()
    assert len(begun) == 2


def test_dry_runs_and_stores_without_events_start_nothing(
    begun: Begun, caplog: pytest.LogCaptureFixture,
) -> None:
    assert failing.plan().stopped is not None  # the function was called, and it failed
    with temporary_settings(store="memory:"), caplog.at_level(logging.WARNING, "dataflow.alerts"):
        fails()
    with temporary_settings(alerts_send="off"):
        fails()
    assert begun == [] and "could be told" not in caplog.text


def test_whatever_goes_wrong_the_run_ends_as_it_does(
    begun: Begun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*given: object) -> None:
        raise RuntimeError("no processes are left")

    monkeypatch.setattr(watch_alone, "_started", broken)
    fails()
    assert "Nobody could be told of flow run" in caplog.text
    assert "no processes are left" in caplog.text


EVENT = RunEvent(flow_run_id="r", flow_run_name="n", flow_name="etl", state_type="COMPLETED",
                 state_name="Completed", occurred_s=1.0, tags=("prod",))
FAILED = RunEvent(flow_run_id="r", flow_run_name="n", flow_name="etl", state_type="FAILED",
                  state_name="Failed", occurred_s=1.0)


@pytest.mark.parametrize("options, event, open_groups, may", [
    ({"on": "failed"}, FAILED, False, True),
    ({"on": "crashed"}, FAILED, False, False),
    ({"on": "failed", "match": "flow:other"}, FAILED, False, False),
    ({"on": "failed"}, EVENT, False, False),
    ({"on": "failed"}, EVENT, True, True),
    ({"on": "failed", "resolved": False}, EVENT, True, False),
    ({"on": "completed"}, EVENT, False, True),
    ({"on": "recovered"}, EVENT, False, True),
    ({"failed_share": 0.5}, EVENT, False, True),
    ({"longer_than": 5}, EVENT, False, True),
    ({"match": "task:load"}, EVENT, False, True),
    ({"match": "task:load & tag:dev"}, EVENT, False, False),
    ({"not_completed_by": "06:00"}, EVENT, False, False),
    ({"not_completed_by": "06:00"}, EVENT, True, True),
])
def test_alerts_that_may_have_to_do_with_an_end(
    options: dict[str, Any], event: RunEvent, open_groups: bool, may: bool,
) -> None:
    assert concerned([Alert(channels=["a"], **options)], event, open_groups=open_groups) is may


# the process itself


def lead(store: Store, owner: str = "me") -> str:
    now_s = time.time()
    assert store.events().lead(LOOP, owner, now_s, now_s + 20)
    return owner


def test_it_tells_and_ends(begun: Begun, store: Store, hook: Receiver) -> None:
    since_s = time.time()
    with temporary_settings(alerts_allow_private=True):
        with pytest.raises(ValueError, match="no"):
            failing.with_options(alerts=[Alert(
                channels=[hook.url("", "json")], group_seconds=0)])()
        store.events().lead(LOOP, begun[0][0], time.time(), 0.0)
        assert watch_once.main(lead(store), since_s) == 0
    assert [each.json["title"].partition(":")[0] for each in hook.requests] == [
        "[failed] failing"]
    assert [each.status for each in store.events().parcels()] == ["delivered"]
    assert store.events().leader(LOOP, time.time()) is None
    assert watch_once.is_done(store.events())


def test_it_ends_at_once_where_somebody_else_watches(store: Store) -> None:
    lead(store, "another")
    store.events().emit([NewEvent(id=new_run_id(), name="x", occurred_s=time.time())])
    assert watch_once.main("me", 0.0) == 0
    assert len(store.events().pending().events) == 1
    assert store.events().leader(LOOP, time.time()) == "another"


def test_what_happens_while_it_gives_up_is_looked_at_too(
    store: Store, monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, done = store.events(), watch_once.is_done
    late = [NewEvent(id=new_run_id(), name="x", occurred_s=time.time())]

    def then_something_comes(log_of_it: Any) -> bool:
        answer = done(log_of_it)
        if answer and late:
            log.emit([late.pop()])
        return answer

    monkeypatch.setattr(watch_once, "is_done", then_something_comes)
    assert watch_once.main(lead(store), 0.0) == 0
    assert late == [] and not log.pending().events


def test_it_ends_in_time_where_a_channel_takes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_once, "LONGEST_S", 0.5)
    scene = Scene(store, TOLD)
    scene.ran("FAILED", time.time())
    (parcel,) = scene.turn(time.time() + 0.1)
    with temporary_settings(alerts_allow_private=True):
        assert watch_once.main(lead(store), 0.0) == 0
    (row,) = store.events().parcels()
    assert (row.parcel.id, row.status) == (parcel.id, "waiting")


# delivery


def test_name_that_no_file_knows_is_tried_again_soon_since_another_process_may_know_it(
    store: Store, begun: Begun,
) -> None:
    scene = Scene(store, Alert(channels=["ops"], group_seconds=0))
    scene.ran("FAILED", time.time())
    scene.turn(time.time() + 0.1)
    now = [time.time() + 1.0]
    delivery = AlertDelivery(store, lambda: now[0])
    delivery.step()
    delivery.drain()
    (row,) = store.events().parcels()
    assert "There is no channel 'ops'" in (row.parcel.error or "")
    assert row.parcel.due_s - now[0] < 10


def test_channel_whose_table_is_broken_says_why(begun: Begun) -> None:
    from dataflow.exceptions import ChannelRefused

    Path("dataflow.toml").write_text(
        '[channels]\nops = "json://${NOT_THERE}@h"\nfine = "json://h"\n[[alerts]]\non = "fial"\n')
    with pytest.raises(ChannelRefused, match="variable NOT_THERE, which is not set"):
        named_channel("ops")
    assert named_channel("fine").shown == "json://h/…"


def test_where_sending_is_off_nothing_is_taken(store: Store) -> None:
    log = store.events()
    scene = Scene(store, TOLD)
    scene.ran("FAILED", time.time())
    scene.turn(time.time() + 0.1)
    with temporary_settings(alerts_send="off"):
        AlertDelivery(store, lambda: time.time() + 5).step()
    (row,) = log.parcels()
    assert row.parcel.attempts == 0
    assert len(log.outbox().take(time.time() + 5, 1.0, (), 5)) == 1


def test_who_led_and_was_killed_just_now_keeps_nobody_from_it(
    begun: Begun, store: Store,
) -> None:
    process = subprocess.Popen([sys.executable, "-c", """
import sys, time
from dataflow.claims import owner_of_this_process
from dataflow.stores import open_store
open_store().events().lead("watch", f"{owner_of_this_process()}:1", time.time(), time.time() + 30)
print("leads", flush=True)
sys.stdin.read()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"leads\n"
    fails()
    assert begun == []
    process.kill()
    process.communicate()
    fails()
    assert len(begun) == 1


def test_nobody_is_started_where_somebody_leads(begun: Begun, store: Store) -> None:
    lead(store, "another")
    fails()
    assert begun == []
    assert not watch_if_needed(store, store.find_flow_run("last").id, 0.0)
