"""Results on their way into a storage: gathered from all batches of a process, many to a file.

Lives here: :class:`Shelf`, which all batches share that keep results of a task in
the same place. Does not live here: which results, under which keys
(``keeping.py``), the file (``dataflow.packs``).

A batch asks for its results to be written before it reports them. While one
writes, others put theirs on the shelf; the next write takes them all. So a
thousand batches of one slow element each do not make a thousand files.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from dataflow.batch import CallCode, RunInfo
from dataflow.caching import Caching
from dataflow.exceptions import ResultStorageError
from dataflow.packs import Origin, Results, Writer, results_at
from dataflow.script_name import within_script
from dataflow.storage_reach import reaches

_clock = time.perf_counter
FLUSH_S = 0.25
"""Results are written at least so often while they come, in seconds: what a kill may cost."""

FLUSH_BYTES = 8 << 20
"""Results waiting to be written, in bytes."""

NOT_SHARED = "not shared"
"""Reason of a storage that this process does not see."""

_BROKEN_S = 5.0  # a storage that failed is tried again after so long


class Keeping(Protocol):
    """Who is told that a result is safe."""

    def note_kept(self, positions: Sequence[int], keys: Sequence[bytes]) -> None:
        """Note that results of elements are safe under their keys."""


Ticket = tuple[Keeping, Sequence[int], Sequence[bytes]]
"""Whom to tell of results, their positions there, their keys."""


class Shelf:
    """Results of one task in one run that go to one place. Safe from any thread.

    Parameters
    ----------
    caching
        Where they go, and how they are written.
    """

    def __init__(self, caching: Caching) -> None:
        self.results: Results = results_at(caching.storage)
        self._caching = caching
        self._writer: Writer | None = None
        self._written: list[Ticket] = []  # told once it is written
        self._origins: dict[int, Origin] = {}  # by call, of what the writer has
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._flushed = _clock()
        self._broken: ResultStorageError | None = None
        self._broken_until = 0.0
        self._said = False
        if not reaches(caching.storage, caching.mark):
            self._broken, self._broken_until = _not_shared(caching), float("inf")

    @property
    def broken(self) -> ResultStorageError | None:
        """Why nothing is written at the moment."""
        if self._broken is not None and _clock() > self._broken_until:
            self._broken = None
        return self._broken

    def fails(self, error: ResultStorageError) -> None:
        """Note that the storage failed: it is left alone for a while."""
        self._broken, self._broken_until = error, _clock() + _BROKEN_S

    def to_be_said(self) -> ResultStorageError | None:
        """Return why nothing is written, to the first who asks."""
        error = self.broken
        if error is None or self._said:
            return None
        self._said = True
        return error

    def put(self, key: bytes, value: Any, index: int, code: CallCode, run: RunInfo | None,
            written: Ticket) -> None:
        """Take a result of a call made in a run; ``written`` is told when it is safe.

        Raises
        ------
        Exception
            What serialising the value raises; nothing of it is kept.
        """
        with self._lock, within_script(self._caching.script):
            writer, origin = self._writer_for(code, run)
            writer.add(key, value, index=index, origin=origin, expires_s=self._expires_s())
            self._written.append(written)
            due = self._is_due(writer)
        if due:
            self.flush()

    def put_many(self, keys: Sequence[bytes], values: Sequence[Any], indexes: Sequence[int],
                 code: CallCode, run: RunInfo | None, keeper: Keeping,
                 positions: Sequence[int]) -> dict[int, Exception]:
        """Take many results, one in each place of all lists; return why some are not kept."""
        with self._lock, within_script(self._caching.script):
            writer, origin = self._writer_for(code, run)
            refused = writer.add_many(keys, values, indexes, origin=origin,
                                      expires_s=self._expires_s())
            if refused:
                positions = [each for at, each in enumerate(positions) if at not in refused]
                keys = [key for at, key in enumerate(keys) if at not in refused]
            if positions:
                self._written.append((keeper, positions, keys))
            due = self._is_due(writer)
        if due:
            self.flush()
        return refused

    def _writer_for(self, code: CallCode, run: RunInfo | None) -> tuple[Writer, Origin]:
        origin = self._origins.get(code.call)
        if origin is None:
            origin = self._origins[code.call] = origin_of(code, run)
        if self._writer is None:
            self._writer = self.results.writer(
                self._caching.place, origin, self._caching.serializer)
        return self._writer, origin

    def _expires_s(self) -> float:
        after = self._caching.expires_after_s
        return 0.0 if after is None else time.time() + after

    def _is_due(self, writer: Writer) -> bool:
        return writer.pending_bytes > FLUSH_BYTES or _clock() - self._flushed > FLUSH_S

    def when_written(self, ticket: Ticket) -> None:
        """Tell once all that was taken so far is safe."""
        with self._lock:
            if self._written:
                self._written.append(ticket)
                return
        if self.broken is None:
            keeper, positions, keys = ticket
            keeper.note_kept(positions, keys)

    def flush(self) -> None:
        """Write what was taken, by whomever; on return it is safe, or noted as broken."""
        with self._writing:
            with self._lock:
                self._flushed = _clock()
                writer, self._writer = self._writer, None
                self._origins.clear()
                written, self._written = self._written, []
            if writer is None or self.broken is not None:
                return
            try:
                writer.flush()
            except ResultStorageError as error:
                self.fails(error)
                return
            for keeper, positions, keys in written:
                keeper.note_kept(positions, keys)


def origin_of(code: CallCode, run: RunInfo | None) -> Origin:
    """Return what is kept with results of a call made in a run, or outside of any."""
    return Origin(
        run_id="" if run is None else run.shown_flow_run_id,
        run_name="" if run is None else run.flow_run_name,
        task_name=code.task.name, call=code.call, created_s=time.time())


_shelves: weakref.WeakValueDictionary[tuple[str, str], Shelf] = weakref.WeakValueDictionary()
_shelving = threading.Lock()


def shelf_for(code: CallCode) -> Shelf:
    """Return the shelf that a call's results go to: one for a task, its run and its place."""
    caching: Caching = code.task.caching
    key = (caching.place, code.task.token)
    with _shelving:
        shelf = _shelves.get(key)
        if shelf is None:
            shelf = _shelves[key] = Shelf(caching)
        return shelf


def _not_shared(caching: Caching) -> ResultStorageError:
    location = caching.storage.location
    return ResultStorageError(
        f"This worker does not see the folder {location} of the flow's process: what it would keep "
        "there nobody else would find. Its values go by the cluster alone. Name a folder that all "
        "machines share, or a URL such as s3://bucket/results (result_storage=, "
        "DATAFLOW_RESULTS_LOCATION).", location=location, reason=NOT_SHARED)


def _forget_after_fork() -> None:
    global _shelving
    _shelving = threading.Lock()
    _shelves.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
