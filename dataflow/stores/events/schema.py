"""The tables of events, beside those of the runs and the agenda.

Lives here: tables, columns and indexes. Does not live here: what writes changes of state
(``state_triggers.py``), statements, the way up from older versions (``stores/versions.py``).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)

from dataflow.event_log import ParcelStatus
from dataflow.stores.schema import metadata

WAITING, DELIVERED, GIVEN_UP = 0, 1, 2
STATUSES: tuple[ParcelStatus, ...] = ("waiting", "delivered", "given up")

events = Table(
    "events",
    metadata,
    Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", Text, unique=True),  # NULL: of a change of state, which has its key alone
    Column("name", Text, nullable=False),
    Column("resource", Text),
    Column("occurred_s", Double, nullable=False),
    Column("flow_run_id", Text),
    Column("payload", Text),  # JSON
    Column("state_type", Text),  # from here on: of changes of state alone
    Column("state_name", Text),
    Column("message", Text),
    Column("run_count", Integer),
    Column("pending", SmallInteger),  # 1; NULL: its consequences were drawn
    Index("events_occurred", "occurred_s"),
    Index("events_run", "flow_run_id"),
    sqlite_autoincrement=True,  # whoever reads on from a key misses nothing when rows were removed
)
pending_events = Index(
    "events_pending", events.c.key, sqlite_where=text("pending = 1"),
)

memory = Table(
    "memory",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

sightings = Table(
    "sightings",
    metadata,
    Column("watch", Text, primary_key=True),
    Column("thing", Text, primary_key=True),
    Column("mark", Text, nullable=False),
    sqlite_with_rowid=False,
)

parcels = Table(
    "parcels",
    metadata,
    Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("alert", Text, nullable=False),
    Column("text", Text, nullable=False),  # JSON
    Column("created_s", Double, nullable=False),
    Column("due_s", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("status", SmallInteger, nullable=False),
    Column("ended_s", Double),
    Index("parcels_due", "status", "due_s"),
)

leads = Table(
    "leads",
    metadata,
    Column("loop", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until_s", Double, nullable=False),
)

TABLES = (events, memory, sightings, parcels, leads)


def for_postgresql() -> None:
    """Say for PostgreSQL which rows the index of pending events has: 20 ms of imports."""
    pending_events.dialect_options["postgresql"]["where"] = text("pending = 1")
