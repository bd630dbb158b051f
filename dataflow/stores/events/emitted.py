"""Events that come with the records of a run, as lines of its log.

Lives here: telling them from the other lines, their rows, the statement that puts them down.
Does not live here: who makes such lines (``dataflow/events.py``), events that are emitted
outside of runs (``log.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Dialect, Table, bindparam

from dataflow.outcomes import EVENTS, LogLine
from dataflow.stores.events.schema import events
from dataflow.stores.packing import clean

_COLUMNS = ("id", "name", "resource", "occurred_s", "flow_run_id", "payload", "pending")


def statement(dialect: Dialect, insert: Callable[[Table], Any]) -> str:
    """Return the statement that puts an event down whose id is not there."""
    made = insert(events).values({name: bindparam(name) for name in _COLUMNS})
    return str(made.on_conflict_do_nothing().compile(dialect=dialect))


def rows(lines: Iterable[LogLine]) -> list[tuple[Any, ...]]:
    """Return the rows of the lines that are events, in the order of :data:`_COLUMNS`."""
    found: list[tuple[Any, ...]] = []
    for line in lines:
        if line.logger != EVENTS:
            continue
        try:
            facts = json.loads(line.message)
            resource = facts["resource"]
            found.append((
                facts["id"], clean(facts["name"]), None if resource is None else clean(resource),
                facts["occurred_s"], facts["flow_run_id"], facts["payload"], 1))
        except (ValueError, LookupError, TypeError):  # cut, as one line of too many, or a user's
            continue
    return found
