"""Objects: fields and attributes, hooks, registered types; functions as values."""

from __future__ import annotations

import functools
import operator
import types
from dataclasses import InitVar, dataclass, field
from enum import Enum
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import pytest
from pydantic import AnyUrl, BaseModel, PrivateAttr, SecretStr

from dataflow.exceptions import DefinitionTypeError, NotCacheable
from dataflow.hashing import digest, register
from dataflow.hashing.kinds import rule_of
from dataflow.hashing.names import class_name
from dataflow.script_name import script_name, within_script

attrs = pytest.importorskip("attrs")
T = TypeVar("T")


@dataclass
class Config:
    rate: float
    names: list[str] = field(default_factory=list)


@dataclass
class Same:
    rate: float
    names: list[str] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Slots:
    rate: float
    names: tuple[str, ...] = ()


@dataclass
class Hidden:
    scale: InitVar[int] = 1

    def __post_init__(self, scale: int) -> None:
        self.double = scale * 2


@dataclass
class Caching(Generic[T]):
    n: T

    @cached_property
    def costly(self) -> Any:
        return [self.n]


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def method(self) -> None:
        """Do nothing."""


class WithSlots:
    __slots__ = ("__private", "a")

    def __init__(self, a: int, private: int) -> None:
        self.a = a
        self.__private = private


class Model(BaseModel):
    rate: float
    inner: dict[str, list[int]] = {}
    _private: int = PrivateAttr(0)


class Open(BaseModel, extra="allow"):
    rate: float = 1.0


class Addressed(BaseModel):
    url: AnyUrl
    secret: SecretStr = SecretStr("x")


@attrs.define
class Attrs:
    a: int
    b: list[int] = attrs.field(factory=list)


@attrs.define(slots=False)
class OtherAttrs:
    a: int
    b: list[int] = attrs.field(factory=list)


class Colour(Enum):
    RED = 1


class MyDict(dict):
    pass


def my_dict(attribute: int, **items: Any) -> MyDict:
    made = MyDict(items)
    made.attribute = attribute
    return made


def extra_model(n: int) -> Open:
    return Open(rate=1.0, more=n)


def private_model(n: int) -> Model:
    model = Model(rate=1.0)
    model._private = n
    return model


@pytest.mark.parametrize("make", [
    lambda n: Config(n), lambda n: Config(1, [str(n)]), lambda n: Slots(n), lambda n: Hidden(n),
    lambda n: Caching(n), lambda n: Plain(a=n), lambda n: Plain(**{f"a{n}": 1}),
    lambda n: WithSlots(n, 1), lambda n: WithSlots(1, n), lambda n: Model(rate=n),
    lambda n: Model(rate=1, inner={"a": [n]}), extra_model, private_model, lambda n: Attrs(n),
    lambda n: OtherAttrs(1, [n]), lambda n: my_dict(1, a=n), lambda n: my_dict(n, a=1),
    lambda n: ValueError(n), lambda n: partial(max, n), lambda n: partial(max, key=n),
    lambda n: operator.itemgetter(n), lambda n: operator.attrgetter(f"a{n}"),
    lambda n: operator.methodcaller("a", n), lambda n: "abc".join if n == 1 else "ab".join,
    lambda n: Addressed(url=f"http://a/{n}"), lambda n: Addressed(url="http://a", secret=str(n)),
    lambda n: dict.fromkeys if n == 1 else MyDict.fromkeys,
    lambda n: list[int] if n == 1 else list[str],
], ids=range(28))
def test_objects_are_the_same_when_made_alike_and_apart_otherwise(make: Any) -> None:
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def test_classes_with_the_same_fields_are_told_apart() -> None:
    values = [Config(1.0), Same(1.0), Plain(rate=1.0, names=[]), Model(rate=1.0),
              {"rate": 1.0, "names": []}, Attrs(1), OtherAttrs(1)]
    assert len({digest(value) for value in values}) == len(values)


