"""What was written is read back whole."""

from __future__ import annotations

from datetime import UTC, datetime

from dataflow.ids import new_run_id, task_run_id
from dataflow.names import element_name
from dataflow.outcomes import Attempt, Code, LogLine
from dataflow.store import (
    CallRecord,
    FlowRunRecord,
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
    with_map,
)


class ReadingBack:
    """Each kind of record comes back as it was written."""

    def test_a_flow_run_is_read_back_as_it_was_written_last(self, store: Store) -> None:
        store.write(RUN, Gulp(flow_run=flow_run()))
        last = flow_run(
            state_type="FAILED", state_name="Failed", message="2 of 3", parameters='{"n": 3}',
            tags=("a", "b"), start_time_s=T0 + 1, end_time_s=T0 + 2.5, run_count=2, runner="dask",
            dashboard_link="http://127.0.0.1:8787", host="here", pid=7, error=error("é\ud800"),
            flow_version="3", parent_flow_run_id=new_run_id(),
        )
        store.write(RUN, Gulp(flow_run=last))
        (row,) = store.flow_runs()
        assert (row.id, row.name, row.state_type) == (RUN, "swift-heron", "FAILED")
        assert row.message == "2 of 3"
        assert (row.parameters, row.tags, row.run_count) == ('{"n": 3}', ("a", "b"), 2)
        assert row.start_time == datetime.fromtimestamp(T0 + 1, UTC)
        assert row.end_time == datetime.fromtimestamp(T0 + 2.5, UTC)
        assert (row.runner, row.dashboard_link, row.host, row.pid) == (
            "dask", "http://127.0.0.1:8787", "here", 7
        )
        assert (row.error_type, row.flow_version) == ("ValueError", "3")
        assert row.error_message is not None and row.error_message.startswith("é")

    def test_an_element_of_a_span_is_read_back_with_times_worker_and_computed_id(
        self, store: Store
    ) -> None:
        with_map(store, Gulp(spans=[span(range(10, 14))]))
        row = store.task_runs(RUN)[2]
        assert (row.id, row.map_index, row.call) == (task_run_id(RUN, 0, 12), 12, 0)
        assert row.name == element_name(RUN, 0, 12, "load", True)
        assert (row.state_type, row.state_name, row.run_count) == ("COMPLETED", "Completed", 1)
        assert row.start_time == datetime.fromtimestamp(T0 + 0.5, UTC)
        assert row.end_time == datetime.fromtimestamp(T0 + 1.0, UTC)
        assert (row.worker, row.task_key) == ("tcp://127.0.0.1:40001", "flights.load")

    def test_a_failure_is_read_back_with_its_own_message_in_its_traceback(
        self, store: Store
    ) -> None:
        with_map(store, Gulp(elements=[failed(3), failed(4, name="flight-4", message="gave up")]))
        three, four = store.task_runs(RUN, state="FAILED")
        assert (three.error_type, three.error_message) == ("ValueError", "flight 3 has no air time")
        assert three.traceback == error("flight 3 has no air time").traceback
        assert four.traceback == error("flight 4 has no air time").traceback
        assert (four.name, four.message) == ("flight-4", "gave up")

    def test_a_single_call_has_no_map_index(self, store: Store) -> None:
        single = failed(0, call=1, code=int(Code.COMPLETED), error=None)
        with_map(store, Gulp(calls=[call(1, "submit", "reduce")], elements=[single]))
        (row,) = store.task_runs(RUN, call=1)
        assert (row.map_index, row.name) == (None, element_name(RUN, 1, 0, "reduce", False))

    def test_a_range_is_read_back_as_its_elements(self, store: Store) -> None:
        stretch = RangeRecord(0, 5, 8, int(Code.NOT_READY), T0, "upstream failed", cause=(0, 2))
        with_map(store, Gulp(ranges=[stretch]))
        rows = store.task_runs(RUN)
        assert [row.map_index for row in rows] == [5, 6, 7]
        assert {row.state_name for row in rows} == {"NotReady"}
        assert {row.cause for row in rows} == {task_run_id(RUN, 0, 2)}
        assert {(row.message, row.start_time, row.run_count) for row in rows} == {
            ("upstream failed", None, 0)
        }

    def test_calls_come_in_order_with_widths_and_counts_by_state_name(self, store: Store) -> None:
        upstream = call(1, task="clean", upstream=(0,), tags=("t",))
        counts = {0: {int(Code.COMPLETED): 990, int(Code.FAILED): 10, int(Code.CRASHED): 0}}
        with_map(store, Gulp(calls=[upstream], widths={0: 1_000}), Gulp(counts=counts))
        first, second = store.calls(RUN)
        assert (first.width, first.counts) == (1_000, {"Completed": 990, "Failed": 10})
        assert (second.task_name, second.upstream, second.tags, second.width, second.counts) == (
            "clean", (0,), ("t",), None, {}
        )

    def test_counts_that_come_with_a_call_stay_until_newer_ones_come(self, store: Store) -> None:
        single = call(1, "submit", "reduce")
        with_map(store, Gulp(calls=[single], counts={1: {int(Code.RUNNING): 1}}))
        with_map(store, Gulp(calls=[single]))
        assert store.calls(RUN)[1].counts == {"Running": 1}
        with_map(store, Gulp(calls=[single], counts={1: {int(Code.COMPLETED): 1}}))
        assert store.calls(RUN)[1].counts == {"Completed": 1}

    def test_attempts_and_logs_of_an_element_are_its_own(self, store: Store) -> None:
        tries = [Attempt(0, i, n, T0 + n, 0.5, int(Code.FAILED), error(f"{i}.{n}"))
                 for i in (1, 2) for n in (2, 1)]
        lines = [LogLine(0, 1, 1, T0 + 2, 20, "x", "second"),
                 LogLine(0, 1, 1, T0 + 1, 30, "x", "first"),
                 LogLine(0, 2, 1, T0, 20, "x", "other"), LogLine(-1, 0, 1, T0 + 3, 20, "x", "flow")]
        with_map(store, Gulp(attempts=tries, logs=lines))
        assert [(a.attempt, a.error.message) for a in store.attempts(RUN, 0, 1)] == [
            (1, "1.1"), (2, "1.2")
        ]
        assert store.attempts(RUN, 0, 1)[0].error.traceback == error("1.1").traceback
        assert [line.message for line in store.logs(RUN, call=0, index=1)] == ["first", "second"]
        assert [line.message for line in store.logs(RUN)] == ["other", "first", "second", "flow"]
        assert [line.message for line in store.logs(RUN, limit=2)] == ["other", "first"]
        assert [line.message for line in store.logs(RUN, call=-1)] == ["flow"]

    def test_map_that_failed_as_a_whole_says_why(self, store: Store) -> None:
        store.write(RUN, Gulp(flow_run=FlowRunRecord(id=RUN, name="r", flow_name="f"), calls=[
            CallRecord(call=0, task_name="load", task_key="k", kind="map", width=None),
        ]))
        store.write(RUN, Gulp(widths={0: 0}, faults={0: "ValueError: the generator broke"}))
        (row,) = store.calls(RUN)
        assert (row.width, row.counts, row.fault) == (0, {}, "ValueError: the generator broke")
