"""What runs and elements used is read back as it was written, and added up by call."""

from __future__ import annotations

from array import array

import pytest

from dataflow.outcomes import SHARED_CPU, UNKNOWN_CPU, Code
from dataflow.store import CallUsage, Gulp, SpanRecord, Store, TaskRunRow
from dataflow.testing.store_contract.insides import inside
from dataflow.testing.store_contract.records import RUN, T0, call, failed, flow_run, span, with_map

_MIB = 2**20
_DONE, _FAILED = int(Code.COMPLETED), int(Code.FAILED)


def used(record: SpanRecord, cpu_s: float | None, own: list[float] | None = None,
         peak_bytes: int | None = None) -> SpanRecord:
    """Say of a span what its elements used."""
    record.span.cpu_s, record.span.peak_bytes = cpu_s, peak_bytes
    record.span.own_cpu = None if own is None else array("f", own)
    return record


def cpu(rows: list[TaskRunRow]) -> list[tuple[int | None, float | None, bool]]:
    return [(row.map_index, row.cpu_s, row.cpu_estimated) for row in rows]


class Using:
    """Processor time and memory."""

    def test_a_flow_run_has_what_it_used_or_nothing(self, store: Store) -> None:
        store.write(RUN, Gulp(flow_run=flow_run()))
        assert (store.flow_runs()[0].cpu_s, store.flow_runs()[0].peak_bytes) == (None, None)
        store.write(RUN, Gulp(flow_run=flow_run(cpu_s=12.25, peak_bytes=3 * 2**40)))
        (row,) = store.flow_runs()
        assert (row.cpu_s, row.peak_bytes) == (12.25, 3 * 2**40)

    def test_elements_of_a_span_share_its_time_by_how_long_they_took(self, store: Store) -> None:
        record = used(span(range(4)), 3.0, peak_bytes=70 * _MIB)
        record.span.elapsed[:] = array("f", [0.5, 0.25, 0.25, 0.0])
        with_map(store, Gulp(spans=[record]))
        rows = store.task_runs(RUN)
        assert cpu(rows) == [(0, 1.5, True), (1, 0.75, True), (2, 0.75, True), (3, 0.0, True)]
        assert [row.peak_bytes for row in rows] == [70 * _MIB] * 4
        assert store.find_task_run(rows[1].id, RUN) == rows[1]

    @pytest.mark.parametrize("indexes", [[0, 1, 2, 3], [1, 4, 5, 2**33]],
                             ids=["neighbours", "apart"])
    def test_an_element_that_was_measured_has_its_own_time(
        self, store: Store, indexes: list[int]
    ) -> None:
        at = range(4) if indexes[3] == 3 else indexes
        record = used(span(at), 4.0, [2.0, SHARED_CPU, UNKNOWN_CPU, SHARED_CPU])
        with_map(store, Gulp(spans=[record]))
        a, b, c, d = indexes
        assert cpu(store.task_runs(RUN)) == [
            (a, 2.0, False), (b, 1.0, True), (c, None, False), (d, 1.0, True)]
        (element,) = store.task_runs(RUN, map_index=a)
        assert (element.cpu_s, element.cpu_estimated) == (2.0, False)

    def test_elements_that_go_again_take_their_share_along(self, store: Store) -> None:
        codes = [_DONE, int(Code.AWAITING_RETRY), _FAILED, int(Code.LEFT)]
        with_map(store, Gulp(spans=[used(span(range(4), codes), 8.0,
                                         [SHARED_CPU, SHARED_CPU, 2.0, SHARED_CPU])]))
        assert cpu(store.task_runs(RUN)) == [(0, 2.0, True), (2, 2.0, False)]
        assert store.usage(RUN) == [CallUsage(RUN, 0, 4.0, None)]

    def test_elements_side_by_side_keep_their_time_together(self, store: Store) -> None:
        codes = [_DONE, int(Code.RUNNING), _DONE]
        with_map(store, Gulp(spans=[used(span(range(3), codes), 8.0, [UNKNOWN_CPU] * 3)]))
        assert cpu(store.task_runs(RUN)) == [(0, None, False), (2, None, False)]
        assert store.usage(RUN) == [CallUsage(RUN, 0, 8.0, None)]

    def test_elements_of_which_nothing_is_known_say_nothing(self, store: Store) -> None:
        with_map(store, Gulp(spans=[span(range(2))], elements=[failed(7)]))
        assert cpu(store.task_runs(RUN)) == [(0, None, False), (1, None, False), (7, None, False)]
        assert store.usage(RUN) == []

    def test_a_row_has_its_own_time_which_is_a_share_where_it_was_short(
        self, store: Store
    ) -> None:
        with_map(store, Gulp(elements=[
            failed(1, cpu_s=0.75, peak_bytes=5 * _MIB),
            failed(2, cpu_s=0.0005, ended_s=T0 + 0.0006)]))
        assert cpu(store.task_runs(RUN)) == [(1, 0.75, False), (2, 0.0005, True)]
        assert store.task_runs(RUN)[0].peak_bytes == 5 * _MIB

    def test_a_direct_call_is_measured_however_short(self, store: Store) -> None:
        short = failed(0, call=1, cpu_s=0.0005, ended_s=T0 + 0.0006)
        with_map(store, Gulp(calls=[call(1, "direct")], elements=[short]))
        assert cpu(store.task_runs(RUN, call=1)) == [(None, 0.0005, False)]

    def test_what_calls_used_is_added_up_and_a_failure_counts_once(self, store: Store) -> None:
        with_map(
            store,
            Gulp(calls=[call(1, "submit"), call(2, "submit")],
                 spans=[used(span(range(3), [_DONE, _DONE, _FAILED]), 1.5, peak_bytes=7 * _MIB)],
                 elements=[failed(2, cpu_s=0.5, peak_bytes=7 * _MIB),
                           failed(0, call=1, cpu_s=0.25, peak_bytes=9 * _MIB),
                           failed(0, call=2)]),
            Gulp(spans=[used(span(range(3, 5), at_s=T0 + 1), 2.0, peak_bytes=6 * _MIB)]))
        expected = [CallUsage(RUN, 0, 3.5, 7 * _MIB), CallUsage(RUN, 1, 0.25, 9 * _MIB)]
        assert store.usage(RUN) == expected
        assert store.usage("00000000-0000-4000-8000-000000000000") == []

    def test_what_is_written_again_counts_once(self, store: Store) -> None:
        gulp = Gulp(spans=[used(span(range(3)), 1.5)])
        with_map(store, gulp, gulp)
        assert store.usage(RUN) == [CallUsage(RUN, 0, 1.5, None)]

    def test_what_task_runs_ran_themselves_is_told_with_its_own_run(self, store: Store) -> None:
        within = "33333333-2222-4333-8444-555555555555"
        with_map(store, Gulp(spans=[used(span(range(2)), 1.0)]))
        store.write(within, Gulp(flow_run=inside(within, RUN, T0 + 5), calls=[call(0)],
                                 spans=[used(span(range(2)), 4.0)]))
        assert store.usage(RUN) == [CallUsage(RUN, 0, 1.0, None), CallUsage(within, 0, 4.0, None)]

    def test_a_map_that_begins_anew_has_used_nothing(self, store: Store) -> None:
        with_map(store, Gulp(spans=[used(span(range(2)), 1.0)]))
        store.reopen(RUN, (), {0: None})
        assert store.usage(RUN) == []
