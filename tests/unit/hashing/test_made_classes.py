"""Classes that a call made, and their instances: they count by content, not by name alone."""

from __future__ import annotations

import collections
import dataclasses
import enum
import threading
from typing import Any, Generic, NamedTuple, TypeVar

import pandas as pd
import pydantic
import pytest

from dataflow.exceptions import NotCacheable
from dataflow.hashing import digest

try:
    import attrs
except ImportError:
    attrs = None
T = TypeVar("T")


class Page(pydantic.BaseModel, Generic[T]):
    item: T


class Base:
    def __init__(self, x: int = 1) -> None:
        self.x = x


def plain(k: Any) -> type:
    class Model:
        K = k

    return Model


def closing(k: int) -> type:
    class Model:
        def value(self) -> int:
            return k

    return Model


def model(k: int) -> type:
    class Model(pydantic.BaseModel):
        a: int = k

    return Model


def checked(k: int) -> type:
    class Model(pydantic.BaseModel):
        a: int = 1

        @pydantic.field_validator("a")
        @classmethod
        def check(cls, value: int) -> int:
            return value + k

    return Model


def data(k: int) -> type:
    @dataclasses.dataclass
    class Row:
        a: int = k

    return Row


def frozen(k: int) -> type:
    return dataclasses.make_dataclass("Row", ["a"], frozen=k == 1)


def with_factory(k: int) -> type:
    return dataclasses.make_dataclass("Row", [
        ("a", Any, dataclasses.field(default_factory=lambda: [k]))])


def attrs_class(k: int) -> type:
    if attrs is None:
        pytest.skip("attrs is not installed")

    @attrs.define
    class Row:
        a: int = k

    return Row


def numbers(k: int) -> type:
    class Number(enum.Enum):
        ONE = k

    return Number


def named(k: int) -> type:
    class Row(NamedTuple):
        a: int = k

    return Row


def items(k: int) -> type:
    class Items(list):
        limit = k

    return Items


def table(k: int) -> type:
    class Table(pd.DataFrame):
        limit = k

    return Table


def wrong(k: int) -> type:
    class Wrong(Exception):
        code = k

    return Wrong


def annotated(k: int) -> type:
    kind = int if k == 1 else str
    return type("Row", (), {"__annotations__": {"a": kind}})


MADE = [
    plain, closing, model, checked, data, frozen, with_factory, attrs_class, numbers, named, items,
    table, wrong, annotated,
    lambda k: type("Base", (Base,), {"k": k}),
    lambda k: pydantic.create_model("Row", a=(int, k)),
    lambda k: pydantic.create_model("Row", a=(int, 1)) if k == 1 else (
        pydantic.create_model("Row", b=(str, "x"))),
    lambda k: dataclasses.make_dataclass("Row", [("a", int, k)]),
    lambda k: enum.Enum("Number", {"ONE": k}),
    lambda k: collections.namedtuple("R", "a b" if k == 1 else "b a"),
    lambda k: Page[int] if k == 1 else Page[str],
    lambda k: [plain(k)], lambda k: {"a": (closing(k),)}, lambda k: list[plain(k)],
]


@pytest.mark.parametrize("make", MADE, ids=range(len(MADE)))
def test_class_that_a_call_made_counts_by_its_content(make: Any) -> None:
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


INSTANCES = [
    lambda k: plain(k)(), lambda k: closing(k)(), lambda k: model(k)(a=0),
    lambda k: checked(k).model_construct(a=1), lambda k: data(k)(0), lambda k: frozen(k)(0),
    lambda k: attrs_class(k)(0), lambda k: numbers(k).ONE, lambda k: named(k)(0),
    lambda k: items(k)([1]), lambda k: table(k)({"a": [1]}), lambda k: wrong(k)("so"),
    lambda k: type("Base", (Base,), {"k": k})(), lambda k: Page[int if k == 1 else Any](item=1),
    lambda k: collections.namedtuple("R", "a b" if k == 1 else "b a")(1, 2),
    lambda k: closing(k)().value,
]


@pytest.mark.parametrize("make", INSTANCES, ids=range(len(INSTANCES)))
def test_instance_counts_with_the_class_that_a_call_made(make: Any) -> None:
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def test_class_under_its_name_is_its_name_whatever_it_does(monkeypatch: Any) -> None:
    of_class, of_instance = digest(Base), digest(Base())
    monkeypatch.setattr(Base, "limit", 3, raising=False)
    assert (digest(Base), digest(Base())) == (of_class, of_instance)


def test_class_that_holds_its_own_instances_has_a_digest() -> None:
    def make(k: int) -> Any:
        made = model(k)
        made.usual = made(a=0)
        return made

    assert digest(make(1)) == digest(make(1)) != digest(make(2))
    assert digest(make(1).usual) == digest(make(1).usual) != digest(make(2).usual)


def test_class_that_holds_what_has_no_digest_is_refused_by_its_path() -> None:
    made = plain(threading.Lock())
    with pytest.raises(NotCacheable, match=r"args\[0\]\.a is of a class .*Model.* that its name "
                                           r"does not find .*\.K is a _thread\.lock") as caught:
        digest(_holding(made()),
               name="args[0]")
    assert "at the top of a module" in str(caught.value)


def _holding(value: Any) -> Any:
    holder = Base()
    del holder.x
    holder.a = value  # type: ignore[attr-defined]
    return holder


def test_class_that_says_itself_what_its_instances_are_is_asked_for_nothing_else() -> None:
    class Hooked:
        lock = threading.Lock()

        def __dataflow_hash__(self) -> Any:
            return 1

    assert digest(Hooked()) == digest(Hooked())
