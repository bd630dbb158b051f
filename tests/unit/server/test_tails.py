"""What streams show: each line and event once, also those that come late."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from dataflow import event_following
from dataflow.event_following import SETTLED_S
from dataflow.event_log import EventRow
from dataflow.exceptions import RunNotFound
from dataflow.outcomes import LogLine
from dataflow.records import Gulp
from dataflow.server.event_streams import event
from dataflow.server.shapes.happened import EventStreamQuery
from dataflow.server.shapes.pages import Part
from dataflow.server.views import events, logs
from dataflow.stores.memory import MemoryStore
from dataflow.testing.store_contract.records import RUN, T0, flow_run


def line(message: str, at_s: float) -> LogLine:
    return LogLine(-1, 0, 1, at_s, 20, "dataflow.flow_runs", message)


def said(found: Sequence[bytes], key: str) -> list[Any]:
    return [json.loads(each.decode().partition("data: ")[2]).get(key) for each in found]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.write(RUN, Gulp(flow_run=flow_run()))
    return store


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    text = event("line", Part(where="a\nb\r\u2028", what="data: x\n\n"), id="7").decode()
    assert text.splitlines()[:2] == ["id: 7", "event: line"]
    assert text.isascii() and text.endswith("\n\n") and len(text.splitlines()) == 4
    assert json.loads(text.splitlines()[2].removeprefix("data: ")) == {
        "where": "a\nb\r\u2028", "what": "data: x\n\n"}


def test_lines_that_come_late_are_shown_once_and_those_of_one_moment_all(
        store: MemoryStore) -> None:
    tail = logs.LogTail(store, RUN)
    store.write(RUN, Gulp(logs=[line("a", T0), line("b", T0), line("c", T0 + 5)]))
    assert said(tail.step(), "message") == ["a", "b", "c"]
    assert tail.step() == []
    store.write(RUN, Gulp(logs=[line("late", T0 + 1), line("d", T0 + 5), line("e", T0 + 6)]))
    assert said(tail.step(), "message") == ["late", "d", "e"]
    store.write(RUN, Gulp(logs=[line("f", T0 + 6 + 2 * logs.LATER_S)]))
    assert said(tail.step(), "message") == ["f"]
    assert tail.step() == [] and not tail.ended
    assert len(tail._sent) == 1  # what cannot come again is forgotten


def test_many_lines_come_in_portions_and_the_end_after_all_of_them(
        store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_AT_ONCE", 4)
    messages = [f"{number:02}" for number in range(23)]
    store.write(RUN, Gulp(
        flow_run=flow_run(state_type="FAILED", state_name="Failed"),
        logs=[line(each, T0 + number // 6 * 7.0) for number, each in enumerate(messages)]))
    tail = logs.LogTail(store, RUN)
    found: list[Any] = []
    while not tail.ended:
        step = tail.step()
        assert 1 <= len(step) <= 4
        found += said(step, "message") if not tail.ended else []
    assert found == messages
    assert step[0].startswith(b"event: end\n") and said(step, "state_name") == ["Failed"]


def test_a_run_that_is_not_there_is_told(store: MemoryStore) -> None:
    with pytest.raises(RunNotFound):
        logs.LogTail(MemoryStore(), RUN).step()


@dataclass
class Log:
    """Events by key; some are not seen yet."""

    rows: dict[int, str] = field(default_factory=dict)

    def events(self, *, after: int | None = None, limit: int = 50, name: str | None = None,
               resource: str | None = None, flow_run_id: str | None = None) -> list[EventRow]:
        keys = sorted(key for key, each in self.rows.items()
                      if (after is None or key > after) and (name is None or each == name))
        return [EventRow(key=key, id=str(key), name=self.rows[key], resource=None, occurred_s=T0,
                         payload={}) for key in (keys if after is not None else keys[::-1])[:limit]]


def test_events_whose_transaction_ends_late_are_shown_once() -> None:
    now = [0.0]
    log = Log({1: "old"})
    tail = events.EventTail(log, EventStreamQuery(), lambda: now[0])  # type: ignore[arg-type]
    assert tail.step() == []
    log.rows |= {3: "three", 5: "five"}
    assert said(tail.step(), "name") == ["three", "five"]
    log.rows |= {2: "two", 4: "four"}
    assert said(tail.step(), "name") == ["two", "four"]
    assert tail.step() == []
    now[0] += SETTLED_S
    assert tail.step() == [] and tail._follower._after == 5 and tail._follower._given == set()
    log.rows |= {6: "six"}
    assert said(tail.step(), "key") == [6]


def test_more_events_than_one_step_shows_are_all_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_following, "_AT_ONCE", 3)
    now = [0.0]
    log = Log({key: "x" if key % 5 else "y" for key in range(1, 30)})
    tail = events.EventTail(
        log, EventStreamQuery(after=2, name="x"), lambda: now[0])  # type: ignore[arg-type]
    found: list[int] = []
    while step := tail.step():
        found += said(step, "key")
        now[0] += SETTLED_S  # a slow reader loses nothing
    assert found == [key for key in range(3, 30) if key % 5]
