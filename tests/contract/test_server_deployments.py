"""What the service answers on deployments, schedules, the queue, workers, events and alerts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.agenda import NewDeployment, NewSchedule, WorkerRow
from dataflow.alerts.outbox import Parcel
from dataflow.alerts.text import Text
from dataflow.cli.agenda_rows import deployment_fields, schedule_fields, worker_fields
from dataflow.cli.events import event_fields
from dataflow.deployments import DeploymentSpec
from dataflow.event_log import Findings, NewEvent
from dataflow.server import application
from dataflow.server.paths import quoted
from dataflow.server.shapes.deployed import DeploymentShape, ScheduleShape, WorkerShape
from dataflow.server.shapes.happened import EventShape
from dataflow.service.deploying import register
from dataflow.store import Store
from dataflow.stores import open_store
from dataflow.triggers import OnWebhook
from dataflow.triggers.webhook_signatures import sign
from tests.server_support import BEARER, Answer, Client, serving

NOW = 1_700_000_000.0
SPEC = {
    "entrypoint": "etl.py:etl", "tags": ["prod"], "parameters": {"year": 2013},
    "environment": {"DB_PASSWORD": "hunter2", "LEVEL": "1"},
    "alerts": [{"on": "failed", "channels": ["slack://hush/hush2/hush3", "ops"]}],
    "parameter_schema": {"type": "object", "properties": {
        "year": {"type": "integer"}, "password": {"type": "string"}}}}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "dataflow.db") if request.param == "sqlite"
                        else request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    with serving(store) as client:
        yield client


def deployed(store: Store, name: str = "etl/nightly", **fields: Any) -> None:
    fields = {"digest": "d1", "spec": SPEC, "schedules": [
        NewSchedule(slug="s", spec={"kind": "cron"}, next_s=NOW)], **fields}
    store.agenda().put(
        NewDeployment(name=name, flow_name=name.partition("/")[0], **fields), NOW)


def test_deployments_are_listed_and_shown_without_secrets(store: Store, client: Client) -> None:
    for name in ("etl/nightly", "etl/ü ?", "report/weekly"):
        deployed(store, name)
    every = client.pages("/deployments", limit=1)
    assert [row["name"] for row in every] == ["etl/nightly", "etl/ü ?", "report/weekly"]
    shown = client.get(f"/deployments/etl/{quoted('ü ?')}").json
    assert shown == every[1]
    assert shown["spec"]["environment"] == {"DB_PASSWORD": "***", "LEVEL": "1"}
    assert "hush" not in str(shown) and shown["spec"]["alerts"][0]["channels"][1] == "ops"
    assert shown["spec"]["parameter_schema"] == SPEC["parameter_schema"]
    deployed(store, digest="d2", label="two")
    versions = client.get("/deployments/etl/nightly/versions").json["items"]
    assert [(each["number"], each["label"]) for each in versions] == [(2, "two"), (1, None)]
    assert client.get("/deployments/etl/weekly").kind == "DeploymentNotFound"
    assert client.get(f"/deployments/etl/{quoted('%')}").status == 404


def test_a_run_is_asked_for_with_checked_parameters(store: Store, client: Client) -> None:
    deployed(store)
    path = "/deployments/etl/nightly/runs"
    answer = client.post(path, {
        "parameters": {"year": 2014, "password": "hunter2"}, "tags": ["by-hand"],
        "priority": 7, "scheduled_time": "2100-01-01T00:00:00", "name": "the-run"})
    assert answer.status == 201
    made = answer.json
    assert answer.headers["location"] == f"/api/v1/flow-runs/{made['id']}"
    assert client.ask("GET", answer.headers["location"], headers=BEARER).json["id"] == made["id"]
    assert (made["state_name"], made["name"], made["tags"]) == (
        "Scheduled", "the-run", ["by-hand", "prod"])
    assert made["parameters"] == {"year": 2014, "password": "***"}
    queued = store.agenda().queued(made["id"])
    assert queued is not None
    assert (queued.parameters["password"], queued.priority, queued.cause) == (
        "hunter2", 7, "asked for over the API")
    shown = client.get(f"/flow-runs/{made['id']}").json["deployment"]
    assert (shown["deployment"], shown["due"], shown["phase"]) == (
        "etl/nightly", "2100-01-01T00:00:00Z", "waiting")
    assert [row["id"] for row in client.pages(path)] == [made["id"]]
    assert [row["id"] for row in client.pages("/flow-runs", deployment="etl/nightly")] == [
        made["id"]]


@pytest.mark.parametrize("body, said", [
    ({"parameters": {"year": "2013"}}, "year"), ({"parameters": {"yaer": 1}}, "year"),
    ({"parameters": [1]}, "body.parameters"), ({"scheduled_time": "tomorrow"}, "scheduled_time"),
    ({"scheduled_time": 5}, "scheduled_time"), ({"scheduled_time": "5"}, "scheduled_time"),
    ({"scheduled_time": "2026-02-30T00:00:00Z"}, "scheduled_time"),
    ({"priority": 1 << 40}, "priority"),
    ({"scheduled_time": "0001-01-01T00:00:00+14:00"}, "1970"), ({"tags": "x"}, "tags"),
    ({"tags": ["\0"]}, "NUL"), ({"idempotency_key": ""}, "idempotency_key"),
    ({"name": "x" * 201}, "name"), ({"parameters": {"year": 10 ** 400}}, "bits")])
def test_a_run_that_does_not_fit_is_not_queued(
        store: Store, client: Client, body: Any, said: str) -> None:
    deployed(store)
    answer = client.post("/deployments/etl/nightly/runs", body)
    assert answer.status == 422 and said in answer.json["error"]["what"]
    assert store.agenda().queue_of("etl/nightly") == [] and store.flow_runs() == []


@pytest.mark.parametrize("body, said", [
    (b'{"parameters": {"year": 1}, "parameters": {"year": 2}}', "'parameters' more than once"),
    (b'{"parameters": {"year": 1, "year": 2}}', "'year' more than once"),
    (b'{"params": {}}', "body.params: there is no such field; there are idempotency_key, name, "),
    (b'{"scheduled_time": "soon"}', "body.scheduled_time: no moment such as")])
def test_what_could_be_meant_otherwise_is_refused(
        store: Store, client: Client, body: bytes, said: str) -> None:
    deployed(store)
    answer = client.ask("POST", "/api/v1/deployments/etl/nightly/runs", body,
                        {**BEARER, "Content-Type": "application/json"})
    assert answer.status == 422 and said in answer.json["error"]["what"]
    assert store.flow_runs() == []


def test_the_same_key_again_is_the_same_run(store: Store, client: Client) -> None:
    deployed(store)
    ids = {client.post("/deployments/etl/nightly/runs", {"idempotency_key": "k"}).json["id"]
           for _ in range(3)}
    assert len(ids) == 1 and len(store.flow_runs()) == 1


def test_a_run_that_waits_is_cancelled(store: Store, client: Client) -> None:
    deployed(store)
    id = client.post("/deployments/etl/nightly/runs", {}).json["id"]
    answer = client.post(f"/flow-runs/{id}/cancel")
    assert (answer.status, answer.json) == (202, {
        "flow_run_id": id, "state_type": "CANCELLED", "state_name": "Cancelled", "asked": True})


def test_deployments_and_schedules_rest_and_go_on(store: Store, client: Client) -> None:
    deployed(store)
    deployed(store, "etl/other")
    assert client.post("/deployments/etl/nightly/pause").json["paused"] is True
    assert client.post("/deployments/etl/nightly/pause").json["paused"] is True
    assert client.post("/deployments/etl/nightly/resume").json["paused"] is False
    assert client.post("/schedules/etl/nightly/s/pause").json["active"] is False
    assert client.post("/schedules/etl/nightly/s/resume").json["active"] is True
    assert client.post("/schedules/etl/nightly/none/pause").status == 404
    assert client.post("/deployments/etl/none/pause").status == 404
    every = client.pages("/schedules", limit=1)
    assert [(each["deployment"], each["slug"]) for each in every] == [
        ("etl/nightly", "s"), ("etl/other", "s")]
    assert client.pages("/schedules", deployment="etl/other") == every[1:]
    assert client.get("/schedules?deployment=etl/none").status == 404


def test_deleting_takes_waiting_runs_along(store: Store, client: Client) -> None:
    deployed(store)
    client.post("/deployments/etl/nightly/runs", {})
    answer = client.ask("DELETE", "/api/v1/deployments/etl/nightly",
                        headers={"Authorization": "Bearer Made-up_token.0123456789"})
    assert (answer.status, answer.json) == (200, {"name": "etl/nightly", "cancelled": 1})
    assert client.get("/deployments/etl/nightly").status == 404
    assert [row["state_name"] for row in client.pages("/flow-runs")] == ["Cancelled"]


def test_workers_pools_and_the_queue_are_listed(store: Store, client: Client) -> None:
    agenda = store.agenda()
    deployed(store)
    deployed(store, "etl/big", pool="big")
    agenda.put_pool("big", limit=3, paused=True)
    agenda.put_worker(WorkerRow(name="w", pool="big", kind="process", limit=2, host="h", pid=7,
                                started_s=NOW, seen_s=NOW, status="online"))
    ids = [client.post(f"/deployments/etl/{name}/runs", {}).json["id"]
           for name in ("nightly", "big", "nightly")]
    assert [each["flow_run_id"] for each in client.pages("/queue", limit=1)] == ids
    assert [each["flow_run_id"] for each in client.pages("/queue", pool="big")] == [ids[1]]
    assert client.pages("/queue", phase="taken") == []
    assert client.get("/queue?phase=none").status == 422
    assert client.pages("/workers")[0] == {
        "name": "w", "pool": "big", "type": "process", "limit": 2, "host": "h", "pid": 7,
        "started": "2023-11-14T22:13:20Z", "seen": "2023-11-14T22:13:20Z", "status": "online"}
    assert {"name": "big", "type": "process", "limit": 3, "paused": True} in client.pages("/pools")


def test_events_are_put_down_once_and_listed(store: Store, client: Client) -> None:
    body = {"name": "orders.loaded", "resource": "shop.eu", "payload": {"rows": 3, "token": "t"},
            "id": "one", "occurred": "2026-11-28T06:00:00+01:00"}
    assert client.post("/events", body).json == {"id": "one", "new": True}
    assert client.post("/events", body).json == {"id": "one", "new": False}
    for number in range(5):
        client.post("/events", {"name": f"tick.{number}"})
    every = client.pages("/events")
    assert [row["name"] for row in every] == [
        *(f"tick.{number}" for number in reversed(range(5))), "orders.loaded"]
    assert client.pages("/events", limit=2) == every
    assert client.pages("/events", name="tick.*", limit=2) == every[:5]
    assert (every[5]["payload"], every[5]["occurred"]) == (
        {"rows": 3, "token": "***"}, "2026-11-28T05:00:00Z")
    assert client.post("/events", {"name": "dataflow.flow-run.Failed"}).status == 422
    assert client.post("/events", {"name": " "}).status == 422
    assert client.get("/events?flow_run=last").status == 404


def test_a_signed_call_becomes_an_event_once_without_the_token(
        store: Store, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "hush")
    register(store.agenda(), DeploymentSpec(
        name="d", flow_name="etl", entrypoint="f.py:f",
        triggers=(OnWebhook("push", secret="${HOOK_SECRET}"),)), NOW)  # type: ignore[arg-type]
    body = b'{"ref": "main"}'
    headers = {"Content-Type": "application/json", "X-Dataflow-Delivery": "d1",
               "X-Dataflow-Signature": sign("hush", body, time.time(), "d1")}

    def call(name: str, **changes: str) -> Answer:
        return client.ask("POST", f"/api/v1/webhooks/{name}", body, {**headers, **changes})

    taken = call("push")
    assert (taken.status, taken.json["new"]) == (202, True)
    assert call("push").json == {**taken.json, "new": False}
    (event,) = client.pages("/events")
    assert (event["id"], event["name"]) == (taken.json["event_id"], "dataflow.webhook.push")
    assert event["payload"]["body"] == {"ref": "main"}
    for name, changes in [
            ("push", {"X-Dataflow-Signature": sign("other", body, time.time(), "d1")}),
            ("push", {"X-Dataflow-Delivery": "d2"}), ("none", {}),
            ("push", {"X-Dataflow-Signature": ""})]:
        answer = call(name, **changes)
        assert (answer.status, answer.kind) == (401, "RequestRefused")
    assert call("push", Origin="http://evil.example").status == 403
    assert call("push", Host="evil.example").status == 403
    assert len(client.pages("/events")) == 1


def test_a_stream_of_events_shows_what_comes_and_what_came_since(
        store: Store, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "STEP_S", 0.02)
    deployed(store)
    client.post("/events", {"name": "old"})
    (old,) = client.pages("/events")
    with client.follow("/events/stream?name=new.*") as events, \
            client.follow(f"/events/stream?after={old['key'] - 1}") as since:
        client.post("/events", {"name": "other"})
        client.post("/events", {"name": "new.one"})
        assert next(events)[1]["name"] == "new.one"
        assert [next(since)[1]["name"] for _ in range(3)] == ["old", "other", "new.one"]
        id = client.post("/deployments/etl/nightly/runs", {}).json["id"]
        name, event = next(since)
        assert (name, event["name"], event["flow_run_id"], event["deployment"]) == (
            "event", "dataflow.flow-run.Scheduled", id, "etl/nightly")


def test_messages_of_alerts_are_listed_without_the_secrets_of_channels(
        store: Store, client: Client) -> None:
    log = store.events()
    parcels = [Parcel(id=f"p{number}", channel="slack://hush/hush2/hush3", alert="a",
                      text=Text(title="It failed", body="so", severity="failure"),
                      created_s=NOW, due_s=NOW + 60) for number in range(3)]
    assert log.settle(log.pending().version, Findings(parcels=parcels), NOW)
    log.outbox().failed("p1", NOW, "timeout", None)
    answer = client.get("/alerts")
    assert b"hush" not in answer.body
    every = answer.json["items"]
    assert [(row["id"], row["status"]) for row in every] == [
        ("p2", "waiting"), ("p1", "given up"), ("p0", "waiting")]
    assert client.pages("/alerts", limit=1) == every
    assert client.pages("/alerts", status="given%20up", limit=1) == every[1:2]
    assert (every[1]["error"], every[1]["due"], every[0]["title"]) == (
        "timeout", None, "It failed")


def test_answers_name_what_the_command_line_names(store: Store) -> None:
    deployed(store)
    agenda = store.agenda()
    assert set(DeploymentShape.model_fields) == set(deployment_fields(agenda.deployments()[0]))
    assert set(ScheduleShape.model_fields) == set(schedule_fields(agenda.schedules()[0]))
    row = WorkerRow(name="w", pool="p", kind="process", limit=None, host="h", pid=1,
                    started_s=NOW, seen_s=NOW, status="online")
    assert set(WorkerShape.model_fields) == set(worker_fields(row))
    store.events().emit([NewEvent(id="e", name="n", occurred_s=time.time())])
    (event,) = store.events().events(name="n")
    assert set(EventShape.model_fields) == {
        *event_fields(event), "state_type", "state_name", "message", "run_count"}


def test_limits_are_set_listed_and_taken_away(store: Store, client: Client) -> None:
    deployed(store)
    for kind, name in (("tag", "db"), ("queue", "default/fast"), ("deployment", "etl/nightly")):
        answer = client.post("/limits", {"kind": kind, "name": name, "limit": 2})
        assert (answer.status, answer.json) == (
            200, {"kind": kind, "name": name, "limit": 2, "running": 0})
    assert client.post("/limits", {"kind": "deployment", "name": "nightly", "limit": 3}).json[
        "name"] == "etl/nightly"
    assert {each["name"]: each["limit"] for each in client.pages("/limits")} == {
        "db": 2, "default/fast": 2, "etl/nightly": 3}
    assert client.post("/limits", {"kind": "tag", "name": "db", "limit": None}).json[
        "limit"] is None
    assert "db" not in {each["name"] for each in client.pages("/limits")}


@pytest.mark.parametrize(("body", "status"), [
    ({"kind": "deployment", "name": "nobody/x", "limit": 1}, 404),
    ({"kind": "queue", "name": "fast", "limit": 1}, 422), ({"kind": "tag", "name": "a"}, 422),
    ({"kind": "other", "name": "a", "limit": 1}, 422), ({"kind": "tag", "name": "", "limit": 1},
                                                        422),
    ({"kind": "tag", "name": "a", "limit": -1}, 422), ({"kind": "tag", "name": "a", "limit": True},
                                                       422)])
def test_limits_that_cannot_be_are_refused(client: Client, body: Any, status: int) -> None:
    assert client.post("/limits", body).status == status
    assert client.pages("/limits") == []
