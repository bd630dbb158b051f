"""What a transaction undid, as a store takes it in: completed elements that are ROLLED_BACK.

Lives here: finding what is recorded of them, and what their calls count then. Does not live
here: the writing itself (``writing.py``), who says what was undone (``run_record.py``).
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, Update, bindparam, func, select, text, update

from dataflow.outcomes import ROLLED_BACK, Code
from dataflow.store import ElementRecord
from dataflow.stores import schema
from dataflow.stores.elements import element_at, elements
from dataflow.stores.rows import Element, counts_with

_FEW = 8  # looked up one by one; more are read with their whole call
_COMPLETED = frozenset({int(Code.COMPLETED)})


def rolling_back() -> Update:
    """Return what changes the row of an element that is COMPLETED, if there is one."""
    rows = schema.task_runs
    return (
        update(rows)
        .values({"code": bindparam("new_code"), "message": bindparam("new_message")})
        .where(rows.c.run == bindparam("of_run"))
        .where(rows.c.call == bindparam("of_call"))
        .where(rows.c.index == bindparam("of_index"))
        .where(text(f"code = {int(Code.COMPLETED)}"))
    )


def without_row(
    connection: Connection, run: int, call: int, indexes: set[int]
) -> list[ElementRecord]:
    """Return rows for those elements that are COMPLETED as part of a span."""
    found: list[Element | None]
    if len(indexes) <= _FEW:
        found = [element_at(connection, run, call, index) for index in sorted(indexes)]
    else:
        found = [each for each in elements(connection, run, call=call, codes=_COMPLETED)
                 if each.index in indexes]
    return [
        ElementRecord(call, each.index, int(Code.ROLLED_BACK), each.started_s, each.ended_s,
                      each.attempts, each.worker, message=ROLLED_BACK.message, key=each.key,
                      origin=each.origin, cpu_s=each.cpu_s, peak_bytes=each.peak_bytes)
        for each in found if each is not None and each.code == Code.COMPLETED
    ]


def undone_counts(connection: Connection, run: int, call: int) -> dict[int, int] | None:
    """Return what a call counts by code, None where it counts nothing yet."""
    calls, rows = schema.calls, schema.task_runs
    counts = connection.execute(
        select(calls.c.counts).where(calls.c.run == run, calls.c.call == call)).scalar()
    if counts is None:
        return None
    many = connection.execute(
        select(func.count()).select_from(rows).where(
            rows.c.run == run, rows.c.call == call, rows.c.code == int(Code.ROLLED_BACK))
    ).scalar_one()
    return counts_with({int(code): n for code, n in json.loads(counts).items()}, many)
