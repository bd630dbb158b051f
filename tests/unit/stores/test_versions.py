"""The version of a store: made, refused, brought up."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from dataflow.exceptions import StoreError
from dataflow.stores import open_store, versions
from dataflow.stores.schema import SCHEMA_VERSION


def version_in(path: Path) -> list[tuple[int]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT version FROM schema_version").fetchall()
    connection.close()
    return found


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dataflow.db"
    open_store(path).close()
    return path


def test_a_fresh_store_has_the_version_of_the_schema(path: Path) -> None:
    assert version_in(path) == [(SCHEMA_VERSION,)]
    open_store(path).close()
    assert version_in(path) == [(SCHEMA_VERSION,)]


def test_an_older_store_goes_up_step_by_step_in_one_transaction(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE one (a)"))

    def second(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE one ADD COLUMN b"))

    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (a)"))
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    change(path, "UPDATE schema_version SET version = 1")
    monkeypatch.setattr(versions, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(versions, "MIGRATIONS", {1: first, 2: broken})
    with pytest.raises(StoreError, match="nowhere"):
        open_store(path)
    assert version_in(path) == [(1,)]
    monkeypatch.setattr(versions, "MIGRATIONS", {1: first, 2: second})
    open_store(path).close()
    assert version_in(path) == [(3,)]
    change(path, "INSERT INTO one (a, b) VALUES (1, 2)")


def tables_in(path: Path) -> dict[str, set[str]]:
    """Return the columns of each table and index."""
    connection = sqlite3.connect(path)
    names = connection.execute("SELECT name, type FROM sqlite_master").fetchall()
    found = {
        name: {str(row[1 if kind == "table" else 2])
               for row in connection.execute(f"PRAGMA {kind}_info({name})")}
        for name, kind in names}
    connection.close()
    return found


def test_a_store_of_version_1_becomes_like_a_fresh_one(path: Path) -> None:
    fresh = tables_in(path)
    for statement in (
        "DROP INDEX flow_runs_created", "DROP INDEX flow_runs_parent",
        "DROP INDEX flow_runs_parent_task", "ALTER TABLE flow_runs DROP COLUMN kind",
        "ALTER TABLE flow_runs DROP COLUMN parent_task_run_id",
        "ALTER TABLE calls DROP COLUMN parent",
        "CREATE INDEX flow_runs_created ON flow_runs (created_s)",
        "UPDATE schema_version SET version = 1",
    ):
        change(path, statement)
    assert tables_in(path) != fresh
    open_store(path).close()
    assert tables_in(path) == fresh
    assert version_in(path) == [(SCHEMA_VERSION,)]


@pytest.mark.parametrize("statement", [
    "UPDATE schema_version SET version = 0", "DELETE FROM schema_version",
])
def test_a_version_from_which_no_way_leads_up_is_refused(path: Path, statement: str) -> None:
    change(path, statement)
    before = version_in(path)
    with pytest.raises(StoreError, match="from which no way leads"):
        open_store(path)
    assert version_in(path) == before
