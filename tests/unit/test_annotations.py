"""Annotations: small values that survive pickle."""

from __future__ import annotations

import copy
import pickle

import pytest

from dataflow.annotations import NotSet, allow_failure, flatten, opaque, quote, unmapped

ALL = [unmapped, allow_failure, quote, opaque, flatten]


@pytest.mark.parametrize("kind", ALL)
def test_annotation_gives_back_what_it_holds_also_after_pickle(kind: type) -> None:
    held = kind([1, 2])
    again = pickle.loads(pickle.dumps(held))
    assert held.unwrap() == held.value == [1, 2]
    assert type(again) is kind and again == held


def test_quote_unquotes() -> None:
    assert quote(5).unquote() == 5


def test_annotations_of_different_kinds_differ() -> None:
    assert unmapped(1) != quote(1)
    assert hash(unmapped(1)) == hash(unmapped(1))
    assert repr(unmapped([1])) == "unmapped([1])"


def test_not_set_stays_one_object() -> None:
    assert pickle.loads(pickle.dumps(NotSet)) is NotSet
    assert copy.deepcopy(NotSet) is NotSet
    assert not NotSet
