"""What task runs ran themselves, as a store keeps it and gives it back."""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Sequence

import pytest

from dataflow.exceptions import RunNotFound, StoreError
from dataflow.ids import task_run_id
from dataflow.outcomes import Attempt, Code, ErrorRecord, LogLine, Span
from dataflow.store import (
    CallRecord,
    CallRow,
    ElementRecord,
    FlowRunRecord,
    Gulp,
    SpanRecord,
    Store,
    TaskRunRow,
)
from dataflow.testing.store_contract.records import RUN, T0

PARENT = task_run_id(RUN, 0, 1)


def inside_of(parent: str, attempt: int = 1) -> str:
    return str(uuid.uuid5(uuid.UUID(parent), str(attempt)))


INSIDE = inside_of(PARENT)
CHILD = task_run_id(INSIDE, 0, 2)
DEEPER = inside_of(CHILD)
SUBFLOW = "77777777-2222-4333-8444-555555555555"


def inside(id: str, parent: str, at_s: float) -> FlowRunRecord:
    return FlowRunRecord(
        kind="task", id=id, name="outer-123[1]", flow_name="outer", created_s=at_s,
        state_type="COMPLETED", state_name="Completed", parent_flow_run_id=RUN,
        parent_task_run_id=parent)


def call(number: int, task: str, kind: str = "map", parent: int | None = None) -> CallRecord:
    return CallRecord(call=number, task_name=task, task_key=f"k.{task}", kind=kind,
                      width=None if kind == "map" else 1, created_s=T0, parent=parent)


def span(count: int, call: int = 0) -> SpanRecord:
    zeros = array("f", bytes(4 * count))
    return SpanRecord(Span(call, range(count), bytearray([Code.COMPLETED]) * count, zeros, zeros),
                      T0, "w")


def one(call: int, code: Code = Code.COMPLETED, name: str | None = None) -> ElementRecord:
    return ElementRecord(call, 0, int(code), T0, T0 + 1, 1, "w", name)


def filled(store: Store) -> Store:
    """Write a flow run: a map of outer; its element 1 maps child; whose element 2 calls leaf."""
    line = LogLine(0, 2, 1, T0 + 2, 20, "dataflow.task_runs", "child says")
    store.write(RUN, Gulp(
        flow_run=FlowRunRecord(id=RUN, name="swift-heron", flow_name="delays", created_s=T0),
        calls=[call(0, "outer"), call(1, "direct", "direct"),
               call(2, "of_direct", "submit", parent=1)],
        spans=[span(3)], elements=[one(1), one(2)],
        logs=[LogLine(-1, 0, 1, T0 + 1, 20, "dataflow.flow_runs", "begins")]))
    store.write_all([
        (DEEPER, Gulp(
            flow_run=inside(DEEPER, CHILD, T0 + 3), calls=[call(0, "leaf", "direct")],
            elements=[one(0, name="the-leaf")],
            attempts=[Attempt(0, 0, 1, T0, 0.5, int(Code.FAILED), ErrorRecord("E", "m", "t"))])),
        (INSIDE, Gulp(
            flow_run=inside(INSIDE, PARENT, T0 + 2), calls=[call(0, "child")], spans=[span(3)],
            counts={0: {int(Code.COMPLETED): 3}}, logs=[line])),
        (SUBFLOW, Gulp(flow_run=FlowRunRecord(
            id=SUBFLOW, name="sub", flow_name="inner", created_s=T0 + 4,
            parent_flow_run_id=RUN, parent_task_run_id=PARENT))),
    ])
    return store


def names(rows: Sequence[TaskRunRow] | Sequence[CallRow]) -> list[str]:
    return [row.task_name for row in rows]


