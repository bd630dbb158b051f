"""What users and their tools come with: odd texts, big numbers, many at once."""

from __future__ import annotations

import threading

import pytest

from dataflow.exceptions import RunNotFound
from dataflow.ids import new_run_id
from dataflow.outcomes import Code, ErrorRecord, LogLine
from dataflow.store import Gulp, RangeRecord, RecordedCall, Store
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

_ODD = "a\x00b\ud800c é\x1a\u202e' %s %(x)s :name \\"


class Hostile:
    """Nothing that is recorded makes a store fail."""

    def test_a_text_of_any_characters_is_taken_everywhere(self, store: Store) -> None:
        odd = ErrorRecord(_ODD, _ODD, f"Traceback {_ODD}")
        with_map(store, Gulp(
            flow_run=flow_run(name=_ODD, message=_ODD, host=_ODD, tags=(_ODD,), error=odd),
            calls=[call(1, task=_ODD, partition=_ODD, constants=_ODD)],
            elements=[failed(0, name=_ODD, message=_ODD, worker=_ODD, error=odd)],
            spans=[span(range(1, 3), worker=_ODD)], faults={0: _ODD},
            ranges=[RangeRecord(0, 5, 7, int(Code.CANCELLED), T0, _ODD)],
            logs=[LogLine(0, 0, 1, T0, 20, _ODD, _ODD)]))
        store.put_code("d", _ODD)
        rows = store.task_runs(RUN, limit=None)
        assert [row.map_index for row in rows] == [0, 1, 2, 5, 6]
        assert rows[0].error_message is not None and " é" in rows[0].error_message
        assert (store.code("d") or "").startswith("a")
        assert len(list(store.logs(RUN))) == 1
        assert list(only_first(store).codes) == [10, 8, 8, 0, 0, 13, 13]

    @pytest.mark.parametrize("ref", [_ODD, "\x00", "\ud800", "%", "_" * 36, "1111%"])
    def test_a_reference_of_any_characters_is_looked_up(self, store: Store, ref: str) -> None:
        with_map(store)
        with pytest.raises(RunNotFound):
            store.find_flow_run(ref)
        with pytest.raises(RunNotFound):
            store.find_task_run(ref)

    def test_big_numbers_are_kept(self, store: Store) -> None:
        far = 2**36 - 1
        counts = {0: {int(Code.COMPLETED): 2**40}}
        with_map(store, Gulp(
            widths={0: 2**36}, counts=counts,
            elements=[failed(far, cause=(0, far), attempts=2**31 - 1)],
            logs=[LogLine(0, far, 1, T0, 2**40, "x", "loud")]))
        (row,) = store.task_runs(RUN)
        assert (row.map_index, row.run_count) == (far, 2**31 - 1)
        assert (store.calls(RUN)[0].width, store.calls(RUN)[0].counts) == (
            2**36, {"Completed": 2**40})
        assert [line.index for line in store.logs(RUN)] == [far]

    def test_a_gulp_of_very_many_rows_is_written_whole_and_once(self, store: Store) -> None:
        lines = [LogLine(0, n, 1, T0 + n / 8, 20, "x", f"line {n}\t\\N") for n in range(3_000)]
        calls = [call(n, "submit") for n in range(1, 2_001)]
        rows = [failed(0, call=n, error=error(str(n)), name=None if n % 2 else f"n{n}")
                for n in range(1, 2_001)]
        waits = [failed(0, call=n, code=int(Code.AWAITING_RETRY), attempts=7)
                 for n in range(1, 2_001)]
        gulp = Gulp(flow_run=flow_run(), calls=calls, elements=[*waits, *rows, *waits],
                    logs=lines)
        for _ in range(2):
            store.write(RUN, gulp)
        found = store.task_runs(RUN, limit=None)
        assert len(found) == 2_000
        assert {(row.state_name, row.run_count) for row in found} == {("Failed", 1)}
        assert [line.message for line in store.logs(RUN)] == [line.message for line in lines]

    def test_writers_of_many_threads_do_not_stand_in_each_others_way(self, store: Store) -> None:
        runs = [new_run_id() for _ in range(8)]
        troubles: list[Exception] = []

        def write(run: str) -> None:
            try:
                store.write(run, Gulp(flow_run=flow_run(run), calls=[call()]))
                for n in range(10):
                    store.write(run, Gulp(spans=[span(range(n * 5, n * 5 + 5), at_s=T0 + n)]))
            except Exception as trouble:  # shown by the assertion below
                troubles.append(trouble)

        threads = [threading.Thread(target=write, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert troubles == []
        assert [len(store.task_runs(run, limit=None)) for run in runs] == [50] * 8


def only_first(store: Store) -> RecordedCall:
    """Return what is recorded of the first call."""
    return next(iter(store.recorded(RUN)))
