"""Deep, shared and cyclic values: finished, quick, and by value."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import pytest

from dataflow.exceptions import NotCacheable
from dataflow.hashing import digest
from dataflow.hashing import walk as walk_module


@dataclass
class Node:
    name: str
    next: Any = None
    back: Any = None


def deep(levels: int, inner: Any) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.parametrize("wrap", [
    lambda x: [x], lambda x: (x, 1), lambda x: {"a": x}, lambda x: Node("n", x),
    lambda x: frozenset([x]),
])
def test_nesting_of_10_000_levels_is_told_apart_at_its_bottom(wrap: Any) -> None:
    keys = []
    for bottom in (1, 2, 1):
        value: Any = bottom
        for _ in range(10_000):
            value = wrap(value)
        keys.append(digest(value) if not isinstance(value, frozenset) else digest([value]))
    assert keys[0] == keys[2] != keys[1]


def test_100_000_levels_are_not_too_many() -> None:
    assert digest(deep(100_000, 1)) != digest(deep(100_001, 1))


def test_path_to_a_part_10_000_levels_down_is_shortened_in_its_middle() -> None:
    with pytest.raises(NotCacheable) as caught:
        digest(deep(10_000, iter([])), name="x")
    assert caught.value.path.startswith("x[0][0]") and " … " in caught.value.path
    assert len(caught.value.path) < 500


def test_shared_parts_do_not_multiply_the_work() -> None:
    value: Any = [1, "a"]
    for _ in range(200):
        value = [value, value]
    began = time.perf_counter()
    digest(value)
    assert time.perf_counter() - began < 5


def test_shared_part_is_as_an_equal_copy() -> None:
    part = [1, [2, {"a": (3, [4])}]]
    assert digest([part, part]) == digest([part, copy.deepcopy(part)])
    assert digest({"a": part, "b": part}) == digest({"b": copy.deepcopy(part), "a": part})


def test_content_of_a_hook_is_not_mixed_up_with_another_at_the_same_address() -> None:
    class Hooked:
        def __init__(self, n: int) -> None:
            self.n = n

        def __dataflow_hash__(self) -> Any:
            return [[self.n], [str(self.n)]]  # gone after the look at it

    assert len({digest(Hooked(n)) for n in range(50)}) == 50
    assert digest([Hooked(n) for n in range(500)]) == digest([Hooked(n) for n in range(500)])
    assert digest([Hooked(1), Hooked(2)]) != digest([Hooked(1), Hooked(1)])


def test_cycles_have_a_digest_that_says_where_they_go() -> None:
    itself: list[Any] = []
    itself.append(itself)
    beside: list[Any] = [[]]
    beside[0].append(beside)
    inner: list[Any] = [[]]
    inner[0].append(inner[0])
    keys = {digest(itself), digest(beside), digest(inner), digest([]), digest([[]])}
    assert len(keys) == 5
    assert digest(copy.deepcopy(itself)) == digest(itself)


def test_cycle_through_dict_and_objects_is_found() -> None:
    def ring(last: str) -> Node:
        first = Node("a")
        first.next = Node("b", {"c": Node(last, first)})
        return first

    assert digest(ring("c")) == digest(ring("c")) != digest(ring("d"))


def test_cyclic_part_is_the_same_shared_or_copied() -> None:
    def cyclic() -> list[Any]:
        value: list[Any] = [1]
        value.append([value])
        return value

    shared = cyclic()
    assert digest([shared, shared]) == digest([cyclic(), cyclic()])
    outer: list[Any] = [shared, shared]
    other: list[Any] = [cyclic(), cyclic()]
    for _ in range(30):
        outer, other = [outer, outer], [other, other]
    assert digest(outer) == digest(other)


def test_cycle_is_the_same_whichever_part_of_it_was_seen_before() -> None:
    def pair() -> tuple[list[Any], list[Any]]:
        a: list[Any] = ["a"]
        b: list[Any] = ["b", a]
        a.append(b)
        return a, b

    a, b = pair()
    assert digest([a, b]) == digest([pair()[0], pair()[1]])
    assert digest([b, a, b]) == digest([pair()[1], a, b])


def test_doubly_linked_list_of_10_000_is_no_problem() -> None:
    def chain(last: str) -> Node:
        first = node = Node("0")
        for n in range(1, 10_000):
            node.next = Node(str(n), back=node)
            node = node.next
        node.name = last
        return first

    assert digest(chain("x")) == digest(chain("x")) != digest(chain("y"))


def test_too_entangled_a_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "_MOST_REVISITS", 1000)
    graph = [Node(str(n)) for n in range(30)]
    for node in graph:
        node.next = graph.copy()
    with pytest.raises(NotCacheable, match="too many cycles"):
        digest(graph, name="graph")
