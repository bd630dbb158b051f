"""Lists read page by page: together the pages are the list, each element once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from dataflow.exceptions import RunNotFound
from dataflow.ids import new_run_id
from dataflow.outcomes import Code, LogLine
from dataflow.store import FlowRow, Gulp, RangeRecord, Store, TaskRunRow
from dataflow.testing.store_contract.insides import DEEPER, INSIDE, PARENT, inside
from dataflow.testing.store_contract.insides import one as one_inside
from dataflow.testing.store_contract.insides import span as span_inside
from dataflow.testing.store_contract.records import (
    RUN,
    T0,
    call,
    failed,
    flow_run,
    span,
    with_map,
)

Row = TypeVar("Row")


def pages(ask: Callable[[Row | None], Sequence[Row]]) -> list[Row]:
    """Return the rows of all pages; ``ask`` gets the last row of the page before."""
    found: list[Row] = []
    last: Row | None = None
    while page := ask(last):
        found += page
        last = page[-1]
    return found


def place(row: TaskRunRow | None) -> tuple[str, int, int] | None:
    return None if row is None else (row.run_id, row.call, row.map_index or 0)


class Paging:
    """Where a page begins, and that no page leaves out or repeats what stands still."""

    def test_pages_of_flow_runs_are_the_list_also_where_many_were_made_at_once(
        self, store: Store
    ) -> None:
        for number in range(11):
            id = new_run_id()
            store.write(id, Gulp(flow_run=flow_run(id, created_s=T0 + number // 4)))
        every = store.flow_runs(limit=None)
        assert len(every) == 11
        for size in (1, 3, 11):
            assert pages(lambda last, size=size: store.flow_runs(  # type: ignore[misc]  # a default
                limit=size, before=None if last is None else last.id)) == every

    def test_a_page_after_a_run_that_is_not_there_is_refused(self, store: Store) -> None:
        store.write(RUN, Gulp(flow_run=flow_run()))
        with pytest.raises(RunNotFound):
            store.flow_runs(before=new_run_id())

    def test_flow_runs_are_filtered_by_tag_and_age(self, store: Store) -> None:
        tags = [("a", "b c"), ('x", "b c', "B C"), ("b c\\", "ab c"), ("b c",), (), ('b c"',)]
        ids = [new_run_id() for _ in tags]
        for number, (id, tag) in enumerate(zip(ids, tags, strict=True)):
            store.write(id, Gulp(flow_run=flow_run(id, created_s=T0 + number, tags=tag)))
        assert [row.id for row in store.flow_runs(tag="b c")] == [ids[3], ids[0]]
        assert [row.id for row in store.flow_runs(tag='x", "b c')] == [ids[1]]
        assert [row.id for row in store.flow_runs(tag="b c\\")] == [ids[2]]
        assert store.flow_runs(tag="b%") == [] and store.flow_runs(tag="") == []
        assert [row.id for row in store.flow_runs(since_s=T0 + 4)] == [ids[5], ids[4]]
        assert [row.id for row in store.flow_runs(since_s=T0 + 2, before=ids[4], tag="b c")] == [
            ids[3]]
        assert store.flow_runs(deployment="etl/nightly") == []

    def test_flows_come_by_name_with_counts_of_their_runs(self, store: Store) -> None:
        for number, (flow, state) in enumerate([
                ("b", "COMPLETED"), ("a", "FAILED"), ("b", "COMPLETED"), ("b", "RUNNING")]):
            id = new_run_id()
            store.write(id, Gulp(flow_run=flow_run(
                id, flow_name=flow, state_type=state, created_s=T0 + number)))
        store.write(INSIDE, Gulp(flow_run=inside(INSIDE, PARENT, T0)))
        a = FlowRow(name="a", counts={"FAILED": 1},
                    last_created=datetime.fromtimestamp(T0 + 1, UTC))
        b = FlowRow(name="b", counts={"COMPLETED": 2, "RUNNING": 1},
                    last_created=datetime.fromtimestamp(T0 + 3, UTC))
        assert store.flows() == [a, b]
        assert store.flows(limit=1) == [a]
        assert store.flows(after="a") == [b]
        assert store.flows(after="b") == []

    def test_pages_of_task_runs_are_the_list_however_they_are_kept(self, store: Store) -> None:
        codes = [Code.FAILED if n % 3 else Code.COMPLETED for n in range(10)]
        with_map(store, Gulp(
            calls=[call(1), call(2, "submit", "reduce"), call(3)],
            spans=[span(range(0, 20, 2)), span(range(1, 12, 2), at_s=T0 + 1),
                   span(range(30, 40), codes), span(range(5), call=1), span(range(3), call=3)],
            elements=[failed(3), failed(33), failed(50), failed(0, call=2), failed(1, call=3)],
            ranges=[RangeRecord(0, 45, 60, int(Code.CANCELLED), T0),
                    RangeRecord(0, 55, 70, int(Code.NOT_READY), T0),
                    RangeRecord(1, 3, 9, int(Code.CANCELLED), T0)]))
        store.write(INSIDE, Gulp(flow_run=inside(INSIDE, PARENT, T0), calls=[call()],
                                 spans=[span_inside(4)]))
        store.write(DEEPER, Gulp(flow_run=inside(DEEPER, PARENT, T0), calls=[call(0, "submit")],
                                 elements=[one_inside(0)]))
        for asked in ({}, {"state": "FAILED"}, {"call": 0}, {"map_index": 1},
                      {"state": "Cancelled", "call": 1}):
            every = store.task_runs(RUN, limit=None, **asked)
            assert every
            for size in (1, 7, 200):
                assert pages(lambda last, size=size, asked=asked: store.task_runs(  # type: ignore[misc]
                    RUN, limit=size, after=place(last), **asked)) == every

    def test_a_page_after_an_element_of_another_run_is_empty(self, store: Store) -> None:
        with_map(store, Gulp(spans=[span(range(3))]))
        assert store.task_runs(RUN, after=(new_run_id(), 0, 0)) == []

    def test_log_lines_can_be_had_from_a_moment_on(self, store: Store) -> None:
        with_map(store, Gulp(logs=[
            LogLine(-1, 0, 0, T0 + number / 3, 20, "flow", f"line {number}")
            for number in range(6)]))
        store.write(INSIDE, Gulp(flow_run=inside(INSIDE, PARENT, T0), logs=[
            LogLine(-1, 0, 0, T0 + 1.5, 20, "flow", "inside")]))
        every = list(store.nested_logs(RUN))
        assert len(every) == 7
        for at, (_, line) in enumerate(every):
            assert list(store.nested_logs(RUN, since_s=line.time_s)) == every[at:]
        assert list(store.nested_logs(RUN, since_s=T0 + 1, limit=2)) == every[3:5]
