"""URLs of PostgreSQL databases, and which store a location means."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

import dataflow.stores
from dataflow.exceptions import StoreError
from dataflow.postgres import is_postgres, plain_url, shown
from dataflow.stores import open_store


@pytest.mark.parametrize("url, text", [
    ("postgresql://me:pw@host:5/db", "postgresql://me:…@host:5/db"),
    ("postgresql://me:p@w/@host/db", "postgresql://me:…@host/db"),
    ("postgresql://me@host/db", "postgresql://me@host/db"),
    ("postgresql:///db?host=/tmp&password=pw&port=5", "postgresql:///db?host=/tmp&password=…&port=5"),
    ("postgresql://:pw@/db", "postgresql://:…@/db"),
    ("postgresql://host", "postgresql://host"),
    ("other://me:pw@host/db@x", "other://me:…@x"),
])
def test_a_url_is_shown_without_its_password(url: str, text: str) -> None:
    assert shown(url) == text


def test_a_location_is_told_from_that_of_other_stores() -> None:
    urls = ["postgresql://h/d", "postgres://h/d", "postgresql+psycopg://h/d"]
    assert [is_postgres(url) for url in urls] == [True] * 3
    assert [plain_url(url) for url in urls] == ["postgresql://h/d"] * 3
    others = ["postgresql", "sqlite:///x.db", "memory:", "postgres.db", "./postgresql:x"]
    assert [is_postgres(location) for location in others] == [False] * 5


def test_a_store_of_a_third_party_is_found_by_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [EntryPoint("shelf", "builtins:repr", "dataflow.stores")]
    monkeypatch.setattr(dataflow.stores, "entry_points", lambda group, name: [
        point for point in found if (point.group, point.name) == (group, name)])
    assert open_store("shelf://here") == repr("shelf://here")  # type: ignore[comparison-overlap]
    with pytest.raises(StoreError, match="'drawer' is no store") as caught:
        open_store("drawer://me:secret@here/x")
    assert "secret" not in str(caught.value) and "postgresql://" in str(caught.value)
