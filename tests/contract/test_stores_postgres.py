"""What a run store in PostgreSQL does beyond the contract: versions, errors, connections."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from dataflow.cli import main
from dataflow.exceptions import StoreError, StoreVersionError
from dataflow.outcomes import Code
from dataflow.store import Gulp
from dataflow.stores import open_store
from dataflow.stores.schema import SCHEMA_VERSION
from dataflow.testing.store_contract.records import RUN, call, failed, flow_run, span, with_map
from tests.postgres_support import Server


def connect(url: str) -> Any:
    import psycopg

    return psycopg.connect(url, autocommit=True)


def execute(url: str, *statements: str) -> list[Any]:
    with connect(url) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def layout(url: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return type and nullability of each column, and the definition of each index."""
    columns = execute(url, "SELECT table_name, column_name, data_type, is_nullable FROM "
                           "information_schema.columns WHERE table_schema = 'public'")
    indexes = execute(url, "SELECT tablename, indexname, indexdef, '' FROM pg_indexes "
                           "WHERE schemaname = 'public'")
    return {(table, name): (what, more) for table, name, what, more in [*columns, *indexes]}


TO_VERSION_5 = (
    "DROP TRIGGER flow_runs_made ON flow_runs", "DROP TRIGGER flow_runs_changed ON flow_runs",
    "DROP FUNCTION dataflow_state_event()", "DROP INDEX flow_runs_ended",
    "DROP TABLE events, memory, sightings, parcels, leads",
    "ALTER TABLE flow_runs DROP COLUMN alerts, DROP COLUMN cpu_s, DROP COLUMN peak_bytes",
    "ALTER TABLE spans DROP COLUMN cpu_s, DROP COLUMN peak_bytes",
    "ALTER TABLE task_runs DROP COLUMN cpu_s, DROP COLUMN peak_bytes",
    "DROP INDEX deployments_reacting",
    "ALTER TABLE queued_runs DROP COLUMN tags", "DROP TABLE pool_queues, tag_limits",
    "ALTER TABLE pools DROP COLUMN kind, DROP COLUMN template",
    "UPDATE schema_version SET version = 5",
)
TO_VERSION_4 = (
    *TO_VERSION_5,
    "DROP TABLE deployments, deployment_versions, schedules, queued_runs, workers, pools",
    "UPDATE schema_version SET version = 4",
)
TO_VERSION_3 = (
    *TO_VERSION_4,
    "ALTER TABLE calls DROP COLUMN committed, DROP COLUMN txn_values",
    "UPDATE schema_version SET version = 3",
)
TO_VERSION_2 = (
    *TO_VERSION_3,
    ("ALTER TABLE flow_runs DROP COLUMN entrypoint, DROP COLUMN first_call, DROP COLUMN epoch, "
    "DROP COLUMN owner, DROP COLUMN lease_until_s, DROP COLUMN resumed, DROP COLUMN result_key"),
    ("ALTER TABLE calls DROP COLUMN code, DROP COLUMN partition, DROP COLUMN policy, "
    "DROP COLUMN storage, DROP COLUMN constants"),
    "ALTER TABLE spans DROP COLUMN keys, DROP COLUMN origins",
    ("ALTER TABLE task_runs DROP COLUMN key, DROP COLUMN origin, DROP COLUMN due_s, "
    "DROP COLUMN pickled"),
    "DROP TABLE inputs", "DROP TABLE codes", "UPDATE schema_version SET version = 2",
)
TO_VERSION_1 = (
    "DROP INDEX flow_runs_created", "DROP INDEX flow_runs_parent",
    "DROP INDEX flow_runs_parent_task", "ALTER TABLE flow_runs DROP COLUMN kind",
    "ALTER TABLE flow_runs DROP COLUMN parent_task_run_id",
    "ALTER TABLE calls DROP COLUMN parent",
    "CREATE INDEX flow_runs_created ON flow_runs (created_s)",
    "UPDATE schema_version SET version = 1",
)


