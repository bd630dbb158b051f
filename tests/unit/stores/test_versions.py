"""The version of a store: made, refused, brought up."""

from __future__ import annotations

import sqlite3
from array import array
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from dataflow.exceptions import StoreError
from dataflow.outcomes import Code, ErrorRecord, Span
from dataflow.store import CallRecord, ElementRecord, FlowRunRecord, Gulp, SpanRecord
from dataflow.stores import open_store, versions
from dataflow.stores.schema import SCHEMA_VERSION

RUN = "11111111-2222-4333-8444-555555555555"


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


AGENDA = ("deployments", "deployment_versions", "schedules", "queued_runs", "workers", "pools")
EVENTS = ("events", "memory", "sightings", "parcels", "leads")
TO_VERSION_5 = [
    "DROP TRIGGER flow_runs_made", "DROP TRIGGER flow_runs_changed", "DROP INDEX flow_runs_ended",
    *(f"DROP TABLE {table}" for table in EVENTS),
    "ALTER TABLE flow_runs DROP COLUMN alerts",
    *(f"ALTER TABLE {table} DROP COLUMN {column}" for table in ("flow_runs", "spans", "task_runs")
      for column in ("cpu_s", "peak_bytes")),
    "DROP INDEX deployments_reacting",
    "DROP INDEX queued_runs_order", "ALTER TABLE queued_runs DROP COLUMN tags",
    "ALTER TABLE pools DROP COLUMN kind", "ALTER TABLE pools DROP COLUMN template",
    "DROP TABLE pool_queues", "DROP TABLE tag_limits", "UPDATE schema_version SET version = 5",
]
TO_VERSION_4 = [*TO_VERSION_5, *(f"DROP TABLE {table}" for table in AGENDA),
                "UPDATE schema_version SET version = 4"]
TO_VERSION_3 = [
    *TO_VERSION_4,
    *(f"ALTER TABLE calls DROP COLUMN {column}" for column in ("committed", "txn_values")),
    "UPDATE schema_version SET version = 3",
]
TO_VERSION_2 = [
    *TO_VERSION_3,
    *(f"ALTER TABLE flow_runs DROP COLUMN {column}" for column in (
        "entrypoint", "first_call", "epoch", "owner", "lease_until_s", "resumed", "result_key")),
    *(f"ALTER TABLE calls DROP COLUMN {column}" for column in (
        "code", '"partition"', "policy", "storage", "constants")),
    *(f"ALTER TABLE spans DROP COLUMN {column}" for column in ("keys", "origins")),
    *(f"ALTER TABLE task_runs DROP COLUMN {column}" for column in (
        "key", "origin", "due_s", "pickled")),
    "DROP TABLE inputs", "DROP TABLE codes", "UPDATE schema_version SET version = 2",
]


def test_a_store_of_version_2_becomes_like_a_fresh_one_and_keeps_its_rows(path: Path) -> None:
    fresh = tables_in(path)
    store = open_store(path)
    zeros = array("f", bytes(12))
    store.write(RUN, Gulp(
        flow_run=FlowRunRecord(id=RUN, name="n", flow_name="f"),
        calls=[CallRecord(call=0, task_name="t", task_key="t", kind="map", width=4)],
        spans=[SpanRecord(Span(0, range(3), bytearray([8]) * 3, zeros, zeros), 5.0, "w")],
        elements=[ElementRecord(0, 3, int(Code.FAILED), 0.0, 1.0, 1, "w",
                                error=ErrorRecord("E", "m", "t"))],
    ))
    before = store.flow_runs(), store.calls(RUN), store.task_runs(RUN)
    store.close()
    for statement in TO_VERSION_2:
        change(path, statement)
    assert tables_in(path) != fresh
    store = open_store(path)
    assert (tables_in(path), version_in(path)) == (fresh, [(SCHEMA_VERSION,)])
    assert (store.flow_runs(), store.calls(RUN), store.task_runs(RUN)) == before
    (call,) = store.recorded(RUN)
    assert (call.codes, call.errors, call.keyed) == (
        bytearray([8, 8, 8, 10]), {3: ErrorRecord("E", "m", "t")}, False)
    assert store.lease(RUN, "h:1:0", now_s=0.0, until_s=9.0) == 1
    store.close()


@pytest.mark.parametrize("way_down", [TO_VERSION_3, TO_VERSION_4, TO_VERSION_5],
                         ids=["3", "4", "5"])
def test_a_store_of_a_later_version_becomes_like_a_fresh_one(
        path: Path, way_down: list[str]) -> None:
    fresh = tables_in(path)
    for statement in way_down:
        change(path, statement)
    assert tables_in(path) != fresh
    open_store(path).close()
    assert (tables_in(path), version_in(path)) == (fresh, [(SCHEMA_VERSION,)])


def test_a_store_of_version_1_becomes_like_a_fresh_one(path: Path) -> None:
    fresh = tables_in(path)
    for statement in (
        *TO_VERSION_2,
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
