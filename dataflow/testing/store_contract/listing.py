"""Lists of runs in their order, and finding one by what a user types."""

from __future__ import annotations

import pytest

from dataflow.exceptions import RunNotFound
from dataflow.ids import new_run_id, task_run_id
from dataflow.names import element_name
from dataflow.outcomes import Code
from dataflow.store import (
    Gulp,
    RangeRecord,
    Store,
)
from dataflow.testing.store_contract.records import (
    RUN,
    T0,
    call,
    failed,
    flow_run,
    span,
    states,
    with_map,
)


class Listing:
    """Order, limits, filters; ids, prefixes, names and ``last``."""

    def test_task_runs_come_by_call_and_index_and_stop_at_the_limit(self, store: Store) -> None:
        with_map(store, Gulp(calls=[call(1)], spans=[
            span(range(100, 200), call=1), span(range(2), at_s=T0 + 5), span(range(2, 4)),
        ]))
        rows = store.task_runs(RUN, limit=6)
        assert [(row.call, row.map_index) for row in rows] == [
            (0, 0), (0, 1), (0, 2), (0, 3), (1, 100), (1, 101)
        ]
        assert len(store.task_runs(RUN)) == 50
        assert store.task_runs(RUN, limit=0) == []
        assert len(store.task_runs(RUN, limit=None, call=1)) == 100

    def test_state_filter_takes_types_and_names_in_any_case(self, store: Store) -> None:
        codes = [Code.COMPLETED, Code.CACHED, Code.FAILED, Code.TIMED_OUT, Code.CRASHED]
        with_map(store, Gulp(spans=[span(range(5), codes)]))
        assert states(store, state="COMPLETED") == [(0, "Completed"), (1, "Cached")]
        assert states(store, state="cached") == [(1, "Cached")]
        assert states(store, state="failed") == [(2, "Failed"), (3, "TimedOut")]
        assert states(store, state="timedout") == [(3, "TimedOut")]
        assert states(store, state="nothing") == []

    def test_flow_runs_come_newest_first_by_state_and_flow(self, store: Store) -> None:
        ids = [new_run_id() for _ in range(4)]
        for n, id in enumerate(ids):
            record = flow_run(id, created_s=T0 + n, flow_name="ab"[n % 2],
                              state_type="COMPLETED" if n < 3 else "SCHEDULED",
                              state_name="Completed" if n < 3 else "Late")
            store.write(id, Gulp(flow_run=record))
        assert [row.id for row in store.flow_runs()] == ids[::-1]
        assert [row.id for row in store.flow_runs(limit=2)] == ids[:1:-1]
        assert [row.id for row in store.flow_runs(state="late")] == ids[3:]
        assert [row.id for row in store.flow_runs(state="Completed", flow="a")] == [ids[2], ids[0]]

    def test_elements_of_all_runs_come_newest_run_first(self, store: Store) -> None:
        other = new_run_id()
        with_map(store, Gulp(spans=[span(range(2))]))
        store.write(other, Gulp(flow_run=flow_run(other, created_s=T0 + 9), calls=[call()],
                                spans=[span(range(1))]))
        assert [row.flow_run_id for row in store.task_runs()] == [other, RUN, RUN]
        assert [row.flow_run_id for row in store.task_runs(map_index=1)] == [RUN]

    def test_a_flow_run_is_found_by_id_prefix_name_and_last(self, store: Store) -> None:
        newer = "1111abcd-2222-4333-8444-555555555555"
        store.write(RUN, Gulp(flow_run=flow_run()))
        store.write(newer, Gulp(flow_run=flow_run(newer, name="calm-otter", created_s=T0 + 1)))
        for ref, id in [(RUN, RUN), (RUN.upper(), RUN), ("11111", RUN), ("1111a", newer),
                        ("swift-heron", RUN), ("last", newer)]:
            assert store.find_flow_run(ref).id == id
        with pytest.raises(RunNotFound, match=f"(?s)Several.*{newer}.*{RUN}"):
            store.find_flow_run("1111")
        for ref in ("ffff", "111", "swift%", "", "swift_heron", new_run_id()):
            with pytest.raises(RunNotFound, match="No flow run answers to"):
                store.find_flow_run(ref)

    def test_last_of_an_empty_store_says_that_there_is_no_run_yet(self, store: Store) -> None:
        with pytest.raises(RunNotFound, match="There is no flow run yet"):
            store.find_flow_run("last")
        with pytest.raises(RunNotFound, match="There is no task run yet"):
            store.find_task_run("last")

    def test_a_name_that_several_flow_runs_have_is_refused_with_their_ids(
        self, store: Store
    ) -> None:
        other = new_run_id()
        for id in (RUN, other):
            store.write(id, Gulp(flow_run=flow_run(id)))
        with pytest.raises(RunNotFound) as caught:
            store.find_flow_run("swift-heron")
        assert set(caught.value.matches) == {RUN, other}

    def test_a_task_run_is_found_by_id_prefix_name_and_last_wherever_it_is_kept(
        self, store: Store
    ) -> None:
        with_map(store, Gulp(
            calls=[call(1, "submit", "reduce")],
            spans=[span(range(20))],
            elements=[failed(30, name="thirty"), failed(0, call=1, started_s=T0 + 99)],
            ranges=[RangeRecord(0, 40, 50, int(Code.CANCELLED), T0)],
        ))
        for at, index in [(0, 7), (0, 30), (0, 45), (1, 0)]:
            id = task_run_id(RUN, at, index)
            assert store.find_task_run(id).id == id
            assert store.find_task_run(id[:13].upper(), RUN).id == id
        assert store.find_task_run("thirty").map_index == 30
        assert store.find_task_run(element_name(RUN, 0, 45, "load", True)).map_index == 45
        assert store.find_task_run(element_name(RUN, 1, 0, "reduce", False)).call == 1
        assert store.find_task_run("last").call == 1
        for ref in (task_run_id(RUN, 0, 25), task_run_id(new_run_id(), 0, 7), RUN, "load-fff[7]",
                    element_name(RUN, 0, 30, "load", True), "reduce"):
            with pytest.raises(RunNotFound):
                store.find_task_run(ref)
        with pytest.raises(RunNotFound):
            store.find_task_run(task_run_id(RUN, 0, 7), new_run_id())

    def test_questions_about_an_unknown_run_are_answered_with_nothing(self, store: Store) -> None:
        assert store.calls(RUN) == []
        assert store.task_runs(RUN) == []
        assert list(store.attempts(RUN, 0, 0)) == []
        assert list(store.logs(RUN)) == []