@pytest.mark.parametrize("way_down", [
    TO_VERSION_5, TO_VERSION_4, TO_VERSION_3, TO_VERSION_2, TO_VERSION_2 + TO_VERSION_1])
def test_an_older_store_becomes_like_a_fresh_one_and_keeps_its_rows(
    postgres_url: str, way_down: tuple[str, ...]
) -> None:
    store = with_map(open_store(postgres_url), Gulp(spans=[span(range(3))], elements=[failed(7)]))
    fresh = layout(postgres_url)
    before = store.flow_runs(), store.calls(RUN), store.task_runs(RUN)
    store.close()
    execute(postgres_url, *way_down)
    assert layout(postgres_url) != fresh
    store = open_store(postgres_url)
    assert layout(postgres_url) == fresh
    assert execute(postgres_url, "SELECT version FROM schema_version") == [(SCHEMA_VERSION,)]
    assert (store.flow_runs(), store.calls(RUN), store.task_runs(RUN)) == before
    assert list(next(store.recorded(RUN)).codes) == [8, 8, 8, 0, 0, 0, 0, 10]
    store.close()


def test_a_newer_store_is_refused_with_both_versions(postgres_url: str) -> None:
    open_store(postgres_url).close()
    execute(postgres_url, "UPDATE schema_version SET version = 7, written_by = '9.8.0'")
    with pytest.raises(StoreVersionError) as caught:
        open_store(postgres_url)
    assert (caught.value.found, caught.value.supported) == (7, SCHEMA_VERSION)
    assert all(part in str(caught.value)
               for part in ("version 7", f"version {SCHEMA_VERSION}", "9.8.0"))


