"""The tables of a run store, the same in every database.

Lives here: tables, columns and indexes as SQLAlchemy Core metadata, and the
version they have. Does not live here: statements (``writing.py``,
``reading.py``), how an older version is brought up (``versions.py``), anything
that one database alone understands beyond table options.

Rows name their flow run by a small integer (``flow_runs.key``), not by its
uuid, and texts that repeat (tracebacks, workers) stand once per run in
``texts``, so that an element's row stays at some 50 bytes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA_VERSION = 6
"""Raised by one with each change of the tables; ``versions.py`` holds the way up."""

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("written_by", Text, nullable=False),  # the dataflow that made the tables
)

flow_runs = Table(
    "flow_runs",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("kind", Text, nullable=False),  # "flow", or "task": the inside of a task run
    Column("id", Text, nullable=False, unique=True),
    Column("tail", BigInteger, nullable=False),  # ids.run_tail: leads from a task run id to here
    Column("name", Text, nullable=False),
    Column("flow_name", Text, nullable=False),
    Column("flow_version", Text),
    Column("state_type", Text, nullable=False),
    Column("state_name", Text, nullable=False),
    Column("message", Text),
    Column("parameters", Text, nullable=False),  # JSON
    Column("tags", Text, nullable=False),  # JSON
    Column("created_s", Double, nullable=False),
    Column("start_time_s", Double),
    Column("end_time_s", Double),
    Column("run_count", Integer, nullable=False),
    Column("parent_flow_run_id", Text),  # of an inside: the flow run that users see
    Column("parent_task_run_id", Text),
    Column("runner", Text),
    Column("dashboard_link", Text),
    Column("host", Text),
    Column("pid", Integer),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("traceback", Text),
    Column("entrypoint", Text),
    Column("first_call", Integer, nullable=False, server_default=text("0")),
    Column("epoch", Integer, nullable=False, server_default=text("0")),  # of the last lease
    Column("owner", Text),  # host:pid:start of the process that has the lease
    Column("lease_until_s", Double),
    Column("resumed", Integer, nullable=False, server_default=text("0")),
    Column("result_key", LargeBinary),
    Column("alerts", Text),  # JSON: those that its flow brings
    Column("cpu_s", Double),
    Column("peak_bytes", BigInteger),
    Column("result_place", Text),  # JSON: storage and partition of what the flow returned
    Index("flow_runs_tail", "tail"),
    Index("flow_runs_name", "name"),
    Index("flow_runs_created", "kind", "created_s"),
    Index("flow_runs_parent", "parent_flow_run_id"),
    Index("flow_runs_parent_task", "parent_task_run_id"),
    Index("flow_runs_ended", "flow_name", "end_time_s"),
)

calls = Table(
    "calls",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("call", Integer, primary_key=True, autoincrement=False),
    Column("task_name", Text, nullable=False),
    Column("task_key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("width", BigInteger),  # NULL while unknown
    Column("tags", Text, nullable=False),  # JSON
    Column("upstream", Text, nullable=False),  # JSON
    Column("created_s", Double, nullable=False),
    Column("parent", Integer),  # the direct call whose task run made this one
    Column("counts", Text),  # JSON: code → elements; NULL: none were told yet
    Column("fault", Text),  # why it failed as a whole
    Column("code", Text),  # codes.digest
    Column("partition", Text),
    Column("policy", Text),
    Column("storage", Text),
    Column("constants", Text),  # JSON
    Column("committed", SmallInteger),  # 1: by a transaction
    Column("txn_values", LargeBinary),  # pickled
    sqlite_with_rowid=False,
)

spans = Table(
    "spans",
    metadata,
    # in the order of recording: the first word on an element counts
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("call", Integer, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("code", SmallInteger),  # of all its elements; NULL: the blob holds one each
    Column("index_size", SmallInteger, nullable=False),  # bytes an index in the blob; 0: neighbours
    Column("worker", BigInteger),  # texts.digest
    Column("started_s", Double, nullable=False),
    Column("packed", LargeBinary, nullable=False),  # late: its bytes lie on overflow pages
    Column("keys", LargeBinary),  # 16 bytes an element; NULL: none has a key
    Column("origins", Text),  # JSON: runs that CACHED elements come from
    Column("cpu_s", Double),  # of all its elements together
    Column("peak_bytes", BigInteger),
    UniqueConstraint("run", "call", "first", "started_s"),
)

ranges = Table(
    "ranges",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("call", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("stop", BigInteger, nullable=False),
    Column("code", SmallInteger, nullable=False),
    Column("time_s", Double, nullable=False),
    Column("message", Text),
    Column("cause_call", Integer),
    Column("cause_index", BigInteger),
    sqlite_with_rowid=False,
)

task_runs = Table(
    "task_runs",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("call", Integer, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("code", SmallInteger, nullable=False),
    Column("started_s", Double),
    Column("ended_s", Double),
    Column("attempts", Integer, nullable=False),
    Column("worker", BigInteger),  # texts.digest
    Column("name", Text),  # NULL: the default name, computed
    Column("error_type", Text),
    Column("error_message", Text),
    Column("traceback", BigInteger),  # texts.digest
    Column("message", Text),
    Column("cause_call", Integer),
    Column("cause_index", BigInteger),
    Column("key", LargeBinary),
    Column("origin", Text),
    Column("due_s", Double),  # of a retry
    Column("pickled", LargeBinary),  # the exception, where it is small
    Column("cpu_s", Double),
    Column("peak_bytes", BigInteger),
    sqlite_with_rowid=False,
)
named_task_runs = Index(
    "task_runs_name",
    task_runs.c.name,
    sqlite_where=text("name IS NOT NULL"),  # postgres.py says it for its own: 20 ms of imports
)

attempts = Table(
    "attempts",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("call", Integer, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("started_s", Double, nullable=False),
    Column("elapsed_s", Double, nullable=False),
    Column("code", SmallInteger, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("traceback", BigInteger),  # texts.digest
    sqlite_with_rowid=False,
)

logs = Table(
    "logs",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("time_s", Double, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),  # among equal times
    Column("call", Integer, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("checksum", BigInteger, primary_key=True, autoincrement=False),  # CRC-32 of the message
    Column("level", Integer, nullable=False),
    Column("logger", Text, nullable=False),
    Column("message", Text, nullable=False),
    sqlite_with_rowid=False,  # clustered by time: appended when written, in order when read
)

texts = Table(
    "texts",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("digest", BigInteger, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)

inputs = Table(
    "inputs",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("parameters", LargeBinary, nullable=False),  # pickled
)

codes = Table(
    "codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("text", Text, nullable=False),  # JSON: what went into the digest
)
