"""Which version a store has, and the way up from an older one.

Lives here: making the tables of a fresh store, refusing a store of a newer
version, the place of migrations. Does not live here: the tables
(``schema.py``), opening files (``sqlite.py``).

A change of the tables raises ``schema.SCHEMA_VERSION`` and adds a step to
:data:`MIGRATIONS`. A step that needs alembic's operations imports alembic
inside itself, so that a store that is up to date never pays for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Double, LargeBinary, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from dataflow import __version__
from dataflow.exceptions import StoreError, StoreVersionError
from dataflow.stores.schema import SCHEMA_VERSION, metadata, schema_version


def _children(connection: Connection) -> None:
    """To version 2: what task runs ran themselves, and whose children runs are."""
    for statement in (
        "ALTER TABLE flow_runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'flow'",
        "ALTER TABLE flow_runs ADD COLUMN parent_task_run_id TEXT",
        "ALTER TABLE calls ADD COLUMN parent INTEGER",
        "DROP INDEX flow_runs_created",
        "CREATE INDEX flow_runs_created ON flow_runs (kind, created_s)",
        "CREATE INDEX flow_runs_parent ON flow_runs (parent_flow_run_id)",
        "CREATE INDEX flow_runs_parent_task ON flow_runs (parent_task_run_id)",
    ):
        connection.execute(text(statement))


def _resume(connection: Connection) -> None:
    """To version 3: cache keys, leases, and what a resumed run needs."""
    blob = LargeBinary().compile(connection.dialect)
    double = Double().compile(connection.dialect)
    for table, columns in (
        ("flow_runs", (
            "entrypoint TEXT", "first_call INTEGER NOT NULL DEFAULT 0",
            "epoch INTEGER NOT NULL DEFAULT 0", "owner TEXT", f"lease_until_s {double}",
            "resumed INTEGER NOT NULL DEFAULT 0", f"result_key {blob}",
        )),
        ("calls", ("code TEXT", '"partition" TEXT', "policy TEXT", "storage TEXT",
                   "constants TEXT")),
        ("spans", (f"keys {blob}", "origins TEXT")),
        ("task_runs", (f"key {blob}", "origin TEXT", f"due_s {double}", f"pickled {blob}")),
    ):
        for column in columns:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column}"))
    for statement in (
        f"CREATE TABLE inputs (run INTEGER NOT NULL PRIMARY KEY, parameters {blob} NOT NULL)",
        "CREATE TABLE codes (digest TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL)",
    ):
        connection.execute(text(statement))


def _transactions(connection: Connection) -> None:
    """To version 4: what transactions committed."""
    blob = LargeBinary().compile(connection.dialect)
    for column in ("committed SMALLINT", f"txn_values {blob}"):
        connection.execute(text(f"ALTER TABLE calls ADD COLUMN {column}"))


def _agenda(connection: Connection) -> None:
    """To version 5: deployments, schedules, the queue of runs."""
    from dataflow.stores.agenda.schema import TABLES, for_postgresql

    if connection.dialect.name == "postgresql":
        for_postgresql()
    metadata.create_all(connection, tables=list(TABLES), checkfirst=False)


def _unattended(connection: Connection) -> None:
    """To version 6: events, alerts of runs, what runs used, runs in the place of a schedule's."""
    from dataflow.stores.events import state_triggers
    from dataflow.stores.events.schema import TABLES, for_postgresql

    double = Double().compile(connection.dialect)
    for table, columns in (
        ("flow_runs", ("alerts TEXT", f"cpu_s {double}", "peak_bytes BIGINT",
                       "result_place TEXT")),
        ("spans", (f"cpu_s {double}", "peak_bytes BIGINT")),
        ("task_runs", (f"cpu_s {double}", "peak_bytes BIGINT")),
        ("queued_runs", ('"trigger" TEXT', "slot_of TEXT", "retry SMALLINT")),
    ):
        _add_columns(connection, table, columns)
    connection.execute(text(
        "CREATE INDEX IF NOT EXISTS queued_runs_slot_of ON queued_runs (deployment, slot_s) "
        "WHERE slot_of IS NOT NULL"))
    connection.execute(text("CREATE INDEX flow_runs_ended ON flow_runs (flow_name, end_time_s)"))
    if connection.dialect.name == "postgresql":
        for_postgresql()
    metadata.create_all(connection, tables=list(TABLES), checkfirst=False)
    state_triggers.make(connection)
    _limits(connection)


