"""What a run that goes on needs: columns of what is recorded, cache keys, parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.exceptions import RunFenced, RunNotFound
from dataflow.ids import new_run_id
from dataflow.outcomes import Code, ErrorRecord
from dataflow.store import (
    PICKLED_BYTES,
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
    key,
    only,
    span,
    states,
    with_map,
)

A, B = "host-a:1:0", "host-b:2:0"


class Resuming:
    """Columns, keys, parameters and code."""

    def test_fields_of_a_flow_run_that_resumes_are_read_back(self, store: Store) -> None:
        first = flow_run(entrypoint="flow.py:main", first_call=7, resumed=2, result_key=key(5),
                         alerts='[{"on": ["failed"]}]')
        store.write(RUN, Gulp(flow_run=first))
        (row,) = store.flow_runs()
        assert (row.entrypoint, row.first_call, row.resumed, row.result_key, row.alerts) == (
            "flow.py:main", 7, 2, key(5), '[{"on": ["failed"]}]')
        assert (row.epoch, row.owner, row.lease_until_s) == (0, None, None)

    def test_fields_of_a_call_are_replaced_where_they_are_told(self, store: Store) -> None:
        with_map(store, Gulp(calls=[call(code="c1", partition="load", policy="INPUTS", width=3)]))
        with_map(store, Gulp(calls=[call(code="c2", storage="/results", constants="[]")]))
        with_map(store)
        (row,) = store.calls(RUN)
        assert (row.code, row.partition, row.policy, row.storage, row.constants, row.width) == (
            "c2", "load", "INPUTS", "/results", "[]", None)

    def test_key_origin_and_due_time_of_an_element_are_read_back(self, store: Store) -> None:
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
        for row in rows:
            assert store.task_runs(RUN, map_index=row.map_index) == [row]

    def test_origin_of_a_span_with_several_is_not_guessed(self, store: Store) -> None:
        cached = span(range(2), Code.CACHED)
        cached.span.origins = (new_run_id(), new_run_id())
        with_map(store, Gulp(spans=[cached]))
        assert [row.origin for row in store.task_runs(RUN)] == [None, None]

    def test_parameters_and_code_are_kept(self, store: Store) -> None:
        with_map(store)
        assert (store.inputs(RUN), store.code("abc")) == (None, None)
        store.put_inputs(RUN, b"\x00first")
        store.put_inputs(RUN, b"\x00\xffparameters")
        store.put_code("abc", '{"é": 1}')
        store.put_code("abc", "another")
        assert (store.inputs(RUN), store.code("abc")) == (b"\x00\xffparameters", '{"é": 1}')

    def test_what_is_recorded_comes_as_columns(self, store: Store) -> None:
        retry = failed(4, code=int(Code.AWAITING_RETRY), attempts=2, due_s=T0 + 600)
        again = failed(5, code=int(Code.COMPLETED), error=None, attempts=3, name="five")
        with_map(store, Gulp(
            widths={0: 12}, spans=[span(range(3)), span([6, 3], [Code.FAILED, Code.LEFT])],
            elements=[retry, again, failed(6, message="gave up"),
                      failed(11, code=int(Code.RUNNING))],
            ranges=[RangeRecord(0, 7, 10, int(Code.NOT_READY), T0, "upstream", cause=(0, 6))]))
        found = only(store)
        assert found.record == store.calls(RUN)[0]
        assert list(found.codes) == [8, 8, 8, 0, 2, 8, 10, 14, 14, 14, 0, 0]
        assert (found.attempts, found.due) == ({4: 2, 5: 3}, {4: T0 + 600})
        assert found.names == {5: "five"}
        assert (found.causes, found.messages) == ([(7, 10, (0, 6))], {6: "gave up"})
        assert (found.range_messages, found.keyed) == ([(7, 10, "upstream")], False)
        assert sorted(found.errors) == [4, 6, 11]
        assert found.errors[6] == error("flight 6 has no air time")

    def test_an_exception_is_kept_up_to_a_size(self, store: Store) -> None:
        def with_bytes(size: int) -> ErrorRecord:
            return ErrorRecord("E", "m", "t", pickled=b"x" * size)

        with_map(store, Gulp(elements=[failed(0, error=with_bytes(PICKLED_BYTES)),
                                       failed(1, error=with_bytes(PICKLED_BYTES + 1))]))
        kept = [each.pickled for each in only(store).errors.values()]
        assert kept == [b"x" * PICKLED_BYTES, None]

    def test_codes_of_a_call_of_unknown_width_reach_as_far_as_something_is_recorded(
        self, store: Store
    ) -> None:
        with_map(store)
        assert only(store).codes == b""
        with_map(store, Gulp(spans=[span([2, 5])]))
        assert list(only(store).codes) == [0, 0, 8, 0, 0, 8]
        with_map(store, Gulp(widths={0: 8}))
        assert list(only(store).codes) == [0, 0, 8, 0, 0, 8, 0, 0]

    def test_rows_that_begin_anew_are_pending_whatever_spans_say(self, store: Store) -> None:
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

    def test_ranges_that_begin_anew_are_forgotten_and_another_may_follow(
        self, store: Store
    ) -> None:
        with_map(store, Gulp(
            spans=[span([0])], widths={0: 5}, elements=[failed(4)],
            ranges=[RangeRecord(0, 1, 4, int(Code.CANCELLED), T0, "asked")]))
        assert (list(only(store).codes), only(store).rows) == ([8, 13, 13, 13, 10], {4})
        assert store.reopen(RUN, [Code.CANCELLED, Code.NOT_READY]) == 0
        assert (list(only(store).codes), only(store).range_messages) == ([8, 0, 0, 0, 10], [])
        with_map(store, Gulp(ranges=[RangeRecord(0, 1, 4, int(Code.NOT_READY), T0, "upstream")]))
        assert list(only(store).codes) == [8, 14, 14, 14, 10]
        assert store.reopen(RUN, [Code.FAILED]) == 1
        assert (list(only(store).codes), only(store).rows) == ([8, 14, 14, 14, 0], {4})

    def test_what_was_undone_keeps_what_is_known_of_it_and_begins_anew(self, store: Store) -> None:
        kept = span(range(20))
        kept.span.keys = b"".join(map(key, range(100, 120)))
        again = failed(0, call=1, code=int(Code.COMPLETED), error=None, attempts=3, name="one")
        ends = Gulp(calls=[call(1, "submit")], spans=[kept], elements=[again, failed(21)],
                    counts={0: {int(Code.COMPLETED): 20, int(Code.FAILED): 1},
                            1: {int(Code.COMPLETED): 1}})
        undone = Gulp(undone={0: {3, 21, 30}, 1: {0}})
        with_map(store, ends)
        before = store.task_runs(RUN)
        for gulp in (undone, ends, undone, Gulp(undone={0: set(range(3, 17))})):
            store.write(RUN, gulp)
            for row, was in zip(store.task_runs(RUN), before, strict=True):
                said = "Task rolled back as part of transaction"
                assert row == was or row == replace(was, state_name="RolledBack", message=said)
        assert [call.counts for call in store.calls(RUN)] == [
            {"Completed": 6, "Failed": 1, "RolledBack": 14}, {"RolledBack": 1}]
        assert [row.call for row in store.task_runs(RUN, state="RolledBack")] == [0] * 14 + [1]
        assert list(next(iter(store.recorded(RUN))).codes[:4]) == [8, 8, 8, 15]
        assert store.reopen(RUN, [Code.ROLLED_BACK]) == 15
        assert list(next(iter(store.recorded(RUN))).codes) == [8] * 3 + [0] * 14 + [8] * 3 + [0, 10]
        store.write(RUN, Gulp(elements=[failed(3, code=int(Code.COMPLETED), error=None)]))
        assert list(next(iter(store.recorded(RUN))).codes[:5]) == [8, 8, 8, 8, 0]

    def test_what_was_committed_is_told_with_its_call(self, store: Store) -> None:
        with_map(store, Gulp(
            calls=[call(1, "submit"), call(2, "direct")], committed={1: None},
            txn_values={2: b"\x00values"}))
        with_map(store, Gulp(calls=[call(n) for n in (1, 2)], committed={1: None}))
        assert [(each.committed, each.txn_values) for each in store.calls(RUN)] == [
            (False, None), (True, None), (False, b"\x00values")]
        assert [each.record for each in store.recorded(RUN)] == store.calls(RUN)

    def test_elements_that_begin_anew_have_a_row_wherever_they_stood(self, store: Store) -> None:
        keyed = span(range(4))
        keyed.span.keys = b"".join(map(key, (1, 2, 3, 4)))
        with_map(store, Gulp(
            calls=[call(1, "submit")], widths={0: 6}, spans=[keyed],
            elements=[failed(4), failed(5, code=int(Code.COMPLETED), error=None, attempts=2),
                      failed(0, call=1, code=int(Code.COMPLETED), error=None)]))
        epoch = store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
        with pytest.raises(RunFenced):
            store.reopen(RUN, [], {0: [1]}, fence=epoch - 1)
        assert store.reopen(RUN, [Code.FAILED], {0: [1, 2, 5], 1: [0]}, fence=epoch) == 1
        found = {each.record.call: each for each in store.recorded(RUN)}
        assert (list(found[0].codes), found[0].rows) == ([8, 0, 0, 8, 0, 0], {1, 2, 4, 5})
        assert (list(found[1].codes), found[1].rows) == ([0], {0})
        assert [state for _, state in states(store, call=0)] == [
            "Completed", "Pending", "Pending", "Completed", "Pending", "Pending"]
        store.write(RUN, Gulp(elements=[
            failed(1, code=int(Code.COMPLETED), error=None, key=key(9)),
            failed(2, code=int(Code.COMPLETED), error=None)]))
        assert list(next(store.recorded(RUN)).codes) == [8, 8, 8, 8, 0, 0]
        assert store.keys(RUN, 0, range(6)) == {0: key(1), 1: key(9), 3: key(4)}
        assert store.key_column(RUN, 0, 4) == key(1) + key(9) + bytes(16) + key(4)

    def test_map_that_begins_anew_is_as_if_it_had_never_had_an_element(self, store: Store) -> None:
        with_map(store, Gulp(
            calls=[call(1, "submit")], widths={0: 6}, spans=[span(range(3))], elements=[
                failed(3), failed(0, call=1)],
            ranges=[RangeRecord(0, 4, 6, int(Code.NOT_READY), T0, "upstream", cause=(0, 3))]))
        assert store.reopen(RUN, [], {0: None}) == 0
        found = {each.record.call: each for each in store.recorded(RUN)}
        assert (found[0].record.width, list(found[0].codes), list(found[0].rows)) == (None, [], [])
        assert list(found[1].codes) == [10]
        with_map(store, Gulp(spans=[span(range(2), at_s=T0 + 9)], widths={0: 2}))
        assert states(store, call=0) == [(0, "Completed"), (1, "Completed")]

    def test_calls_from_one_on_are_asked_for(self, store: Store) -> None:
        with_map(store, Gulp(
            calls=[call(n, "submit") for n in (1, 2, 3)],
            elements=[failed(0, call=n, code=int(Code.COMPLETED), error=None) for n in (1, 3)],
            spans=[span(range(3)), span(range(2), call=2)]))
        assert [(each.record.call, list(each.codes)) for each in store.recorded(RUN)] == [
            (0, [8, 8, 8]), (1, [8]), (2, [8, 8]), (3, [8])]
        assert [each.record.call for each in store.recorded(RUN, 2)] == [2, 3]

    def test_keys_are_found_wherever_they_stand(self, store: Store) -> None:
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
        column = store.key_column(RUN, 0, 100)
        assert {at: column[16 * at : 16 * at + 16] for at in range(100)} == {
            at: store.keys(RUN, 0, [at]).get(at, bytes(16)) for at in range(100)}
        assert store.key_column(RUN, 0, 11) == column[: 16 * 11]
        assert store.key_column(RUN, 1, 2) == bytes(32)
        assert store.key_column(new_run_id(), 0, 0) == b""
