"""The keywords of ``@task``: which there are, and what is wrong with a value.

Lives here: checking at definition, so that the engine and the workers get
values they need not doubt. Does not live here: what an option does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from dataflow.batch import Placement
from dataflow.caching_options import KeepingOptions, keeping_of_task
from dataflow.checking import Check
from dataflow.exceptions import DefinitionError
from dataflow.graph import CallOptions
from dataflow.hooks import HOOKS, Hook, TaskHooks
from dataflow.retry import RetryPolicy

MAX_DELAYS = 50
_FOR_EVER_S = 1e9  # 31 years; a platform's own waits overflow at some 290
ASYNC_CONCURRENCY = 1000
"""Runs of an async function that one worker thread's event loop takes at once by default."""

RESERVED = ("wait_for", "return_state")


class TaskKeywords(TypedDict, total=False):
    """Keywords of ``@task``, ``Task`` and ``with_options``."""

    name: str | None
    description: str | None
    tags: Iterable[str] | None
    version: str | None
    task_run_name: str | Callable[..., str] | None
    retries: int | None
    retry_delay_seconds: float | Sequence[float] | Callable[[int], Sequence[float]] | None
    retry_jitter_factor: float | None
    retry_condition_fn: Callable[..., Any] | None
    timeout_seconds: float | None
    log_prints: bool | None
    batch_size: int | None
    max_in_flight: int | None
    async_concurrency: int | None
    max_failures: int | None
    min_success_ratio: float | None
    isolation: str | None
    resources: Mapping[str, float] | None
    priority: int | None
    workers: str | Sequence[str] | None
    cache_policy: Any  # dataflow.cache_policies.CachePolicy
    cache_key_fn: Callable[..., Any] | None
    cache_expiration: Any  # a timedelta, or seconds
    persist_result: bool | None
    result_storage: Any  # a path, a URL, a ResultStorage
    result_storage_key: str | None
    result_serializer: Any  # dataflow.serializers.Serializer, or the name of one
    cache_result_in_memory: bool | None
    refresh_cache: bool | None
    on_completion: Iterable[Hook] | None
    on_failure: Iterable[Hook] | None
    on_running: Iterable[Hook] | None
    on_rollback: Iterable[Callable[..., Any]] | None
    on_commit: Iterable[Callable[..., Any]] | None
    viz_return_value: Any
    asset_deps: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """The options of a task, checked."""

    name: str
    description: str | None
    tags: frozenset[str]
    version: str | None
    task_run_name: str | Callable[..., str] | None
    retries: int
    retry_policy: RetryPolicy
    retry_condition_fn: Callable[..., Any] | None
    timeout_seconds: float | None
    log_prints: bool | None  # None: as the flow says
    isolation: str
    hooks: TaskHooks
    async_concurrency: int | None
    keeping: KeepingOptions
    on_rollback: tuple[Callable[..., Any], ...]
    on_commit: tuple[Callable[..., Any], ...]
    call: CallOptions


def check_task(given: Mapping[str, Any], default_name: str, doc: str | None) -> TaskSettings:
    """Check a task's options.

    Raises
    ------
    DefinitionError, DefinitionTypeError
        A value cannot be meant; the text names the option.
    TypeError
        There is no such option.
    """
    check = Check(f"task {given.get('name') or default_name!r}", given)
    refuse_unknown(given, TaskKeywords.__annotations__, "task")
    retries = check.whole("retries", 0) or 0
    timeout = check.get("timeout_seconds")
    if timeout is not None:
        timeout = min(check.number("timeout_seconds", timeout, above_zero=True), _FOR_EVER_S)
    name = check.text("name") or default_name
    return TaskSettings(
        name=name,
        description=check.text("description") or doc,
        tags=frozenset(check.names("tags")),
        version=check.text("version"),
        task_run_name=_run_name(check),
        retries=retries,
        retry_policy=RetryPolicy(delays_of(check, retries), _jitter(check)),
        retry_condition_fn=check.function("retry_condition_fn"),
        timeout_seconds=timeout,
        log_prints=check.flag("log_prints"),
        isolation=_isolation(check),
        hooks=TaskHooks(*(check.hooks(option) for option in HOOKS)),
        async_concurrency=check.whole("async_concurrency", 1),
        keeping=keeping_of_task(check, f"Task {name!r}"),
        on_rollback=check.hooks("on_rollback"),
        on_commit=check.hooks("on_commit"),
        call=_call_options(check),
    )


