"""What a flow run returned, kept for those who ask later.

Lives here: keeping a value under a key of the run, reading it back. Does not
live here: results of tasks (``worker/keeping.py``).
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from dataflow.batch import RunInfo
from dataflow.cache_keys import own_key
from dataflow.exceptions import CorruptResult, ResultStorageError
from dataflow.failures import text_of
from dataflow.keeping_defaults import KeepingDefaults
from dataflow.packs import Origin, results_at
from dataflow.partitions import partition_of
from dataflow.serializers import serializer_of
from dataflow.storages import open_storage

logger = logging.getLogger("dataflow.driver")

_FLOW = -1  # stands where a task run has the number of its call


class NotKept(LookupError):
    """The value is not in the storage (any more)."""


def keep(flow: Any, run: RunInfo, value: Any) -> tuple[bytes | None, str | None]:
    """Keep what a run returned; return its key and its place, for :func:`kept_at`.

    None where that is impossible (a warning).
    """
    defaults: KeepingDefaults = run.keeping
    key = own_key(run.flow_run_id, _FLOW, 0)
    origin = Origin(run_id=run.flow_run_id, run_name=run.flow_run_name, task_name=run.flow_name,
                    call=_FLOW, created_s=time.time())
    try:
        results = results_at(open_storage(defaults.storage))
        partition = partition_of(flow)
        writer = results.writer(partition, origin, serializer_of(defaults.serializer))
        writer.add(key, value, index=0)
        writer.flush()
    except Exception as error:  # user values: serialising may raise anything
        logger.warning("The result of flow run %r is not kept: %s: %s", run.flow_run_name,
                       type(error).__name__, text_of(error))
        return None, None
    return key, json.dumps({"storage": results.storage.location, "partition": partition})


def kept(flow: Any, defaults: KeepingDefaults, key: bytes) -> Any:
    """Return what a run returned.

    Raises
    ------
    NotKept
        It is not there.
    """
    return _kept(defaults.storage, partition_of(flow), key)


def kept_at(place: str, key: bytes) -> Any:
    """Return what a run returned, by its record alone; see :func:`kept`."""
    facts = json.loads(place)
    return _kept(facts["storage"], facts["partition"], key)


def _kept(storage: Any, partition: str, key: bytes) -> Any:
    try:
        results = results_at(open_storage(storage))
        [entry] = results.find(partition, [key], 0.0, fresh=True)
        if entry is None:
            raise NotKept(partition)
        [value] = results.load(partition, [entry])
    except ResultStorageError as error:
        raise NotKept(str(error)) from error
    if isinstance(value, CorruptResult):
        raise NotKept(str(value))
    return value
