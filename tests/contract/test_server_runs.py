"""What the service answers on runs, over every store that several processes share."""

from __future__ import annotations

import json
import os
import pickle
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dataflow.cli.records import attempt_fields, flow_run_fields, log_fields, task_run_fields
from dataflow.events import new_event
from dataflow.exceptions import StoreError
from dataflow.ids import new_run_id, task_run_id
from dataflow.outcomes import Attempt, Code, LogLine
from dataflow.records import FlowRunRow, Gulp
from dataflow.server import application
from dataflow.server.shapes.runs import AttemptShape, FlowRunShape, LogLineShape, TaskRunShape
from dataflow.server.views import logs as log_views
from dataflow.store import Store
from dataflow.stores import open_store
from dataflow.testing.store_contract.records import (
    RUN,
    T0,
    call,
    error,
    failed,
    flow_run,
    span,
)
from tests.flaky_store import FlakyStore
from tests.run_support import wait_until
from tests.server_support import BEARER, Client, serving


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "dataflow.db") if request.param == "sqlite"
                        else request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "dataflow.db")
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    with serving(store) as client:
        yield client


def line(message: str, at_s: float = T0, call: int = -1, index: int = 0) -> LogLine:
    return LogLine(call, index, 1, at_s, 20, "dataflow.flow_runs", message)


def written(store: Store, **changes: Any) -> str:
    id = str(changes.pop("id", None) or new_run_id())
    store.write(id, Gulp(flow_run=flow_run(id, **changes)))
    return id


def test_flow_runs_come_page_by_page_and_filtered(store: Store, client: Client) -> None:
    ids = [written(store, created_s=T0 + number // 3, flow_name="ab"[number % 2],
                   tags=("x", "ü y") if number < 4 else (),
                   state_type="FAILED" if number % 3 else "COMPLETED",
                   state_name="TimedOut" if number % 3 else "Completed")
           for number in range(12)]
    every = [row["id"] for row in client.pages("/flow-runs", limit=200)]
    assert sorted(every) == sorted(ids) and every[:3] == ids[:8:-1]
    for limit in (1, 5):
        assert [row["id"] for row in client.pages("/flow-runs", limit=limit)] == every
    assert {row["id"] for row in client.pages("/flow-runs", flow="a", limit=2)} == set(ids[::2])
    assert {row["id"] for row in client.pages("/flow-runs", state="timedout", limit=2)} == {
        id for number, id in enumerate(ids) if number % 3}
    assert {row["id"] for row in client.pages("/flow-runs", tag="%C3%BC%20y")} == set(ids[:4])
    since = (datetime.fromtimestamp(T0 + 2, UTC) + timedelta(hours=5)).strftime("%FT%T")
    assert {row["id"] for row in client.pages("/flow-runs", since=f"{since}%2B05:00")} == set(
        ids[6:])
    assert client.pages("/flow-runs", deployment="a/b") == []
    assert [(flow["name"], flow["counts"]) for flow in client.pages("/flows", limit=1)] == [
        ("a", {"COMPLETED": 2, "FAILED": 4}), ("b", {"COMPLETED": 2, "FAILED": 4})]


@pytest.mark.parametrize("query", [
    "limit=0", "limit=201", "limit=x", "limit=", "cursor=x", "cursor=W10", "unknown=1",
    "since=2026-01-01T00:00:00", "since=yesterday", "state=", "limit=1&limit=2",
    f"cursor={'a' * 3000}"])
def test_a_query_that_does_not_fit_is_refused_with_its_place(lite: Store, query: str) -> None:
    with serving(lite) as client:
        answer = client.get(f"/flow-runs?{query}")
        assert (answer.status, answer.kind) == (422, "RequestRefused")
        error = answer.json["error"]
        assert error["what_to_do"] and (error["parts"] or "more than once" in error["what"])


def test_a_cursor_of_a_run_that_is_not_there_is_refused(lite: Store) -> None:
    from dataflow.server.cursors import cursor_of

    with serving(lite) as client:
        assert client.get(f"/flow-runs?cursor={cursor_of(new_run_id())}").status == 422


def test_a_flow_run_is_shown_with_its_calls_and_nothing_secret(
        store: Store, client: Client) -> None:
    parameters = {"year": 2013, "db": {"password": "hunter2"}, "odd": float("inf")}
    store.write(RUN, Gulp(
        flow_run=flow_run(parameters=json.dumps(parameters), error=error(), tags=("t",),
                          lease_until_s=T0, owner="host:1:2"),
        calls=[call()], spans=[span(range(990))], elements=[failed(995)],
        counts={0: {int(Code.COMPLETED): 990, int(Code.FAILED): 1}}, widths={0: 1000}))
    shown = client.get(f"/flow-runs/{RUN.upper()}").json
    assert shown["parameters"] == {"year": 2013, "db": {"password": "***"}, "odd": "inf"}
    assert shown["calls"][0]["counts"] == {"Completed": 990, "Failed": 1}
    assert (shown["calls"][0]["width"], shown["calls_left_out"]) == (1000, 0)
    assert shown["traceback"].startswith("Traceback") and shown["deployment"] is None
    assert shown["lease_until"] == "2023-11-14T22:13:20Z" and shown["tags"] == ["t"]
    assert client.get(f"/flow-runs/{new_run_id()}").kind == "RunNotFound"
    assert client.get("/flow-runs/last").status == 404
    assert client.get(f"/flow-runs/{RUN[:8]}").status == 404


