"""Whether two calls are the same, by what is recorded of their arguments."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from dataflow.batch import Aligned, CallCode, Const, Items, One, Source, TaskCode, Tree, Whole
from dataflow.call_inputs import depends_on, given, with_inputs
from dataflow.graph import CallSpec, Dep, FlatPart, Mapped
from dataflow.resolve import Leaf
from dataflow.same_call import OTHER_FUNCTION, Inputs, difference


@dataclasses.dataclass
class Point:
    x: int


class Model(BaseModel):
    x: Any


@dataclasses.dataclass
class Broken:
    x: int

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            raise RuntimeError(name)
        return super().__getattribute__(name)


class Odd:
    def __reduce__(self) -> Any:
        return Odd, ()


def code(*args: Source, mapped: bool = False) -> CallCode:
    return CallCode(9, TaskCode("t", len, "use"), args, {}, ("x", "y")[: len(args)], mapped)


def submit(*args: Source, deps: tuple[Dep, ...] = ()) -> str | None:
    return with_inputs({}, CallSpec(code(*args), "submit", "k", deps=deps)).get("constants")


def mapped(items: Any = None, *, deps: tuple[Dep, ...] = (), item_deps: Any = None,
           **how: Any) -> str | None:
    source: Source = Aligned(how["aligned"]) if "aligned" in how else Items()
    return with_inputs({}, CallSpec(
        code(source, mapped=True), "map", "k", (Mapped("x", 0, items=items, **how),), deps,
        item_deps))["constants"]  # type: ignore[no-any-return]  # text


def apart(one: str | None, other: str | None) -> str | None:
    there = Inputs(one).other_than(Inputs(other))
    assert there == Inputs(other).other_than(Inputs(one))
    if there is None:
        assert difference(None, Inputs(one), Inputs(other), set()) is None
    return there


VALUES = [
    1, 2, 1.0, True, None, "a", "s" * 80, "s" * 80 + "t", b"s", [1, 1], [2, 2], (1, 1), [1, [1]],
    [], {"a": 1}, {"a": 2}, {"b": 1}, {1, 2}, frozenset({1}), Point(1), Point(2), date(2026, 1, 1),
    PurePosixPath("a"), np.zeros(3), np.ones(3), np.int64(1), Odd(), ValueError("a"),
    Model(x=1), Model(x=[2]),
]


def test_values_are_told_apart_and_equal_ones_are_the_same() -> None:
    for n, one in enumerate(VALUES):
        for m, other in enumerate(VALUES):
            there = apart(submit(Const(one)), submit(Const(other)))
            assert there == (None if n == m else "x"), (one, other)


@pytest.mark.parametrize("value", [list(range(1_000_000)), np.zeros(1_000_000), "s" * 10_000_000,
                                   [[list(range(100))] * 100] * 100, Odd(),
                                   Model(x=[0] * 5_000), Broken(1)],
                         ids=["list", "array", "text", "nested", "odd", "model", "broken"])
def test_large_and_unknown_values_are_told_by_their_type(value: Any) -> None:
    assert json.loads(submit(Const(value)) or "") == [["x", "", "a", type(value).__qualname__]]


def test_value_that_holds_itself_is_told_by_its_type() -> None:
    value: list[Any] = []
    value.append(value)
    assert json.loads(given(code(Const(0)), (value,), {})["constants"]) == [
        ["x", "", "a", "list"]]


def test_futures_are_told_by_what_they_are_of() -> None:
    def tree(*places: tuple[int, int]) -> Source:
        return Tree({"a": [Leaf(n) for n in range(len(places))]},
                    tuple(One(call, index) for call, index in places))

    told = [submit(One(3, 0)), submit(One(3, 1)), submit(One(4, 0)), submit(Const(3)),
            *(submit(tree((3, 0), place)) for place in ((3, 1), (4, 1), (3, 0)))]
    for n, one in enumerate(told):
        for m, other in enumerate(told):
            assert apart(one, other) == (None if n == m else "x")


def test_list_of_all_that_a_map_has_may_be_told_as_the_map() -> None:
    several = submit(Tree([Leaf(0), Leaf(1)], (One(3, 0), One(3, 1))))
    assert apart(submit(Whole(3)), several) is None
    assert apart(submit(Whole(3)), submit(Whole(4))) == "x"


def test_maps_are_told_apart_by_all_items_of_a_list_that_is_not_long() -> None:
    assert apart(mapped([1, 2, 3, 4, 5]), mapped([1, 4, 3, 2, 5])) == "x"
    assert apart(mapped([{"k": 1}]), mapped([{"k": 2}])) == "x"
    assert apart(mapped(np.arange(9)), mapped(np.arange(9)[::-1].copy())) == "x"
    assert apart(mapped([{"k": 1}]), mapped([{"k": 1}])) is None
    assert apart(mapped([Odd()]), mapped([Odd()])) is None


def test_maps_over_long_lists_are_told_apart_by_three_items() -> None:
    items = list(range(1_000_000))
    other = [*items[:-1], -1]
    assert len(mapped(items) or "") < 60
    assert apart(mapped(items), mapped(other)) == "x"
    assert apart(mapped(items), mapped([0, *reversed(items[1:500_000]), *items[500_000:]])) is None


def test_sample_of_an_earlier_version_is_compared_with_that_of_this_one() -> None:
    entry = json.loads(mapped([1, 2, 3]) or "")[0]
    old = json.dumps([entry[:4]])
    assert apart(old, mapped([1, 2, 3])) is None
    assert apart(old, mapped([1, 2, 4])) == "x"
    assert apart('[["x","","mapped"]]', mapped([1, 2, 3])) is None
    assert apart(None, submit(Const([1]))) is None


def test_maps_over_futures_are_told_apart_by_which_these_are() -> None:
    def over(*places: tuple[int, int]) -> str | None:
        return mapped([One(*place) for place in places],
                      item_deps=[(Dep(*place),) for place in places])

    assert apart(over((3, 0), (4, 0)), over((4, 0), (3, 0))) == "x"
    assert apart(over((3, 0), (4, 0)), over((3, 0), (4, 0))) is None
    many = [(call, 0) for call in range(20_000)]
    assert apart(over(*many), over(*reversed(many))) == "x"


def test_maps_are_told_apart_by_the_call_that_they_follow_or_flatten() -> None:
    assert apart(mapped(aligned=3), mapped(aligned=4)) == "x"
    assert apart(mapped(flat=[FlatPart(3, None, 1)]), mapped(flat=[FlatPart(4, None, 1)])) == "x"
    assert apart(mapped(flat=[[1], FlatPart(3, None, 1)]), mapped(flat=[[2], FlatPart(3, None, 1)])
                 ) == "x"


def test_calls_are_told_apart_by_what_they_wait_for() -> None:
    def after(*calls: int) -> str | None:
        return submit(Const(1), deps=tuple(Dep(call, None, value=False) for call in calls))

    assert apart(after(3), after(4)) == "wait_for"
    assert apart(after(3, 4), after(4, 3)) is None


def test_parts_of_a_kept_argument_that_are_not_there_tell_it_from_another() -> None:
    def leaves(**digests: str) -> str:
        return json.dumps([[path.replace("_", "."), digest, "1"]
                           for path, digest in digests.items()])

    assert apart(leaves(x_a="11"), leaves(x_b="11")) == "x"
    assert apart(leaves(x_a="11"), leaves(x_a="11", x_b="22")) == "x"
    assert apart(leaves(x_a="11", y="5"), leaves(x_a="11", y="5")) is None


def test_calls_whose_results_are_kept_apart_are_not_the_same() -> None:
    there = [Inputs("[]", partition) for partition in ("load-1", "load-2", None)]
    assert [[difference(None, one, other, set()) for one in there] for other in there] == [
        [None, OTHER_FUNCTION, None], [OTHER_FUNCTION, None, None], [None, None, None]]


def test_what_a_call_depends_on_is_read_back() -> None:
    assert depends_on(submit(One(3, 1), deps=(Dep(3, 1), Dep(5, None, value=False)))) == (
        (), ((3, 1), (5, None)), ())
    assert depends_on(submit(Tree([Leaf(0), Leaf(1)], (One(3, 1), Whole(4))))) == (
        (), ((3, 1), (4, None)), ())
    assert depends_on(mapped(aligned=3)) == ((3,), (), ())
    assert depends_on(mapped(flat=[[One(2, 0)], FlatPart(3, None, 1), FlatPart(3, 4, 1)])) == (
        (), ((2, 0), (3, None), (3, 4)), ())
    assert depends_on(mapped([1, One(3, 1)], item_deps=[(), (Dep(3, 1), Dep(4))])) == (
        (), (), ((), ((3, 1), (4, None))))
    for old in (None, '[["x","","mapped","ab"]]', '[["x","","made"]]', '[["x","ab","1"]]'):
        assert depends_on(old) == ((), (), ())
