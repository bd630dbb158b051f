"""Any gulps, in any order: a store says what the one in memory says."""

from __future__ import annotations

import random
from array import array

import pytest

from dataflow.ids import new_run_id
from dataflow.outcomes import SHARED_CPU, UNKNOWN_CPU, Code
from dataflow.store import Gulp, RangeRecord, Store
from dataflow.stores.memory import MemoryStore
from dataflow.testing.store_contract.records import T0, call, failed, flow_run, key, span

_CODES = [int(code) for code in Code]
_FINAL = [int(code) for code in Code if code >= Code.COMPLETED]
_ASKED = (None, "COMPLETED", "Completed", "failed", "Cancelled", "RolledBack")


def gulps(chance: random.Random, run: str) -> list[Gulp]:
    """Draw gulps whose spans say of each element once that it ended, as the engine's do."""
    ended: set[tuple[int, int]] = set()
    made: list[Gulp] = []
    for number in range(chance.randint(1, 4)):
        gulp = Gulp(flow_run=flow_run(run), calls=[call(0), call(1)])
        for _ in range(chance.randint(0, 3)):
            _add_span(chance, gulp, ended, number)
        for _ in range(chance.randint(0, 3)):
            gulp.elements.append(failed(
                chance.randint(0, 30), call=chance.randint(0, 1), code=chance.choice(_CODES),
                key=chance.choice([None, key(5)])))
        if chance.random() < 0.5:
            start = 100 * number + chance.randint(0, 20)
            gulp.ranges.append(RangeRecord(0, start, start + 4, chance.choice(_FINAL), T0))
        if chance.random() < 0.5:
            size = chance.choice([3, 20])
            gulp.undone[chance.randint(0, 1)] = set(chance.sample(range(31), size))
        made.append(gulp)
    return made


def _add_span(
    chance: random.Random, gulp: Gulp, ended: set[tuple[int, int]], number: int
) -> None:
    first, of = chance.randint(0, 20), chance.randint(0, 1)
    at = range(first, first + chance.randint(1, 8)) if chance.random() < 0.5 else sorted(
        chance.sample(range(31), chance.randint(1, 6)))
    usual = chance.random() < 0.3  # all of them alike
    codes = [
        int(Code.LEFT) if (of, i) in ended
        else int(Code.COMPLETED) if usual else chance.choice(_CODES) for i in at
    ]
    ended |= {(of, i) for i, code in zip(at, codes, strict=True) if code >= Code.COMPLETED}
    record = span(at, codes, call=of, at_s=T0 + len(ended) + number / 8)
    if chance.random() < 0.5:
        record.span.keys = b"".join(key(index % 7) for index in at)
    if chance.random() < 0.5:
        record.span.cpu_s, record.span.peak_bytes = 4.0 * len(at), chance.randint(1, 9)
    if chance.random() < 0.5:
        record.span.own_cpu = array(
            "f", [chance.choice([0.5, 1.0, SHARED_CPU, UNKNOWN_CPU]) for _ in at])
    gulp.spans.append(record)


class ByChance:
    """Gulps of chance, held against the plainest store there is."""

    @pytest.mark.parametrize("seed", range(60))
    def test_any_gulps_read_back_as_from_memory(self, store: Store, seed: int) -> None:
        chance, model, run = random.Random(seed), MemoryStore(), new_run_id()
        written = gulps(chance, run)
        for gulp in [*written, chance.choice(written)]:
            model.write(run, gulp)
            store.write(run, gulp)
        for state in _ASKED:
            for limit in (None, 3):
                expected = model.task_runs(run, state=state, limit=limit)
                assert store.task_runs(run, state=state, limit=limit) == expected
        for index in (0, 7, 21):
            found = store.task_runs(run, map_index=index)
            assert found == model.task_runs(run, map_index=index)
        assert [(each.call, each.peak_bytes) for each in store.usage(run)] == [
            (each.call, each.peak_bytes) for each in model.usage(run)]
        assert [each.cpu_s for each in store.usage(run)] == [
            None if each.cpu_s is None else pytest.approx(each.cpu_s) for each in model.usage(run)]
        assert list(store.recorded(run)) == list(model.recorded(run))
        for number in (0, 1):
            assert store.keys(run, number, range(40)) == model.keys(run, number, range(40))
            column = model.key_column(run, number, 40)
            assert store.key_column(run, number, 40) == column
