"""Where transactions with a key keep their records.

Lives here: what a transaction asks of a store, and the store over the results
on disk. Does not live here: files (``packs/``), locks (``locking/``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dataflow.exceptions import CorruptResult, DefinitionTypeError
from dataflow.partitions import SHARED
from dataflow.result_storage import ResultStorage
from dataflow.storages import open_storage


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """What was committed under a key."""

    key: str
    result: Any


class RecordStore(Protocol):
    """What a transaction asks of the place of its records."""

    def exists(self, key: str) -> bool:
        """Tell whether there is a record."""

    def read(self, key: str) -> TransactionRecord | None:
        """Return the record, None where there is none."""

    def write(self, key: str, value: Any) -> None:
        """Write the record, in the place of an older one."""

    def acquire_lock(self, key: str, holder: str) -> bool:
        """Wait until nobody else has the key's lock, and take it."""

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back."""


class ResultRecordStore:
    """Records among the persisted results, under keys that cache keys of users may share.

    Parameters
    ----------
    storage
        A result storage, a path or URL; None: as the settings say.
    lock_manager
        For SERIALIZABLE; by default locks as files in ``DATAFLOW_HOME/locks``, which
        hold between the processes of one machine.
    serializer
        Of what is written; None: pickle.
    """

    def __init__(self, storage: Any = None, lock_manager: Any = None, serializer: Any = None, *,
                 clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._lock_manager = lock_manager
        self._serializer = serializer
        self._clock = clock
        self._results: Any = None

    def exists(self, key: str) -> bool:
        """Tell whether there is a record that can be read."""
        return self.read(key) is not None

    def read(self, key: str) -> TransactionRecord | None:
        """Return the record; None where there is none, or it is damaged."""
        found = self.find(key)
        return None if found is None else TransactionRecord(key, found[0])

    def find(self, key: str) -> tuple[Any, float] | None:
        """Return (value, when it expires or 0) as :meth:`read` does."""
        from dataflow.cache_keys import user_key

        [entry] = self._opened().find(SHARED, [user_key(key)], self._clock(), fresh=True)
        if entry is None:
            return None
        [value] = self._opened().load(SHARED, [entry])
        return None if isinstance(value, CorruptResult) else (value, entry.expires_s)

    def write(self, key: str, value: Any, expires_s: float = 0.0) -> None:
        """Write the record, in the place of an older one; not found from ``expires_s`` on.

        Raises
        ------
        ResultStorageError
            It could not be written; nothing of it is there.
        Exception
            What the serializer raises for the value.
        """
        from dataflow.cache_keys import user_key
        from dataflow.serializers import serializer_of

        writer = self._opened().writer(SHARED, self._origin(), serializer_of(self._serializer))
        writer.add(user_key(key), value, index=0, expires_s=expires_s)
        writer.flush()

    def acquire_lock(self, key: str, holder: str) -> bool:
        """Wait until nobody else has the key's lock, and take it."""
        return bool(self._locks().acquire_lock(key, holder))

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back."""
        self._locks().release_lock(key, holder)

    def _opened(self) -> Any:
        if self._results is None:
            from dataflow.packs import results_at

            self._results = results_at(open_storage(self._storage))
        return self._results

    def _origin(self) -> Any:
        from dataflow.context import FlowRunContext
        from dataflow.packs import Origin

        around = FlowRunContext.get()
        run = around.run if around is not None else None
        return Origin(
            run_id=run.shown_flow_run_id if run is not None else "",
            run_name=run.flow_run_name if run is not None else "",
            task_name="transaction", call=0, created_s=self._clock())

    def _locks(self) -> Any:
        if self._lock_manager is None:
            from dataflow.locking.filesystem import FileSystemLockManager
            from dataflow.settings import get_settings

            self._lock_manager = FileSystemLockManager(get_settings().home / "locks")
        return self._lock_manager


def store_of(store: Any) -> RecordStore:
    """Return where records go, by what a transaction was given.

    Raises
    ------
    DefinitionTypeError
        It cannot keep records.
    """
    if store is None or isinstance(store, (str, os.PathLike)):
        return ResultRecordStore(Path(store) if isinstance(store, os.PathLike) else store)
    if isinstance(store, ResultStorage):
        return ResultRecordStore(store)
    records = getattr(store, "records", None)  # of a dataflow.results.ResultStore
    if isinstance(records, ResultRecordStore):
        return records
    methods = [callable(getattr(store, name, None)) for name in ("exists", "read", "write")]
    if all(methods):
        return store if hasattr(store, "acquire_lock") else _Unlocked(store)
    raise DefinitionTypeError(
        f"store of a transaction must be a result storage, a path or URL, or have exists(), "
        f"read() and write(), got {type(store).__name__} {store!r:.80}", option="store")


class _Unlocked(ResultRecordStore):
    """Somebody's store of records, with locks of ours."""

    def __init__(self, store: Any) -> None:
        super().__init__()
        self._store = store

    def exists(self, key: str) -> bool:
        return bool(self._store.exists(key))

    def read(self, key: str) -> TransactionRecord | None:
        record: TransactionRecord | None = self._store.read(key)
        return record

    def write(self, key: str, value: Any, expires_s: float = 0.0) -> None:
        self._store.write(key, value)
