"""Many notices, few messages: groups, throttling, the end, across restarts."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.alerts import Alert, ErrorGroup, Groups, Message, Notice, RunEvent, fold, judge
from dataflow.alerts.grouping import KEPT_S, groups_from_json
from dataflow.alerts.index_ranges import compacted, ranges_text
from dataflow.alerts.messages import message_of

ALERT = Alert(match=["tag:prod", "task:*"], channels=["a"], group_seconds=10,
              throttle_seconds=300)


def event(number: int = 0, state: str = "FAILED", at: float = 0.0, **changes: Any) -> RunEvent:
    return replace(RunEvent(
        flow_run_id=f"r{number}", flow_run_name=f"run-{number}", flow_name="etl", tags=("prod",),
        state_type=state, state_name=state.title(), occurred_s=at, started_s=at - 9, ended_s=at,
    ), **changes)


def notice(number: int = 0, state: str = "FAILED", at: float = 0.0, **changes: Any) -> Notice:
    alert = changes.pop("alert", ALERT)
    found = judge(alert, event(number, state, at, **changes))
    assert found is not None
    return found


def element(index: int, text: str = "bad row") -> Notice:
    return notice(task_name="load", map_index=index, message=f"{text} {index}",
                  ended_s=float(index))


class Feed:
    """Folds notices as a loop does, through JSON each time, and keeps the messages."""

    def __init__(self) -> None:
        self.groups = Groups()
        self.messages: list[Message] = []

    def at(self, now_s: float, *notices: Notice) -> list[Message]:
        self.groups, messages = fold(self.groups, notices, now_s)
        self.groups = groups_from_json(self.groups.to_json())
        assert [message_of(each.to_dict()) for each in messages] == messages
        self.messages += messages
        return messages


def test_fifty_failed_runs_within_the_window_make_one_message() -> None:
    feed = Feed()
    for number in range(50):
        assert feed.at(number * 0.1, notice(number, at=number * 0.1)) == []
    assert feed.groups.next_s == 10.0
    (message,) = feed.at(10.0)
    assert (message.run_count, len(message.runs), message.runs[0]) == (50, 20, ("r0", "run-0"))
    assert (message.since_s, message.until_s) == (0.0, pytest.approx(4.9))
    assert feed.groups.next_s is None


def test_three_thousand_failed_elements_make_one_message_with_their_indexes_as_ranges() -> None:
    indexes = list(range(3_000))
    random.Random(1).shuffle(indexes)
    feed = Feed()
    feed.groups, none = fold(feed.groups, [element(index) for index in indexes], 0.0)
    assert none == []
    feed.at(1.0, *[element(index) for index in indexes[:20]])  # told of twice
    (message,) = feed.at(10.0)
    (error,) = message.errors
    assert (message.run_count, message.element_count) == (1, 3_000)
    assert (error.count, error.task_name) == (3_000, "load")
    assert ranges_text(error.indexes) == "0-2999"


def test_errors_that_are_alike_but_for_numbers_and_names_are_counted_together() -> None:
    feed = Feed()
    errors = (ErrorGroup(error_type="KeyError", message="'a'", count=2),
              ErrorGroup(error_type="ValueError", message="row 17 of 'x.csv' at 0xff"))
    feed.at(0.0, notice(0, errors=errors), notice(1, errors=(
        ErrorGroup(error_type="ValueError", message="row 9 of 'y.csv' at 0x1a"),
        ErrorGroup(error_type="ValueError", message="column 9"))))
    (message,) = feed.at(10.0)
    assert [(each.message, each.count) for each in message.errors] == [
        ("'a'", 2), ("row 17 of 'x.csv' at 0xff", 2), ("column 9", 1)]


def test_what_comes_within_the_throttle_waits_for_its_end_and_makes_one_message() -> None:
    feed = Feed()
    feed.at(0.0, notice(0))
    assert len(feed.at(10.0)) == 1
    for number in range(1, 6):
        assert feed.at(number * 50.0, notice(number, at=number * 50.0)) == []
    assert feed.groups.next_s == 310.0
    (message,) = feed.at(310.0)
    assert (message.run_count, message.number) == (5, 1)


def test_other_alerts_flows_and_states_make_messages_of_their_own() -> None:
    feed = Feed()
    other = replace(ALERT, name="other")
    feed.at(0.0, notice(0), notice(0, alert=other), notice(0, flow_name="b"),
            notice(0, deployment_name="d"),
            notice(0, "CRASHED", alert=replace(ALERT, on=("failed", "crashed"))))
    assert len(feed.at(10.0)) == 5


def test_a_completed_run_resolves_what_was_told_and_only_once() -> None:
    feed = Feed()
    feed.at(0.0, notice(0))
    (failed,) = feed.at(10.0)
    (over,) = feed.at(60.0, notice(1, "COMPLETED", 60.0))
    assert (over.resolved, over.over_s, over.since_s, over.severity) == (True, 60.0, 0.0, "success")
    assert (failed.resolved, failed.severity) == (False, "failure")
    assert feed.at(61.0, notice(2, "COMPLETED", 61.0)) == []
    assert feed.at(1_000.0) == [] and feed.groups == Groups()


def test_what_is_over_before_it_was_told_is_told_once_with_its_end() -> None:
    feed = Feed()
    feed.at(0.0, notice(0), notice(1, "COMPLETED", 5.0))
    (message,) = feed.at(10.0)
    assert (message.resolved, message.over_s) == (False, 5.0)
    assert feed.at(20.0, notice(2, "COMPLETED", 20.0)) == []


def test_a_failure_after_the_end_opens_it_again() -> None:
    feed = Feed()
    feed.at(0.0, notice(0), notice(1, "COMPLETED", 5.0), notice(2, at=6.0))
    (message,) = feed.at(10.0)
    assert (message.over_s, message.run_count) == (None, 2)


def test_an_end_that_is_older_than_the_trouble_ends_nothing() -> None:
    feed = Feed()
    feed.at(0.0, notice(0, at=100.0))
    feed.at(110.0)
    assert feed.at(111.0, notice(1, "COMPLETED", 90.0)) == []
    assert len(feed.at(112.0, notice(2, "COMPLETED", 112.0))) == 1


def test_an_end_of_another_flow_or_alert_ends_nothing() -> None:
    feed = Feed()
    feed.at(0.0, notice(0))
    feed.at(10.0)
    other = replace(ALERT, name="other")
    assert feed.at(20.0, notice(1, "COMPLETED", 20.0, flow_name="b"),
                   notice(1, "COMPLETED", 20.0, alert=other)) == []


def test_completed_where_nothing_was_wrong_tells_nobody() -> None:
    feed = Feed()
    assert feed.at(0.0, notice(0, "COMPLETED")) == [] and feed.groups == Groups()


def test_a_notice_that_comes_twice_counts_once_also_after_it_was_told() -> None:
    feed = Feed()
    feed.at(0.0, notice(0), notice(0))
    (message,) = feed.at(10.0)
    assert message.run_count == 1
    assert feed.at(20.0, notice(0)) == [] and feed.at(1_000.0) == []


def test_a_trouble_whose_end_nobody_told_is_forgotten_after_a_week() -> None:
    feed = Feed()
    feed.at(0.0, notice(0))
    feed.at(10.0)
    feed.at(KEPT_S - 1)
    assert feed.groups != Groups()
    feed.at(KEPT_S)
    assert feed.groups == Groups()


def test_the_same_look_after_a_crash_makes_messages_with_the_same_ids() -> None:
    before, _ = fold(Groups(), [notice(0)], 0.0)
    ids = {fold(before, [], now)[1][0].id for now in (10.0, 12.0)}
    assert len(ids) == 1


@given(st.lists(st.tuples(st.sampled_from(["FAILED", "COMPLETED"]), st.integers(0, 120)),
                max_size=40))
def test_no_failure_is_lost_and_messages_keep_their_distance(steps: list[tuple[str, int]]) -> None:
    feed, now, told = Feed(), 0.0, []
    failed = 0
    for number, (state, wait) in enumerate(steps):
        now += wait
        failed += state == "FAILED"
        told += [(now, each) for each in feed.at(now, notice(number, state, now))]
    for _ in range(50):
        now += 10
        told += [(now, each) for each in feed.at(now)]
    firing = [(when, each) for when, each in told if not each.resolved]
    assert sum(each.run_count for _, each in firing) == failed
    assert all(after[0] - before[0] >= 300 for before, after in pairwise(firing))
    assert len({each.id for _, each in told}) == len(told)


@given(st.lists(st.integers(0, 300), max_size=150))
def test_ranges_hold_exactly_the_indexes(indexes: list[int]) -> None:
    ranges = compacted(indexes)
    assert {one for low, high in ranges for one in range(low, high + 1)} == set(indexes)
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(ranges))


def test_ranges_past_the_bound_are_counted() -> None:
    assert ranges_text(((0, 3), (5, 5), (7, 9)), most=2) == "0-3, 5 and 3 more"
