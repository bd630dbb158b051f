"""What makes an event of each change of a flow run's state: triggers of the database.

Lives here: their text for SQLite and PostgreSQL. Does not live here: the table that they
write to (``schema.py``).

Whoever changes a state, a flow's own process, a worker, a statement over many rows, makes
the event in the same transaction, and once: a row that is written again with the same state
makes none.
"""

from __future__ import annotations

from sqlalchemy import Connection

from dataflow.event_log import RUN_RESOURCE, STATE_EVENTS
from dataflow.flow_moves import ENDS

_ENDS = ", ".join(f"'{state}'" for state in sorted(ENDS))
_CHANGED = "OLD.state_type <> NEW.state_type OR OLD.state_name <> NEW.state_name"
_COLUMNS = ("name, resource, flow_run_id, occurred_s, state_type, state_name, message, run_count, "
            "pending")
_NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch FROM clock_timestamp())",
}


def _insertion(now: str) -> str:
    """Return the statement that puts the event of NEW down."""
    return f"""INSERT INTO events ({_COLUMNS}) VALUES (
        '{STATE_EVENTS}' || NEW.state_name, '{RUN_RESOURCE}' || NEW.id, NEW.id,
        CASE
            WHEN NEW.state_type IN ({_ENDS}) AND NEW.end_time_s IS NOT NULL THEN NEW.end_time_s
            WHEN NEW.state_type = 'RUNNING' AND NEW.run_count <= 1
                AND NEW.start_time_s IS NOT NULL THEN NEW.start_time_s
            WHEN NEW.state_name IN ('Scheduled', 'Pending') AND NEW.run_count = 0
                THEN NEW.created_s
            ELSE {now}
        END,
        NEW.state_type, NEW.state_name, NEW.message, NEW.run_count, 1);"""


def make(connection: Connection) -> None:
    """Make the triggers, in the caller's transaction."""
    kind = connection.dialect.name
    insertion = _insertion(_NOW[kind])
    statements = _postgresql(insertion) if kind == "postgresql" else _sqlite(insertion)
    for statement in statements:
        connection.exec_driver_sql(statement)


def _sqlite(insertion: str) -> list[str]:
    return [
        f"""CREATE TRIGGER flow_runs_made AFTER INSERT ON flow_runs
        WHEN NEW.kind = 'flow' BEGIN {insertion} END""",
        f"""CREATE TRIGGER flow_runs_changed AFTER UPDATE OF state_type, state_name ON flow_runs
        WHEN NEW.kind = 'flow' AND ({_CHANGED}) BEGIN {insertion} END""",
    ]


def _postgresql(insertion: str) -> list[str]:
    return [
        f"""CREATE OR REPLACE FUNCTION dataflow_state_event() RETURNS trigger LANGUAGE plpgsql AS
        $event$ BEGIN {insertion} RETURN NULL; END $event$""",
        """CREATE TRIGGER flow_runs_made AFTER INSERT ON flow_runs FOR EACH ROW
        WHEN (NEW.kind = 'flow') EXECUTE FUNCTION dataflow_state_event()""",
        f"""CREATE TRIGGER flow_runs_changed AFTER UPDATE ON flow_runs FOR EACH ROW
        WHEN (NEW.kind = 'flow' AND ({_CHANGED})) EXECUTE FUNCTION dataflow_state_event()""",
    ]
