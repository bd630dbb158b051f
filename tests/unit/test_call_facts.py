"""What the record of a call says of its cache keys, and how it is read back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from dataflow.batch import (
    Aligned,
    CallCode,
    Const,
    ItemOf,
    Items,
    One,
    Source,
    TaskCode,
    Tree,
    Whole,
)
from dataflow.caching import Caching
from dataflow.call_facts import TOO_LARGE, CallFacts, Input, facts_of, read_facts
from dataflow.call_inputs import MAPPED
from dataflow.hashing import leaves
from dataflow.serializers import PickleSerializer
from dataflow.store import CallRow


class _Storage:
    location = "somewhere"


def code(policy: str = "INPUTS", mapped: bool = False, refresh: bool = False,
         named: str | None = None, **sources: Source) -> CallCode:
    caching = Caching(_Storage(), PickleSerializer(), "load-1", None,  # type: ignore[arg-type]
                      named=named, policy=policy, refresh=refresh, code="ab")
    task = TaskCode("t", len, "load", caching=caching)
    return CallCode(3, task, (), dict(sources), (), mapped)


def read(code: CallCode, *direct: Any) -> CallFacts:
    return read_facts(CallRow(
        call=3, task_name="load", task_key="k", kind="map", width=1, tags=(), upstream=(),
        created=datetime(2026, 1, 1, tzinfo=UTC), counts={}, **facts_of(code, *direct)))


def test_a_call_that_keeps_nothing_records_nothing() -> None:
    assert facts_of(CallCode(0, TaskCode("t", len, "load"), (Const(1),), {}, ("x",), False)) == {}


def test_constants_are_leaves_and_other_arguments_say_where_they_come_from() -> None:
    facts = read(code(cfg=Const({"rate": 0.1}), x=Items(), y=Aligned(1), z=One(2, 4),
                      u=ItemOf(5), v=Whole(6), w=Tree([], ())))
    assert facts.leaves == tuple(leaves({"rate": 0.1}, name="cfg"))
    assert facts.inputs == (
        Input("x", MAPPED), Input("y", "aligned", 1), Input("z", "one", 2, 4),
        Input("u", "item", 5), Input("v", "whole", 6), Input("w", "made"))


@pytest.mark.parametrize("value", [np.zeros(1 << 18), list(range(20_000)), "x" * (2 << 20)])
def test_a_large_constant_is_not_looked_into(value: Any) -> None:
    assert read(code(x=Const(value))).inputs == (Input("x", TOO_LARGE),)


@pytest.mark.parametrize("value", [1, -2.5, True, None, "text", "it's", "", "x" * 49, "x" * 70,
                                   float("nan"), 10**80, "\x00\u2028"])
def test_a_scalar_is_the_leaf_that_hashing_makes_of_it(value: Any) -> None:
    assert read(code(x=Const(value))).leaves == tuple(leaves(value, name="x"))


def test_a_direct_call_has_the_arguments_themselves() -> None:
    assert read(code(), (), {"x": 1}).leaves == tuple(leaves(1, name="x"))


@pytest.mark.parametrize(("policy", "parts", "excluded", "by_user"), [
    ("INPUTS + TASK_SOURCE", ("INPUTS", "TASK_SOURCE"), set(), ()),
    ("INPUTS - 'now' - 'log' + RUN_ID", ("INPUTS", "RUN_ID"), {"now", "log"}, ()),
    ("cache_key_fn 'mine'", ("cache_key_fn 'mine'",), set(), ("cache_key_fn 'mine'",)),
    ("INPUTS + ByDay", ("INPUTS", "ByDay"), set(), ("ByDay",)),
])
def test_a_policy_is_read_back_from_its_text(
    policy: str, parts: tuple[str, ...], excluded: set[str], by_user: tuple[str, ...]
) -> None:
    facts = read(code(policy))
    assert (facts.policy, facts.parts, facts.excluded, facts.by_user) == (
        policy, parts, excluded, by_user)
    assert not facts.counts_nothing


def test_refresh_a_name_and_no_cache_are_read_back() -> None:
    facts = read(code("NO_CACHE", refresh=True, named="out-{parameters[x]}.pkl"))
    assert facts.refresh and facts.named == "'out-{parameters[x]}.pkl'"
    assert not facts.counts_nothing
    assert read(code("NO_CACHE")).counts_nothing
