"""Statements on messages that wait for their channels, and the outbox over them.

Lives here: the table of parcels. Does not live here: who delivers
(``alerts/delivery.py``), what a parcel is (``alerts/outbox.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from dataflow.alerts.outbox import Parcel, parcel_of
from dataflow.event_log import ParcelRow, ParcelStatus
from dataflow.stores.events.schema import DELIVERED, GIVEN_UP, STATUSES, WAITING, parcels

_P = parcels.c


def put(connection: Connection, new: Iterable[Parcel]) -> None:
    """Put parcels that are not there yet."""
    wanted = {each.id: each for each in new}
    there = set(connection.execute(
        select(_P.id).where(_P.id.in_(list(wanted)))).scalars()) if wanted else set()
    rows = [_values(each) for each in wanted.values() if each.id not in there]
    if rows:
        connection.execute(insert(parcels), rows)


def _values(parcel: Parcel) -> dict[str, Any]:
    facts = parcel.to_dict()
    return {**facts, "text": json.dumps(facts["text"]), "status": WAITING, "ended_s": None}


def listed(connection: Connection, status: ParcelStatus | None, limit: int,
           before: str | None = None) -> list[ParcelRow]:
    """Return parcels, the newest first."""
    query = select(parcels).order_by(_P.key.desc()).limit(limit)
    if status is not None:
        query = query.where(_P.status == STATUSES.index(status))
    if before is not None:
        last = parcels.alias("last")
        query = query.where(
            _P.key < select(last.c.key).where(last.c.id == before).scalar_subquery())
    return [ParcelRow(parcel=_parcel(row), status=STATUSES[row.status], ended_s=row.ended_s)
            for row in connection.execute(query)]


def _parcel(row: Any) -> Parcel:
    return parcel_of({
        "id": row.id, "channel": row.channel, "text": json.loads(row.text), "alert": row.alert,
        "created_s": row.created_s, "due_s": row.due_s, "attempts": row.attempts,
        "error": row.error})


class SqlOutbox:
    """The outbox of a store; see :class:`dataflow.alerts.Outbox`.

    Parameters
    ----------
    change
        Runs a function in a transaction that writes.
    """

    def __init__(self, change: Callable[[Callable[[Connection], Any]], Any],
                 reading: Callable[[], Any]) -> None:
        self._change = change
        self._reading = reading

    def take(self, now_s: float, lease_s: float, skip: Collection[str],
             limit: int) -> Sequence[Parcel]:
        """Return parcels that are due, the longest due first, at most one of a channel."""
        if limit <= 0:
            return []
        due = select(_P.key).where(_P.status == WAITING, _P.due_s <= now_s)
        if skip:
            due = due.where(_P.channel.not_in(list(skip)))
        with self._reading() as connection:  # nothing is due most of the time
            if connection.execute(due.limit(1)).first() is None:
                return []
        taken: list[Parcel] = self._change(
            lambda connection: _take(connection, now_s, lease_s, skip, limit))
        return taken

    def done(self, parcel_id: str, now_s: float) -> None:
        """Record that a parcel was delivered."""
        self._change(lambda connection: connection.execute(update(parcels).where(
            _P.id == parcel_id).values(
                status=DELIVERED, ended_s=now_s, error=None, attempts=_P.attempts + 1)))

    def failed(self, parcel_id: str, now_s: float, error: str, due_s: float | None) -> None:
        """Record a try that failed; None: the parcel is given up."""
        ended = {"status": GIVEN_UP, "ended_s": now_s} if due_s is None else {"due_s": due_s}
        self._change(lambda connection: connection.execute(update(parcels).where(
            _P.id == parcel_id, _P.status == WAITING).values(
                attempts=_P.attempts + 1, error=error, **ended)))


def _take(connection: Connection, now_s: float, lease_s: float, skip: Collection[str],
          limit: int) -> list[Parcel]:
    query = select(parcels).where(_P.status == WAITING, _P.due_s <= now_s).order_by(
        _P.due_s, _P.key).limit(1000).with_for_update(skip_locked=True)
    if skip:
        query = query.where(_P.channel.not_in(list(skip)))
    found: dict[str, Any] = {}
    for row in connection.execute(query):
        if len(found) < limit:
            found.setdefault(row.channel, row)
    keys = [row.key for row in found.values()]
    connection.execute(update(parcels).where(_P.key.in_(keys)).values(due_s=now_s + lease_s))
    return [_parcel(row) for row in found.values()]
