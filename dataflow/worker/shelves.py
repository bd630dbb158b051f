"""Results on their way into a storage: gathered, and written many to a file.

Lives here: :class:`Shelf`, which the calls of a batch share that keep results in
the same place. Does not live here: which results, under which keys
(``keeping.py``), the file (``dataflow.packs``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from dataflow.batch import CallCode, RunInfo
from dataflow.caching import Caching
from dataflow.exceptions import ResultStorageError
from dataflow.packs import Origin, Results, Writer, results_at
from dataflow.storage_reach import reaches

_clock = time.perf_counter
FLUSH_S = 0.25
"""Results are written at least so often while they come, in seconds: what a kill may cost."""

FLUSH_BYTES = 8 << 20
"""Results waiting to be written, in bytes."""


class Shelf:
    """Results of one batch that go to one place.

    Parameters
    ----------
    caching
        Where they go, and how they are written.
    code, run
        The call that has the first of them, for the origin that is kept with them.
    """

    def __init__(self, caching: Caching, code: CallCode, run: RunInfo | None) -> None:
        self.results: Results = results_at(caching.storage)
        self.broken: ResultStorageError | None = None
        """Why nothing is written (any more)."""
        if not reaches(caching.storage, caching.mark):
            self.broken = _not_shared(caching)
        self._caching, self._code, self._run = caching, code, run
        self._writer: Writer | None = None
        self._written: list[Callable[[], None]] = []  # told once it is written
        self._lock = threading.Lock()
        self._flushed = _clock()

    def put(self, key: bytes, value: Any, index: int, written: Callable[[], None]) -> None:
        """Take a result; ``written`` is called when it is safe.

        Raises
        ------
        Exception
            What serialising the value raises; nothing of it is kept.
        """
        after = self._caching.expires_after_s
        with self._lock:
            if self._writer is None:
                self._writer = self.results.writer(
                    self._caching.place, origin_of(self._code, self._run), self._caching.serializer)
            self._writer.add(key, value, index=index,
                             expires_s=0.0 if after is None else time.time() + after)
            self._written.append(written)
            due = (self._writer.pending_bytes > FLUSH_BYTES
                   or _clock() - self._flushed > FLUSH_S)
        if due:
            self.flush()

    def when_written(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once all that was taken so far is safe."""
        with self._lock:
            if self._written:
                self._written.append(tell)
                return
        if self.broken is None:
            tell()

    def flush(self) -> None:
        """Write what was taken; safe from any thread. A storage that fails is noted."""
        with self._lock:
            self._flushed = _clock()
            written, self._written = self._written, []
            if self._writer is None or not written or self.broken is not None:
                return
            try:
                self._writer.flush()
            except ResultStorageError as error:
                self.broken = error
                return
        for tell in written:
            tell()


def _not_shared(caching: Caching) -> ResultStorageError:
    location = caching.storage.location
    return ResultStorageError(
        f"This worker does not see the folder {location} of the flow's process: what it would keep "
        "there nobody else would find. Its values go by the cluster alone. Name a folder that all "
        "machines share, or a URL such as s3://bucket/results (result_storage=, "
        "DATAFLOW_RESULTS_LOCATION).", location=location, reason="not shared")


def origin_of(code: CallCode, run: RunInfo | None) -> Origin:
    """Return what is kept with results of a call made in a run, or outside of any."""
    return Origin(
        run_id="" if run is None else run.shown_flow_run_id,
        run_name="" if run is None else run.flow_run_name,
        task_name=code.task.name, call=code.call, created_s=time.time())


def shelf_for(shelves: dict[Any, Shelf], code: CallCode, run: RunInfo | None) -> Shelf:
    """Return the shelf of a batch that a call's results go to."""
    caching: Caching = code.task.caching
    key = (caching.place, code.task.token)
    shelf = shelves.get(key)
    if shelf is None:
        shelf = shelves[key] = Shelf(caching, code, run)
    return shelf
