"""The command line: what is shown, under which keys, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import pytest

from dataflow.cli import main
from dataflow.cli.rendering import duration, print_table, printable
from dataflow.ids import task_run_id
from dataflow.names import element_name
from dataflow.outcomes import Attempt, Code, ErrorRecord, LogLine, Span
from dataflow.store import CallRecord, ElementRecord, FlowRunRecord, Gulp, SpanRecord
from dataflow.stores import open_store
from dataflow.stores.rows import moment

RUN = "11111111-2222-4333-8444-555555555555"
OLD = "22222222-2222-4333-8444-555555555555"
T0 = 1_700_000_000.0
ROW_KEYS = {"id", "name", "state_type", "state_name", "start_time", "end_time"}


def error(message: str) -> ErrorRecord:
    return ErrorRecord("ValueError", message, f"Traceback: in load\nValueError: {message}\n")


@pytest.fixture
def records(dataflow_home: Path) -> None:
    """Keep a run of two maps of 10 and a submit, 3 elements failed; and an older run."""
    store = open_store()
    store.write(OLD, Gulp(flow_run=FlowRunRecord(
        id=OLD, name="old-🦦", flow_name="other", state_type="RUNNING", state_name="Running",
        created_s=T0 - 9)))
    zeros = array("f", bytes(40))
    spans = [SpanRecord(Span(c, range(10), bytearray([8] * 7 + [10] * 3), zeros, zeros), T0, "w1")
             for c in (0,)]
    spans.append(SpanRecord(Span(1, range(10), bytearray([8] * 10), zeros, zeros), T0, "w1"))
    store.write(RUN, Gulp(
        flow_run=FlowRunRecord(
            id=RUN, name="swift-heron", flow_name="delays", state_type="FAILED",
            state_name="Failed", message="3 of 10 failed", created_s=T0, start_time_s=T0,
            end_time_s=T0 + 1.5, parameters='{"year": 2013}', tags=("nightly",),
            dashboard_link="http://127.0.0.1:8787/status", error=error("no \x1b[31m"), pid=7,
            host="here"),
        calls=[
            CallRecord(call=0, task_name="load", task_key="f.load", kind="map", width=10),
            CallRecord(call=1, task_name="clean", task_key="f.clean", kind="map", width=10),
            CallRecord(call=2, task_name="report", task_key="f.report", kind="submit", width=1),
        ],
        spans=spans,
        elements=[
            ElementRecord(0, i, int(Code.FAILED), T0, T0 + 1, 2, "w1",
                          error=error(f"flight {i} has no air time"))
            for i in (7, 8, 9)
        ] + [ElementRecord(2, 0, int(Code.COMPLETED), T0 + 5, T0 + 6, 1, "w1")],
        attempts=[Attempt(0, 7, 1, T0, 0.25, int(Code.FAILED), error("first try"))],
        logs=[LogLine(-1, 0, 1, T0, 20, "dataflow.flow_runs", "begins"),
              LogLine(0, 7, 1, T0 + 0.5, 40, "dataflow.task_runs", "no air time\x1b[2J"),
              LogLine(1, 3, 1, T0 + 0.7, 20, "dataflow.task_runs", "cleaned")],
        counts={0: {8: 7, 10: 3}, 1: {8: 10}, 2: {8: 1}},
    ))
    store.close()


def run(*arguments: str) -> int:
    return main(arguments)


def shown_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(*arguments) == 0
    return json.loads(capsys.readouterr().out)


# version, config


def test_version_names_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert "sqlalchemy" in shown_json(capsys, "version", "--json")
    assert run("version") == 0
    assert "dataflow" in capsys.readouterr().out


def test_config_view_shows_value_and_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_LOG_LEVEL", "debug")
    rows = shown_json(capsys, "config", "view", "--output", "json")
    assert {"name": "DATAFLOW_LOG_LEVEL", "value": "DEBUG", "source": "environment"} in rows
    assert {"name": "DATAFLOW_STORE", "value": None, "source": "default"} in rows
    assert run("config", "view") == 0
    assert "DATAFLOW_LOG_LEVEL" in capsys.readouterr().out


def test_a_bad_setting_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_LOG_LEVEL", "LOUD")
    assert run("config", "view") == 1
    assert capsys.readouterr().err.startswith("Error: DATAFLOW_LOG_LEVEL = 'LOUD'")


# flow runs


@pytest.mark.usefixtures("records")
def test_flow_run_ls_lists_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown_json(capsys, "flow-run", "ls", "--output", "json")
    assert [row["name"] for row in rows] == ["swift-heron", "old-🦦"]
    assert rows[0].keys() >= ROW_KEYS
    assert rows[0]["start_time"] == "2023-11-14T22:13:20.000000+00:00"
    assert rows[0]["parameters"] == {"year": 2013}
    assert len(shown_json(capsys, "flow-run", "ls", "--json", "--limit", "1")) == 1
    assert [row["id"] for row in shown_json(
        capsys, "flow-run", "ls", "--state", "running", "--json")] == [OLD]
    assert run("flow-run", "ls", "--flow", "delays") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "NAME", "FLOW", "STATE", "STARTED", "TOOK"]
    assert row.split()[:4] == ["11111111", "swift-heron", "delays", "Failed"]


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("ref", [(), ("last",), ("swift-heron",), ("1111",), (RUN,)])
def test_flow_run_inspect_shows_counts_and_failures_by_error(
    ref: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("flow-run", "inspect", *ref) == 0
    out = capsys.readouterr().out
    for part in ("Completed 7, Failed 3", "ValueError: flight # has no air time", "nightly",
                 "http://127.0.0.1:8787/status", '{"year": 2013}', "3 of 10 failed", "1.50 s"):
        assert part in out
    assert "\x1b" not in out


@pytest.mark.usefixtures("records")
def test_flow_run_inspect_as_json_has_calls_and_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = shown_json(capsys, "flow-run", "inspect", "--json")
    assert whole["calls"][0]["counts"] == {"Completed": 7, "Failed": 3}
    assert whole["failures"] == [{
        "task_name": "load", "error_type": "ValueError",
        "message": "flight # has no air time", "elements": 3, "example": task_run_id(RUN, 0, 7),
    }]


@pytest.mark.usefixtures("records")
def test_flow_run_logs_come_with_level_limit_and_tail(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("flow-run", "logs") == 0
    out = capsys.readouterr().out
    assert "swift-heron - begins" in out and "\x1b" not in out
    assert f"{element_name(RUN, 0, 7, 'load', True)} - no air time" in out

    def messages(*arguments: str) -> list[str]:
        return [row["message"] for row in shown_json(
            capsys, "flow-run", "logs", "last", "--json", *arguments)]

    assert messages("--limit", "1") == ["begins"]
    assert messages("--limit", "1", "--tail") == ["cleaned"]
    assert messages("--level", "warning") == ["no air time\x1b[2J"]


# task runs


@pytest.mark.usefixtures("records")
def test_task_run_ls_takes_every_filter(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*arguments: str) -> list[tuple[str, int | None]]:
        rows = shown_json(capsys, "task-run", "ls", "--output", "json", *arguments)
        assert all(row.keys() >= ROW_KEYS for row in rows)
        return [(row["task_name"], row["map_index"]) for row in rows]

    assert len(listed()) == 21
    assert listed("--flow-run", "last", "--state", "Failed", "--limit", "2") == [
        ("load", 7), ("load", 8)]
    assert listed("--flow-run", "1111", "--map-index", "3") == [("load", 3), ("clean", 3)]
    assert listed("--task", "clean", "--map-index", "3") == [("clean", 3)]
    assert listed("--task", "report") == [("report", None)]
    assert listed("--flow-run", "old-🦦") == []
    assert run("task-run", "ls", "--state", "failed") == 0
    assert "ValueError: flight 7 has no air time" in capsys.readouterr().out


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("arguments", [
    (task_run_id(RUN, 0, 7),), (task_run_id(RUN, 0, 7)[:13],),
    (element_name(RUN, 0, 7, "load", True),),
    ("--flow-run", "last", "--map-index", "7", "--task", "load"),
])
def test_task_run_inspect_tells_the_whole_story(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    story = shown_json(capsys, "task-run", "inspect", *arguments, "--json")
    assert (story["map_index"], story["state_name"], story["run_count"]) == (7, "Failed", 2)
    assert story["traceback"] == error("flight 7 has no air time").traceback
    assert [attempt["error_message"] for attempt in story["attempts"]] == ["first try"]
    assert [line["level_name"] for line in story["logs"]] == ["ERROR"]
    assert run("task-run", "inspect", *arguments) == 0
    out = capsys.readouterr().out
    for part in ("Traceback: in load", "first try", "w1", "no air time", "swift-heron"):
        assert part in out
    assert "\x1b" not in out


@pytest.mark.usefixtures("records")
def test_task_run_logs_are_of_one_element(capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown_json(capsys, "task-run", "logs", "-i", "3", "--task", "clean", "--json")
    assert [(row["message"], row["map_index"]) for row in rows] == [("cleaned", 3)]


@pytest.mark.usefixtures("records")
def test_an_index_that_several_maps_have_is_refused_with_their_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("task-run", "inspect", "--map-index", "3") == 1
    message = capsys.readouterr().err
    assert "several task runs" in message and "--task" in message
    assert element_name(RUN, 1, 3, "clean", True) in message


# errors and exit codes


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("arguments", [
    ("flow-run", "inspect", "nobody"), ("flow-run", "logs", "ffff"),
    ("task-run", "inspect", "nobody"), ("task-run", "inspect", task_run_id(OLD, 0, 0)),
    ("task-run", "inspect", "-i", "99"), ("task-run", "ls", "--task", "nobody"),
])
def test_a_run_that_is_not_found_is_one_line_and_exit_code_1(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("Error: ") and shown.err.count("\n") == 1
    assert (shown.out, "Traceback" in shown.err) == ("", False)


@pytest.mark.parametrize("arguments", [
    ("nothing",), ("flow-run", "ls", "--limit", "0"), ("flow-run", "ls", "--output", "xml"),
    ("task-run", "inspect"), ("task-run", "inspect", "abcd", "--map-index", "3"),
    ("task-run", "ls", "--map-index", "-1"), ("flow-run", "inspect", "a", "b"),
])
def test_wrong_usage_is_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize("group", ["flow-run", "task-run"])
def test_an_unknown_state_is_wrong_usage_and_the_known_ones_are_named(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(group, "ls", "--state", "faild") == 2
    message = capsys.readouterr().err
    assert "'faild' is no state" in message
    assert "FAILED" in message and "TimedOut" in message


def test_an_empty_store_has_no_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_json(capsys, "flow-run", "ls", "--json") == []
    assert run("flow-run", "inspect", "last") == 1
    assert capsys.readouterr().err == "Error: There is no flow run yet.\n"


def test_a_home_that_is_a_file_is_one_line(
    capsys: pytest.CaptureFixture[str], dataflow_home: Path
) -> None:
    dataflow_home.write_text("mine")
    try:
        assert run("flow-run", "ls") == 1
        assert "is a file, not a folder" in capsys.readouterr().err
    finally:
        dataflow_home.unlink()


def test_an_interruption_is_exit_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dataflow.cli.config.get_settings", interrupted)
    assert run("config", "view") == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


@pytest.mark.usefixtures("records")
def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m dataflow task-run ls --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[", "")


@pytest.mark.usefixtures("records")
def test_a_terminal_that_is_not_utf_8_shows_escapes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dataflow", "flow-run", "ls", "--flow", "other"],
        capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "old-\\U0001f9a6" in done.stdout


def test_help_comes_without_the_store_and_in_no_time() -> None:
    code = ("import sys; from dataflow.cli import main; main(['--help']); "
            "sys.exit(bool({'sqlalchemy', 'rich', 'pydantic', 'dask'} & sys.modules.keys()))")
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in ("config", "flow-run", "task-run", "version"))
    assert time.perf_counter() - began < 2.0  # 0.1 s on a quiet machine


# how it looks


def test_on_a_terminal_rows_are_drawn_by_rich_and_messages_stay_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(("name", "state"), [("[red]x[/red]", "Failed")], states=["FAILED"])
    assert "[red]x[/red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.0123, "12.3 ms"), (0.5, "0.50 s"), (61.2, "1 min 1 s"),
     (3_720, "1 h 2 min")],
)
def test_a_duration_reads_well(seconds: float, text: str) -> None:
    assert duration(moment(T0), moment(T0 + seconds)) == text


def test_printable_keeps_text_and_shows_control_characters() -> None:
    assert printable("é 🙂\n\x1b[2J\x07") == "é 🙂\n\\x1b[2J\\x07"
    assert printable("a\nb", newlines=False) == "a b"
