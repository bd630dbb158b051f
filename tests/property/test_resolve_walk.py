"""The walker against a naive recursive one, over arbitrary nested data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dataflow.resolve import Leaf, has_marker, rebuild, substitute


@dataclass
class Box:
    inside: Any


@dataclass(frozen=True)
class Sealed:
    inside: Any


leaves = st.integers(0, 5).map(Leaf)
keys = st.one_of(st.integers(), st.text(max_size=3), leaves, st.tuples(leaves, st.integers()))
data = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3), leaves),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3), st.sets(keys, max_size=3),
        st.frozensets(keys, max_size=3), inner.map(Box), inner.map(Sealed),
    ), max_leaves=25)


def naive(value: Any) -> Any:
    match value:
        case Leaf():
            return f"v{value.n}"
        case list():
            return [naive(item) for item in value]
        case tuple():
            return tuple(naive(item) for item in value)
        case dict():
            return {naive(k): naive(v) for k, v in value.items()}
        case set() | frozenset():
            return type(value)(naive(item) for item in value)
        case Box() | Sealed():
            return type(value)(naive(value.inside))
    return value


@given(data)
def test_substitute_is_what_naive_recursion_gives(value: Any) -> None:
    assert substitute(value, lambda leaf: f"v{leaf.n}") == naive(value)


@given(data)
def test_marker_is_found_exactly_where_something_changes(value: Any) -> None:
    assert has_marker(value) == (naive(value) != value)
    if not has_marker(value):
        assert substitute(value, lambda leaf: 1 / 0) is value


@given(data)
def test_rebuild_undoes_taking_values_out(value: Any) -> None:
    plain = naive(value)
    taken: list[Any] = []

    def take(leaf: Leaf) -> Leaf:
        taken.append(f"v{leaf.n}")
        return Leaf(len(taken) - 1)

    assert rebuild(substitute(value, take), taken) == plain
