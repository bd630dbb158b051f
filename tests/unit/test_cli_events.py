"""``dataflow event``: ls, emit, stream."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from dataflow import emit_event, flow
from dataflow.cli import main

pytestmark = pytest.mark.usefixtures("dataflow_home")


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert main(("event", "ls", "--output", "json", *options)) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_emitted_is_listed_with_all_that_is_known(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("event", "emit", "orders.loaded", "-r", "shop", "-p", "rows=3",
                 "-p", "name=x y", "--id", "one")) == 0
    assert "orders.loaded  one" in capsys.readouterr().out
    [found] = listed(capsys)
    assert {name: found[name] for name in ("id", "name", "resource", "payload")} == {
        "id": "one", "name": "orders.loaded", "resource": "shop",
        "payload": {"rows": 3, "name": "x y"}}
    assert found["occurred"].endswith("+00:00")
    assert main(("event", "ls")) == 0
    assert "orders.loaded  shop" in capsys.readouterr().out


def test_changes_of_state_are_listed_by_run_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    @flow(flow_run_name="the-run")
    def quick() -> None:
        emit_event("in.it")

    quick()
    emit_event("outside")
    assert sorted(each["name"] for each in listed(capsys, "--run", "the-run")) == [
        "dataflow.flow-run.Completed", "dataflow.flow-run.Pending",
        "dataflow.flow-run.Running", "in.it"]
    [last] = listed(capsys, "--name", "*.Completed")
    assert (last["flow_run_name"], last["state_type"], last["run_count"]) == (
        "the-run", "COMPLETED", 1)
    assert [each["name"] for each in listed(capsys, "-n", "1")] == ["outside"]
    assert listed(capsys, "--since", "2099-01-01") == []
    assert len(listed(capsys, "--since", "1h")) == 5


def test_the_stream_shows_what_comes(capsys: pytest.CaptureFixture[str]) -> None:
    emit_event("before")
    stop = threading.Event()

    def emitting() -> None:
        while not stop.wait(0.05):
            emit_event("later", payload={"a": 1})

    thread = threading.Thread(target=emitting)
    thread.start()
    try:
        assert main(("event", "stream", "--count", "2", "--output", "json")) == 0
    finally:
        stop.set()
        thread.join()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["name"], each["payload"]) for each in lines] == [("later", {"a": 1})] * 2


def test_the_stream_ends_after_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("event", "stream", "--seconds", "0")) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [
    ("ls", "--since", "1x"), ("ls", "--limit", "0"), ("emit", "x", "-p", "rows"), ("emit",)])
def test_wrong_usage_is_refused(arguments: tuple[str, ...]) -> None:
    assert main(("event", *arguments)) == 2


def test_names_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("event", "emit", "dataflow.flow-run.Failed")) == 1
    assert "changes of state" in capsys.readouterr().err
    assert main(("event", "ls", "--run", "nobody")) == 1
    assert "nobody" in capsys.readouterr().err


def test_control_characters_do_not_reach_the_terminal(
        capsys: pytest.CaptureFixture[str]) -> None:
    emit_event("a\x1b[31mb", payload={"x": "\x1b[2J"})
    assert main(("event", "ls")) == 0
    assert "\x1b" not in capsys.readouterr().out
