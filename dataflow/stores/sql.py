"""The store port over any database that SQLAlchemy speaks to.

Lives here: connections, transactions, the border of errors, and nothing of
their content (``writing.py``, ``reading.py``, ``finding.py``). Does not live
here: what one database alone needs (``sqlite.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Dialect, Engine, Table

from dataflow.exceptions import RunFenced
from dataflow.outcomes import Attempt, LogLine
from dataflow.store import (
    CallRow,
    CallUsage,
    FlowRow,
    FlowRunRow,
    Gulp,
    RecordedCall,
    Store,
    TaskRunRow,
)
from dataflow.stores import finding, leases, listing, reading, recorded, reopening, versions
from dataflow.stores.errors import translated
from dataflow.stores.writing import GulpWriter

if TYPE_CHECKING:
    from dataflow.agenda import Agenda
    from dataflow.event_log import EventLog

_Answer = TypeVar("_Answer")
_writers: dict[str, GulpWriter] = {}  # by dialect: making the texts of statements takes 10 ms


def _writer_for(
    dialect: Dialect, insert: Callable[[Table], Any], kind: type[GulpWriter]
) -> GulpWriter:
    writer = _writers.get(dialect.name)
    if writer is None:
        writer = _writers[dialect.name] = kind(dialect, insert)
    return writer


class SqlStore(Store):
    """Records in a database.

    Parameters
    ----------
    engine
        Its connections begin a transaction when told so, as SQLAlchemy's do;
        one with the execution option ``dataflow_writes`` takes the write lock
        at once.
    where
        Path or address, for the texts of errors.
    insert
        The dialect's ``insert`` with ``on_conflict_do_…``.

    Notes
    -----
    Safe to use from several threads: readers get a connection each, writers
    take turns.
    """

    def __init__(
        self, engine: Engine, where: str, insert: Callable[[Table], Any],
        writer: type[GulpWriter] = GulpWriter,
    ) -> None:
        self._engine = engine
        self._reader = engine
        self._where = where
        self._writer = _writer_for(engine.dialect, insert, writer)
        self._turn = threading.Lock()
        self._keys: dict[str, int] = {}  # flow run id → key, of runs that were committed

    def bring_up(self) -> None:
        """Make or migrate the tables where that is due. Raises StoreVersionError."""
        with translated(self._where, "open"):
            with self._engine.connect() as connection:
                if versions.is_current(connection, self._where):
                    return
            with self._writing() as connection:
                self._lock_tables(connection)
                versions.bring_up(connection, self._where)

    def _forget_runs(self) -> None:
        """Let go of what is known of runs that have ended."""
        self._keys.clear()

    def _lock_tables(self, connection: Connection) -> None:
        """Keep others from making the same tables, where the write lock does not."""

    def write(self, flow_run_id: str, gulp: Gulp) -> None:
        def written(connection: Connection) -> int:
            known = self._keys.get(flow_run_id)
            return self._writer.write(connection, flow_run_id, known, gulp)

        self._keys[flow_run_id] = self._change(written)  # only now: the transaction is committed

    def write_all(self, gulps: Sequence[tuple[str, Gulp]]) -> None:
        def written(connection: Connection) -> RunFenced | None:
            fenced: RunFenced | None = None
            for flow_run_id, gulp in gulps:
                known = self._keys.get(flow_run_id)
                try:
                    self._writer.write(connection, flow_run_id, known, gulp)
                except RunFenced as error:
                    fenced = fenced or error
            return fenced

        fenced = self._change(written)
        if fenced is not None:
            raise fenced

    def flow_runs(
        self, *, limit: int | None = 50, state: str | None = None, flow: str | None = None,
        parent: str | None = None, deployment: str | None = None, tag: str | None = None,
        since_s: float | None = None, before: str | None = None,
    ) -> list[FlowRunRow]:
        wanted = listing.Wanted(state=state, flow=flow, parent=parent, deployment=deployment,
                                tag=tag, since_s=since_s, before=before)
        with self._reading() as connection:
            return listing.flow_runs(connection, wanted, limit)

    def flows(self, *, limit: int | None = 50, after: str | None = None) -> list[FlowRow]:
        with self._reading() as connection:
            return listing.flows(connection, limit, after)

    def find_flow_run(self, ref: str) -> FlowRunRow:
        with self._reading() as connection:
            return finding.flow_run(connection, ref)

    def calls(self, flow_run_id: str, *, nested: bool = False) -> list[CallRow]:
        with self._reading() as connection:
            return reading.calls(connection, flow_run_id, nested)

    def usage(self, flow_run_id: str) -> list[CallUsage]:
        with self._reading() as connection:
            return reading.usage(connection, flow_run_id)

    def task_runs(
        self,
        flow_run_id: str | None = None,
        *,
        state: str | None = None,
        call: int | None = None,
        map_index: int | None = None,
        limit: int | None = 50,
        after: tuple[str, int, int] | None = None,
    ) -> list[TaskRunRow]:
        with self._reading() as connection:
            return reading.task_runs(
                connection, flow_run_id, state=state, call=call, map_index=map_index,
                limit=limit, after=after,
            )

    def children(self, task_run: TaskRunRow, *, limit: int | None = 50) -> list[TaskRunRow]:
        with self._reading() as connection:
            return reading.children(connection, task_run, limit)

    def find_task_run(self, ref: str, flow_run_id: str | None = None) -> TaskRunRow:
        with self._reading() as connection:
            return finding.task_run(connection, ref, flow_run_id)

    def attempts(self, flow_run_id: str, call: int, index: int) -> Sequence[Attempt]:
        with self._reading() as connection:
            return reading.attempts(connection, flow_run_id, call, index)

    def logs(
        self,
        flow_run_id: str,
        *,
        call: int | None = None,
        index: int | None = None,
        limit: int | None = None,
    ) -> Iterable[LogLine]:
        with self._reading() as connection:
            return reading.logs(connection, flow_run_id, call, index, limit)

    def nested_logs(
        self, flow_run_id: str, *, limit: int | None = None, since_s: float | None = None,
    ) -> Iterable[tuple[str, LogLine]]:
        with self._reading() as connection:
            return reading.nested_logs(connection, flow_run_id, limit, since_s)

    def lease(
        self, flow_run_id: str, owner: str, *, now_s: float, until_s: float,
        take_over: bool = False,
    ) -> int:
        return self._change(lambda connection: leases.lease(
            connection, flow_run_id, owner, now_s=now_s, until_s=until_s, take_over=take_over))

    def renew(self, flow_run_id: str, epoch: int, until_s: float) -> None:
        self._change(lambda connection: leases.renew(connection, flow_run_id, epoch, until_s))

    def give_up_lease(self, flow_run_id: str, epoch: int) -> None:
        self._change(lambda connection: leases.give_up(connection, flow_run_id, epoch))

    def reopen(
        self, flow_run_id: str, codes: Sequence[int],
        elements: Mapping[int, Sequence[int] | None] | None = None, *, fence: int | None = None,
    ) -> int:
        return self._change(lambda connection: reopening.reopen(
            connection, flow_run_id, codes, elements or {}, fence))

    def put_inputs(self, flow_run_id: str, blob: bytes) -> None:
        self._change(lambda connection: self._writer.put_inputs(connection, flow_run_id, blob))

    def inputs(self, flow_run_id: str) -> bytes | None:
        with self._reading() as connection:
            return reading.inputs(connection, flow_run_id)

    def put_code(self, digest: str, text: str) -> None:
        self._change(lambda connection: self._writer.put_code(connection, digest, text))

    def code(self, digest: str) -> str | None:
        with self._reading() as connection:
            return reading.code(connection, digest)

    def recorded(self, flow_run_id: str, first_call: int = 0) -> Iterator[RecordedCall]:
        with self._reading() as connection:
            yield from recorded.recorded(connection, flow_run_id, first_call)

    def keys(self, flow_run_id: str, call: int, indexes: Iterable[int]) -> dict[int, bytes]:
        with self._reading() as connection:
            return recorded.keys(connection, flow_run_id, call, indexes)

    def key_column(self, flow_run_id: str, call: int, width: int) -> bytearray:
        with self._reading() as connection:
            return recorded.key_column(connection, flow_run_id, call, width)

    def agenda(self) -> Agenda:
        from dataflow.stores.agenda.sql_agenda import SqlAgenda

        return SqlAgenda(self._change, self._reading, self._writer.write_runs)

    def events(self) -> EventLog:
        from dataflow.stores.agenda.sql_agenda import SqlAgenda
        from dataflow.stores.events.sql_event_log import SqlEventLog

        agenda = SqlAgenda(self._change, self._reading, self._writer.write_runs)
        return SqlEventLog(self._change, self._reading, agenda)

    def close(self) -> None:
        with self._turn, translated(self._where, "close"):
            self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self._where, "read"), self._reader.connect() as connection:
            yield connection

    def _change(self, change: Callable[[Connection], _Answer]) -> _Answer:
        """Write in one transaction; on return it is committed."""
        with self._turn, translated(self._where, "write to"):
            return self._transact(change)

    def _transact(self, change: Callable[[Connection], _Answer]) -> _Answer:
        with self._writing() as connection:
            return change(connection)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            writing = connection.execution_options(dataflow_writes=True)
            with writing.begin():
                yield writing
