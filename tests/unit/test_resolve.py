"""The walk through containers: what is found, what is kept, what is made anew."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from dataflow.resolve import Kind, Leaf, has_marker, kind_of, rebuild, substitute

Point = namedtuple("Point", "x y")


@dataclass
class Open:
    a: Any
    b: Any = None


@dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: tuple[Any, ...] = ()


@dataclass
class Late:
    a: Any
    missing: Any = field(init=False)


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: Any
    b: int = 0


def values(leaf: Leaf) -> str:
    return f"v{leaf.n}"


@pytest.mark.parametrize("holder, expected", [
    ([Leaf(0), 1], ["v0", 1]),
    ((Leaf(0), 1), ("v0", 1)),
    ({Leaf(0), 1}, {"v0", 1}),
    (frozenset({Leaf(0)}), frozenset({"v0"})),
    ({"k": Leaf(0)}, {"k": "v0"}),
    ({Leaf(0): 1}, {"v0": 1}),
    ({(Leaf(0), 1): [Leaf(1)]}, {("v0", 1): ["v1"]}),
    (Point(Leaf(0), 2), Point("v0", 2)),
    (Open(Leaf(0), [Leaf(1)]), Open("v0", ["v1"])),
    (Frozen(Leaf(0), (Leaf(1),)), Frozen("v0", ("v1",))),
    (OrderedDict(a=Leaf(0)), OrderedDict(a="v0")),
    ([[[{"a": (Leaf(0),)}]]], [[[{"a": ("v0",)}]]]),
    (Leaf(0), "v0"),
])
def test_marker_in_any_container_is_replaced_and_the_type_kept(holder: Any, expected: Any) -> None:
    found = substitute(holder, values)
    assert found == expected
    assert type(found) is type(expected)


def test_marker_in_a_pydantic_model_is_replaced_without_validation() -> None:
    holder = Model(a=[Leaf(0)], extra=Leaf(1))
    found = substitute(holder, values)
    assert (found.a, found.b, found.extra) == (["v0"], 0, "v1")
    assert holder.a == [Leaf(0)]


def test_marker_in_a_dataclass_leaves_the_original_alone() -> None:
    holder = Open(Leaf(0))
    substitute(holder, values)
    assert holder == Open(Leaf(0))


def test_default_factory_of_a_defaultdict_survives() -> None:
    found = substitute(defaultdict(list, a=Leaf(0)), values)
    assert found["a"] == "v0" and found["other"] == []


def test_counter_is_not_added_up() -> None:
    assert substitute([Leaf(0), Counter({"a": 3, Leaf(0): 2})], values)[1] == {"a": 3, "v0": 2}


def test_dataclass_with_a_field_without_value_is_walked() -> None:
    assert substitute(Late(Leaf(0)), values).a == "v0"
    assert not has_marker([Late(1), Late(2)])


@pytest.mark.parametrize("holder", [
    [1, 2], (1, [2]), {"a": {1}}, Open(1), Frozen(1), Point(1, 2), Model(a=1), "text", None,
    np.arange(3), object(),
])
def test_container_without_marker_is_the_very_same_object(holder: Any) -> None:
    assert substitute(holder, values) is holder


def test_part_without_marker_is_kept_within_a_container_that_is_made_anew() -> None:
    plain = [1, 2]
    found = substitute([Leaf(0), plain], values)
    assert found[1] is plain


def test_container_held_twice_stays_one_container() -> None:
    inner = [Leaf(0)]
    found = substitute([inner, inner], values)
    assert found == [["v0"], ["v0"]] and found[0] is found[1]


def test_cycles_with_and_without_markers_end() -> None:
    loop: list[Any] = [Leaf(0)]
    loop.append((loop, {"again": loop}))
    found = substitute(loop, values)
    assert found[0] == "v0" and found[1][0] is found and found[1][1]["again"] is found
    plain: list[Any] = []
    plain.append(plain)
    assert substitute(plain, values) is plain


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, Open, Frozen])
def test_depth_of_ten_thousand_is_no_limit(wrap: Any) -> None:
    holder: Any = Leaf(0)
    for _ in range(10_000):
        holder = wrap(holder)
    found = substitute(holder, values)
    while not isinstance(found, str):
        found = found.a if hasattr(found, "a") else next(iter(
            found.values() if isinstance(found, dict) else found))
    assert found == "v0"


def test_generator_and_array_are_not_looked_into() -> None:
    items = iter([Leaf(0)])
    array = np.array([Leaf(0)], dtype=object)
    assert not has_marker([items, array])
    assert next(items) == Leaf(0)


def test_rebuild_puts_values_in_their_places() -> None:
    assert rebuild([Leaf(0), Leaf(1)], ["a", "b"]) == ["a", "b"]
    assert rebuild([Leaf(1), Leaf(0)], ["a", "b"]) == ["b", "a"]
    assert rebuild({"x": (Leaf(0), 5)}, ["a"]) == {"x": ("a", 5)}


def test_many_types_made_at_run_time_are_not_kept_for_ever() -> None:
    for n in range(5000):
        assert kind_of(type(f"T{n}", (), {})) == Kind.ATOM
    assert kind_of(list) == Kind.LIST
