"""What becomes of events where alerts are: which messages, when, with what in them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dataflow.alerts import Alert, Configured
from dataflow.alerts.alert_files import name_of
from dataflow.service.alert_looks import LOOK_S
from dataflow.service.alert_memory import NAME, AlertMemory, memory_of
from dataflow.service.alerting import STALE_S
from dataflow.store import Store
from dataflow.stores import open_store
from tests.alerting_support import NOW, Scene


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(str(tmp_path / "dataflow.db") if request.param == "sqlite"
                       else request.getfixturevalue("postgres_url"))
    yield store
    store.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "dataflow.db")
    yield store
    store.close()


def alert(**fields: Any) -> Alert:
    return Alert(**{"channels": ["ops"], "group_seconds": 0, "throttle_seconds": 0, **fields})


def test_deployment_that_fails_and_completes_is_told_of_and_resolved(store: Store) -> None:
    scene = Scene(store)
    name = scene.deploy("etl", "nightly", alert(on="failed", group_seconds=10), tags=["prod"])
    run_id = scene.begin(NOW, scene.queue(name))
    scene.elements(run_id, ["Failed", "Completed", "Failed", "Failed"])
    scene.end(run_id, "FAILED", NOW + 30, error="ValueError: flight 0 has no air time",
              message="it failed")
    assert scene.turn(NOW + 31) == []
    assert scene.turn(NOW + 40) == []
    (parcel,) = scene.turn(NOW + 41)
    assert (parcel.channel, parcel.text.title) == ("ops", "[failed] etl/nightly: tidy-owl")
    body = parcel.text.body
    assert "First error: ValueError: flight 0 has no air time (3 alike)" in body
    assert "Also:" not in body  # the flow's own error is that of the element
    assert "Elements: load[0, 2-3]" in body
    assert "3 of 4 elements failed." in body
    assert "after 30 s" in body
    assert f"Look: dataflow flow-run inspect {run_id}" in body
    assert scene.turn(NOW + 50) == []
    scene.end(scene.begin(NOW + 60, scene.queue(name)), "COMPLETED", NOW + 90)
    (over,) = scene.turn(NOW + 91)
    assert over.text.title == "[resolved] etl/nightly"
    assert scene.turn(NOW + 500) == []
    assert [each.parcel.id for each in scene.log.parcels()] == [over.id, parcel.id]


def test_three_thousand_failed_elements_make_one_message(local: Store) -> None:
    scene = Scene(local, alert(on="failed"))
    run_id = scene.begin(NOW)
    scene.elements(run_id, ["Failed"] * 3000)
    scene.elements(run_id, ["Failed"] * 5 + ["Completed"], task="save", call=1, error="disk full")
    scene.end(run_id, "FAILED", NOW + 5, error="RuntimeError: gave up")
    (parcel,) = scene.turn(NOW + 6)
    errors = parcel.text.data["errors"]
    assert [(each["task"], each["type"], each["count"]) for each in errors] == [
        ("load", "ValueError", 3000), ("save", "ValueError", 5), ("", "RuntimeError", 1)]
    assert "3,005 of 3,006 elements failed." in parcel.text.body
    assert "(3,000 alike)" in parcel.text.body
    assert len(parcel.text.body) < 2_000


def test_errors_that_were_not_read_are_told_apart_where_they_may_differ(local: Store) -> None:
    scene = Scene(local, alert(on="failed"))
    run_id = scene.begin(NOW)
    scene.elements(run_id, ["Failed"] * 100, error="no row {}")
    scene.elements(run_id, ["Failed"] * 900, error="no place at all {}", first=100)
    scene.end(run_id, "FAILED", NOW + 5)
    (parcel,) = scene.turn(NOW + 6)
    assert [(each["type"], each["count"]) for each in parcel.text.data["errors"]] == [
        ("ValueError", 100), ("ValueError", 300), ("Others", 600)]


def test_history_is_right_for_many_events_of_one_flow_at_once(store: Store) -> None:
    scene = Scene(store, alert(on="recovered"), alert(longer_than="2x median", name="slow"))
    for at, (state, took_s) in enumerate([
            ("COMPLETED", 10), ("COMPLETED", 10), ("COMPLETED", 12), ("FAILED", 1),
            ("CRASHED", 1), ("COMPLETED", 19), ("COMPLETED", 30), ("FAILED", 2)]):
        scene.ran(state, NOW + at * 100, took_s)
    said = [each.text.body.splitlines()[0] for each in scene.turn(NOW + 1000)]
    assert [each.partition(" of etl ")[2].partition(", at")[0] for each in said] == [
        "completed after 2 failures",
        "took 30 s, longer than 2 × its median of 11 s"]


def test_where_no_alert_is_nothing_is_looked_at(
        local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(local)
    scene.turn(NOW)  # the first look of all
    for at in range(50):
        scene.ran("FAILED", NOW + at)
    for asked in ("find_flow_run", "flow_runs", "calls", "task_runs"):
        monkeypatch.setattr(local, asked, lambda *given, **more: pytest.fail("was asked"))
    monkeypatch.setattr(scene.log, "past", lambda *given: pytest.fail("was asked"))
    pending, found = scene.findings(NOW + 100)
    assert len(pending.events) == 100 and not found.anything


def test_alert_about_another_flow_costs_no_look_at_the_run(
        local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(local, alert(match="flow:other"))
    scene.ran("FAILED", NOW)
    monkeypatch.setattr(local, "find_flow_run", lambda ref: pytest.fail("was asked"))
    assert scene.turn(NOW + 1) == []


def test_alerts_of_files_flow_and_deployment_hold_and_each_is_told_once(store: Store) -> None:
    both = alert(on="failed", channels=["both"])
    scene = Scene(store, both, alert(on="failed", match="tag:dev", channels=["dev"]))
    name = scene.deploy("etl", "nightly", both, alert(on="failed", channels=["deployment"]))
    run_id = scene.begin(NOW, scene.queue(name), both, alert(on="failed", channels=["flow"]))
    scene.end(run_id, "FAILED", NOW + 1)
    scene.end(scene.begin(NOW, None), "FAILED", NOW + 2)
    said = [(each.channel, each.text.data["deployment"]) for each in scene.turn(NOW + 3)]
    assert sorted(said) == [("both", ""), ("both", "nightly"), ("deployment", "nightly"),
                            ("flow", "nightly")]


def test_alerts_of_a_deployment_are_those_that_it_has_now(store: Store) -> None:
    scene = Scene(store)
    name = scene.deploy("etl", "nightly", alert(on="failed", channels=["before"]))
    run_id = scene.begin(NOW, scene.queue(name))
    scene.deploy("etl", "nightly", alert(on="failed", channels=["now"]))  # of the same version
    scene.end(run_id, "FAILED", NOW + 1)
    assert [each.channel for each in scene.turn(NOW + 2)] == ["now"]


def test_broken_alerts_are_said_once_and_keep_nobody_from_the_others(
        local: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(local, alert(on="failed"), problems=["dataflow.toml, [[alerts]] number 2: no"])
    run_id = scene.begin(NOW, None)
    scene.records[run_id].alerts = '[{"on": ["faild"], "channels": ["x"]}, {"channels": ["mine"]}]'
    with caplog.at_level(logging.ERROR, "dataflow.alerts"):
        scene.end(run_id, "FAILED", NOW + 1)
        assert [each.channel for each in scene.turn(NOW + 2)] == ["ops"]
        assert [each.channel for each in scene.turn(NOW + 15)] == ["mine"]
        scene.ran("FAILED", NOW + 200)
        scene.turn(NOW + 300)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "[[alerts]] number 2: no" in said[0]
    assert "alerts[0] of flow 'etl'" in said[1] and "Did you mean 'failed'?" in said[1]


def test_what_is_remembered_is_written_with_the_messages_and_made_again_where_it_was_not(
        store: Store) -> None:
    scene = Scene(store, alert(on="failed"))
    scene.ran("FAILED", NOW)
    _, lost = scene.findings(NOW + 1)  # this process dies here
    scene.judge = scene.new_judge()
    (parcel,) = scene.turn(NOW + 1)
    assert [each.id for each in lost.parcels] == [parcel.id]
    scene.judge = scene.new_judge()
    assert scene.turn(NOW + 2) == []
    scene.ran("FAILED", NOW + 5)  # judged twice in the same process, written neither time
    _, first = scene.findings(NOW + 6)
    _, second = scene.findings(NOW + 6)
    assert [each.id for each in first.parcels] == [each.id for each in second.parcels] != []


def test_old_events_are_no_news(store: Store) -> None:
    scene = Scene(store, alert(on="failed"))
    scene.ran("FAILED", NOW - STALE_S - 1)
    assert scene.turn(NOW) == []
    scene.ran("FAILED", NOW - STALE_S + 5)
    assert len(scene.turn(NOW)) == 1


def test_run_that_takes_too_long_is_told_of_while_it_goes_on_and_once(store: Store) -> None:
    scene = Scene(store, alert(longer_than=60, name="slow"))
    run_id = scene.begin(NOW)
    assert scene.turn(NOW + 1) == []
    assert scene.turn(NOW + 59) == []
    (parcel,) = scene.turn(NOW + 75)
    assert "has been running for 75 s, longer than 60 s" in parcel.text.body
    scene.judge = scene.new_judge()
    assert scene.turn(NOW + 100) == []
    scene.end(run_id, "COMPLETED", NOW + 120)
    assert scene.turn(NOW + 121) == []
    scene.ran("COMPLETED", NOW + 200, 20)
    (over,) = scene.turn(NOW + 201)
    assert over.text.title == "[resolved] etl"
    assert memory_of(scene.log.pending().memory.get(NAME)).watched == {}


def test_new_alert_is_about_runs_that_went_on_before(store: Store) -> None:
    scene = Scene(store)
    scene.begin(NOW)
    scene.turn(NOW + 1)
    scene.files = Configured((alert(longer_than=60),))
    assert len(scene.turn(NOW + 100)) == 1


def test_late_run_is_told_of_while_it_waits_and_resolved_when_one_begins_in_time(
        store: Store) -> None:
    now_s = time.time()  # the database says when it became Late
    scene = Scene(store)
    name = scene.deploy("etl", "nightly", alert(late_by_seconds=30))
    run_id = scene.queue(name, now_s - 100)
    scene.state(run_id, "SCHEDULED", "Late")
    (parcel,) = scene.turn(now_s + 20)
    assert re.search(r"has not begun 1\d\d s after its time", parcel.text.body)
    assert "What is done" not in parcel.text.body
    scene.begin(now_s + 21, run_id)
    assert scene.turn(now_s + 25) == []
    in_time = scene.begin(now_s + 41, scene.queue(name, now_s + 40))
    (over,) = scene.turn(now_s + 42)
    assert over.text.title == "[resolved] etl/nightly"
    scene.end(in_time, "COMPLETED", now_s + 50)


def test_elements_that_fail_are_told_of_while_the_run_goes_on_each_once(store: Store) -> None:
    scene = Scene(store, alert(match="task:lo*", on="failed"), alert(match="task:other"))
    run_id = scene.begin(NOW)
    assert scene.turn(NOW + 1) == []
    scene.elements(run_id, ["Failed", "Completed", "Failed"])
    assert scene.turn(NOW + 2) == []  # it is not time for a look
    (first,) = scene.turn(NOW + 2 + LOOK_S)
    assert first.text.body.startswith("2 task runs of flow run tidy-owl (etl): failed")
    assert "Elements: load[0, 2]" in first.text.body
    assert scene.turn(NOW + 30) == []
    scene.elements(run_id, ["Failed"] * 7, first=10, at_s=NOW + 35)
    scene.judge = scene.new_judge()
    (second,) = scene.turn(NOW + 40)
    assert second.text.body.startswith("7 task runs")
    assert "Elements: load[10-16]" in second.text.body
    scene.elements(run_id, ["Failed"], first=20, at_s=NOW + 45)
    scene.end(run_id, "COMPLETED", NOW + 46)
    (last,) = scene.turn(NOW + 47)
    assert last.text.body.startswith("1 task run of flow run")
    assert scene.turn(NOW + 100) == []
    assert memory_of(scene.log.pending().memory.get(NAME)).told == {}


def test_share_of_failed_elements_is_told_of_a_run_that_completed(store: Store) -> None:
    scene = Scene(store, alert(failed_share=0.5))
    for count in (1, 2):
        run_id = scene.begin(NOW)
        scene.elements(run_id, ["Failed"] * count + ["Completed"] * 2)
        scene.end(run_id, "COMPLETED", NOW + count)
    (parcel,) = scene.turn(NOW + 5)
    assert "2 of 4 elements failed (50.0%)" in parcel.text.body


def test_retry_is_told_of_with_the_time_of_the_next_attempt(store: Store) -> None:
    from dataflow.retry_words import waiting_words

    scene = Scene(store, alert(on="retrying"))
    run_id = scene.begin(NOW)
    scene.state(run_id, "SCHEDULED", "AwaitingRetry", waiting_words("no", 2, 3, NOW + 3600))
    (parcel,) = scene.turn(NOW + 5)
    moment = datetime.fromtimestamp(NOW + 3600, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    assert f"What is done: the next try begins at {moment}." in parcel.text.body


def clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M")


def test_deadline_that_passes_without_a_completed_run_is_told_of_and_resolved(
        store: Store) -> None:
    due_s = (NOW // 60 + 5) * 60
    scene = Scene(store, alert(not_completed_by=clock(due_s)))
    kept = scene.deploy("etl", "kept", made_s=NOW - 9)
    scene.deploy("etl", "missed", made_s=NOW - 9)
    scene.deploy("etl", "later", made_s=due_s + 1)
    scene.deploy("other", "own", alert(not_completed_by=clock(due_s), channels=["own"]),
                 made_s=NOW - 9)
    store.agenda().put_pool("default")
    scene.end(scene.begin(NOW, scene.queue(kept)), "COMPLETED", due_s - 1)
    assert scene.turn(due_s - 2) == []
    said = scene.turn(due_s + 60)
    assert sorted((each.channel, each.text.data["deployment"]) for each in said) == [
        ("ops", "missed"), ("ops", "own"), ("own", "own")]
    assert f"was not completed by {datetime.fromtimestamp(due_s, UTC):%Y-%m-%d %H:%M} UTC" in (
        said[0].text.body)
    scene.judge = scene.new_judge()
    assert scene.turn(due_s + 130) == []
    scene.end(scene.begin(NOW, scene.queue("etl/missed")), "COMPLETED", due_s + 140)
    (over,) = scene.turn(due_s + 141)
    assert over.text.title == "[resolved] etl/missed"


def test_deadline_of_a_deployment_alone_is_looked_at_and_no_other_deployment_is_read(
        store: Store) -> None:
    due_s = (NOW // 60 + 5) * 60
    scene = Scene(store)
    scene.deploy("etl", "own", alert(not_completed_by=clock(due_s)), made_s=NOW - 9)
    scene.deploy("etl", "other", alert(on="failed"), made_s=NOW - 9)
    assert [each.name for each in store.agenda().with_deadlines()] == ["etl/own"]
    assert scene.turn(NOW) == []
    assert [each.text.data["deployment"] for each in scene.turn(due_s + 60)] == ["own"]


def test_deadline_of_a_flow_without_deployments_is_kept_by_runs_of_it(store: Store) -> None:
    due_s = (NOW // 60 + 5) * 60
    own = alert(not_completed_by=clock(due_s))
    scene = Scene(store)
    scene.end(scene.begin(NOW, None, own), "FAILED", NOW + 1)
    scene.end(scene.begin(NOW, None, own, flow_name="good"), "COMPLETED", NOW + 1)
    assert scene.turn(NOW + 2) == []
    (parcel,) = scene.turn(due_s + 60)
    assert parcel.text.data["flow"] == "etl"


def test_deadline_of_the_files_is_about_flows_that_ran_before_it_was_written(
        store: Store) -> None:
    due_s = (NOW // 60 + 5) * 60
    scene = Scene(store)
    scene.ran("FAILED", NOW)
    scene.turn(NOW + 1)
    scene.files = Configured((alert(not_completed_by=clock(due_s)),))
    assert scene.turn(NOW + 20) == []
    assert [each.text.data["flow"] for each in scene.turn(due_s + 60)] == ["etl"]


def test_url_of_the_files_that_has_a_secret_is_not_written_down(local: Store) -> None:
    url = "json://user:Passw0rd1@host/TokenInThePath"
    scene = Scene(local, alert(channels=[url, "json://host"], group_seconds=5))
    scene.ran("FAILED", NOW)
    scene.turn(NOW + 1)
    memory = str(scene.log.pending().memory)
    parcels = scene.turn(NOW + 10)
    assert [each.channel for each in parcels] == [name_of(url), "json://host"]
    for secret in ("Passw0rd1", "TokenInThePath"):
        assert secret not in memory + str(parcels)


def test_memory_that_cannot_be_read_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    assert memory_of('{"groups": "{\\"a\\": {}}"}') == AlertMemory()
    assert memory_of("no json") == AlertMemory()
    assert "cannot be read" in caplog.text
