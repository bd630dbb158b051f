"""Sorted arrays of keys against a dict."""

from __future__ import annotations

import random

import numpy as np

from dataflow.packs.index import Run, levelled, look_up, merged, run_of, short, without


def found(runs: tuple[Run, ...], keys: list[int]) -> dict[int, tuple[int, int]]:
    positions, packs, slots = look_up(runs, np.array(keys, np.uint64))
    return {keys[at]: (int(pack), int(slot))
            for at, pack, slot in zip(positions, packs, slots, strict=True)}


def run(keys: list[int], number: int, created_s: float) -> Run:
    return run_of(np.array(keys, np.uint64), number, created_s)


def test_keys_are_found_with_pack_and_slot() -> None:
    runs = (run([9, 2**64 - 1, 0], 0, 1.0), run([4], 7, 2.0))
    assert found(runs, [0, 4, 5, 9, 2**64 - 1]) == {
        0: (0, 2), 4: (7, 0), 9: (0, 0), 2**64 - 1: (0, 1)}


def test_last_slot_of_a_key_in_one_pack_wins() -> None:
    assert found((run([5, 6, 5], 3, 1.0),), [5, 6]) == {5: (3, 2), 6: (3, 1)}


def test_newest_wins_in_whatever_order_packs_came() -> None:
    old, new = run([1, 2], 0, 1.0), run([2, 3], 1, 2.0)
    expected = {1: (0, 0), 2: (1, 0), 3: (1, 1)}
    for runs in ((old, new), (new, old), (merged((old, new)),), (merged((new, old)),)):
        assert found(runs, [1, 2, 3]) == expected


def test_runs_stay_few() -> None:
    runs: tuple[Run, ...] = ()
    for number in range(1000):
        runs = levelled((*runs, run([number], number, float(number))))
    assert len(runs) <= 10 and sum(len(each.keys) for each in runs) == 1000


def test_packs_that_are_gone_are_found_no_more() -> None:
    runs = (merged((run([1, 2], 0, 1.0), run([3], 1, 1.0))), run([4], 2, 1.0))
    assert found(without(runs, {0, 2}), [1, 2, 3, 4]) == {3: (1, 0)}


def test_many_packs_answer_like_a_dict() -> None:
    rng = random.Random(5)
    runs: tuple[Run, ...] = ()
    model: dict[int, tuple[float, int, int]] = {}
    for number in range(60):
        keys = [rng.randrange(200) for _ in range(rng.randrange(1, 30))]
        created_s = rng.random()
        runs = levelled((*runs, run(keys, number, created_s)))
        for slot, key in enumerate(keys):
            if key not in model or model[key][0] <= created_s:
                model[key] = created_s, number, slot
    expected = {key: (number, slot) for key, (_, number, slot) in model.items()}
    assert found(runs, list(range(220))) == expected


def test_keys_that_are_no_digests_differ_when_they_are_shortened() -> None:
    keys = [n.to_bytes(16, "big") for n in range(300)] + [n.to_bytes(16, "little")
                                                          for n in range(1, 300)]
    keys += [bytes([n]) * 16 for n in range(1, 256)]
    shortened = short(np.frombuffer(b"".join(keys), "<u8"))
    assert len(set(shortened.tolist())) == len(keys)