def test_a_database_of_something_else_is_left_as_it_is(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE customers (id INTEGER)")
    before = layout(postgres_url)
    with pytest.raises(StoreError, match="customers"):
        open_store(postgres_url)
    assert layout(postgres_url) == before


def test_a_store_is_made_once_where_many_open_it_at_once(postgres_url: str) -> None:
    gate, troubles = threading.Barrier(8), []

    def opening() -> None:
        try:
            gate.wait()
            open_store(postgres_url).close()
        except Exception as trouble:  # shown by the assertion below
            troubles.append(trouble)

    threads = [threading.Thread(target=opening) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert execute(postgres_url, "SELECT version FROM schema_version") == [(SCHEMA_VERSION,)]


def test_claims_that_were_there_before_the_store_are_kept(postgres_url: str) -> None:
    from dataflow.claiming.postgres_claims import PostgresClaims

    claims = PostgresClaims(postgres_url)
    claims.take("p", [bytes(16)], "h:1:0", now_s=0.0, lease_s=9.0)
    store = open_store(postgres_url)
    again = store.claims().take("p", [bytes(16)], "h:2:0", now_s=0.0, lease_s=9.0)
    assert again.denied == frozenset({0})
    store.close()
    claims.close()


# errors


@pytest.mark.parametrize("url, reason", [
    ("postgresql://me:secret@127.0.0.1:1/db?connect_timeout=5", "unreachable"),
    ("postgresql+psycopg://me:secret@/db?host=/nowhere/at/all", "unreachable"),
])
def test_a_server_that_cannot_be_reached_is_named_without_the_password(
    url: str, reason: str
) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert caught.value.reason == reason
    assert "me:…@" in str(caught.value) and "DATAFLOW_STORE" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__


def test_a_database_that_is_not_there_is_said(postgres_url: str) -> None:
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    with pytest.raises(StoreError, match="createdb") as caught:
        open_store(postgres_url.replace(name, "nothing_here"))
    assert caught.value.reason == "no database"


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'dataflow\[postgres\]'"):
        open_store("postgresql://me@nowhere/db")


def test_a_user_who_may_only_read_is_told_so(postgres_url: str) -> None:
    open_store(postgres_url).close()
    store = open_store(f"{postgres_url}&options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(StoreError) as caught:
        store.write(RUN, Gulp(flow_run=flow_run()))
    assert caught.value.reason == "read-only"
    assert store.flow_runs() == []
    store.close()


@pytest.mark.slow
def test_a_server_that_stops_is_a_store_error_and_one_that_is_back_is_written_again(
    own_postgres: Server,
) -> None:
    with own_postgres.database() as url:
        store = with_map(open_store(url), Gulp(spans=[span(range(3))]))
        for mode in ("fast", "immediate"):
            own_postgres.stop(mode)
            for ask in (lambda: store.write(RUN, Gulp(elements=[failed(7)])), store.flow_runs,
                        lambda: store.claims().release(1)):
                with pytest.raises(StoreError):
                    ask()
            own_postgres.start()
            assert len(store.task_runs(RUN)) == 3
        store.write(RUN, Gulp(elements=[failed(7)]))
        assert len(store.task_runs(RUN)) == 4
        store.claims().take("p", [bytes(16)], "h:1:0", now_s=0.0, lease_s=9.0)
        store.close()


def test_sessions_that_are_ended_under_a_writer_are_not_noticed(postgres_url: str) -> None:
    store = with_map(open_store(postgres_url))
    for n in range(5):
        execute(postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                              "WHERE datname = current_database() AND pid <> pg_backend_pid()")
        store.write(RUN, Gulp(spans=[span(range(n, n + 1), at_s=float(n))]))
        store.claims().take("p", [bytes([n] * 16)], "h:1:0", now_s=0.0, lease_s=9.0)
    assert len(store.task_runs(RUN)) == 5
    store.close()


def test_writers_that_stand_in_each_others_way_write_again(postgres_url: str) -> None:
    """Two drivers write the same rows in opposite order: the server ends one of them."""
    stores = [open_store(postgres_url) for _ in range(2)]
    stores[0].write(RUN, Gulp(flow_run=flow_run(), calls=[call()]))
    rows = [failed(n, code=int(Code.RUNNING)) for n in range(90)]
    gulps = [Gulp(elements=rows), Gulp(elements=rows[::-1])]
    troubles: list[Exception] = []

    def write(which: int) -> None:
        try:
            for _ in range(4):
                stores[which].write(RUN, gulps[which])
        except Exception as trouble:  # shown by the assertion below
            troubles.append(trouble)

    threads = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    for store in stores:
        store.close()


def test_readers_see_whole_gulps_while_one_writes(postgres_url: str) -> None:
    writer, reader = open_store(postgres_url), open_store(postgres_url)
    with_map(writer)
    done = threading.Event()

    def write() -> None:
        for n in range(60):
            writer.write(RUN, Gulp(
                spans=[span(range(n * 10, n * 10 + 10), at_s=float(n))],
                counts={0: {int(Code.COMPLETED): n * 10 + 10}}))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        (found,) = reader.recorded(RUN)
        assert found.record.counts.get("Completed", 0) == found.codes.count(Code.COMPLETED)
    thread.join()
    writer.close()
    reader.close()


# as a user meets it


def test_the_command_line_reads_the_store_of_the_setting(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = with_map(open_store(postgres_url), Gulp(spans=[span(range(3))]))
    store.close()
    monkeypatch.setenv("DATAFLOW_STORE", postgres_url)
    assert main(["flow-run", "ls", "--json"]) == 0
    assert RUN in capsys.readouterr().out


def test_a_flow_is_recorded_in_the_store_of_the_setting(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataflow import flow, task

    @task
    def double(x: int) -> int:
        return 2 * x

    @flow
    def doubles() -> list[int]:
        found: list[int] = double.map(range(200)).result()
        return found

    monkeypatch.setenv("DATAFLOW_STORE", postgres_url)
    assert doubles() == [2 * n for n in range(200)]
    store = open_store()
    run = store.find_flow_run("last")
    assert (run.state_name, store.calls(run.id)[0].counts) == ("Completed", {"Completed": 200})
    assert store.task_runs(run.id, limit=None, state="Completed")[-1].map_index == 199
    store.close()
