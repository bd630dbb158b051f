"""Parameters in records: bounded JSON, whatever they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataflow.parameters import to_json


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value, shown", [
    (1, 1), ([1, (2,)], [1, [2]]), ({"a": {1: None}}, {"a": {"1": None}}), (float("nan"), "nan"),
    (float("inf"), "inf"), ("é", "é"), (object, "<class 'object'>"),
    (Broken(), "<Broken whose repr raises RuntimeError>"),
])
def test_value_is_shown_as_json_or_as_its_repr(value: Any, shown: Any) -> None:
    assert json.loads(to_json({"x": value})) == {"x": shown}


@pytest.mark.parametrize("parameters", [
    {"x": list(range(1_000_000))}, {"x": "a" * 10_000_000}, {"x": [["b" * 1000] * 900] * 900},
    {f"p{n}": "c" * 5000 for n in range(1000)}, {"x": dict.fromkeys(range(1000), "d" * 300)},
])
def test_record_never_grows_past_its_limit(parameters: dict[str, Any]) -> None:
    text = to_json(parameters)
    assert len(text) <= 64 * 1024 and set(json.loads(text))


def test_container_that_holds_itself_ends() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert len(to_json({"x": loop})) < 1000
