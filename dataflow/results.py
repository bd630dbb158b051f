"""Kept results by key, as users read and write them: a front door to the packs.

Lives here: :class:`ResultStore` and the questions under Prefect's names. Does not live
here: files (``packs/``), places (``result_storage.py``), what tasks keep by themselves
(``task_caching.py``, ``worker/keeping.py``).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dataflow.context import current_flow, current_task
from dataflow.exceptions import MissingResult
from dataflow.keeping_defaults import kept_by_default
from dataflow.result_storage import ResultStorage
from dataflow.serializers import Serializer, serializer_of
from dataflow.settings import get_settings
from dataflow.storages import open_storage
from dataflow.transaction_store import ResultRecordStore


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """A kept result.

    Attributes
    ----------
    result
        The value.
    storage_key
        Its key.
    expiration
        From then on it is not found.
    """

    result: Any
    storage_key: str
    expiration: datetime | None = None


class ResultStore:
    """Results under keys of one's own, those that a ``cache_key_fn`` returns among them.

    Parameters
    ----------
    result_storage
        A result storage, a path or URL; None: as the settings say.
    serializer
        Of what is written here, or the name of one; None: as the settings say.
    lock_manager
        For transactions that are SERIALIZABLE; None: locks as files.

    Examples
    --------
    >>> store = ResultStore("results")
    >>> store.write({"rows": 3}, key="day-1")
    'day-1'
    >>> store.read("day-1").result
    {'rows': 3}
    """

    def __init__(self, result_storage: Any = None, serializer: Any = None,
                 lock_manager: Any = None) -> None:
        self.result_storage = resolve_result_storage(result_storage)
        self.serializer = resolve_serializer(serializer)
        self.lock_manager = lock_manager
        self.records = ResultRecordStore(self.result_storage, lock_manager, self.serializer)

    def exists(self, key: str) -> bool:
        """Tell whether there is a result that can be read."""
        return self.records.exists(key)

    def read(self, key: str) -> ResultRecord:
        """Return a result.

        Raises
        ------
        MissingResult
            There is none, it has expired, or it is damaged.
        """
        found = self.records.find(key)
        if found is None:
            raise MissingResult(
                f"There is no result under the key {key!r} in {self.result_storage.location}.")
        value, expires_s = found
        until = datetime.fromtimestamp(expires_s, UTC) if expires_s else None
        return ResultRecord(value, key, until)

    def write(self, obj: Any, key: str | None = None, expiration: datetime | None = None) -> str:
        """Keep a value, in the place of an older one; return its key, made up where none is given.

        Raises
        ------
        ResultStorageError
            It could not be written; nothing of it is there.
        UnserializableResult
            The serializer cannot hold it.
        """
        key = uuid.uuid4().hex if key is None else key
        self.records.write(key, obj, 0.0 if expiration is None else expiration.timestamp())
        return key

    def __repr__(self) -> str:
        return f"ResultStore({self.result_storage.location!r})"


def get_result_store() -> ResultStore:
    """Return the store of the place where the flow run around keeps results, else the default."""
    task_run, flow_run = current_task.get(), current_flow.get()
    if task_run is not None and task_run.code.task.caching is not None:
        caching = task_run.code.task.caching
        return ResultStore(caching.storage, caching.serializer)
    run = task_run.run if task_run is not None else None if flow_run is None else flow_run.run
    if run is None or run.keeping is None:
        return ResultStore()
    return ResultStore(run.keeping.storage, run.keeping.serializer)


def should_persist_result() -> bool:
    """Tell whether the task run, or else the flow run, that this code is in keeps its results."""
    task_run, flow_run = current_task.get(), current_flow.get()
    if task_run is not None:
        return task_run.code.task.caching is not None
    if flow_run is not None and flow_run.run.keeping is not None:
        return bool(flow_run.run.keeping.persist)
    return get_default_persist_setting()


def get_default_persist_setting() -> bool:
    """Return what holds for flows that do not say."""
    return get_settings().results_persist_by_default


def get_default_persist_setting_for_tasks() -> bool:
    """Return what holds for tasks where neither they nor their flow say."""
    return kept_by_default()


def get_default_result_storage() -> ResultStorage:
    """Return the result storage that the settings name."""
    return open_storage(None)


def get_default_result_serializer() -> Serializer:
    """Return the serializer that the settings name."""
    return serializer_of(get_settings().results_default_serializer)


def resolve_result_storage(result_storage: Any) -> ResultStorage:
    """Return the result storage that a path, URL or storage stands for."""
    return open_storage(result_storage)


def resolve_serializer(serializer: Any) -> Serializer:
    """Return the serializer that a name or serializer stands for."""
    return get_default_result_serializer() if serializer is None else serializer_of(serializer)
