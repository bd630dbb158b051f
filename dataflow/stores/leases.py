"""Who drives a flow run: leases on runs and the fences before writes.

Lives here: statements on ``flow_runs`` that compare and move the epoch. Does not
live here: who may have a run (``owners.py``), how a lease is kept alive (the
driver), claims on cache keys (``claims.py``), what begins anew (``reopening.py``).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from dataflow.store import FlowRunRecord
from dataflow.stores import schema
from dataflow.stores.driver_text import text_for
from dataflow.stores.owners import check_owner, fenced, not_found

_RUNS = schema.flow_runs


def check_fence(
    connection: Connection, flow_run_id: str, fence: int, record: FlowRunRecord | None
) -> None:
    """Raise RunFenced where the run has another epoch; one without a lease goes by its parent.

    A run that is not there yet, and has no parent, is nobody's.
    """
    row = locked(connection, flow_run_id)
    parent = record.parent_flow_run_id if row is None and record is not None else None
    while parent is not None or (row is not None and not row.epoch and row.parent_flow_run_id):
        around = locked(connection, parent or row.parent_flow_run_id)
        if around is None:
            break
        row, parent = around, None
    if row is not None and row.epoch != fence:
        raise fenced(row.id, row.owner)


def lease(
    connection: Connection, flow_run_id: str, owner: str, *, now_s: float, until_s: float,
    take_over: bool,
) -> int:
    """Give a run to an owner; return its epoch. Raises RunOwned, RunNotFound."""
    row = found(locked(connection, flow_run_id), flow_run_id)
    if not take_over:
        check_owner(flow_run_id, owner, row.owner, row.lease_until_s, now_s)
    epoch = int(row.epoch) + 1
    _change(connection, row.key, epoch=epoch, owner=owner, lease_until_s=until_s)
    return epoch


def renew(connection: Connection, flow_run_id: str, epoch: int, until_s: float) -> None:
    """Move the end of a lease on. Raises RunFenced, RunNotFound."""
    row = found(locked(connection, flow_run_id), flow_run_id)
    if row.epoch != epoch:
        raise fenced(flow_run_id, row.owner)
    _change(connection, row.key, lease_until_s=until_s)


def give_up(connection: Connection, flow_run_id: str, epoch: int) -> None:
    """Take the owner away where the epoch is still its own."""
    row = locked(connection, flow_run_id)
    if row is not None and row.epoch == epoch:
        _change(connection, row.key, owner=None, lease_until_s=None)


def locked(connection: Connection, flow_run_id: str) -> Any:
    """Return what is known of a run's lease; nobody changes it before the transaction ends."""
    return connection.exec_driver_sql(
        text_for(connection, _locking), (flow_run_id,)).one_or_none()


def _locking() -> Any:
    return select(
        _RUNS.c.key, _RUNS.c.id, _RUNS.c.parent_flow_run_id, _RUNS.c.epoch,
        _RUNS.c.owner, _RUNS.c.lease_until_s,
    ).where(_RUNS.c.id == bindparam("of_id")).with_for_update(key_share=True)


def found(row: Any, flow_run_id: str) -> Any:
    """Return a row of :func:`locked`, or raise RunNotFound."""
    if row is None:
        raise not_found(flow_run_id)
    return row


def _change(connection: Connection, key: int, **values: Any) -> None:
    connection.exec_driver_sql(
        text_for(connection, _changing, *values), (*values.values(), key))


def _changing(*columns: str) -> Any:
    new: list[tuple[Any, Any]] = [(_RUNS.c[name], bindparam(f"new_{name}")) for name in columns]
    return update(_RUNS).where(_RUNS.c.key == bindparam("of_key")).ordered_values(*new)
