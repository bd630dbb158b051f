"""Leaves: the parts of a value by path, and which of them changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dataflow.hashing import Leaf, changed_leaves, digest, leaves


@dataclass
class Config:
    rate: float
    names: list[str] = field(default_factory=list)
    lock: Any = None


def changes(old: Any, new: Any) -> list[str]:
    return changed_leaves(leaves(old, name="cfg"), leaves(new, name="cfg"))


def test_scalars_are_leaves_by_path() -> None:
    found = leaves({"a": Config(0.1, ["x"]), "b": (1, None)}, name="v")
    assert [(leaf.path, leaf.text) for leaf in found] == [
        ("v['a'].rate", "0.1"), ("v['a'].names[0]", "'x'"), ("v['a'].lock", "None"),
        ("v['b'][0]", "1"), ("v['b'][1]", "None")]
    assert found[0].digest == digest(0.1)[:8]


def test_scalar_is_a_leaf_by_itself() -> None:
    assert leaves(3, name="x") == [Leaf("x", digest(3)[:8], "3")]


def test_changed_field_is_shown_with_both_values() -> None:
    assert changes(Config(0.1), Config(0.2)) == ["`cfg.rate` 0.1 → 0.2"]


def test_new_and_gone_items_are_named() -> None:
    assert changes([1, 2], [1, 2, 3]) == ["`cfg[2]` is new"]
    assert changes({"a": 1, "b": 2}, {"a": 1}) == ["`cfg['b']` is gone"]


def test_nothing_changed_is_no_line() -> None:
    assert changes(Config(0.1, ["a"]), Config(0.1, ["a"])) == []


def test_type_of_the_same_text_is_told() -> None:
    assert changes(np.zeros(3), np.ones(3)) == [
        "`cfg` has other values (ndarray 3, float64)"]


def test_array_and_table_are_one_leaf_with_their_shape() -> None:
    assert changes(np.zeros((3, 4)), np.zeros((3, 5))) == [
        "`cfg` ndarray 3 × 4, float64 → ndarray 3 × 5, float64"]
    old = pd.DataFrame({"a": [1, 2, 3]})
    assert changes(old, pd.DataFrame({"a": [1, 2, 3, 4]})) == [
        "`cfg` 3 rows, 1 columns → 4 rows, 1 columns"]


def test_part_without_a_digest_is_a_leaf_that_says_so() -> None:
    found = leaves(Config(1.0, lock=threading.Lock()), name="cfg")
    assert found[-1] == Leaf("cfg.lock", bytes(8), "not cacheable: cfg.lock is a _thread.lock")


def test_big_container_is_one_leaf() -> None:
    found = leaves({"xs": list(range(1000)), "y": 1}, name="v")
    assert [(leaf.path, leaf.text) for leaf in found] == [
        ("v['xs']", "list of 1,000 items"), ("v['y']", "1")]


def test_object_with_a_hook_is_one_leaf() -> None:
    class Hooked:
        def __init__(self, key: str) -> None:
            self.key, self.other = key, iter([])

        def __dataflow_hash__(self) -> Any:
            return self.key

    assert [leaf.path for leaf in leaves([Hooked("a")], name="v")] == ["v[0]"]
    assert leaves(Hooked("a"), name="v")[0].digest == digest(Hooked("a"))[:8]


def test_keys_of_any_type_give_paths_of_their_own() -> None:
    keys = ["a", 1, "x" * 100 + "1", "x" * 100 + "2", frozenset("ab"), frozenset("ac"), (1, "a")]
    old, new = dict.fromkeys(keys, 0), dict.fromkeys(keys, 1)
    assert len({leaf.path for leaf in leaves(old, name="v")}) == len(keys)
    assert len(changes(old, new)) == len(keys)


def test_set_is_one_leaf_whose_text_has_an_order() -> None:
    assert [leaf.text for leaf in leaves([{"b", "a"}, set()], name="v")] == ["{'a', 'b'}", "{}"]


def test_leaves_are_at_most_so_many() -> None:
    value = [[[n, n + 1] for n in range(50)] for _ in range(50)]
    assert 0 < len(leaves(value, name="v", limit=30)) <= 30


def test_cyclic_deep_and_odd_values_give_leaves() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("no")

    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    for value in (cyclic, deep, Odd(), [Odd()], 10**10_000, iter([]), "\ud800", {}, []):
        found = leaves(value, name="v")
        assert found and all(len(leaf.digest) == 8 and len(leaf.text) <= 60 for leaf in found)
