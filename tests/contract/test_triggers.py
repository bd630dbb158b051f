"""Triggers on real stores: what is registered is heard, and makes runs once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listen

from dataflow.agenda import DeploymentRow, NewRun, QueuedRun
from dataflow.deployments import DeploymentSpec
from dataflow.event_log import EventRow, NewEvent
from dataflow.exceptions import DeploymentDefinitionError
from dataflow.ids import new_run_id
from dataflow.records import FlowRunRecord, Gulp
from dataflow.service.deploying import register
from dataflow.service.judges import judges_of
from dataflow.service.triggering import GLANCE_S
from dataflow.service.watcher import Watcher
from dataflow.store import Store
from dataflow.stores import open_store
from dataflow.triggers import Absence, OnEvent, OnState, Trigger
from dataflow.triggers.consequences import DEEPEST
from dataflow.triggers.judging import judge
from dataflow.triggers.remembering import TRIGGER_FAILED

Open = Callable[[], Store]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "who": {"type": "string"}}}


@pytest.fixture
def store(another: Open) -> Store:
    return another()


@pytest.fixture
def watcher(store: Store) -> Watcher:
    """Return a watcher that has begun."""
    found = Watcher(store, judges_of(store))
    found.turn()
    return found


def put(store: Store, name: str, *triggers: Trigger, **fields: Any) -> DeploymentRow:
    flow, _, own = name.partition("/")
    spec = DeploymentSpec(name=own, flow_name=flow, entrypoint="f.py:f", triggers=triggers,  # type: ignore[arg-type]
                          parameter_schema=SCHEMA, **fields)
    row = register(store.agenda(), spec, time.time()).row
    assert row is not None
    return row


def ended(store: Store, flow_run_id: str, flow: str = "load", state: str = "COMPLETED",
          parent: str | None = None) -> None:
    """Record a run as a process does that drove it."""
    store.write(flow_run_id, Gulp(flow_run=FlowRunRecord(
        id=flow_run_id, name="tidy-owl", flow_name=flow, state_type=state,
        state_name=state.title(), parent_flow_run_id=parent, created_s=time.time(),
        end_time_s=time.time())))


def queued(store: Store, name: str) -> list[QueuedRun]:
    return store.agenda().queue_of(name)


def failures(store: Store) -> list[EventRow]:
    return store.events().events(name=TRIGGER_FAILED)


def test_an_event_makes_one_run_whoever_watches(store: Store, another: Open) -> None:
    put(store, "etl/d", OnEvent("orders.*", parameters={"n": "{{ event.payload.rows }}"}))
    watchers = [Watcher(each, judges_of(each)) for each in (store, another())]
    for each in watchers:
        each.turn()
    store.events().emit([NewEvent(id="e1", name="orders.loaded", occurred_s=time.time(),
                                  payload={"rows": 7}, resource="shop")])
    for each in (*watchers, *watchers):
        each.turn()
    (run,) = queued(store, "etl/d")
    assert (run.parameters, run.cause) == ({"n": 7}, "trigger event: orders.loaded of shop")
    assert run.trigger is not None
    assert (run.trigger["id"], run.trigger["payload"], run.trigger["depth"]) == (
        "e1", {"rows": 7}, 1)


def test_a_chain_runs_after_the_one_before_and_knows_its_run(
        store: Store, watcher: Watcher) -> None:
    put(store, "load/d")
    put(store, "report/d", after="load/d")
    put(store, "mail/d", after="report/d")
    for name, follows in (("load/d", "report/d"), ("report/d", "mail/d")):
        agenda = store.agenda()
        if name == "load/d":
            run_id = agenda.queue(NewRun(flow_run_id=new_run_id(), name="n", deployment=name,
                                         parameters={}, due_s=time.time()), time.time())
        else:
            run_id = queued(store, name)[0].flow_run_id
        ended(store, run_id, name.partition("/")[0])
        watcher.turn()
        (run,) = queued(store, follows)
        assert run.trigger is not None and run.cause is not None
        assert run.trigger["flow_run_id"] == run_id
        assert run.cause.startswith("trigger after: dataflow.flow-run.Completed")
    assert queued(store, "mail/d")[0].trigger["depth"] == 2  # type: ignore[index]


def test_parameters_that_do_not_fit_make_no_run_and_are_told_of(
        store: Store, watcher: Watcher, caplog: pytest.LogCaptureFixture) -> None:
    put(store, "etl/d", OnEvent("x", parameters={"n": "{{ event.payload.rows }}"}))
    put(store, "ops/d", OnEvent(TRIGGER_FAILED, parameters={
        "who": "{{ event.payload.deployment }}"}))
    store.events().emit([NewEvent(id="e1", name="x", occurred_s=time.time(),
                                  payload={"rows": "many"})])
    for _ in range(3):
        watcher.turn()
    assert queued(store, "etl/d") == []
    (failed,) = failures(store)
    assert "'many' is not of type 'integer'" in failed.payload["reason"]
    assert queued(store, "ops/d")[0].parameters == {"who": "etl/d"}
    assert caplog.text.count("Trigger event of etl/d made no run") == 1


def test_depth_is_that_of_the_run_around(store: Store, watcher: Watcher) -> None:
    put(store, "etl/d", OnState("completed", match="flow:child"))
    top = store.agenda().queue(NewRun(
        flow_run_id=new_run_id(), name="n", deployment="etl/d", parameters={}, due_s=time.time(),
        trigger={"depth": DEEPEST - 1}), time.time())
    middle, child = new_run_id(), new_run_id()
    ended(store, middle, "middle", parent=top)
    ended(store, child, "child", parent=middle)
    facts = store.events().facts([top, middle, child])
    assert [facts[each].depth for each in (top, middle, child)] == [DEEPEST - 1] * 3
    watcher.turn()
    made = [each for each in queued(store, "etl/d") if each.flow_run_id != top]
    assert [each.trigger["depth"] for each in made] == [DEEPEST]  # type: ignore[index]
    again = new_run_id()
    ended(store, again, "child", parent=made[0].flow_run_id)
    watcher.turn()
    watcher.turn()
    assert len(queued(store, "etl/d")) == 2
    assert "circle" in failures(store)[0].payload["reason"]


def test_a_silence_makes_a_run_when_its_time_has_come(store: Store) -> None:
    now = [time.time()]
    watcher = Watcher(store, judges_of(store), clock=lambda: now[0])
    watcher.turn()
    put(store, "etl/d", Absence("heartbeat", within=3600))
    watcher.turn()
    now[0] += 3590
    watcher.turn()
    assert queued(store, "etl/d") == []
    now[0] += 20
    watcher.turn()
    now[0] += 7200
    watcher.turn()
    assert len(queued(store, "etl/d")) == 1


def test_somebody_elses_event_under_the_name_of_a_failure_keeps_no_trigger_from_its_runs(
        store: Store, watcher: Watcher) -> None:
    put(store, "a/d", OnEvent("x"))
    watcher.turn()
    store.events().emit([
        NewEvent(id=new_run_id(), name=TRIGGER_FAILED, occurred_s=time.time(), payload=payload)
        for payload in ({}, {"slug": "s", "deployment": "d", "event": 1, "count": "2"})])
    store.events().emit([NewEvent(id=new_run_id(), name="x", occurred_s=time.time())])
    watcher.turn()
    assert len(queued(store, "a/d")) == 1


def test_triggers_that_rest_are_not_judged_again_until_one_is_put_or_paused(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def noted(pending: Any, rows: Any, now_s: float, **given: Any) -> Any:
        judged.append(len(rows))
        return judge(pending, rows, now_s, **given)

    monkeypatch.setattr("dataflow.service.triggering.judge", noted)
    now = [time.time() + 1]
    watcher = Watcher(store, judges_of(store), clock=lambda: now[0])

    def turns() -> list[int]:
        judged.clear()
        for _ in range(4):
            now[0] += GLANCE_S * 1.1
            watcher.turn()
        return list(judged)

    put(store, "a/d", OnEvent("x"))
    assert turns() == [1, 1]  # once to begin, once more to find that nothing follows
    assert turns() == []
    put(store, "b/d", Absence("heartbeat", within=3600))
    assert turns() == [2, 2]
    store.agenda().pause("b/d", True, now[0])
    assert turns() == [2, 2]
    now[0] += 7200
    assert turns() == []
    store.events().emit([NewEvent(id=new_run_id(), name="x", occurred_s=now[0])])
    assert turns()[0] == 2


def test_a_deployment_without_triggers_is_not_looked_at(store: Store) -> None:
    put(store, "a/d")
    put(store, "b/d", OnEvent("x"))
    put(store, "c/d", after="b/d")
    assert [each.name for each in store.agenda().with_triggers()] == ["b/d", "c/d"]


def test_deployments_with_triggers_are_found_in_an_index_of_theirs(tmp_path: Path) -> None:
    store = open_store(tmp_path / "dataflow.db")
    asked: list[str] = []
    listen(store._engine, "before_cursor_execute", lambda *called: asked.append(called[2]))  # type: ignore[attr-defined]  # of the adapter
    store.agenda().with_triggers()
    store.close()
    with closing(sqlite3.connect(tmp_path / "dataflow.db")) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}").fetchall()
    assert "deployments USING INDEX deployments_reacting" in plan[0][3]


def test_a_circle_is_refused_when_its_last_part_is_registered(store: Store) -> None:
    put(store, "a/d", after="b/e")
    put(store, "b/e", after="c")
    put(store, "c/c", after="elsewhere")
    with pytest.raises(DeploymentDefinitionError, match="c/c after a/d after b/e after c/c"):
        put(store, "c/c", after="a/d")
    assert store.agenda().deployment("c/c").spec["after"] == "elsewhere"


def test_what_is_registered_together_is_no_circle_by_what_was_before(store: Store) -> None:
    put(store, "a/d", after="b/d")
    put(store, "b/d")
    a, b = (DeploymentSpec(name="d", flow_name=name, entrypoint="f.py:f", after=after)
            for name, after in (("a", None), ("b", "a/d")))
    for each in (b, a):
        register(store.agenda(), each, time.time(), beside=[b, a])
    assert store.agenda().deployment("b/d").spec["after"] == "a/d"


def test_inspect_shows_upon_what_a_deployment_runs(
        store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataflow.cli import main

    put(store, "etl/d", OnState("failed", match="tag:prod", count=3, within="1h"),
        OnEvent("x", action="pause", deployment="load/d", active=False), after="load/d")
    monkeypatch.setattr("dataflow.cli.deployments.opened_store", lambda: nullcontext(store))
    assert main(["deployment", "inspect", "etl/d"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "state 3 × tag:prod is failed within 3600 s run" in said
    assert "event event x pause load/d (rests)" in said
    assert "after deployment:load/d is completed run" in said
