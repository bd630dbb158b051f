"""The tables of an agenda, beside those of the runs.

Lives here: tables, columns and indexes. Does not live here: statements on them,
the tables of runs (``stores/schema.py``), the way up from older versions
(``stores/versions.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from dataflow.agenda import Phase
from dataflow.stores.schema import metadata

WAITING, TAKEN, ENDED = 0, 1, 2
PHASES: tuple[Phase, ...] = ("waiting", "taken", "ended")

REACTING = " OR ".join(
    f"replace(deployments.spec, '{each}', '') <> deployments.spec"
    for each in ('"triggers": [{', '"after": "'))
"""What holds of a deployment whose spec names triggers or ``after``, perhaps of some more: word
for word, so that the index of these is used."""

_REACTING_THERE = f"there = 1 AND ({REACTING.replace('deployments.', '')})"

deployments = Table(
    "deployments",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),  # flow/deployment; one that is not deleted has it
    Column("flow_name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("spec", Text, nullable=False),  # JSON, the last one put
    Column("paused", SmallInteger, nullable=False),
    Column("pool", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("run_limit", Integer),
    Column("collision", Text, nullable=False),
    Column("on_crash", Text, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("updated_s", Double, nullable=False),
    Column("deleted_s", Double),
    Column("there", SmallInteger),  # 1; NULL: it was deleted, and another may have its name
    UniqueConstraint("name", "there"),
    # asked for every second, of 10,000 that have none as well
    Index("deployments_reacting", "name", sqlite_where=text(_REACTING_THERE)),
)

versions = Table(
    "deployment_versions",
    metadata,
    Column("deployment", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("label", Text),
    Column("digest", Text, nullable=False),
    Column("spec", Text, nullable=False),  # JSON
    Column("provenance", Text, nullable=False),  # JSON
    Column("created_s", Double, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("deployment", Integer, nullable=False),
    Column("slug", Text, nullable=False),
    Column("spec", Text, nullable=False),  # JSON
    Column("active", SmallInteger, nullable=False),
    Column("made_s", Double, nullable=False),
    Column("handled_s", Double),
    Column("next_s", Double),  # NULL: it rests, or nothing more comes
    UniqueConstraint("deployment", "slug"),
    Index("schedules_next", "next_s"),
    sqlite_autoincrement=True,  # queued runs keep the key of one that is gone: it is not used again
)

_IN_PLACE = "slot_of IS NOT NULL"

queued_runs = Table(
    "queued_runs",
    metadata,
    Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("flow_run_id", Text, nullable=False, unique=True),
    Column("deployment", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("schedule", Integer),
    Column("slot_s", Double),
    Column("slot_of", Text),  # slug of the schedule whose slot it stands for, not made by it
    Column("idempotency_key", Text),
    Column("parameters", Text, nullable=False),  # JSON
    Column("pool", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_s", Double, nullable=False),
    Column("phase", SmallInteger, nullable=False),
    Column("serial", SmallInteger, nullable=False),  # 1: not beside another of its schedule
    Column("worker", Text),
    Column("taken_until_s", Double),
    Column("tries", Integer, nullable=False),
    Column("cancel", SmallInteger, nullable=False),
    Column("cause", Text),
    Column("tags", Text, nullable=False, server_default=text("''")),  # see tag_text
    Column("trigger", Text),  # JSON: the event that made it
    Column("retry", SmallInteger),  # 1: what failed in it runs again
    UniqueConstraint("schedule", "slot_s"),  # a slot makes one run
    UniqueConstraint("deployment", "idempotency_key"),
    Index("queued_runs_next", "phase", "pool", "due_s"),
    Index("queued_runs_deployment", "deployment", "phase", "due_s"),
    # in the order in which they are taken, with all that says whether one may be: 100,000 that
    # wait are walked through in the index alone
    Index("queued_runs_order", "phase", "pool", "queue", "priority", "due_s", "key", "deployment",
          "schedule", "serial", "tags"),
    Index("queued_runs_slot_of", "deployment", "slot_s", sqlite_where=text(_IN_PLACE)),
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("pool", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("run_limit", Integer),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_s", Double, nullable=False),
    Column("seen_s", Double, nullable=False),
    Column("status", Text, nullable=False),
)

pools = Table(
    "pools",
    metadata,
    Column("name", Text, primary_key=True),
    Column("run_limit", Integer),
    Column("paused", SmallInteger, nullable=False),
    Column("kind", Text, nullable=False, server_default=text("'process'")),
    Column("template", Text),  # JSON
)

queues = Table(
    "pool_queues",
    metadata,
    Column("pool", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("run_limit", Integer),
)

tag_limits = Table(
    "tag_limits",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("run_limit", Integer, nullable=False),
)

TABLES = (deployments, versions, schedules, queued_runs, workers, pools)
"""Those of version 5, where agendas began."""

LATER_TABLES = (queues, tag_limits)
"""Those that came with version 6."""


def tag_text(tags: Iterable[str]) -> str:
    """Return tags as one text, ``/db/prod/``, in which each is found by :func:`tag_mark`."""
    marked = "".join(f"{quote(tag, safe='')}/" for tag in sorted(tags))
    return f"/{marked}" if marked else ""


def tag_mark(tag: str) -> str:
    """Return what stands in the text of tags that have this one."""
    return f"/{quote(tag, safe='')}/"


def for_postgresql() -> None:
    """Say for PostgreSQL which rows an index of some of them has: 20 ms of imports."""
    for index in (*queued_runs.indexes, *deployments.indexes):
        where = index.dialect_options["sqlite"]["where"]
        if where is not None:
            index.dialect_options["postgresql"]["where"] = where
