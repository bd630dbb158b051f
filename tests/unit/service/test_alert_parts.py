"""The parts that alerts are made of, each by itself: errors, words, kinds, what is remembered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dataflow.alerts import Alert, Configured
from dataflow.alerts.alert_files import name_of
from dataflow.alerts.index_ranges import compacted, ranges_text
from dataflow.retry_words import due_s_in, waiting_words
from dataflow.service.alert_kinds import about_tasks, by_time, needs_history
from dataflow.service.alert_memory import AlertMemory, memory_of
from dataflow.service.run_failures import grouped, own_error
from dataflow.store import FlowRunRow, TaskRunRow

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def row(index: int | None, message: str = "no row {}", task: str = "load", *,
        minute: int = 0, **fields: Any) -> TaskRunRow:
    values: dict[str, Any] = {
        "id": f"{task}-{index}", "name": "n", "flow_run_id": "r", "run_id": "r",
        "parent_task_run_id": None, "task_name": task, "task_key": task, "call": 0,
        "map_index": index, "state_type": "FAILED", "state_name": "Failed", "message": None,
        "start_time": T0, "end_time": T0.replace(minute=minute), "run_count": 1, "worker": "w",
        "error_type": "KeyError", "error_message": message.format(index), "traceback": None,
        "cause": None}
    return TaskRunRow(**{**values, **fields})


def groups(rows: list[TaskRunRow], **counts: int) -> list[tuple[str | None, str, int, Any]]:
    return [(each.task_name, each.error_type, each.count, each.indexes)
            for each in grouped(rows, Counter(counts))]


def test_errors_that_are_alike_are_one_the_first_one_first() -> None:
    rows = [row(1, minute=5), row(2, minute=6), row(7, "other {}", minute=1),
            row(None, "single", "save", minute=9)]
    assert groups(rows, load=3, save=1) == [
        ("load", "KeyError", 1, ((7, 7),)), ("load", "KeyError", 2, ((1, 2),)),
        ("save", "KeyError", 1, ())]


def test_rest_of_a_task_counts_as_what_was_read_where_that_was_all_alike() -> None:
    assert groups([row(0), row(1)], load=900) == [("load", "KeyError", 900, ((0, 1),))]
    assert groups([row(0), row(1, "other {}")], load=900)[2] == ("load", "Others", 898, ())
    assert groups([], load=4) == [("load", "Others", 4, ())]
    assert groups([row(0)], load=0) == [("load", "KeyError", 1, ((0, 0),))]


def test_element_without_an_exception_is_told_by_its_state() -> None:
    late = replace(row(3, error_type=None, error_message=None, state_name="TimedOut"),
                   message="took too long")
    (one,) = grouped([late], Counter(load=1))
    assert (one.error_type, one.message) == ("TimedOut", "took too long")


def test_error_of_the_flow_is_told_unless_an_element_ended_with_it() -> None:
    def ended(kind: str | None, message: str) -> FlowRunRow:
        return FlowRunRow(
            id="r", name="n", flow_name="f", flow_version=None, state_type="FAILED",
            state_name="Failed", message=None, parameters="{}", tags=(), created=T0,
            start_time=T0, end_time=T0, run_count=1, parent_flow_run_id=None,
            parent_task_run_id=None, runner=None, dashboard_link=None, host=None, pid=None,
            error_type=kind, error_message=message, traceback=None)

    elements = grouped([row(3)], Counter(load=1))
    assert own_error(ended("KeyError", "no row 9"), elements) == ()
    assert own_error(ended(None, ""), elements) == ()
    (own,) = own_error(ended("ValueError", "no row 9"), elements)
    assert (own.task_name, own.error_type, own.count) == (None, "ValueError", 1)


def test_indexes_of_which_not_all_are_known_say_how_many_there_are() -> None:
    some = compacted(range(0, 60, 2))
    assert ranges_text(some, most=2, count=1500) == "0, 2 and 1,498 more"
    assert ranges_text(some, most=2) == "0, 2 and 28 more"
    assert ranges_text(compacted([4]), count=1) == "4"
    assert ranges_text((), count=5) == ""


def test_words_of_a_run_that_waits_say_when_it_goes_on() -> None:
    said = waiting_words("it failed", 2, 3, T0.timestamp())
    assert said == "it failed; attempt 2 of 3 begins at 2026-01-01T00:00:00+00:00"
    assert due_s_in(said) == T0.timestamp()
    assert due_s_in(waiting_words(None, 2, 3, 7.9)) == 7.0
    for other in (None, "", "it failed", "x; attempt 2 of 3 begins at noon",
                  "; attempt 2 of 3 begins at 2026-01-01T00:00:00+00:00 or so"):
        assert due_s_in(other) is None


@pytest.mark.parametrize("options, tasks, history, timed", [
    ({}, False, False, False),
    ({"match": ["tag:a", "flow:b & task:c"]}, True, False, True),
    ({"on": "recovered"}, False, True, False),
    ({"longer_than": 9}, False, False, True),
    ({"longer_than": "2x median"}, False, True, True),
    ({"late_by_seconds": 9}, False, False, True),
    ({"not_completed_by": "06:00"}, False, False, False),
])
def test_what_an_alert_is_judged_by(
    options: dict[str, Any], tasks: bool, history: bool, timed: bool,
) -> None:
    alert = Alert(**options)
    assert (about_tasks(alert), needs_history(alert), by_time(alert)) == (tasks, history, timed)


def test_memory_goes_to_text_and_back_and_nothing_is_none() -> None:
    assert AlertMemory().to_text() is None
    assert memory_of(None) == AlertMemory()
    memory = AlertMemory(watched={"r": 1.5}, told={"r": {"load": {"Failed": 2}}},
                         deadlines={"k etl": 3.0}, flows={"etl": 4.0},
                         own={"etl": [{"not_completed_by": "06:00", "channels": ["a"]}]})
    assert memory_of(memory.to_text()) == memory


def test_secrets_of_files_have_names_in_their_place_and_are_found_by_them() -> None:
    url, plain = "slack://TokenA/TokenB/TokenC", "json://host"
    named = Configured((Alert(channels=[url, plain, "ops"]), Alert(channels=["ops"])),
                       {"ops": "json://ops/x"}).named()
    assert [each.channels for each in named.alerts] == [(name_of(url), plain, "ops"), ("ops",)]
    assert dict(named.channels) == {"ops": "json://ops/x", name_of(url): url}
    assert named.named() == named
    assert "Token" not in repr(named) and name_of(url).startswith("slack-")