@pytest.mark.parametrize("parameters", [
    '{"cut": "here', "[" * 30_000, '{"x": "\\ud800", "\\udfff": NaN}', "1" * 6000,
    json.dumps({"a": [[[[]]]] * 3})])
def test_parameters_of_any_kind_are_shown(lite: Store, parameters: str) -> None:
    lite.write(RUN, Gulp(flow_run=flow_run(parameters=parameters)))
    with serving(lite) as client:
        for path in (f"/flow-runs/{RUN}", "/flow-runs"):
            assert client.get(path).status == 200


def test_elements_come_page_by_page_and_filtered(store: Store, client: Client) -> None:
    store.write(RUN, Gulp(
        flow_run=flow_run(), calls=[call(), call(1, "submit", "reduce")],
        spans=[span(range(25))], elements=[failed(30), failed(0, call=1)]))
    path = f"/flow-runs/{RUN}/task-runs"
    every = client.pages(path, limit=200)
    assert [(row["call"], row["map_index"]) for row in every] == [
        *((0, index) for index in range(25)), (0, 30), (1, None)]
    assert client.pages(path, limit=4) == every
    assert [row["id"] for row in client.pages(path, state="Failed", limit=1)] == [
        task_run_id(RUN, 0, 30), task_run_id(RUN, 1, 0)]
    assert client.pages(path, call=1) == every[-1:]
    assert client.pages(path, map_index=7) == every[7:8]
    assert client.get(f"/flow-runs/{new_run_id()}/task-runs").status == 404


def test_a_task_run_is_shown_with_its_executions(store: Store, client: Client) -> None:
    store.write(RUN, Gulp(
        flow_run=flow_run(), calls=[call()], elements=[failed(3, attempts=2)],
        attempts=[Attempt(0, 3, 1, T0, 0.5, int(Code.FAILED), error("first"))]))
    shown = client.get(f"/task-runs/{task_run_id(RUN, 0, 3)}").json
    assert (shown["state_name"], shown["map_index"], shown["error_type"]) == (
        "Failed", 3, "ValueError")
    assert "flight 3" in shown["traceback"]
    assert [each["error_message"] for each in shown["attempts"]] == ["first"]
    assert client.get(f"/task-runs/{task_run_id(RUN, 0, 4)}").status == 404


def test_log_lines_come_page_by_page_also_many_of_one_moment(
        store: Store, client: Client) -> None:
    lines = [line(f"line {number}", T0 + number // 7, call=0 if number % 2 else -1,
                  index=number) for number in range(20)]
    store.write(RUN, Gulp(flow_run=flow_run(), calls=[call()], logs=lines))
    path = f"/flow-runs/{RUN}/logs"
    every = client.pages(path, limit=200)
    assert sorted(row["message"] for row in every) == sorted(each.message for each in lines)
    assert [row["time"] for row in every] == sorted(row["time"] for row in every)
    for limit in (1, 3, 7):
        assert client.pages(path, limit=limit) == every
    of_task = next(row for row in every if row["message"] == "line 5")
    assert (of_task["task_name"], of_task["map_index"], of_task["task_run_id"]) == (
        "load", 5, task_run_id(RUN, 0, 5))


def test_a_stream_shows_lines_as_they_come_and_ends_with_the_run(
        store: Store, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "STEP_S", 0.02)
    monkeypatch.setattr(log_views, "_AT_ONCE", 3)
    store.write(RUN, Gulp(flow_run=flow_run(), logs=[
        line(f"old {number}", T0 + number / 4) for number in range(8)]))
    with client.follow(f"/flow-runs/{RUN}/logs/stream") as events:
        found = [next(events)[1]["message"] for _ in range(8)]
        store.write(RUN, Gulp(logs=[line("late", T0 + 1), line("new", T0 + 99)]))
        found += [next(events)[1]["message"] for _ in range(2)]
        store.write(RUN, Gulp(
            flow_run=flow_run(state_type="COMPLETED", state_name="Completed"),
            logs=[line("last", T0 + 100)]))
        found.append(next(events)[1]["message"])
        name, end = next(events)
        assert (name, end["state_name"]) == ("end", "Completed")
        assert list(events) == []
    assert found == [*(f"old {number}" for number in range(8)), "late", "new", "last"]


