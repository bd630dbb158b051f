"""What begins anew takes along what is recorded of calls that depend on it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from dataflow.outcomes import Code
from dataflow.store import CallRow, RecordedCall
from dataflow.taken_along import TakenAlong

OK, FAILED, CRASHED, OPEN, RETRY = (
    Code.COMPLETED, Code.FAILED, Code.CRASHED, Code.PENDING, Code.AWAITING_RETRY)


def recorded(call: int, codes: list[int], *entries: Any, kind: str = "map",
             fault: str | None = None) -> RecordedCall:
    row = CallRow(
        call=call, task_name="t", task_key="t", kind=kind, width=len(codes), tags=(), upstream=(),
        created=datetime(2026, 1, 1, tzinfo=UTC), counts={}, fault=fault,
        constants=json.dumps([["x", "", *entry] for entry in entries]))
    return RecordedCall(row, bytearray(codes))


def along(*calls: RecordedCall) -> dict[int, list[int] | None]:
    found = TakenAlong({OK, Code.CACHED, FAILED})
    for call in calls:
        found.take(call)
    assert found.count == sum(len(some) for some in found.elements.values() if some) or any(
        some is None for some in found.elements.values())
    return found.elements


def test_elements_that_follow_one_by_one_are_taken_along_alone() -> None:
    last = recorded(2, [OK, OK, OK, OK], ["aligned", 1])
    assert along(recorded(0, [OK, CRASHED, OK, CRASHED]),
                 recorded(1, [OK, OK, OK, FAILED], ["aligned", 0]), last) == {
        1: [1, 3], 2: [1, 3]}
    assert (list(last.codes), last.rows) == ([OK, OPEN, OK, OPEN], {1, 3})


def test_elements_with_futures_of_their_own_are_taken_along_alone() -> None:
    each = recorded(1, [OK, OK, OK], ["each", "ab", [[0, 0], [0, 1, 0, 0], [0, -1]], [0]])
    assert along(recorded(0, [OK, CRASHED]), each) == {1: [1, 2]}


def test_single_is_taken_along_whatever_way_a_value_came() -> None:
    above = recorded(0, [OK, CRASHED])
    for entry in (["one", 0, 1], ["item", 0, 1], ["whole", 0], ["made", "ab", [[0, 0], [0, 1]]],
                  ["made", None, [[0, -1]]], ["after", [[0, 1]]]):
        assert along(above, recorded(1, [OK], entry, kind="submit")) == {1: [0]}, entry
    for entry in (["one", 0, 0], ["made", "ab", [[0, 0]]], ["after", [[0, 0]]], ["is", "0"],
                  ["hash", "ab"], ["mapped", "ab", "cd"], ["made"]):
        assert along(above, recorded(1, [OK], entry, kind="submit")) == {}, entry


def test_map_whose_elements_all_depend_on_what_begins_anew_is_forgotten_as_a_whole() -> None:
    whole = recorded(1, [OK, FAILED, CRASHED], ["one", 0, 0])
    follows = recorded(2, [OK, OK], ["aligned", 1])
    found = along(recorded(0, [CRASHED], kind="submit"), whole, follows,
                  recorded(3, [OK], ["whole", 2], kind="submit"))
    assert found == {1: None, 2: None, 3: [0]}
    assert (whole.record.width, whole.codes, follows.rows) == (None, b"", set())


def test_what_had_not_ended_takes_nothing_along() -> None:
    assert along(recorded(0, [OK, OPEN, RETRY]), recorded(1, [OK, OK, OK], ["aligned", 0]),
                 recorded(2, [OK], ["one", 0, 1], kind="submit")) == {}


def test_what_stands_takes_nothing_along() -> None:
    assert along(recorded(0, [OK, FAILED]), recorded(1, [OK], ["whole", 0], kind="submit")) == {}


def test_call_that_failed_as_a_whole_takes_along_who_had_all_of_it() -> None:
    assert along(recorded(0, [OK, OK], fault="the generator raised"),
                 recorded(1, [OK], ["whole", 0], kind="submit"),
                 recorded(2, [OK], ["one", 0, 1], kind="submit"),
                 recorded(3, [OK, OK], ["aligned", 0])) == {1: [0]}


def test_map_that_is_wider_or_narrower_than_what_it_follows_keeps_its_width() -> None:
    for width in (1, 2, 5):
        follows = recorded(1, [OK] * width, ["aligned", 0])
        assert along(recorded(0, [CRASHED, OK, OK]), follows) == {1: [0]}
        assert len(follows.codes) == width
