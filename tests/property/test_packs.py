"""Results under random damage, and many packs against a dict.

Whatever happens to the bytes: a load gives the value that was written, or none.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow.exceptions import CorruptResult
from dataflow.packs import Origin
from dataflow.packs.collecting import Budget
from dataflow.packs.entries import is_pack
from dataflow.packs.housekeeping import collect, verify
from dataflow.packs.results import Results
from dataflow.result_storage import Found, ResultStorage
from dataflow.serializers import PickleSerializer

T0 = 1_700_000_000.0


class DictStorage(ResultStorage):
    """Files in a dict."""

    location = "dict"
    block_bytes = 64  # so that packs are read in pieces

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.changes = 0

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name][start:stop]

    def write(self, name: str, data: Any) -> None:
        self.files[name] = b"".join(data)
        self.changes += 1

    def delete(self, name: str) -> None:
        self.files.pop(name, None)
        self.changes += 1

    def move(self, old: str, new: str) -> None:
        if old not in self.files:
            raise FileNotFoundError(old)
        self.files[new] = self.files.pop(old)
        self.changes += 1

    def list(self, prefix: str = "", *, deep: bool = False) -> Any:
        for name, data in list(self.files.items()):
            folder = name.rpartition("/")[0]
            if folder == prefix or (deep and (not prefix or folder.startswith(f"{prefix}/"))):
                yield Found(name, len(data), T0)

    def changed(self, prefix: str) -> object:
        return self.changes


def key(number: int) -> bytes:
    return number.to_bytes(2, "big") * 8


def write(storage: ResultStorage, values: dict[int, Any], created_s: float = T0,
          expires_s: float = 0.0, run_id: str = "run") -> None:
    origin = Origin(run_id, "name", "load", 0, created_s)
    writer = Results(storage).writer("load", origin, PickleSerializer())
    for number, value in values.items():
        writer.add(key(number), value, index=number, expires_s=expires_s)
    writer.flush()


def held(results: Results, numbers: range, now_s: float = T0 + 100) -> dict[int, Any]:
    found = results.find("load", [key(number) for number in numbers], now_s, fresh=True)
    entries = [entry for entry in found if entry is not None]
    values = iter(results.load("load", entries))
    return {number: next(values) for number, entry in zip(numbers, found, strict=True) if entry}


def damage(data: bytes, rng: random.Random) -> bytes:
    """Cut, flip, overwrite, double, or replace."""
    changed = bytearray(data)
    match rng.randrange(6):
        case 0:
            return data[: rng.randrange(len(data) + 1)]
        case 1:
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:
            at, n = rng.randrange(len(data)), rng.randrange(1, 200)
            changed[at : at + n] = rng.randbytes(len(changed[at : at + n]))
        case 3:
            at, n = rng.randrange(len(data)), rng.randrange(1, 50)
            changed[at:at] = rng.randbytes(n)
        case 4:
            at, n = rng.randrange(len(data)), rng.randrange(1, 50)
            del changed[at : at + n]
        case _:
            return rng.randbytes(rng.randrange(300))
    return bytes(changed)


def value_of(number: int) -> Any:
    return {"row": number, "text": "x" * (number % 40)}


@given(seed=st.integers(0, 2**32), packs=st.integers(1, 4), warm=st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_results_are_right_or_none(seed: int, packs: int, warm: bool) -> None:
    rng, storage = random.Random(seed), DictStorage()
    for pack in range(packs):
        write(storage, {number: value_of(number) for number in range(pack * 9, pack * 9 + 9)})
    results, everything = Results(storage), range(packs * 9)
    if warm:  # an index in memory of what was there before
        assert held(results, everything) == {number: value_of(number) for number in everything}
    hit = rng.sample(sorted(storage.files), rng.randint(1, packs))
    whole = set(everything)
    for name in hit:
        storage.files[name] = damage(storage.files[name], rng)
        storage.changes += 1
    before = dict(storage.files)
    for _ in range(3):
        for number, value in held(results, everything).items():
            assert isinstance(value, CorruptResult) or value == value_of(number)
    untouched = [name for name in before if name not in hit]
    kept = held(Results(storage), everything)
    assert all(value == value_of(number) for number, value in kept.items())
    assert len(kept) >= 9 * len(untouched) and set(kept) <= whole
    assert all(is_pack(name) or name.startswith("quarantine/") for name in storage.files)


@given(seed=st.integers(0, 2**32), packs=st.integers(1, 4))
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_verification_leaves_nothing_damaged(seed: int, packs: int) -> None:
    rng, storage = random.Random(seed), DictStorage()
    for pack in range(packs):
        write(storage, {number: value_of(number) for number in range(pack * 9, pack * 9 + 9)})
    for name in rng.sample(sorted(storage.files), rng.randint(1, packs)):
        storage.files[name] = damage(storage.files[name], rng)
    verify(storage)
    assert verify(storage).findings == []
    kept = held(Results(storage), range(packs * 9))
    assert all(value == value_of(number) for number, value in kept.items())


writes = st.tuples(
    st.just("write"), st.lists(st.integers(0, 12), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.0, 30.0, 70.0]),
)
steps = st.one_of(
    writes, writes, writes,
    st.tuples(st.just("forget"), st.lists(st.integers(0, 12), min_size=1, max_size=3)),
    st.tuples(st.just("collect"), st.sets(st.integers(0, 10), max_size=3)),
)


@given(steps=st.lists(steps, max_size=14))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_of_writes_and_housekeeping_answers_like_a_dict(steps: Any) -> None:
    storage = DictStorage()
    old = Results(storage)  # sees each step
    model: dict[int, tuple[str, float]] = {}
    for count, step in enumerate(steps):
        now_s = T0 + 10 * count
        if step[0] == "write":
            _, numbers, lasts_s = step
            until = now_s + lasts_s if lasts_s else 0.0
            write(storage, {number: f"{number} at {count}" for number in numbers}, now_s, until,
                  run_id=str(count))
            model.update({number: (f"{number} at {count}", until) for number in numbers})
        elif step[0] == "forget":
            old.forget("load", [key(number) for number in step[1]], now_s=now_s)
            for number in step[1]:
                model.pop(number, None)
        else:
            collect(storage, Budget(now_s=now_s, grace_s=float("-inf"),
                                    needed_runs=frozenset(map(str, step[1]))))
        expected = {number: value for number, (value, until) in model.items()
                    if not until or until > now_s}
        assert held(old, range(13), now_s) == expected
        assert held(Results(storage), range(13), now_s) == expected


@pytest.mark.parametrize("seed", range(20))
def test_budget_is_kept_and_what_stays_is_right(seed: int) -> None:
    rng, storage = random.Random(seed), DictStorage()
    for count in range(rng.randrange(2, 30)):
        write(storage, {rng.randrange(60): rng.randbytes(rng.randrange(500)) for _ in range(9)},
              T0 + count, run_id=str(count))
    before = held(Results(storage), range(60))
    most = rng.randrange(20_000)
    collect(storage, Budget(now_s=T0 + 100, max_size_bytes=most, grace_s=float("-inf")))
    after = held(Results(storage), range(60))
    assert all(before[number] == value for number, value in after.items())
    assert sum(map(len, storage.files.values())) <= most * 1.1 + 400
