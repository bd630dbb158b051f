"""What counts of several things that are recorded of one element."""

from __future__ import annotations

import pytest

from dataflow.exceptions import StoreError
from dataflow.outcomes import Attempt, Code, LogLine
from dataflow.store import (
    Gulp,
    RangeRecord,
    Store,
)
from dataflow.testing.store_contract.records import (
    RUN,
    T0,
    call,
    error,
    failed,
    flow_run,
    span,
    states,
    with_map,
)


class LastWords:
    """A row before a span, a span before a range, an outcome before what comes after it."""

    def test_elements_handed_back_or_awaiting_a_retry_have_no_outcome_in_a_span(
        self, store: Store
    ) -> None:
        codes = [Code.COMPLETED, Code.AWAITING_RETRY, Code.FAILED, Code.LEFT, Code.LEFT]
        with_map(store, Gulp(spans=[span(range(5), codes)]))
        with_map(store, Gulp(spans=[span(range(1, 2), at_s=T0 + 9)]))
        assert states(store) == [(0, "Completed"), (1, "Completed"), (2, "Failed")]
        with_map(store, Gulp(spans=[span([3, 4], Code.CACHED, at_s=T0 + 10)]))
        assert states(store)[3:] == [(3, "Cached"), (4, "Cached")]

    def test_a_row_wins_over_a_span_and_a_span_over_a_range(self, store: Store) -> None:
        with_map(
            store,
            Gulp(ranges=[RangeRecord(0, 0, 3, int(Code.CANCELLED), T0)]),
            Gulp(spans=[span(range(2))], elements=[failed(0)]),
        )
        expected = [(0, "Failed"), (1, "Completed"), (2, "Cancelled")]
        assert states(store) == expected
        assert [states(store, map_index=index)[0] for index in range(3)] == expected
        assert states(store, state="completed") == [(1, "Completed")]

    def test_an_outcome_that_was_recorded_is_never_replaced(self, store: Store) -> None:
        waiting = failed(0, code=int(Code.AWAITING_RETRY), message="retry in 1 s")
        with_map(store, Gulp(elements=[waiting]))
        assert states(store) == [(0, "AwaitingRetry")]
        second = failed(0, code=int(Code.COMPLETED), error=None, attempts=2)
        with_map(store, Gulp(elements=[second]))
        with_map(store, Gulp(elements=[failed(0)]))
        (row,) = store.task_runs(RUN)
        assert (row.state_name, row.run_count, row.error_type) == ("Completed", 2, None)

    def test_indexes_that_are_no_neighbours_are_kept(self, store: Store) -> None:
        far = 2**36 - 1
        with_map(
            store,
            Gulp(spans=[span([5, 900, 70_000]), span([6, 7, far], Code.CACHED, at_s=T0 + 1)]),
        )
        assert states(store) == [
            (5, "Completed"), (6, "Cached"), (7, "Cached"), (900, "Completed"),
            (70_000, "Completed"), (far, "Cached"),
        ]
        assert states(store, map_index=8) == []
        assert states(store, map_index=far) == [(far, "Cached")]

    def test_writing_a_gulp_twice_changes_nothing(self, store: Store) -> None:
        gulp = Gulp(
            flow_run=flow_run(), calls=[call(), call(1)], spans=[span(range(3))],
            ranges=[RangeRecord(1, 0, 2, int(Code.CANCELLED), T0)], elements=[failed(7)],
            attempts=[Attempt(0, 7, 1, T0, 0.5, int(Code.FAILED), error())],
            logs=[LogLine(0, 1, 1, T0, 20, "x", "same"), LogLine(0, 1, 1, T0, 20, "x", "same"),
                  LogLine(0, 1, 1, T0, 20, "x", "other")],
            counts={0: {8: 3, 10: 1}}, widths={0: 8},
        )

        def everything() -> object:
            return (store.flow_runs(), store.calls(RUN), store.task_runs(RUN, limit=None),
                    store.attempts(RUN, 0, 7), sorted(store.logs(RUN)))

        store.write(RUN, gulp)
        before = everything()
        store.write(RUN, gulp)
        assert everything() == before
        assert [line.message for line in store.logs(RUN)].count("same") == 2

    def test_a_gulp_of_an_unknown_run_is_refused_and_nothing_is_written(self, store: Store) -> None:
        with pytest.raises(StoreError, match="first gulp must carry"):
            store.write(RUN, Gulp(calls=[call()], spans=[span(range(3))]))
        assert (store.flow_runs(), store.calls(RUN), store.task_runs()) == ([], [], [])
