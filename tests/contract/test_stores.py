"""The contract of a run store, one suite over every store; and each held against the one in memory.

A new store adds itself to ``STORES``; when the suite is green it is done.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataflow.exceptions import RunNotFound, StoreError
from dataflow.ids import new_run_id, task_run_id
from dataflow.names import element_name
from dataflow.outcomes import Attempt, Code, ErrorRecord, LogLine, Span
from dataflow.store import (
    CallRecord,
    ElementRecord,
    FlowRunRecord,
    Gulp,
    RangeRecord,
    SpanRecord,
    Store,
)
from dataflow.stores import open_store
from dataflow.stores.memory import MemoryStore

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: open_store("memory:"),
    "sqlite": lambda folder: open_store(folder / "dataflow.db"),
}
RUN = "11111111-2222-4333-8444-555555555555"
T0 = 1_700_000_000.0


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def flow_run(id: str = RUN, **changes: object) -> FlowRunRecord:
    values: dict[str, object] = {
        "id": id, "name": "swift-heron", "flow_name": "delays", "created_s": T0,
        "state_type": "RUNNING", "state_name": "Running",
    }
    return FlowRunRecord(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def call(number: int = 0, kind: str = "map", task: str = "load", **changes: object) -> CallRecord:
    values: dict[str, object] = {
        "call": number, "task_name": task, "task_key": f"flights.{task}", "kind": kind,
        "width": None, "created_s": T0 + number,
    }
    return CallRecord(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def span(
    indexes: Sequence[int], codes: Sequence[int] | int = Code.COMPLETED, *,
    call: int = 0, at_s: float = T0, worker: str = "tcp://127.0.0.1:40001",
) -> SpanRecord:
    each = [codes] * len(indexes) if isinstance(codes, int) else codes
    started = array("f", [position * 0.25 for position in range(len(indexes))])
    elapsed = array("f", [0.5] * len(indexes))
    return SpanRecord(Span(call, indexes, bytearray(each), started, elapsed), at_s, worker)


def error(message: str = "no air time") -> ErrorRecord:
    text = f'Traceback (most recent call last):\n  File "f.py", line 3\nValueError: {message}\n'
    return ErrorRecord("ValueError", message, text)


def failed(index: int, *, call: int = 0, **changes: object) -> ElementRecord:
    values: dict[str, object] = {
        "call": call, "index": index, "code": int(Code.FAILED), "started_s": T0, "attempts": 1,
        "ended_s": T0 + 1, "worker": "w", "error": error(f"flight {index} has no air time"),
    }
    return ElementRecord(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def with_map(store: Store, *gulps: Gulp) -> Store:
    store.write(RUN, Gulp(flow_run=flow_run(), calls=[call()]))
    for gulp in gulps:
        store.write(RUN, gulp)
    return store


def states(store: Store, **asked: object) -> list[tuple[int | None, str]]:
    rows = store.task_runs(RUN, limit=None, **asked)  # type: ignore[arg-type]  # a test's shorthand
    return [(row.map_index, row.state_name) for row in rows]


# what was written is read back whole


def test_a_flow_run_is_read_back_as_it_was_written_last(store: Store) -> None:
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


def test_an_element_of_a_span_is_read_back_with_times_worker_and_computed_id(store: Store) -> None:
    with_map(store, Gulp(spans=[span(range(10, 14))]))
    row = store.task_runs(RUN)[2]
    assert (row.id, row.map_index, row.call) == (task_run_id(RUN, 0, 12), 12, 0)
    assert row.name == element_name(RUN, 0, 12, "load", True)
    assert (row.state_type, row.state_name, row.run_count) == ("COMPLETED", "Completed", 1)
    assert row.start_time == datetime.fromtimestamp(T0 + 0.5, UTC)
    assert row.end_time == datetime.fromtimestamp(T0 + 1.0, UTC)
    assert (row.worker, row.task_key) == ("tcp://127.0.0.1:40001", "flights.load")


def test_a_failure_is_read_back_with_its_own_message_in_its_traceback(store: Store) -> None:
    with_map(store, Gulp(elements=[failed(3), failed(4, name="flight-4", message="gave up")]))
    three, four = store.task_runs(RUN, state="FAILED")
    assert (three.error_type, three.error_message) == ("ValueError", "flight 3 has no air time")
    assert three.traceback == error("flight 3 has no air time").traceback
    assert four.traceback == error("flight 4 has no air time").traceback
    assert (four.name, four.message) == ("flight-4", "gave up")


def test_a_single_call_has_no_map_index(store: Store) -> None:
    single = failed(0, call=1, code=int(Code.COMPLETED), error=None)
    with_map(store, Gulp(calls=[call(1, "submit", "reduce")], elements=[single]))
    (row,) = store.task_runs(RUN, call=1)
    assert (row.map_index, row.name) == (None, element_name(RUN, 1, 0, "reduce", False))


def test_a_range_is_read_back_as_its_elements(store: Store) -> None:
    stretch = RangeRecord(0, 5, 8, int(Code.NOT_READY), T0, "upstream failed", cause=(0, 2))
    with_map(store, Gulp(ranges=[stretch]))
    rows = store.task_runs(RUN)
    assert [row.map_index for row in rows] == [5, 6, 7]
    assert {row.state_name for row in rows} == {"NotReady"}
    assert {row.cause for row in rows} == {task_run_id(RUN, 0, 2)}
    assert {(row.message, row.start_time, row.run_count) for row in rows} == {
        ("upstream failed", None, 0)
    }


def test_calls_come_in_order_with_widths_and_counts_by_state_name(store: Store) -> None:
    upstream = call(1, task="clean", upstream=(0,), tags=("t",))
    counts = {0: {int(Code.COMPLETED): 990, int(Code.FAILED): 10, int(Code.CRASHED): 0}}
    with_map(store, Gulp(calls=[upstream], widths={0: 1_000}), Gulp(counts=counts))
    first, second = store.calls(RUN)
    assert (first.width, first.counts) == (1_000, {"Completed": 990, "Failed": 10})
    assert (second.task_name, second.upstream, second.tags, second.width, second.counts) == (
        "clean", (0,), ("t",), None, {}
    )


def test_counts_that_come_with_a_call_stay_until_newer_ones_come(store: Store) -> None:
    single = call(1, "submit", "reduce")
    with_map(store, Gulp(calls=[single], counts={1: {int(Code.RUNNING): 1}}))
    with_map(store, Gulp(calls=[single]))
    assert store.calls(RUN)[1].counts == {"Running": 1}
    with_map(store, Gulp(calls=[single], counts={1: {int(Code.COMPLETED): 1}}))
    assert store.calls(RUN)[1].counts == {"Completed": 1}


def test_attempts_and_logs_of_an_element_are_its_own(store: Store) -> None:
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


# the last word on an element


def test_elements_handed_back_or_awaiting_a_retry_have_no_outcome_in_a_span(store: Store) -> None:
    codes = [Code.COMPLETED, Code.AWAITING_RETRY, Code.FAILED, Code.LEFT, Code.LEFT]
    with_map(store, Gulp(spans=[span(range(5), codes)]))
    with_map(store, Gulp(spans=[span(range(1, 2), at_s=T0 + 9)]))
    assert states(store) == [(0, "Completed"), (1, "Completed"), (2, "Failed")]
    with_map(store, Gulp(spans=[span([3, 4], Code.CACHED, at_s=T0 + 10)]))
    assert states(store)[3:] == [(3, "Cached"), (4, "Cached")]


def test_a_row_wins_over_a_span_and_a_span_over_a_range(store: Store) -> None:
    with_map(
        store,
        Gulp(ranges=[RangeRecord(0, 0, 3, int(Code.CANCELLED), T0)]),
        Gulp(spans=[span(range(2))], elements=[failed(0)]),
    )
    expected = [(0, "Failed"), (1, "Completed"), (2, "Cancelled")]
    assert states(store) == expected
    assert [states(store, map_index=index)[0] for index in range(3)] == expected
    assert states(store, state="completed") == [(1, "Completed")]


def test_an_outcome_that_was_recorded_is_never_replaced(store: Store) -> None:
    waiting = failed(0, code=int(Code.AWAITING_RETRY), message="retry in 1 s")
    with_map(store, Gulp(elements=[waiting]))
    assert states(store) == [(0, "AwaitingRetry")]
    with_map(store, Gulp(elements=[failed(0, code=int(Code.COMPLETED), error=None, attempts=2)]))
    with_map(store, Gulp(elements=[failed(0)]))
    (row,) = store.task_runs(RUN)
    assert (row.state_name, row.run_count, row.error_type) == ("Completed", 2, None)


def test_indexes_that_are_no_neighbours_are_kept(store: Store) -> None:
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


def test_writing_a_gulp_twice_changes_nothing(store: Store) -> None:
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


def test_a_gulp_of_an_unknown_run_is_refused_and_nothing_is_written(store: Store) -> None:
    with pytest.raises(StoreError, match="first gulp must carry"):
        store.write(RUN, Gulp(calls=[call()], spans=[span(range(3))]))
    assert (store.flow_runs(), store.calls(RUN), store.task_runs()) == ([], [], [])


# listing


def test_task_runs_come_by_call_and_index_and_stop_at_the_limit(store: Store) -> None:
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


def test_state_filter_takes_types_and_names_in_any_case(store: Store) -> None:
    codes = [Code.COMPLETED, Code.CACHED, Code.FAILED, Code.TIMED_OUT, Code.CRASHED]
    with_map(store, Gulp(spans=[span(range(5), codes)]))
    assert states(store, state="COMPLETED") == [(0, "Completed"), (1, "Cached")]
    assert states(store, state="cached") == [(1, "Cached")]
    assert states(store, state="failed") == [(2, "Failed"), (3, "TimedOut")]
    assert states(store, state="timedout") == [(3, "TimedOut")]
    assert states(store, state="nothing") == []


def test_flow_runs_come_newest_first_by_state_and_flow(store: Store) -> None:
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


def test_elements_of_all_runs_come_newest_run_first(store: Store) -> None:
    other = new_run_id()
    with_map(store, Gulp(spans=[span(range(2))]))
    store.write(other, Gulp(flow_run=flow_run(other, created_s=T0 + 9), calls=[call()],
                            spans=[span(range(1))]))
    assert [row.flow_run_id for row in store.task_runs()] == [other, RUN, RUN]
    assert [row.flow_run_id for row in store.task_runs(map_index=1)] == [RUN]


# finding


def test_a_flow_run_is_found_by_id_prefix_name_and_last(store: Store) -> None:
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


def test_last_of_an_empty_store_says_that_there_is_no_run_yet(store: Store) -> None:
    with pytest.raises(RunNotFound, match="There is no flow run yet"):
        store.find_flow_run("last")
    with pytest.raises(RunNotFound, match="There is no task run yet"):
        store.find_task_run("last")


def test_a_name_that_several_flow_runs_have_is_refused_with_their_ids(store: Store) -> None:
    other = new_run_id()
    for id in (RUN, other):
        store.write(id, Gulp(flow_run=flow_run(id)))
    with pytest.raises(RunNotFound) as caught:
        store.find_flow_run("swift-heron")
    assert set(caught.value.matches) == {RUN, other}


def test_a_task_run_is_found_by_id_prefix_name_and_last_wherever_it_is_kept(store: Store) -> None:
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


def test_questions_about_an_unknown_run_are_answered_with_nothing(store: Store) -> None:
    assert store.calls(RUN) == []
    assert store.task_runs(RUN) == []
    assert list(store.attempts(RUN, 0, 0)) == []
    assert list(store.logs(RUN)) == []


# any gulps, in any order: every store says what the one in memory says

indexes = st.one_of(
    st.builds(lambda a, n: range(a, a + n), st.integers(0, 20), st.integers(1, 8)),
    st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True).map(sorted),
)
any_code = st.sampled_from([int(code) for code in Code])
final_code = st.sampled_from([int(code) for code in Code if code >= Code.COMPLETED])


@st.composite
def gulps(draw: st.DrawFn) -> list[Gulp]:
    """Draw gulps whose spans say of each element once that it ended, as the engine's do."""
    ended: set[tuple[int, int]] = set()
    made: list[Gulp] = []
    for number in range(draw(st.integers(1, 4))):
        gulp = Gulp(flow_run=flow_run(), calls=[call(0), call(1)])
        for _ in range(draw(st.integers(0, 3))):
            at, of = draw(indexes), draw(st.integers(0, 1))
            codes = [
                int(Code.LEFT) if (of, i) in ended else draw(any_code) for i in at
            ]
            ended |= {(of, i) for i, code in zip(at, codes, strict=True) if code >= 8}
            gulp.spans.append(span(at, codes, call=of, at_s=T0 + len(ended) + number / 8))
        for _ in range(draw(st.integers(0, 3))):
            gulp.elements.append(failed(draw(st.integers(0, 30)), call=draw(st.integers(0, 1)),
                                        code=draw(any_code)))
        if draw(st.booleans()):
            start = 100 * number + draw(st.integers(0, 20))
            gulp.ranges.append(RangeRecord(0, start, start + 4, draw(final_code), T0))
        made.append(gulp)
    return made


