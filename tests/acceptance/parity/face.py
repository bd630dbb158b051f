"""The one import of this suite: our names, or Prefect's own under ``PARITY=prefect``.

Lives here: where each name stands, below ``dataflow`` and below ``prefect``
alike, for the suite says that only the first word of an import changes. Does
not live here: a name that Prefect lacks; a test imports it where it needs it.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

PREFECT = os.environ.get("PARITY") == "prefect"
PACKAGE, RUNNERS = ("prefect", "prefect_dask") if PREFECT else ("dataflow", "runners")

_PLACES = {
    "": "flow task Flow Task State get_run_logger tags runtime "
        "unmapped allow_failure",
    "tasks": "exponential_backoff task_input_hash",
    "cache_policies": "DEFAULT FLOW_PARAMETERS INPUTS NO_CACHE NONE RUN_ID TASK_SOURCE CachePolicy",
    "results": "ResultStore",
    "serializers": "CompressedSerializer JSONSerializer PickleSerializer",
    "filesystems": "LocalFileSystem",
    "transactions": "CommitMode IsolationLevel atransaction get_transaction transaction",
    "utilities.annotations": "quote opaque NotSet",
    "futures": "wait as_completed",
    "logging": "disable_run_logger",
    "states": "Completed Failed Cancelled Crashed Pending Running Scheduled Paused Cancelling "
              "AwaitingRetry Retrying StateType",
    "exceptions": "ParameterBindError ParameterTypeError ReservedArgumentError "
                  "MappingMissingIterable MappingLengthMismatch MissingContextError "
                  "FailedRun CrashedRun CancelledRun PausedRun UnfinishedRun MissingResult "
                  "UpstreamTaskError",
}
_OURS_ELSEWHERE = {  # these have a front door of ours
    "exponential_backoff": "dataflow", "quote": "dataflow", "opaque": "dataflow",
    "wait": "dataflow", "as_completed": "dataflow", "NotSet": "dataflow.annotations",
    "StateType": "dataflow.states",
}
_PREFECTS_ELSEWHERE = {"StateType": "prefect.client.schemas.objects"}
_HOME_OF = {
    name: f"{PACKAGE}.{place}".rstrip(".") for place, names in _PLACES.items()
    for name in names.split()
}
_HOME_OF |= {
    "DaskTaskRunner": RUNNERS, "get_dask_client": RUNNERS,
    "ThreadPoolTaskRunner": "prefect.task_runners" if PREFECT else "runners",
    **(_PREFECTS_ELSEWHERE if PREFECT else _OURS_ELSEWHERE),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"the suite knows no {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
