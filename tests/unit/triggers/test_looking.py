"""Which changes concern a place."""

from __future__ import annotations

import pytest

from dataflow.triggers.looking import concerns
from dataflow.triggers.on_file import TEMPORARY


@pytest.mark.parametrize(("url", "path", "expected"), [
    ("/data/in", "/data/in/a.csv", True),
    ("/data/in/", "/data/in/deep/a.csv", True),
    ("/data/in/*.csv", "/data/in/a.csv", True),
    ("/data/in", "/data/in", True),  # the folder itself has come
    ("/data/in/a.csv", "/data/in/a.csv", True),
    ("/data/in/a.csv", "/data/in/b.csv", False),
    ("/data/in", "/data/index/a.csv", False),
    ("/data/in", "/data/other/a.csv", False),
    ("/data/in", "/data/in/.log", False),
    ("/data/in", "/data/in/a.csv.part", False),
    ("/data/in", "/data/in/.git/a.csv", False),
    ("/", "/a.csv", True),
])
def test_a_change_concerns_the_places_in_which_it_counts(
        url: str, path: str, expected: bool) -> None:
    assert concerns(url, TEMPORARY, {path}) is expected
