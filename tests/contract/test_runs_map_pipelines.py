"""Every runner: a pipeline per element, and the results without those that failed."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow import apply_map, filter_results, task, unmapped
from dataflow.exceptions import MappingLengthMismatch, MappingMissingIterable
from tests.runner_support import Play


@task
def add(x: Any, y: Any) -> Any:
    return x + y


@task
def even(x: int) -> int | None:
    if x == 3:
        raise ValueError("three")
    return None if x % 2 else x


def test_apply_map_makes_a_pipeline_per_element(play: Play) -> None:
    def pipeline(x: Any, y: Any, z: Any) -> Any:
        first = add.submit(x, y)
        return add.submit(first, z) if y > 10 else first

    def body() -> Any:
        upstream = add.map([1, 2], 1)
        made = apply_map(pipeline, upstream, [10, 20], unmapped(5))
        return [future.result() for future in made], apply_map(pipeline, [], 1, 2)

    assert play(body) == ([12, 28], [])


def test_apply_map_refuses_what_cannot_be_mapped_before_anything_is_called() -> None:
    called: list[Any] = []
    with pytest.raises(MappingLengthMismatch, match="argument 1 has 2, argument 2 has 1"):
        apply_map(lambda x, y: called.append(x), [1, 2], [3])
    with pytest.raises(MappingMissingIterable, match="no iterable"):
        apply_map(lambda x: called.append(x), "text")
    assert called == []


def test_filter_leaves_out_what_failed_did_not_run_or_is_none(play: Play) -> None:
    def body() -> Any:
        many = even.map(range(5))
        behind = add.map(many, unmapped(1))
        return (filter_results(many).result(), filter_results([many[3], many[4]]).result(),
                filter_results(behind).result(), add.map(filter_results(many), 1).result())

    # None + 1 fails, and what is behind element 3 does not run
    assert play(body) == ([0, 2, 4], [4], [1, 3, 5], [1, 3, 5])
