"""The command line of runs that go on, of keys and of plans: what is shown, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.claims import owner_of_this_process
from dataflow.cli import main
from dataflow.outcomes import Code
from dataflow.store import CallRecord, ElementRecord, FlowRunRecord, Gulp, Store
from dataflow.stores import open_store

RUN = "11111111-2222-4333-8444-555555555555"
OLD = "22222222-2222-4333-8444-555555555555"
T0 = 1_700_000_000.0
KEY = bytes(range(16))
FLOW = """
from dataflow import flow

@flow
def main(n: int = 1):
    return n
"""


@pytest.fixture
def store(dataflow_home: Path) -> Iterator[Store]:
    """Return a store with a run that was resumed twice and is held by another host."""
    store = open_store()
    store.write(RUN, Gulp(
        flow_run=FlowRunRecord(
            id=RUN, name="swift-heron", flow_name="main", state_type="RUNNING",
            state_name="Running", created_s=T0, resumed=2, entrypoint="/gone/job.py:main",
            epoch=3, owner="elsewhere:7:1", lease_until_s=time.time() + 1000),
        calls=[CallRecord(call=0, task_name="load", task_key="k", kind="submit", width=1),
               CallRecord(call=1, task_name="wait", task_key="k", kind="submit", width=1)],
        elements=[
            ElementRecord(0, 0, int(Code.CACHED), T0, T0 + 1, 1, "w", key=KEY, origin=OLD),
            ElementRecord(1, 0, int(Code.AWAITING_RETRY), T0, None, 1, "w", due_s=T0 + 600)],
        counts={0: {9: 1}, 1: {2: 1}}))
    yield store
    store.close()


def shown_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("store")
def test_flow_run_inspect_shows_who_drives_it_and_how_often_it_went_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fields = shown_json(capsys, "flow-run", "inspect")
    assert (fields["owner"], fields["resumed"]) == ("elsewhere:7:1", 2)
    assert fields["entrypoint"] == "/gone/job.py:main" and fields["lease_until"] is not None
    assert main(["flow-run", "inspect"]) == 0
    out = capsys.readouterr().out
    assert "elsewhere:7:1, lease until" in out and "2 times" in out


@pytest.mark.usefixtures("store")
def test_task_run_inspect_shows_key_origin_and_due_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fields = shown_json(capsys, "task-run", "inspect", "--task", "load")
    assert (fields["key"], fields["origin"], fields["due"]) == (KEY.hex(), OLD, None)
    waiting = shown_json(capsys, "task-run", "inspect", "--task", "wait")
    assert waiting["due"] == "2023-11-14T22:23:20.000000+00:00"
    assert main(["task-run", "inspect", "--task", "load"]) == 0
    out = capsys.readouterr().out
    assert KEY.hex() in out and OLD in out


@pytest.mark.usefixtures("store")
def test_why_takes_a_task_run_or_a_flow_run_with_a_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = shown_json(capsys, "task-run", "why", "last", "--task", "load")
    assert told["verdict"] == "cached" and OLD in told["reasons"][0]
    assert told == shown_json(capsys, "task-run", "why", told["task_run_id"])
    assert told == shown_json(capsys, "task-run", "why", "-f", "swift-heron", "--task", "load")
    waiting = shown_json(capsys, "task-run", "why", "--task", "wait")
    assert waiting["verdict"] == "has not ended" and "retry is due" in waiting["reasons"][0]


@pytest.mark.usefixtures("store")
def test_why_of_a_flow_run_with_several_task_runs_asks_which(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["task-run", "why", "swift-heron"]) == 2
    assert "--map-index" in capsys.readouterr().err
    assert main(["task-run", "why"]) == 2


@pytest.mark.usefixtures("store")
def test_a_run_whose_file_is_gone_is_refused_with_its_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["flow-run", "resume", "last"]) == 1
    assert "/gone/job.py" in capsys.readouterr().err


def test_a_run_that_was_made_in_no_file_is_refused(
    capsys: pytest.CaptureFixture[str], dataflow_home: Path
) -> None:
    store = open_store()
    store.write(RUN, Gulp(flow_run=FlowRunRecord(id=RUN, name="typed", flow_name="main",
                                                 created_s=T0)))
    store.close()
    assert main(["flow-run", "retry"]) == 1
    assert "made in no file" in capsys.readouterr().err


def put_flow(store: Store, folder: Path, owner: str, until_s: float) -> None:
    file = folder / "its_flow.py"
    file.write_text(FLOW)
    store.write(OLD, Gulp(flow_run=FlowRunRecord(
        id=OLD, name="held", flow_name="main", state_type="RUNNING", state_name="Running",
        created_s=T0 + 1, entrypoint=f"{file}:main", epoch=1, owner=owner,
        lease_until_s=until_s)))
    store.put_inputs(OLD, b"\x80\x04}\x94.")


def test_a_run_that_another_process_drives_is_refused_with_its_owner(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_flow(store, tmp_path, "elsewhere:7:1", time.time() + 1000)
    assert main(["flow-run", "resume", "held"]) == 1
    error = capsys.readouterr().err
    assert "elsewhere:7:1" in error and "--take-over" in error
    assert store.find_flow_run(OLD).resumed == 0
    assert main(["flow-run", "resume", "held", "--take-over"]) == 0
    row = store.find_flow_run(OLD)
    assert (row.state_name, row.resumed) == ("Completed", 1)


def test_a_run_whose_process_is_gone_goes_on_and_is_shown(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, _, start = owner_of_this_process().split(":", 2)
    put_flow(store, tmp_path, f"{host}:999999:{start}", time.time() + 1000)
    assert main(["flow-run", "resume", "2222"]) == 0
    assert f"Flow run held ({OLD}) is Completed" in capsys.readouterr().out


def test_a_plan_takes_parameters_as_json_or_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "planned_flow.py"
    file.write_text(FLOW.replace("return n", "raise ValueError(repr(n))").replace(": int", ""))
    for text, value in (("[1, 2]", "[1, 2]"), ("abc", "'abc'")):
        plan = shown_json(capsys, "flow", "plan", f"{file}:main", "-p", f"n={text}")
        assert plan == {"flow_name": "main", "cached": 0, "would_run": 0, "unknown": 0,
                        "tasks": [], "stopped": f"ValueError: {value}"}
    assert main(["flow", "plan", f"{file}:main", "-p", "n"]) == 2
    assert main(["flow", "plan", f"{file}:main", "-p", "m=1"]) == 1
    assert main(["flow", "plan", f"{file}:other"]) == 1
