"""Calls of webhooks on real stores."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.deployments import DeploymentSpec
from dataflow.service.deploying import register
from dataflow.service.judges import judges_of
from dataflow.service.watcher import Watcher
from dataflow.store import Store
from dataflow.stores import open_store
from dataflow.triggers import OnWebhook
from dataflow.triggers.webhook_signatures import sign
from dataflow.triggers.webhooks import MOST_BYTES, Answer, accept


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(str(tmp_path / "dataflow.db") if request.param == "sqlite"
                       else request.getfixturevalue("postgres_url"))
    yield store
    store.close()


def put(store: Store, *triggers: OnWebhook, name: str = "d") -> None:
    spec = DeploymentSpec(name=name, flow_name="etl", entrypoint="f.py:f", triggers=triggers)  # type: ignore[arg-type]
    register(store.agenda(), spec, time.time())


def call(store: Store, body: bytes, secret: str = "hush", name: str = "push",
         delivery: str = "d1", **headers: str) -> Answer:
    now = time.time()
    return accept(name, {"X-Dataflow-Signature": sign(secret, body, now, delivery),
                         "X-Dataflow-Delivery": delivery,
                         **{key.replace("_", "-"): value for key, value in headers.items()}},
                  body, store, now)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "hush")
    monkeypatch.setenv("OTHER_SECRET", "another")
    monkeypatch.delenv("NO_SECRET", raising=False)


def test_a_signed_call_makes_one_run_with_its_body(store: Store) -> None:
    watcher = Watcher(store, judges_of(store))
    watcher.turn()
    put(store, OnWebhook("push", secret="${HOOK_SECRET}", payload={"body.ref": "refs/heads/*"},
                         parameters={"sha": "{{ event.payload.body.after }}",
                                     "n": "{{ event.payload.body.commits | length }}"}))
    body = json.dumps({"ref": "refs/heads/main", "after": "c0ffee", "commits": [1, 2]}).encode()
    first = call(store, body, Content_Type="application/json", X_GitHub_Event="push",
                 Authorization="Bearer xyz")
    again = call(store, body)
    assert (first.status, again.status, again.event_id) == (202, 200, first.event_id)
    call(store, body.replace(b"heads", b"tags"), delivery="d2")
    watcher.turn()
    (run,) = store.agenda().queue_of("etl/d")
    assert run.parameters == {"sha": "c0ffee", "n": 2}
    event = store.events().events(name="dataflow.webhook.push")[-1]
    assert event.payload["headers"] == {
        "content-type": "application/json", "x-github-event": "push"}
    assert "hush" not in json.dumps(event.payload)


def test_a_call_that_is_not_signed_for_it_is_refused_as_an_unknown_one_is(store: Store) -> None:
    put(store, OnWebhook("push", secret="${HOOK_SECRET}"))
    put(store, OnWebhook("pull", secret="${OTHER_SECRET}"), name="e")
    refused = [call(store, b"{}", "wrong"), call(store, b"{}", "another"),
               call(store, b"{}", name="Push"), call(store, b"{}", name="nothing"),
               accept("push", {}, b"{}", store, time.time())]
    assert {each.status for each in refused} == {401}
    assert len({each.text for each in refused}) == 1
    assert store.events().events(name="dataflow.webhook.*") == []


def test_two_deployments_hear_only_what_is_signed_for_them(store: Store) -> None:
    watcher = Watcher(store, judges_of(store))
    watcher.turn()
    put(store, OnWebhook("push", secret="${HOOK_SECRET}"))
    put(store, OnWebhook("push", secret="${OTHER_SECRET}"), name="e")
    assert call(store, b"{}", "another").status == 202
    watcher.turn()
    assert store.agenda().queue_of("etl/d") == []
    assert len(store.agenda().queue_of("etl/e")) == 1


def test_a_secret_that_is_not_set_is_told_of_in_the_log(
        store: Store, caplog: pytest.LogCaptureFixture) -> None:
    put(store, OnWebhook("push", secret="${NO_SECRET}"))
    assert call(store, b"{}", "").status == 503
    assert "NO_SECRET is not set" in caplog.text


@pytest.mark.parametrize("body, headers, expected", [
    (b'{"a": [1]}', {}, {"a": [1]}), (b"", {}, None), (b" \n", {}, None),
    (b"a=1&b=2&b=3&c=", {"Content_Type": "application/x-www-form-urlencoded"},
     {"a": "1", "b": ["2", "3"], "c": ""}),
    ("grüß".encode(), {"Content_Type": "text/plain; charset=utf-8"}, "grüß"),
    (b"{}", {"Content_Type": "application/vnd.x+json"}, {}),
])
def test_bodies_are_read_by_their_kind(
        store: Store, body: bytes, headers: dict[str, str], expected: Any) -> None:
    put(store, OnWebhook("push", secret="${HOOK_SECRET}"))
    assert call(store, body, **headers).status == 202
    assert store.events().events(name="dataflow.webhook.push")[0].payload["body"] == expected


@pytest.mark.parametrize("body", [
    b"{", b"\xff", b'{"a": NaN}', b'"\\ud800"', b'"\\u0000"', b"[" * 100_000, b"9" * 5000])
def test_a_body_that_cannot_be_read_is_refused(store: Store, body: bytes) -> None:
    put(store, OnWebhook("push", secret="${HOOK_SECRET}"))
    assert call(store, body).status == 400
    assert store.events().events(name="dataflow.webhook.*") == []


def test_a_body_is_bounded(store: Store) -> None:
    put(store, OnWebhook("push", secret="${HOOK_SECRET}"))
    text = {"Content_Type": "text/plain"}
    assert call(store, b"x" * (MOST_BYTES + 1), **text).status == 413
    assert call(store, b"x" * MOST_BYTES, **text).status == 202
