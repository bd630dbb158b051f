"""Outcomes that are recorded and are not to stand: what a run that goes on begins anew.

Lives here: statements that make elements PENDING, or forget them. Does not live
here: which elements these are (the driver), reading what stands (``recorded.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from dataflow.outcomes import Code
from dataflow.stores import schema
from dataflow.stores.leases import found, locked
from dataflow.stores.owners import fenced

_CHUNK = 500  # indexes named in one statement


def reopen(
    connection: Connection, flow_run_id: str, codes: Sequence[int],
    elements: Mapping[int, Sequence[int] | None], fence: int | None,
) -> int:
    """Make elements PENDING by how they ended and by their places; return how many by the former.

    See :meth:`dataflow.store.Store.reopen`.
    """
    row = found(locked(connection, flow_run_id), flow_run_id)
    if fence is not None and row.epoch != fence:
        raise fenced(flow_run_id, row.owner)
    for call, indexes in elements.items():
        if indexes is None:
            _forget(connection, row.key, call)
        else:
            _mark(connection, row.key, call, indexes)
    rows, ranges = schema.task_runs, schema.ranges
    wanted = [int(code) for code in codes]
    connection.execute(
        delete(ranges).where(ranges.c.run == row.key, ranges.c.code.in_(wanted)))
    changed = connection.execute(
        update(rows)
        .where(rows.c.run == row.key, rows.c.code.in_(wanted))
        .values(code=int(Code.PENDING)))
    return int(changed.rowcount)


def _forget(connection: Connection, run: int, call: int) -> None:
    """Forget all elements of a map, and how many there are."""
    for table in (schema.task_runs, schema.spans, schema.ranges):
        connection.execute(delete(table).where(table.c.run == run, table.c.call == call))
    calls = schema.calls
    connection.execute(
        update(calls).where(calls.c.run == run, calls.c.call == call).values(width=None))


def _mark(connection: Connection, run: int, call: int, indexes: Sequence[int]) -> None:
    """Give elements a row that is PENDING; what is known of their last attempt stays in it."""
    rows = schema.task_runs
    of_call = (rows.c.run == run, rows.c.call == call)
    there: set[int] = set()
    for at in range(0, len(indexes), _CHUNK):
        some = rows.c.index.in_([int(index) for index in indexes[at : at + _CHUNK]])
        there.update(connection.execute(select(rows.c.index).where(*of_call, some)).scalars())
        connection.execute(update(rows).where(*of_call, some).values(code=int(Code.PENDING)))
    new = [{"run": run, "call": call, "index": index, "code": int(Code.PENDING), "attempts": 1}
           for index in indexes if index not in there]
    if new:
        connection.execute(insert(rows), new)