def concurrency_of(settings: TaskSettings, kind: str) -> int:
    """Return how many runs of an async function one event loop takes at once, 0 for others.

    Raises
    ------
    DefinitionError
        ``async_concurrency`` was given where nothing runs on an event loop.
    """
    asked = settings.async_concurrency
    on_loop = kind in ("async", "async_generator") and settings.isolation == "thread"
    if asked is not None and not on_loop:
        why = ("isolation='process' runs one at a time" if settings.isolation == "process"
               else f"its function is not async but {kind}")
        raise DefinitionError(
            f"async_concurrency of task {settings.name!r} is for async functions: {why}; "
            "leave it out", option="async_concurrency")
    return (asked or ASYNC_CONCURRENCY) if on_loop else 0


def refuse_unknown(given: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raise TypeError for an option that does not exist, with the nearest that does."""
    from difflib import get_close_matches

    for option in given:
        if option not in known:
            near = get_close_matches(option, list(known), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{owner} has no option {option!r}{hint}")


def _run_name(check: Check) -> str | Callable[..., str] | None:
    value = check.get("task_run_name")
    if value is not None and not isinstance(value, str) and not callable(value):
        check.wrong_type("task_run_name", "a str or a callable that returns one")
    return value  # type: ignore[no-any-return]  # as just checked


def delays_of(check: Check, retries: int) -> tuple[float, ...]:
    """Return ``retry_delay_seconds`` as one delay per retry; a callable is asked for them."""
    value = check.get("retry_delay_seconds")
    if value is None:
        return ()
    if callable(value):
        value = value(min(retries, MAX_DELAYS))  # the last one holds for the rest
    if isinstance(value, (list, tuple)):
        if len(value) > MAX_DELAYS:
            raise DefinitionError(
                f"retry_delay_seconds has {len(value)} delays, at most {MAX_DELAYS} can be given",
                option="retry_delay_seconds")
        return tuple(check.number("retry_delay_seconds", delay) for delay in value)
    return (check.number("retry_delay_seconds", value),)


def _jitter(check: Check) -> float | None:
    value = check.get("retry_jitter_factor")
    return None if value is None else check.number("retry_jitter_factor", value)


def _isolation(check: Check) -> str:
    value = check.get("isolation")
    if value is None:
        return "thread"
    if value not in ("thread", "process"):
        check.wrong("isolation", "'thread' or 'process'")
    return str(value)


def _call_options(check: Check) -> CallOptions:
    ratio = check.get("min_success_ratio")
    if ratio is not None:
        ratio = check.number("min_success_ratio", ratio)
        if ratio > 1:
            check.wrong("min_success_ratio", "between 0 and 1")
    return CallOptions(
        batch_size=check.whole("batch_size", 1),
        max_in_flight=check.whole("max_in_flight", 1),
        max_failures=check.whole("max_failures", 0),
        min_success_ratio=1.0 if ratio is None else ratio,
        placement=Placement(_resources(check), check.whole("priority", None) or 0,
                            _workers(check)),
    )


def _resources(check: Check) -> tuple[tuple[str, float], ...]:
    value = check.get("resources")
    if value is None:
        return ()
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        check.wrong_type("resources", "a dict of names to positive numbers")
    return tuple(sorted(
        (name, check.number("resources", amount, above_zero=True))
        for name, amount in value.items()
    ))


def _workers(check: Check) -> tuple[str, ...]:
    value = check.get("workers")
    return (value,) if isinstance(value, str) else check.names("workers")