def _limits(connection: Connection) -> None:
    """To version 6, too: work pools of a kind, queues and tags with limits."""
    from dataflow.stores.agenda import schema as agenda

    _add_columns(connection, "pools", ("kind TEXT NOT NULL DEFAULT 'process'", "template TEXT"))
    _add_columns(connection, "queued_runs", ("tags TEXT NOT NULL DEFAULT ''",))
    metadata.create_all(connection, tables=list(agenda.LATER_TABLES), checkfirst=False)
    for index in (*agenda.queued_runs.indexes, *agenda.deployments.indexes):
        index.create(connection, checkfirst=True)
    rows = connection.execute(text(
        "SELECT q.key, f.tags FROM queued_runs q JOIN flow_runs f ON f.id = q.flow_run_id "
        "WHERE q.phase <> :ended AND f.tags <> '[]'"), {"ended": agenda.ENDED}).all()
    if rows:
        connection.execute(
            text("UPDATE queued_runs SET tags = :tags WHERE key = :key"),
            [{"key": row.key, "tags": agenda.tag_text(json.loads(row.tags))} for row in rows])


def _add_columns(connection: Connection, table: str, columns: Sequence[str]) -> None:
    """Add columns, but for those that are there: a step before this one may have made the table."""
    there = {column["name"] for column in inspect(connection).get_columns(table)}
    for column in columns:
        if column.partition(" ")[0].strip('"') not in there:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column}"))


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _children, 2: _resume, 3: _transactions, 4: _agenda, 5: _unattended}
"""Version → what turns its tables into those of the next; run in the caller's transaction."""


_CLAIMS = "claims"  # beside the tables of a store in PostgreSQL, made by whoever claims first


def is_current(connection: Connection, path: str) -> bool:
    """Tell whether a store can be used as it is; False where :func:`bring_up` is due.

    Raises
    ------
    StoreVersionError
        It was written by a newer version; nothing was touched.
    """
    query = select(schema_version)
    try:
        with connection.begin_nested():  # PostgreSQL goes on after an error no other way
            found = connection.execute(query).one_or_none()
    except DBAPIError:
        if not inspect(connection).has_table(schema_version.name):
            return False
        found = connection.execute(query).one_or_none()  # made by another a moment ago?
    if found is None:
        return False
    if found.version > SCHEMA_VERSION:
        raise StoreVersionError(
            f"The run store {path} has version {found.version} (made by dataflow "
            f"{found.written_by}); this is dataflow {__version__}, which reads up to version "
            f"{SCHEMA_VERSION}. Nothing was changed. Upgrade dataflow, or set DATAFLOW_HOME "
            "to another folder.",
            path=path, found=found.version, supported=SCHEMA_VERSION,
        )
    return bool(found.version == SCHEMA_VERSION)


def bring_up(connection: Connection, path: str) -> None:
    """Make the tables of a fresh store, or migrate an older one, in one write transaction."""
    if is_current(connection, path):
        return  # another process was first
    tables = set(inspect(connection).get_table_names()) - {_CLAIMS}
    if not tables:
        _create(connection)
    elif schema_version.name not in tables:
        raise StoreError(
            f"{path} is a database, but no run store: it has the tables "
            f"{', '.join(sorted(tables)[:5])}. Nothing was changed. Name another one.",
            path=path, reason="foreign",
        )
    else:
        _migrate(connection, path)
    connection.execute(schema_version.delete())
    connection.execute(
        insert(schema_version).values(version=SCHEMA_VERSION, written_by=__version__)
    )


def _create(connection: Connection) -> None:
    """Make all tables of a fresh store; those beside the runs join the metadata by import."""
    from dataflow.stores.agenda import schema as agenda_schema
    from dataflow.stores.events import schema as events_schema
    from dataflow.stores.events import state_triggers

    if connection.dialect.name == "postgresql":
        agenda_schema.for_postgresql()
        events_schema.for_postgresql()
    metadata.create_all(connection, checkfirst=False)
    state_triggers.make(connection)


def _migrate(connection: Connection, path: str) -> None:
    version = connection.execute(select(schema_version.c.version)).scalar_one_or_none()
    while version is None or version < SCHEMA_VERSION:
        if version not in MIGRATIONS:
            raise StoreError(
                f"The run store {path} has version {version}, from which no way leads to version "
                f"{SCHEMA_VERSION}. Nothing was changed. Move it away, or name another.",
                path=path, reason="version",
            )
        MIGRATIONS[version](connection)
        version += 1