def test_order_of_attributes_does_not_count() -> None:
    assert digest(Plain(a=1, b=2)) == digest(Plain(b=2, a=1))


def test_values_of_cached_properties_do_not_count() -> None:
    fresh, looked_at = Caching(1), Caching[int](1)
    _ = looked_at.costly
    assert digest(fresh) == digest(looked_at)


def test_model_is_its_values_however_they_were_given() -> None:
    assert digest(Open()) == digest(Open(rate=1.0))


def test_methods_and_classes_are_values() -> None:
    assert digest(Plain) == digest(Plain) != digest(Config)
    assert digest(Plain) != digest(Plain())


def test_registered_type_is_what_its_function_returns_also_for_subclasses() -> None:
    class Handle:
        def __init__(self, name: str) -> None:
            self.name, self.open = name, iter([])

    class Special(Handle):
        pass

    @register(Handle)
    def content(handle: Handle) -> Any:
        return handle.name

    assert digest(Handle("a")) == digest(Handle("a")) != digest(Handle("b"))
    assert digest(Special("a")) != digest(Handle("a"))
    assert content(Handle("a")) == "a"


def test_registration_counts_for_a_type_that_was_seen_before() -> None:
    class Late:
        def __init__(self, a: int, b: int) -> None:
            self.a, self.b = a, b

    assert digest(Late(1, 2)) != digest(Late(1, 3))
    register(Late)(lambda late: late.a)
    assert digest(Late(1, 2)) == digest(Late(1, 3))


@pytest.mark.parametrize("wrong", [int, str, list, dict, object, "int", 3])
def test_builtin_types_and_what_is_no_class_cannot_be_registered(wrong: Any) -> None:
    with pytest.raises(DefinitionTypeError):
        register(wrong)


def test_hook_of_a_class_stands_for_its_instances() -> None:
    class Hooked:
        def __init__(self, key: str) -> None:
            self.key, self.lock = key, iter([])

        def __dataflow_hash__(self) -> Any:
            return self.key

    assert digest(Hooked("a")) == digest(Hooked("a")) != digest(Hooked("b"))
    assert digest(Hooked("a")) != digest("a")


def test_class_of_a_script_is_called_by_the_name_of_its_file() -> None:
    made = type("Made", (), {"__module__": "__main__"})
    with within_script("job"):
        assert class_name(made) == "job:Made" and script_name() == "job"
    assert class_name(made) != "job:Made"
    imported = type("Made", (), {"__module__": "job"})
    with within_script("job"):
        assert digest(made()) == digest(imported())


def test_rule_is_looked_up_once_per_type() -> None:
    assert rule_of(Config) is rule_of(Config)


class Doubling:
    def __call__(self, x: int) -> int:
        return 2 * x


class Halving:
    def __call__(self, x: int) -> float:
        return x / 2


def test_object_that_is_called_is_its_code_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(Doubling())
    assert digest(Doubling()) == before
    monkeypatch.setattr(Doubling, "__call__", Halving.__call__)
    monkeypatch.setattr("dataflow.hashing.kinds._rules", {})
    assert digest(Doubling()) != before


def test_own_module_is_refused_and_one_of_a_library_is_not() -> None:
    with pytest.raises(NotCacheable, match="module without a version"):
        digest(types.ModuleType("of_my_own"))
    assert digest(pytest) == digest(pytest) != digest(types)


def _double(x: int) -> int:
    return 2 * x


def _half(x: int) -> float:
    return x / 2


def test_functions_are_told_apart_by_their_code() -> None:
    pytest.importorskip("dataflow.code_identity")
    keys = {digest(_double), digest(_half), digest(partial(_double, 1)), digest(partial(_half, 1)),
            digest(Plain(a=1).method), digest(Plain(a=2).method),
            digest(functools.lru_cache(_double))}
    assert len(keys) == 7
    assert digest(_double) == digest(_double)
