"""What a user types to mean a run."""

from __future__ import annotations

import pytest

from dataflow.exceptions import RunNotFound
from dataflow.stores.refs import DefaultName, default_name, full_id, id_prefix, only

ID = "11111111-2222-4333-8444-555555555555"


def test_a_whole_id_is_taken_in_any_form() -> None:
    assert full_id(ID.upper()) == full_id(ID.replace("-", "")) == ID
    assert full_id("1111") is None
    assert full_id("x" * 36) is None


@pytest.mark.parametrize(
    ("ref", "prefix"), [("1111", "1111"), ("ABCD-1", "abcd-1"), ("111", None), ("last", None)]
)
def test_a_prefix_has_four_characters_at_least(ref: str, prefix: str | None) -> None:
    assert id_prefix(ref) == prefix


@pytest.mark.parametrize(
    ("ref", "parts"),
    [
        ("load-3fa", DefaultName("load", "3fa", None)),
        ("load-all-3fa[17]", DefaultName("load-all", "3fa", 17)),
        ("load", None), ("load-3fa[]", None), ("load-xyz", None),
    ],
)
def test_a_default_name_is_taken_apart(ref: str, parts: DefaultName | None) -> None:
    assert default_name(ref) == parts


def test_one_match_is_chosen_none_and_several_are_refused() -> None:
    assert only("flow run", "a", [(ID, "a")]) == ID
    with pytest.raises(RunNotFound, match="No flow run answers to 'a'"):
        only("flow run", "a", [])
    with pytest.raises(RunNotFound, match="and 2 more") as caught:
        only("flow run", "a", [(str(n), "a") for n in range(12)])
    assert caught.value.matches == [str(n) for n in range(12)]
