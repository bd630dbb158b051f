"""The keywords of ``@task`` and ``@flow`` for results and caching: checked at definition.

Lives here: what was asked for, as one frozen value. Does not live here: what it
comes to in a flow run (``task_caching.py``).
"""

from __future__ import annotations

import logging
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.checking import Check

if TYPE_CHECKING:
    from dataflow.cache_policies import CachePolicy

logger = logging.getLogger("dataflow.tasks")

_FIELDS = frozenset({"parameters", "task_run", "flow_run"})
_ASKING = ("cache_policy", "cache_key_fn", "result_storage", "result_storage_key",
           "result_serializer")


@dataclass(frozen=True, slots=True)
class KeepingOptions:
    """What was asked for; None where nothing was."""

    persist: bool | None = None
    policy: CachePolicy | None = None
    expires_after_s: float | None = None
    refresh: bool | None = None
    storage: Any = None
    storage_key: str | None = None
    serializer: Any = None
    in_memory: bool = True


def keeping_of_task(check: Check, owner: str) -> KeepingOptions:
    """Check the keywords of a task.

    Raises
    ------
    DefinitionError, DefinitionTypeError
        A value cannot be meant; the text names the keyword.
    """
    persist = check.flag("persist_result")
    policy = _policy(check, owner)
    asked = [name for name in _ASKING if check.get(name) is not None]
    if persist is None and (set(asked) - {"cache_policy"} or caches(policy)):
        persist = True
    if persist is False and (caches(policy) or check.get("result_storage_key") is not None):
        logger.warning("%s has persist_result=False: nothing is cached, %s without effect.",
                       owner, " and ".join(asked) + (" is" if len(asked) == 1 else " are"))
    return KeepingOptions(
        persist=persist, policy=policy, expires_after_s=_expiration(check),
        refresh=check.flag("refresh_cache"), storage=_storage(check),
        storage_key=_storage_key(check), serializer=_serializer(check),
        in_memory=check.flag("cache_result_in_memory") is not False,
    )


def keeping_of_flow(check: Check) -> KeepingOptions:
    """Check the keywords of a flow.

    Raises
    ------
    DefinitionError, DefinitionTypeError
        A value cannot be meant; the text names the keyword.
    """
    persist, storage, serializer = check.flag("persist_result"), _storage(check), _serializer(check)
    if persist is None and (storage is not None or serializer is not None):
        persist = True
    return KeepingOptions(persist=persist, storage=storage, serializer=serializer,
                          in_memory=check.flag("cache_result_in_memory") is not False)


def caches(policy: CachePolicy | None) -> bool:
    """Tell whether a policy that was given can lead to a hit."""
    if policy is None:
        return False
    from dataflow.cache_policies import policy_parts

    return bool(policy_parts(policy))


def _policy(check: Check, owner: str) -> CachePolicy | None:
    policy, key_fn = check.get("cache_policy"), check.function("cache_key_fn")
    if policy is None and key_fn is None:
        return None
    from dataflow.cache_policies import CachePolicy

    if policy is not None and not isinstance(policy, CachePolicy):
        check.wrong_type("cache_policy", "a cache policy, e.g. INPUTS or TASK_SOURCE + INPUTS")
    if key_fn is None:
        return policy
    if policy is not None:
        logger.warning("%s has cache_policy and cache_key_fn: cache_key_fn counts, cache_policy "
                       "is without effect.", owner)
    made: CachePolicy = CachePolicy.from_cache_key_fn(key_fn)
    return made


def _expiration(check: Check) -> float | None:
    value = check.get("cache_expiration")
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, int | float):
        check.wrong_type("cache_expiration", "a timedelta, or a number of seconds")
    if not value > 0:
        check.wrong("cache_expiration", "longer than nothing")
    return float(value)


def _storage(check: Check) -> Any:
    value = check.get("result_storage")
    if value is None or isinstance(value, str | Path):
        if value is not None and not str(value).strip():
            check.wrong("result_storage", "a folder or a URL, not an empty text")
        return value
    from dataflow.result_storage import ResultStorage

    if not isinstance(value, ResultStorage):
        check.wrong_type("result_storage", "a folder, a URL or a ResultStorage")
    return value


def _storage_key(check: Check) -> str | None:
    key = check.text("result_storage_key")
    if key is None:
        return None
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(key) if name is not None]
    except ValueError as error:
        check.wrong("result_storage_key", f"a template ({error})")
    for name in names:
        if name.partition("[")[0].partition(".")[0] not in _FIELDS:
            check.wrong("result_storage_key",
                        f"a template over parameters, task_run and flow_run; {{{name}}} is none of "
                        "them, write e.g. {parameters[x]}")
    return key


def _serializer(check: Check) -> Any:
    value = check.get("result_serializer")
    if value is None:
        return None
    from dataflow.serializers import Serializer, serializer_of

    if not isinstance(value, str | Serializer):
        check.wrong_type("result_serializer", "a Serializer or the name of one")
    try:
        return serializer_of(value)
    except ValueError as error:
        check.wrong("result_serializer", f"a serializer or the name of one ({error})")


Template = Callable[..., str]