@pytest.mark.parametrize("kind", sorted(STORES.keys() - {"memory"}))
@hypothesis_settings(max_examples=40)
@given(written=gulps(), seed=st.integers(0, 3))
def test_any_gulps_read_back_as_from_memory(
    kind: str, written: list[Gulp], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, real = MemoryStore(), STORES[kind](tmp_path_factory.mktemp("store"))
    again = random.Random(seed).choice(written)
    for gulp in [*written, again]:
        model.write(RUN, gulp)
        real.write(RUN, gulp)
    for state in (None, "COMPLETED", "failed", "Cancelled"):
        for limit in (None, 3):
            expected = model.task_runs(RUN, state=state, limit=limit)
            assert real.task_runs(RUN, state=state, limit=limit) == expected
    for index in (0, 7, 21):
        assert real.task_runs(RUN, map_index=index) == model.task_runs(RUN, map_index=index)
    real.close()


def test_map_that_failed_as_a_whole_says_why(store: Store) -> None:
    store.write(RUN, Gulp(flow_run=FlowRunRecord(id=RUN, name="r", flow_name="f"), calls=[
        CallRecord(call=0, task_name="load", task_key="k", kind="map", width=None),
    ]))
    store.write(RUN, Gulp(widths={0: 0}, faults={0: "ValueError: the generator broke"}))
    (row,) = store.calls(RUN)
    assert (row.width, row.counts, row.fault) == (0, {}, "ValueError: the generator broke")