def test_streams_are_bounded_and_given_back(
        lite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "STREAMS", 1)
    monkeypatch.setattr(application, "STEP_S", 0.02)
    monkeypatch.setattr(application, "ALIVE_S", 0.02)  # who is gone is noticed by writing
    written(lite, id=RUN)
    path = f"/flow-runs/{RUN}/logs/stream"
    with serving(lite) as client:
        with client.follow(path):
            answer = client.get(path)
            assert (answer.status, answer.kind) == (503, "Busy")
            assert answer.headers["retry-after"]

        def free() -> bool:
            written(lite, id=RUN, state_type="COMPLETED", state_name="Completed")
            return client.get(path).status == 200

        wait_until(free, "the stream is given back")


def counts(client: Client, name: str) -> dict[str, float]:
    """Return how often a route was answered, by status."""
    text = client.ask("GET", "/metrics", headers=BEARER).body.decode()
    found = re.findall(
        rf'^dataflow_requests_total{{.*route="{name}",status="(\d+)"}} (.*)$', text, re.M)
    return {status: float(number) for status, number in found}


def test_who_stops_following_is_no_failure(
        lite: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(application, "STEP_S", 0.02)
    monkeypatch.setattr(application, "ALIVE_S", 0.02)
    written(lite, id=RUN)
    with serving(lite) as client:
        with client.follow(f"/flow-runs/{RUN}/logs/stream"):
            pass
        wait_until(lambda: counts(client, "logs_stream"), "the stream is over")
        assert counts(client, "logs_stream") == {"200": 1.0}
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


def test_who_follows_and_never_reads_is_left(
        lite: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(application, "SLOW_READER_S", 0.05)
    lite.events().emit([new_event("big", payload={"text": "x" * 250_000}) for _ in range(40)])
    with serving(lite) as client, socket.create_connection(("127.0.0.1", client.port)) as line:
        line.sendall(b"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n"
                     b"Authorization: " + BEARER["Authorization"].encode() + b"\r\n\r\n")
        wait_until(lambda: counts(client, "events_stream"), "the stream is over")
        assert counts(client, "events_stream") == {"200": 1.0}
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_a_stream_ends_when_the_service_does(lite: Store) -> None:
    written(lite, id=RUN)
    lite.write(RUN, Gulp(logs=[line("one")]))
    with serving(lite) as client:
        following = client.follow(f"/flow-runs/{RUN}/logs/stream")
        events = following.__enter__()
        assert next(events)[1]["message"] == "one"
        began = time.monotonic()
    assert list(events) == [] and time.monotonic() - began < 4
    following.__exit__(None, None, None)


def test_cancelling_asks_who_drives_the_run_or_says_why_not(
        store: Store, client: Client) -> None:
    ended = written(store, state_type="COMPLETED", state_name="Completed")
    answer = client.post(f"/flow-runs/{ended}/cancel")
    assert (answer.status, answer.kind) == (409, "RequestRefused")
    assert "has ended" in answer.json["error"]["what"]
    lost = written(store, state_type="RUNNING", state_name="Running")
    assert "Nobody drives" in client.post(f"/flow-runs/{lost}/cancel").json["error"]["what"]
    assert client.post(f"/flow-runs/{new_run_id()}/cancel").status == 404


class _Slow(FlakyStore):
    """A store whose lists of flow runs take as long as they are told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, 0.0, 0)
        self.go_on = threading.Event()
        self.asked = 0

    def flow_runs(self, **asked: Any) -> list[FlowRunRow]:
        self.asked += 1
        assert self.go_on.wait(20)
        return super().flow_runs(**asked)


def test_slow_answers_hold_up_no_others_and_too_many_are_refused(
        lite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "WAITING", 1)
    slow = _Slow(lite)
    statuses: list[int] = []
    with serving(slow) as client:
        def ask() -> None:
            statuses.append(client.get("/flow-runs").status)

        threads: list[threading.Thread] = []

        def ask_so_often(times: int) -> None:
            for _ in range(times):
                threads.append(threading.Thread(target=ask))
                threads[-1].start()

        try:
            ask_so_often(application.THREADS - 1)
            wait_until(lambda: slow.asked == application.THREADS - 1, "all are asked")
            assert client.get("/flows").status == 200
            ask_so_often(1)
            wait_until(lambda: slow.asked == application.THREADS, "no thread is left")
            ask_so_often(3)  # one may wait
            wait_until(lambda: statuses == [503, 503], "the others are refused")
            assert client.ask("GET", "/api/v1/health").status == 200
        finally:
            slow.go_on.set()
            for thread in threads:
                thread.join()
    assert sorted(statuses) == [*[200] * (application.THREADS + 1), 503, 503]


def test_who_goes_away_before_the_answer_leaves_nothing_behind(
        lite: Store, caplog: pytest.LogCaptureFixture) -> None:
    slow = _Slow(lite)
    caplog.set_level("DEBUG")
    with serving(slow) as client:
        head = f"Host: localhost\r\nAuthorization: {BEARER['Authorization']}\r\n\r\n"
        for number in range(3):
            with socket.create_connection(("127.0.0.1", client.port)) as line:
                line.sendall(f"GET /api/v1/flow-runs HTTP/1.1\r\n{head}".encode())
                while slow.asked == number:
                    time.sleep(0.01)
        slow.go_on.set()
        assert client.get("/flow-runs").status == 200
    assert caplog.text.count("GET /api/v1/flow-runs: 499") == 3
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


class _Broken(FlakyStore):
    """A store that cannot be read, or has a mistake in it."""

    def flow_runs(self, **asked: Any) -> list[FlowRunRow]:
        if asked.get("flow") == "mistake":
            raise ZeroDivisionError("the secret of the house")
        raise StoreError("Cannot read /secret/place.", reason="gone")


def test_a_store_that_cannot_be_read_is_not_ready_and_a_mistake_is_not_told(
        lite: Store, caplog: pytest.LogCaptureFixture) -> None:
    with serving(_Broken(lite, 0.0, 0)) as client:
        ready = client.ask("GET", "/api/v1/ready")
        assert ready.status == 503 and b"secret" not in ready.body
        assert client.ask("GET", "/api/v1/health").status == 200
        assert (client.get("/flow-runs").status, client.get("/flow-runs").kind) == (
            503, "StoreError")
        failed = client.get("/flow-runs?flow=mistake")
        assert (failed.status, failed.kind) == (500, "Failed")
        assert b"secret" not in failed.body and b"Traceback" not in failed.body
    assert "the secret of the house" in caplog.text  # who runs it is told


def test_metrics_count_runs_requests_and_the_queue(store: Store, client: Client) -> None:
    written(store, state_type="FAILED", state_name="Failed")
    client.get("/version")

    def counted() -> bool:
        answer = client.ask("GET", "/metrics", headers=BEARER)
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.body.decode().splitlines()
        return ('dataflow_flow_runs{state="FAILED"} 1.0' in lines
                and 'dataflow_requests_total{method="GET",route="version",status="200"} 1.0'
                in lines and "# TYPE dataflow_queue_runs gauge" in lines)

    wait_until(counted, "the request is counted")


class _Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_nothing_that_was_pickled_is_unpickled(lite: Store, tmp_path: Path) -> None:
    bomb = pickle.dumps(_Bomb(str(tmp_path / "exploded")))
    wrong = error()
    wrong.pickled = bomb
    lite.write(RUN, Gulp(
        flow_run=flow_run(error=wrong), calls=[call(), call(1, "direct")], inputs=bomb,
        elements=[failed(0, error=wrong), failed(0, call=1, error=wrong)], txn_values={1: bomb},
        logs=[line("one")]))
    with lite._engine.connect() as connection:  # type: ignore[attr-defined]  # they are there
        kept = [bytes(row[0]) for query in (
            "SELECT pickled FROM task_runs", "SELECT parameters FROM inputs",
            "SELECT txn_values FROM calls WHERE txn_values IS NOT NULL")
            for row in connection.execute(text(query))]
    assert kept and set(kept) == {bomb}
    with serving(lite) as client:
        for path in ("/flow-runs", f"/flow-runs/{RUN}", f"/flow-runs/{RUN}/task-runs", "/flows",
                     f"/flow-runs/{RUN}/logs", f"/task-runs/{task_run_id(RUN, 0, 0)}",
                     f"/task-runs/{task_run_id(RUN, 1, 0)}", "/events"):
            assert client.get(path).status == 200
        client.post(f"/flow-runs/{RUN}/cancel")
    assert not (tmp_path / "exploded").exists()
    pickle.loads(bomb)
    assert (tmp_path / "exploded").exists()  # it would have


def test_answers_name_what_the_command_line_names(lite: Store) -> None:
    lite.write(RUN, Gulp(flow_run=flow_run(), calls=[call()], elements=[failed(0)]))
    run, (row,) = lite.find_flow_run(RUN), lite.task_runs(RUN)
    assert set(FlowRunShape.model_fields) == set(flow_run_fields(run))
    assert set(TaskRunShape.model_fields) == {*task_run_fields(row), "call"}
    attempt = Attempt(0, 3, 1, T0, 0.5, int(Code.FAILED), error("first"))
    assert set(AttemptShape.model_fields) == set(attempt_fields(attempt))
    assert set(LogLineShape.model_fields) == set(log_fields(run, {}, (RUN, line("x"))))
