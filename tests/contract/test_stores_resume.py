"""What a run that goes on needs: leases, fences, columns of what is recorded, cache keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from dataflow.claims import owner_of_this_process
from dataflow.exceptions import RunFenced, RunNotFound, RunOwned
from dataflow.ids import new_run_id
from dataflow.outcomes import Code, ErrorRecord
from dataflow.store import (
    PICKLED_BYTES,
    FlowRunRecord,
    Gulp,
    RangeRecord,
    RecordedCall,
    Store,
)
from dataflow.stores.memory import MemoryStore
from tests.contract.test_stores import (
    RUN,
    STORES,
    T0,
    call,
    error,
    failed,
    flow_run,
    gulps,
    span,
    states,
    with_map,
)

A, B = "host-a:1:0", "host-b:2:0"


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def only(store: Store) -> RecordedCall:
    (found,) = store.recorded(RUN)
    return found


# new fields are read back


def test_fields_of_a_flow_run_that_resumes_are_read_back(store: Store) -> None:
    first = flow_run(entrypoint="flow.py:main", first_call=7, resumed=2, result_key=key(5))
    store.write(RUN, Gulp(flow_run=first))
    (row,) = store.flow_runs()
    assert (row.entrypoint, row.first_call, row.resumed, row.result_key) == (
        "flow.py:main", 7, 2, key(5))
    assert (row.epoch, row.owner, row.lease_until_s) == (0, None, None)


def test_fields_of_a_call_are_replaced_where_they_are_told(store: Store) -> None:
    with_map(store, Gulp(calls=[call(code="c1", partition="load", policy="INPUTS", width=3)]))
    with_map(store, Gulp(calls=[call(code="c2", storage="/results", constants="[]")]))
    with_map(store)
    (row,) = store.calls(RUN)
    assert (row.code, row.partition, row.policy, row.storage, row.constants, row.width) == (
        "c2", "load", "INPUTS", "/results", "[]", None)


def test_key_origin_and_due_time_of_an_element_are_read_back(store: Store) -> None:
    other = new_run_id()
    cached = span([5, 9], Code.CACHED)
    cached.span.keys, cached.span.origins = key(5) + key(9), (other,)
    with_map(store, Gulp(spans=[cached], elements=[
        failed(7, code=int(Code.AWAITING_RETRY), due_s=T0 + 600, key=key(7)),
        failed(8, code=int(Code.CACHED), error=None, key=key(8), origin=RUN)]))
    rows = store.task_runs(RUN)
    assert [(row.map_index, row.key, row.origin, row.due_s) for row in rows] == [
        (5, key(5), other, None), (7, key(7), None, T0 + 600), (8, key(8), RUN, None),
        (9, key(9), other, None)]
    assert [store.task_runs(RUN, map_index=row.map_index) for row in rows] == [[r] for r in rows]


def test_origin_of_a_span_with_several_is_not_guessed(store: Store) -> None:
    cached = span(range(2), Code.CACHED)
    cached.span.origins = (new_run_id(), new_run_id())
    with_map(store, Gulp(spans=[cached]))
    assert [row.origin for row in store.task_runs(RUN)] == [None, None]


# leases and fences


def test_a_lease_has_an_epoch_an_owner_and_an_end(store: Store) -> None:
    with_map(store)
    assert store.lease(RUN, A, now_s=T0, until_s=T0 + 30) == 1
    store.renew(RUN, 1, T0 + 60)
    with_map(store, Gulp(flow_run=flow_run(state_name="Retrying")))
    (row,) = store.flow_runs()
    assert (row.state_name, row.epoch, row.owner, row.lease_until_s) == ("Retrying", 1, A, T0 + 60)
    store.give_up_lease(RUN, 1)
    (row,) = store.flow_runs()
    assert (row.epoch, row.owner, row.lease_until_s) == (1, None, None)


def test_a_run_begins_with_a_lease_where_its_first_record_has_one(store: Store) -> None:
    store.write(RUN, Gulp(flow_run=flow_run(epoch=1, owner=A, lease_until_s=T0 + 30), fence=1))
    with pytest.raises(RunOwned):
        store.lease(RUN, B, now_s=T0, until_s=T0 + 40)
    store.write(RUN, Gulp(calls=[call()], fence=1))
    assert store.lease(RUN, A, now_s=T0, until_s=T0 + 50) == 2


def test_a_run_with_a_live_lease_is_refused_with_its_owner_and_nothing_moves(store: Store) -> None:
    with_map(store)
    store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
    before = store.flow_runs()
    with pytest.raises(RunOwned, match=A) as caught:
        store.lease(RUN, B, now_s=T0 + 29, until_s=T0 + 99)
    assert (caught.value.flow_run_id, caught.value.owner, caught.value.until_s) == (
        RUN, A, T0 + 30)
    assert store.flow_runs() == before
    assert store.lease(RUN, B, now_s=T0 + 31, until_s=T0 + 60) == 2
    assert store.lease(RUN, A, now_s=T0 + 31, until_s=T0 + 60, take_over=True) == 3


def test_a_lease_of_a_process_that_is_dead_on_this_host_is_over(store: Store) -> None:
    with_map(store)
    host, pid, start = owner_of_this_process().split(":")
    store.lease(RUN, f"{host}:{pid}:{start}9", now_s=T0, until_s=T0 + 30)
    assert store.lease(RUN, B, now_s=T0, until_s=T0 + 60) == 2


def test_a_lease_that_was_given_up_is_taken_at_once(store: Store) -> None:
    with_map(store)
    store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
    store.give_up_lease(RUN, 1)
    store.write(RUN, Gulp(calls=[call(1)], fence=1))
    assert store.lease(RUN, B, now_s=T0, until_s=T0 + 60) == 2
    store.give_up_lease(RUN, 1)
    assert store.flow_runs()[0].owner == B


def test_a_gulp_of_an_older_epoch_is_refused_and_nothing_is_written(store: Store) -> None:
    with_map(store)
    first = store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
    store.write(RUN, Gulp(spans=[span(range(2))], fence=first))
    second = store.lease(RUN, B, now_s=T0 + 31, until_s=T0 + 60)
    late = Gulp(flow_run=flow_run(state_type="COMPLETED", state_name="Completed"),
                spans=[span(range(2, 4), at_s=T0 + 1)], fence=first)
    before = store.flow_runs(), store.calls(RUN), store.task_runs(RUN)
    for write in (lambda: store.write(RUN, late), lambda: store.renew(RUN, first, T0 + 99)):
        with pytest.raises(RunFenced, match=B) as caught:
            write()
        assert (caught.value.flow_run_id, caught.value.owner) == (RUN, B)
    assert (store.flow_runs(), store.calls(RUN), store.task_runs(RUN)) == before
    store.write(RUN, Gulp(spans=[span(range(2, 4), at_s=T0 + 1)], fence=second))
    assert len(store.task_runs(RUN)) == 4


def test_of_many_gulps_those_of_fenced_runs_are_left_out_and_the_others_written(
    store: Store,
) -> None:
    other = new_run_id()
    with_map(store)
    store.write(other, Gulp(flow_run=flow_run(other)))
    store.lease(RUN, A, now_s=T0, until_s=T0 + 30, take_over=True)
    with pytest.raises(RunFenced) as caught:
        store.write_all([
            (RUN, Gulp(spans=[span(range(2))], fence=0)),
            (other, Gulp(calls=[call()], spans=[span(range(3))], fence=0)),
        ])
    assert caught.value.flow_run_id == RUN
    assert [row.flow_run_id for row in store.task_runs()] == [other] * 3


def test_an_inside_goes_by_the_epoch_of_the_run_around_it(store: Store) -> None:
    with_map(store)
    inside = new_run_id()
    record = FlowRunRecord(kind="task", id=inside, name="n", flow_name="f", parent_flow_run_id=RUN,
                           parent_task_run_id=new_run_id())
    first = store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
    store.write_all([(inside, Gulp(flow_run=record, calls=[call()], fence=first))])
    store.lease(RUN, B, now_s=T0 + 31, until_s=T0 + 60)
    later = [(inside, Gulp(spans=[span(range(2))], fence=first)),
             (new_run_id(), Gulp(flow_run=record, fence=first))]
    for gulp in later:
        with pytest.raises(RunFenced):
            store.write_all([gulp])
    assert store.task_runs(inside) == []


def test_a_run_that_is_not_there_cannot_be_leased(store: Store) -> None:
    for ask in (lambda: store.lease(RUN, A, now_s=T0, until_s=T0),
                lambda: store.renew(RUN, 1, T0), lambda: store.put_inputs(RUN, b"x")):
        with pytest.raises(RunNotFound):
            ask()
    store.give_up_lease(RUN, 1)
    assert (store.inputs(RUN), list(store.recorded(RUN)), store.keys(RUN, 0, [0])) == (None, [], {})


# inputs and code


def test_parameters_and_code_are_kept(store: Store) -> None:
    with_map(store)
    assert (store.inputs(RUN), store.code("abc")) == (None, None)
    store.put_inputs(RUN, b"\x00first")
    store.put_inputs(RUN, b"\x00\xffparameters")
    store.put_code("abc", '{"é": 1}')
    store.put_code("abc", "another")
    assert (store.inputs(RUN), store.code("abc")) == (b"\x00\xffparameters", '{"é": 1}')


# what is recorded, in columns


def test_what_is_recorded_comes_as_columns(store: Store) -> None:
    retry = failed(4, code=int(Code.AWAITING_RETRY), attempts=2, due_s=T0 + 600)
    again = failed(5, code=int(Code.COMPLETED), error=None, attempts=3, name="five")
    with_map(store, Gulp(
        widths={0: 12}, spans=[span(range(3)), span([6, 3], [Code.FAILED, Code.LEFT])],
        elements=[retry, again, failed(6, message="gave up"), failed(11, code=int(Code.RUNNING))],
        ranges=[RangeRecord(0, 7, 10, int(Code.NOT_READY), T0, "upstream", cause=(0, 6))]))
    found = only(store)
    assert found.record == store.calls(RUN)[0]
    assert list(found.codes) == [8, 8, 8, 0, 2, 8, 10, 14, 14, 14, 0, 0]
    assert (found.attempts, found.due, found.names) == ({4: 2, 5: 3}, {4: T0 + 600}, {5: "five"})
    assert (found.causes, found.messages) == ([(7, 10, (0, 6))], {6: "gave up"})
    assert (found.range_messages, found.keyed) == ([(7, 10, "upstream")], False)
    assert sorted(found.errors) == [4, 6, 11]
    assert found.errors[6] == error("flight 6 has no air time")


def test_an_exception_is_kept_up_to_a_size(store: Store) -> None:
    def with_bytes(size: int) -> ErrorRecord:
        return ErrorRecord("E", "m", "t", pickled=b"x" * size)

    with_map(store, Gulp(elements=[failed(0, error=with_bytes(PICKLED_BYTES)),
                                   failed(1, error=with_bytes(PICKLED_BYTES + 1))]))
    assert [each.pickled for each in only(store).errors.values()] == [b"x" * PICKLED_BYTES, None]


def test_codes_of_a_call_of_unknown_width_reach_as_far_as_something_is_recorded(
    store: Store,
) -> None:
    with_map(store)
    assert only(store).codes == b""
    with_map(store, Gulp(spans=[span([2, 5])]))
    assert list(only(store).codes) == [0, 0, 8, 0, 0, 8]
    with_map(store, Gulp(widths={0: 8}))
    assert list(only(store).codes) == [0, 0, 8, 0, 0, 8, 0, 0]


def test_rows_that_begin_anew_are_pending_whatever_spans_say(store: Store) -> None:
    with_map(store, Gulp(
        spans=[span(range(4), [Code.COMPLETED, Code.FAILED, Code.FAILED, Code.CRASHED])],
        elements=[failed(1), failed(2, attempts=3), failed(3, code=int(Code.CRASHED))]))
    epoch = store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
    with pytest.raises(RunFenced):
        store.reopen(RUN, [int(Code.FAILED)], fence=epoch - 1)
    assert list(only(store).codes) == [8, 10, 10, 12]
    assert store.reopen(RUN, [Code.FAILED], fence=epoch) == 2
    assert (list(only(store).codes), only(store).attempts) == ([8, 0, 0, 12], {2: 3})
    assert states(store)[1:] == [(1, "Pending"), (2, "Pending"), (3, "Crashed")]
    store.write(RUN, Gulp(elements=[failed(1, code=int(Code.COMPLETED), error=None)]))
    assert list(only(store).codes) == [8, 8, 0, 12]
    with pytest.raises(RunNotFound):
        store.reopen(new_run_id(), [Code.FAILED])


def test_calls_from_one_on_are_asked_for(store: Store) -> None:
    with_map(store, Gulp(
        calls=[call(n, "submit") for n in (1, 2, 3)],
        elements=[failed(0, call=n, code=int(Code.COMPLETED), error=None) for n in (1, 3)],
        spans=[span(range(3)), span(range(2), call=2)]))
    assert [(each.record.call, list(each.codes)) for each in store.recorded(RUN)] == [
        (0, [8, 8, 8]), (1, [8]), (2, [8, 8]), (3, [8])]
    assert [each.record.call for each in store.recorded(RUN, 2)] == [2, 3]


# keys


def test_keys_are_found_wherever_they_stand(store: Store) -> None:
    near, far, mixed = span(range(4)), span([10, 500, 90_000], at_s=T0 + 1), span(
        range(20, 24), [Code.COMPLETED, Code.LEFT, Code.FAILED, Code.CACHED], at_s=T0 + 2)
    near.span.keys = b"".join(map(key, (100, 101, 0, 103)))
    far.span.keys = b"".join(map(key, (1, 2, 3)))
    mixed.span.keys = b"".join(map(key, (20, 21, 22, 23)))
    bare = span(range(30, 40), at_s=T0 + 3)
    with_map(store, Gulp(spans=[near, far, mixed, bare], elements=[
        failed(22), failed(41, key=key(41)), failed(3, key=key(7))]))
    assert store.keys(RUN, 0, range(50)) == {
        0: key(100), 1: key(101), 3: key(7), 10: key(1), 20: key(20), 22: key(22), 23: key(23),
        41: key(41)}
    assert store.keys(RUN, 0, [90_000, 5, 500, 500]) == {500: key(2), 90_000: key(3)}
    assert store.keys(RUN, 0, []) == store.keys(RUN, 1, range(9)) == {}
    assert only(store).keyed


# any gulps, in any order: every store says what the one in memory says


@pytest.mark.parametrize("kind", sorted(STORES.keys() - {"memory"}))
@hypothesis_settings(max_examples=40)
@given(written=gulps())
def test_any_gulps_are_recorded_as_from_memory(
    kind: str, written: list[Gulp], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, real = MemoryStore(), STORES[kind](tmp_path_factory.mktemp("store"))
    for gulp in written:
        for at, each in enumerate(gulp.spans):
            each.span.keys = b"".join(
                key(index + at) for index in each.span.indexes)
        model.write(RUN, gulp)
        real.write(RUN, gulp)
    expected = list(model.recorded(RUN))
    assert list(real.recorded(RUN)) == expected
    for each in expected:
        number = each.record.call
        assert real.keys(RUN, number, range(150)) == model.keys(RUN, number, range(150))
    real.close()
