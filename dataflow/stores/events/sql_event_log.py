"""The event log of a store in a database: each method one transaction.

Lives here: transactions around the statements. Does not live here: the statements (the
modules beside this one), connections and errors (``stores/sql.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection

from dataflow.alerts.outbox import Outbox
from dataflow.event_log import (
    EventLog,
    EventRow,
    Findings,
    NewEvent,
    ParcelRow,
    ParcelStatus,
    Past,
    Pending,
    RunFacts,
)
from dataflow.stores.agenda.sql_agenda import SqlAgenda
from dataflow.stores.events import log, parcels, settling
from dataflow.stores.events import past as pasts

Change = Callable[[Callable[[Connection], Any]], Any]
Reading = Callable[[], AbstractContextManager[Connection]]


class SqlEventLog(EventLog):
    """The events in the database of a store.

    Parameters
    ----------
    change
        Runs a function in a transaction that writes.
    reading
        Gives a connection to read with.
    agenda
        Of the same database: takes the runs that follow.
    """

    def __init__(self, change: Change, reading: Reading, agenda: SqlAgenda) -> None:
        self._change = change
        self._reading = reading
        self._agenda = agenda

    def emit(self, events: Sequence[NewEvent]) -> int:
        return int(self._change(lambda connection: log.emit(connection, events)))

    def events(
        self, *, name: str | None = None, resource: str | None = None,
        flow_run_id: str | None = None, since_s: float | None = None, after: int | None = None,
        before: int | None = None, limit: int = 50,
    ) -> list[EventRow]:
        with self._reading() as connection:
            return log.found(
                connection, name=name, resource=resource, flow_run_id=flow_run_id,
                since_s=since_s, after=after, before=before, limit=limit)

    def seen(self, watch: str) -> dict[str, str]:
        with self._reading() as connection:
            return log.seen(connection, watch)

    def pending(self, limit: int = 500) -> Pending:
        with self._reading() as connection:
            version, memory = settling.remembered(connection)
            return Pending(version=version, memory=memory,
                           events=log.pending(connection, limit))

    def settle(self, version: int, findings: Findings, now_s: float) -> bool:
        def settle(connection: Connection) -> bool:
            if not settling.next_version(connection, version):
                return False
            log.handle(connection, findings.handled)
            settling.remember(connection, findings.memory)
            self._agenda.follow(connection, findings.runs, findings.cancel, findings.pause, now_s)
            parcels.put(connection, findings.parcels)
            log.emit(connection, findings.events)
            return True

        return bool(self._change(settle))

    def pass_over(self, before_s: float) -> int:
        return int(self._change(lambda connection: log.pass_over(connection, before_s)))

    def forget(self, before_s: float, limit: int = 10_000) -> int:
        return int(self._change(lambda connection: log.forget(connection, before_s, limit)))

    def facts(self, flow_run_ids: Sequence[str]) -> dict[str, RunFacts]:
        if not flow_run_ids:
            return {}
        with self._reading() as connection:
            return pasts.facts(connection, flow_run_ids)

    def past(self, flow_name: str, deployment: str | None, before_s: float,
             without: str = "", limit: int = 20) -> Past:
        with self._reading() as connection:
            return pasts.past(connection, flow_name, deployment, before_s, without, limit)

    def outbox(self) -> Outbox:
        return parcels.SqlOutbox(self._change, self._reading)

    def parcels(self, status: ParcelStatus | None = None, limit: int = 50,
                before: str | None = None) -> list[ParcelRow]:
        with self._reading() as connection:
            return parcels.listed(connection, status, limit, before)

    def lead(self, loop: str, owner: str, now_s: float, until_s: float) -> bool:
        return bool(self._change(lambda connection: settling.lead(
            connection, loop, owner, now_s, until_s)))

    def leader(self, loop: str, now_s: float) -> str | None:
        with self._reading() as connection:
            return settling.leader(connection, loop, now_s)