class Insides:
    """Runs inside of task runs, at every depth."""

    def test_insides_are_not_listed_among_flow_runs(self, store: Store) -> None:
        filled(store)
        assert [row.id for row in store.flow_runs()] == [SUBFLOW, RUN]
        assert [row.id for row in store.flow_runs(parent=PARENT)] == [SUBFLOW]
        assert store.find_flow_run("last").id == SUBFLOW
        for ref in (INSIDE, INSIDE[:8], "outer-123[1]"):
            with pytest.raises(RunNotFound):
                store.find_flow_run(ref)

    def test_task_runs_of_a_flow_run_come_with_those_inside_after_them(self, store: Store) -> None:
        filled(store)
        rows = store.task_runs(RUN, limit=None)
        assert names(rows) == ["outer"] * 3 + ["direct", "of_direct"] + ["child"] * 3 + ["leaf"]
        assert {row.flow_run_id for row in rows} == {RUN}
        parents = {row.task_name: row.parent_task_run_id for row in rows}
        assert parents == {"outer": None, "direct": None, "of_direct": task_run_id(RUN, 1, 0),
                           "child": PARENT, "leaf": CHILD}
        assert [row.run_id for row in rows] == [RUN] * 5 + [INSIDE] * 3 + [DEEPER]
        assert names(store.task_runs(RUN, limit=6)) == names(rows)[:6]
        assert names(store.task_runs(limit=None)) == names(rows)
        assert names(store.task_runs(RUN, map_index=2)) == ["outer", "child"]

    def test_a_call_is_asked_for_by_the_run_that_made_it(self, store: Store) -> None:
        filled(store)
        assert names(store.task_runs(RUN, call=0)) == ["outer"] * 3
        assert names(store.task_runs(INSIDE, call=0)) == ["child"] * 3
        assert [a.attempt for a in store.attempts(DEEPER, 0, 0)] == [1]
        assert [line.message for line in store.logs(INSIDE, call=0, index=2)] == ["child says"]
        assert [line.message for line in store.logs(RUN)] == ["begins"]

    def test_calls_come_with_those_inside_where_asked_for(self, store: Store) -> None:
        filled(store)
        assert names(store.calls(RUN)) == ["outer", "direct", "of_direct"]
        calls = store.calls(RUN, nested=True)
        assert names(calls) == ["outer", "direct", "of_direct", "child", "leaf"]
        assert [row.run_id for row in calls] == [RUN] * 3 + [INSIDE, DEEPER]
        assert calls[3].parent_task_run_id == PARENT
        assert calls[3].counts == {"Completed": 3}

    def test_children_of_a_task_run_are_those_it_made_itself(self, store: Store) -> None:
        filled(store)
        outer = store.find_task_run(PARENT)
        assert [row.id for row in store.children(outer)] == [task_run_id(INSIDE, 0, i)
                                                             for i in range(3)]
        assert len(store.children(outer, limit=2)) == 2
        assert names(store.children(store.find_task_run(CHILD))) == ["leaf"]
        assert names(store.children(store.find_task_run(task_run_id(RUN, 1, 0)))) == ["of_direct"]
        assert store.children(store.find_task_run(task_run_id(RUN, 0, 0))) == []

    def test_children_of_every_attempt_are_given(self, store: Store) -> None:
        filled(store)
        again = inside_of(PARENT, 2)
        store.write(again, Gulp(flow_run=inside(again, PARENT, T0 + 9),
                                calls=[call(0, "child")], spans=[span(2)]))
        rows = store.children(store.find_task_run(PARENT))
        assert [row.run_id for row in rows] == [INSIDE] * 3 + [again] * 2

    def test_a_child_is_found_by_id_prefix_and_name(self, store: Store) -> None:
        filled(store)
        for ref in (CHILD, CHILD[:13], store.find_task_run(CHILD).name):
            for flow_run_id in (None, RUN):
                found = store.find_task_run(ref, flow_run_id)
                assert (found.id, found.flow_run_id, found.map_index) == (CHILD, RUN, 2)
        assert store.find_task_run("the-leaf", RUN).parent_task_run_id == CHILD
        with pytest.raises(RunNotFound):
            store.find_task_run(CHILD, SUBFLOW)

    def test_log_lines_of_all_depths_come_in_time_order(self, store: Store) -> None:
        filled(store)
        lines = [(run_id, line.message) for run_id, line in store.nested_logs(RUN)]
        assert lines == [(RUN, "begins"), (INSIDE, "child says")]
        assert len(list(store.nested_logs(RUN, limit=1))) == 1

    def test_gulps_of_several_runs_can_be_written_again(self, store: Store) -> None:
        filled(store)
        before = store.task_runs(RUN, limit=None)
        assert filled(store).task_runs(RUN, limit=None) == before

    def test_gulps_of_which_one_cannot_be_written_raise(self, store: Store) -> None:
        filled(store)
        with pytest.raises(StoreError):
            store.write_all([(str(uuid.uuid4()), Gulp(calls=[call(0, "x")]))])
