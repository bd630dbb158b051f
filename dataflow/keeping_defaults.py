"""What a flow run says of results where its tasks do not.

Lives here: :class:`KeepingDefaults`, plain values that travel with the run, and
where they come from. Does not live here: opening what they name
(``task_caching.py``), so that a flow that keeps nothing imports nothing for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflow.caching_options import KeepingOptions
from dataflow.settings import get_settings


@dataclass(frozen=True, slots=True)
class KeepingDefaults:
    """What holds for tasks that do not say."""

    persist: bool
    storage: Any  # a path, a URL, a ResultStorage
    serializer: Any  # dataflow.serializers.Serializer, or the name of one
    claims: Any = None  # dataflow.claims address
    refresh: bool = False
    disabled: bool = False  # nothing is looked up or kept, whatever tasks say


def keeping_defaults(options: KeepingOptions, claims: Any,
                     around: KeepingDefaults | None) -> KeepingDefaults:
    """Return what holds for tasks of a flow with these options, called in a run around."""
    settings = get_settings()
    persist, storage, serializer = options.persist, options.storage, options.serializer
    if persist is None:
        persist = kept_by_default() if around is None else around.persist
    if storage is None:
        storage = settings.result_storage_location if around is None else around.storage
    if serializer is None:
        serializer = (settings.results_default_serializer if around is None
                      else around.serializer)
    return KeepingDefaults(persist, storage, serializer, claims, settings.tasks_refresh_cache,
                           settings.tasks_disable_caching)


def kept_by_default() -> bool:
    """Tell whether results of tasks are kept where neither task nor flow says."""
    settings = get_settings()
    own = settings.tasks_default_persist_result
    return settings.results_persist_by_default if own is None else own
