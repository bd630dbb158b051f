"""Identities as values: JSON, and what differs between two of them."""

import pytest

from dataflow.code_identity import CodeIdentity, changed_parts, code_identity
from tests.unit.code_identity.user_code import define

SOURCE = """
    RATE = 1
    def parse(x):
        return x
    def load(x, k=1):
        return parse(x) * RATE * k
"""


def identity_of(source):
    return code_identity(define(source).load)


def test_identity_survives_json():
    identity = identity_of(SOURCE)
    assert CodeIdentity.from_json(identity.to_json()) == identity


@pytest.mark.parametrize("text", ["{}", "[]", '{"digest": "zz", "parts": []}', "3", "nothing",
                                  '{"digest": "00", "parts": [[1]]}'])
def test_text_that_is_no_identity_is_refused(text):
    with pytest.raises(ValueError):
        CodeIdentity.from_json(text)


def test_no_change_is_told_of_equal_identities():
    assert changed_parts(identity_of(SOURCE), identity_of(SOURCE)) == []


def test_constant_that_changed_is_told_with_both_values():
    assert changed_parts(identity_of(SOURCE), identity_of(SOURCE.replace("RATE = 1", "RATE = 2"))
                         ) == ["constant `RATE` 1 → 2"]


def test_helper_that_changed_is_told_with_a_diff():
    other = identity_of(SOURCE.replace("return x\n", "return -x\n"))
    assert changed_parts(identity_of(SOURCE), other) == [
        ("helper `parse` changed:\n--- before\n+++ now\n@@ -1,2 +1,2 @@\n def parse(x):\n"
         "-    return x\n+    return -x")]


def test_parts_that_came_and_went_are_told():
    other = identity_of(SOURCE.replace("parse(x) * RATE", "x * max(1, 2)"))
    assert changed_parts(identity_of(SOURCE), other)[1:] == [
        "constant `RATE` is gone", "helper `parse` is gone"]
    assert changed_parts(other, identity_of(SOURCE))[1:] == [
        "constant `RATE` is new", "helper `parse` is new"]


def test_default_that_changed_is_told_beside_the_function():
    other = identity_of(SOURCE.replace("k=1", "k=2"))
    assert changed_parts(identity_of(SOURCE), other)[1] == "default `load(k)` 1 → 2"


def test_library_of_another_version_is_told(monkeypatch):
    from dataflow.code_identity import graph

    source = "import numpy as np\ndef load(x): return np.mean(x)\n"
    found = []
    for version in ("1.26", "2.0"):
        monkeypatch.setattr(graph, "distribution_of",
                            lambda top, version=version: (top, version))
        found.append(identity_of(source))
    assert changed_parts(*found) == ["library numpy 1.26 → 2.0"]
