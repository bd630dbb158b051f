"""What settings do to runs, on every runner."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, runtime, task
from dataflow.settings import temporary_settings
from tests.runner_support import Play, Records


@task
def flaky(x: int) -> int:
    if runtime.task_run.run_count < 3:
        raise ValueError(x)
    return runtime.task_run.run_count


def test_tasks_are_tried_again_as_the_settings_say(play: Play) -> None:
    def body() -> Any:
        return flaky.submit(1).result(), flaky.map([1]).result(), flaky(1)

    with temporary_settings(tasks_default_retries=2):
        assert play(body) == (3, [3], 3)
    assert play.state(body).is_failed()
    own = flaky.with_options(retries=0)
    with temporary_settings(tasks_default_retries=2):
        assert play.state(lambda: own.submit(1)).is_failed()


def test_retries_wait_as_the_settings_say_each_for_its_own_time(play: Play) -> None:
    with temporary_settings(tasks_default_retries=2,
                            tasks_default_retry_delay_seconds=[0.05, 0.2]):
        before = time.monotonic()
        assert play(lambda: flaky.submit(1).result()) == 3
    assert time.monotonic() - before >= 0.25
    assert play.records.run_counts("flaky") == [3]


def test_flows_are_tried_again_as_the_settings_say(play: Play) -> None:
    @flow(task_runner=play.runner)
    def body() -> int:
        if runtime.flow_run.run_count < 2:
            raise ValueError("once")
        return runtime.flow_run.run_count

    with temporary_settings(flows_default_retries=1, flows_default_retry_delay_seconds=0.01):
        assert body() == 2
    with pytest.raises(ValueError, match="once"):
        body()


def test_prints_are_logged_where_the_settings_say_so(play: Play) -> None:
    @task
    def talk() -> None:
        print("printed by a task")

    def body() -> None:
        print("printed by a flow")
        talk.submit().wait()

    with temporary_settings(log_prints=True):
        play(body)
    assert {"printed by a flow", "printed by a task"} <= set(play.records.messages())
    play(body)
    assert not [m for m in play.records.messages() if m.startswith("printed")]


def test_flows_that_name_no_runner_use_that_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def body() -> Any:
        return flaky.with_options(retries=2).submit(1).result()

    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataflow.toml").write_text('task_runner = "inline"\n')
    assert body() == 3
    assert Records().run.runner == "inline"
    (tmp_path / "dataflow.toml").unlink()
    body()
    assert Records().run.runner == "threads"


def test_nothing_shows_on_the_console_where_the_settings_say_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    @flow
    def body() -> None: ...

    with temporary_settings(logging_to_console=False):
        body()
    assert capsys.readouterr().err == ""
    body()
    assert "Beginning flow run" in capsys.readouterr().err


@pytest.mark.parametrize("kept", [True, False])
def test_lines_of_runs_are_kept_where_the_settings_say_so(kept: bool) -> None:
    from dataflow import emit_event, get_run_logger
    from dataflow.stores import open_store

    @task
    def inner(number: int) -> int:
        get_run_logger().info("of a task")
        return number

    @task
    def outer() -> None:
        inner(1)

    @flow(flow_run_name="the-run")
    def body() -> None:
        get_run_logger().info("of the flow")
        emit_event("an.event")
        inner.map(range(3)).result()
        outer.submit().wait()

    with temporary_settings(logging_to_store=kept):
        body()
    store = open_store()
    run = store.find_flow_run("the-run")
    lines = [line.message for _, line in store.nested_logs(run.id)]
    emitted = [each.name for each in store.events().events(name="an.event")]
    states = [each.state_name for each in store.task_runs(run.id)]
    store.close()
    assert emitted == ["an.event"]
    assert states == ["Completed"] * 5
    assert (lines.count("of a task"), lines.count("of the flow")) == ((4, 1) if kept else (0, 0))
    assert kept or not lines
