"""The command line on task runs that ran tasks and flows themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataflow import flow, get_run_logger, task
from dataflow.cli import main
from runners import InlineTaskRunner


@task
def child(x: int) -> int:
    get_run_logger().warning("child %d", x)
    return x


@flow(name="inner")
def inner() -> int:
    return 1


@task
def parent(n: int) -> int:
    return sum(child.map(range(n)).result()) + inner()


@flow(name="outer", task_runner=InlineTaskRunner())
def outer() -> None:
    parent.submit(3).result()


@pytest.fixture
def played(dataflow_home: Any) -> None:
    """Keep a run of a task that maps three children and calls a flow."""
    outer()


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def shown_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(shown(capsys, *arguments, "--output", "json"))


def run_of(capsys: pytest.CaptureFixture[str], flow_name: str) -> Any:
    return next(row for row in shown_json(capsys, "flow-run", "ls")
                if row["flow_name"] == flow_name)


@pytest.mark.usefixtures("played")
def test_flow_run_ls_shows_flows_and_no_insides(capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown_json(capsys, "flow-run", "ls")
    assert sorted(row["flow_name"] for row in rows) == ["inner", "outer"]


@pytest.mark.usefixtures("played")
def test_task_run_ls_lists_children_with_their_parent(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(capsys, "outer")
    rows = shown_json(capsys, "task-run", "ls", "--flow-run", run["id"])
    assert [row["task_name"] for row in rows] == ["parent", "child", "child", "child", "inner"]
    assert [row["parent_task_run_id"] for row in rows] == [None, *[rows[0]["id"]] * 4]
    assert {row["flow_run_id"] for row in rows} == {run["id"]}
    of_child = shown_json(capsys, "task-run", "ls", "--flow-run", run["id"], "--task", "child")
    assert [row["map_index"] for row in of_child] == [0, 1, 2]


@pytest.mark.usefixtures("played")
def test_task_run_inspect_shows_parent_children_and_flows(
        capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(capsys, "outer")
    rows = shown_json(capsys, "task-run", "ls", "--flow-run", run["id"])
    story = shown_json(capsys, "task-run", "inspect", rows[0]["id"])
    assert [row["id"] for row in story["children"]] == [row["id"] for row in rows[1:]]
    assert [row["flow_name"] for row in story["flow_runs"]] == ["inner"]
    text = shown(capsys, "task-run", "inspect", rows[0]["id"])
    assert "Task runs inside (4)" in text and "Flow runs inside" in text
    of_child = shown(capsys, "task-run", "inspect", rows[2]["id"])
    assert f"{rows[0]['name']} ({rows[0]['id']})" in of_child and "child 1" in of_child


@pytest.mark.usefixtures("played")
def test_flow_run_inspect_counts_what_ran_inside(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(capsys, "outer")
    calls = shown_json(capsys, "flow-run", "inspect", run["id"])["calls"]
    assert {call["task_name"]: call["counts"] for call in calls} == {
        "parent": {"Completed": 1}, "child": {"Completed": 3}, "inner": {"Completed": 1}}
    assert "Inside of task runs" in shown(capsys, "flow-run", "inspect", run["id"])


@pytest.mark.usefixtures("played")
def test_logs_of_a_flow_run_have_the_lines_of_children(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(capsys, "outer")
    text = shown(capsys, "flow-run", "logs", run["id"], "--level", "WARNING")
    assert [line.rpartition(" - ")[2] for line in text.splitlines()] == [
        "child 0", "child 1", "child 2"]
