"""What can be read from a task, and its code as workers get it.

Lives here: the attributes of :class:`dataflow.tasks.Task` that tell its
options, and the :class:`dataflow.batch.TaskCode` made from them. Does not live
here: checks of options (``options.py``), calls (``tasks.py``).
"""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.batch import TaskCode
from dataflow.checking import Check
from dataflow.hooks import Hook
from dataflow.keeping_defaults import kept_by_default
from dataflow.options import (
    MAX_DELAYS,
    TaskSettings,
    check_task,
    concurrency_of,
    delays_of,
)
from dataflow.partitions import Address
from dataflow.retry import RetryPolicy
from dataflow.settings import get_settings
from dataflow.signatures import Arguments

if TYPE_CHECKING:
    from dataflow.caching import Caching
    from dataflow.code_identity import CodeIdentity

H = TypeVar("H", bound=Callable[..., Any])

_process = uuid.uuid4().hex[:12]
_tokens = itertools.count()
_making = threading.RLock()  # codes of tasks: once per task and flow run
_RUNS_AT_ONCE = 16  # flow runs of which a task keeps its codes


@dataclass(frozen=True, slots=True, eq=False)
class MadeCodes:
    """What a task's code comes to in one flow run; outside of any, under the same settings."""

    occasion: Any  # the flow run's id; outside: the settings
    defaults: tuple[int, float | tuple[float, ...]]  # what the settings said then
    caching: Caching | None
    codes: dict[bool, TaskCode]  # by log_prints


class _AsGiven:
    """An option that is kept as it was given."""

    def __init__(self, default: Any = None) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, task: Any, owner: type | None = None) -> Any:
        return self if task is None else task._given.get(self._name, self._default)


class TaskAttributes:
    """The options of a task, for reading."""

    cache_policy = _AsGiven()
    cache_key_fn = _AsGiven()
    cache_expiration = _AsGiven()
    persist_result = _AsGiven()
    result_storage = _AsGiven()
    result_storage_key = _AsGiven()
    result_serializer = _AsGiven()
    cache_result_in_memory = _AsGiven(True)
    refresh_cache = _AsGiven()
    viz_return_value = _AsGiven()  # what stands for the result in a drawing of the flow

    _settings: TaskSettings
    _given: dict[str, Any]
    kind: str
    _made: tuple[MadeCodes, ...]  # of the last flow runs
    _last_made: MadeCodes | None
    _identity: Any  # of the code: dataflow.code_identity.CodeIdentity, once it is known
    _arguments: Arguments
    _function: Callable[..., Any]
    address: Address
    """Where the function stands: module, qualified name, and whether it is alone there."""
    _origin: Any  # of a bound method: the task in its class

    @property
    def name(self) -> str:
        """Name of the task."""
        return self._settings.name

    @property
    def description(self) -> str | None:
        """Description, by default the docstring."""
        return self._settings.description

    @property
    def tags(self) -> set[str]:
        """Tags of every run of the task."""
        return set(self._settings.tags)

    @property
    def version(self) -> str | None:
        """Version."""
        return self._settings.version

    @property
    def retries(self) -> int:
        """How often a failing run is tried again; where left open, as the settings say."""
        if self._given.get("retries") is None:
            return get_settings().tasks_default_retries
        return self._settings.retries

    @property
    def retry_delay_seconds(self) -> Any:
        """Delay before a retry, as given; of a callable, what it returned."""
        given = self._given.get("retry_delay_seconds")
        if given is None:
            default = get_settings().tasks_default_retry_delay_seconds
            return list(default) if isinstance(default, tuple) else default
        return list(self._policy(self.retries).delays) if callable(given) else given

    @property
    def retry_jitter_factor(self) -> float | None:
        """Spread of the delays."""
        return self._settings.retry_policy.jitter

    @property
    def retry_condition_fn(self) -> Callable[..., Any] | None:
        """Asked before a retry."""
        return self._settings.retry_condition_fn

    @property
    def timeout_seconds(self) -> float | None:
        """Longest time a run may take."""
        return self._settings.timeout_seconds

    @property
    def async_concurrency(self) -> int | None:
        """How many runs of an async task one worker thread has under way; None for others."""
        return concurrency_of(self._settings, self.kind) or None

    @property
    def isasync(self) -> bool:
        """Whether a call of the task is awaited or consumed with ``async for``."""
        return self.kind.startswith("async")

    @property
    def isgenerator(self) -> bool:
        """Whether a call of the task gives its items one by one."""
        return self.kind.endswith("generator")

    @property
    def task_run_name(self) -> str | Callable[..., str] | None:
        """Template or callable for the names of runs."""
        return self._settings.task_run_name

    @property
    def log_prints(self) -> bool | None:
        """Whether prints go to the log; None: as the flow says."""
        return self._settings.log_prints

    @property
    def isolation(self) -> str:
        """Where a run takes place: ``"thread"``, or ``"process"`` for a child process."""
        return self._settings.isolation

    @property
    def asset_deps(self) -> list[Any]:
        """Assets that the task depends on; kept, and without effect."""
        return list(self._given.get("asset_deps") or ())

    @property
    def on_running_hooks(self) -> list[Hook]:
        """Hooks of an attempt that begins; a copy, add one with :meth:`on_running`."""
        return list(self._settings.hooks.on_running)

    @property
    def on_completion_hooks(self) -> list[Hook]:
        """Hooks of a run that completed; a copy, add one with :meth:`on_completion`."""
        return list(self._settings.hooks.on_completion)

    @property
    def on_failure_hooks(self) -> list[Hook]:
        """Hooks of a run that failed for good; a copy, add one with :meth:`on_failure`."""
        return list(self._settings.hooks.on_failure)

    def on_running(self, fn: H) -> H:
        """Add a hook for each attempt that begins; for use as a decorator."""
        return self._with_hook("on_running", fn)

    def on_completion(self, fn: H) -> H:
        """Add a hook for runs that complete; for use as a decorator."""
        return self._with_hook("on_completion", fn)

    def on_failure(self, fn: H) -> H:
        """Add a hook for runs that fail and are not tried again; for use as a decorator."""
        return self._with_hook("on_failure", fn)

    @property
    def on_commit_hooks(self) -> list[Callable[..., Any]]:
        """Hooks of a run that is committed; a copy, add one with :meth:`on_commit`."""
        return list(self._settings.on_commit)

    @property
    def on_rollback_hooks(self) -> list[Callable[..., Any]]:
        """Hooks of a run that is rolled back; a copy, add one with :meth:`on_rollback`."""
        return list(self._settings.on_rollback)

    def on_commit(self, fn: H) -> H:
        """Add a hook ``(transaction)`` for runs that are committed; for use as a decorator."""
        return self._with_hook("on_commit", fn)

    def on_rollback(self, fn: H) -> H:
        """Add a hook ``(transaction)`` for runs that are rolled back; for use as a decorator."""
        return self._with_hook("on_rollback", fn)

    def _with_hook(self, option: str, fn: H) -> H:
        own = self._settings
        hooks = [*getattr(own if hasattr(own, option) else own.hooks, option), fn]
        given = {**self._given, option: hooks}
        self._settings = check_task(given, self._settings.name, self._settings.description)
        self._given = given
        self._made, self._last_made = (), None
        if self._origin is not None:  # the task in the class stays as it is
            self._origin = self._origin.with_options(**{option: hooks})
        return fn

    def _made_in(self, occasion: Any, flow_run: Any) -> MadeCodes:
        """Return the codes of a flow run; the settings are looked at once in each.

        Several runs may go on at once, and several threads come to this in one of them.
        """
        with _making:
            found = next((each for each in self._made if each.occasion == occasion), None)
            if found is None:
                settings = get_settings()
                defaults = (settings.tasks_default_retries,
                            settings.tasks_default_retry_delay_seconds)
                caching = self._caching_in(flow_run)
                codes: dict[bool, TaskCode] = next(
                    (each.codes for each in self._made if each.defaults == defaults
                     and each.caching is None and caching is None), {})
                found = MadeCodes(occasion, defaults, caching, codes)
                self._made = (*self._made[1 - _RUNS_AT_ONCE:], found)
            self._last_made = found
            return found

    def _caching_in(self, flow_run: Any) -> Any:
        """Return how results are kept in a run (dataflow.caching.Caching), None: not at all."""
        keeping = self._settings.keeping
        persist = keeping.persist
        if persist is None:
            told = None if flow_run is None else flow_run.run.keeping
            persist = kept_by_default() if told is None else told.persist
        if not persist:
            return None
        from dataflow.task_caching import caching_of

        return caching_of(self, keeping, self._arguments.signature, flow_run)

    def identity(self) -> CodeIdentity:
        """Return what the task's code is: its function, the helpers, values and libraries it uses.

        Worked out once per task and flow run, anew where something that it reads was rebound.

        Raises
        ------
        NotCacheable
            It cannot be known; the text says which part and why.
        """
        from dataflow.code_identity import code_identity

        own = self._origin or self
        if isinstance(own._function, FunctionType):
            return code_identity(own._function)  # kept there while nothing changes
        if own._identity is None:  # of a partial or an object: its state of the first time
            own._identity = code_identity(own._function)
        found: CodeIdentity = own._identity
        return found

    def code_digest(self) -> str:
        """Return the digest of the task's code, 32 hex digits; see :meth:`identity`.

        Comments, formatting and docstrings do not count.

        Raises
        ------
        NotCacheable
            The code cannot be known.
        """
        return self.identity().digest.hex()

    def _policy(self, retries: int) -> RetryPolicy:
        """Return the delays for so many retries."""
        own = self._settings.retry_policy
        given = self._given.get("retry_delay_seconds")
        if given is None:
            delay = get_settings().tasks_default_retry_delay_seconds
            delays = delay if isinstance(delay, tuple) else (delay,) if delay else ()
            return RetryPolicy(delays, own.jitter)
        if callable(given) and len(own.delays) < min(retries, MAX_DELAYS):
            check = Check(f"task {self.name!r}", self._given)  # it was asked for fewer
            return RetryPolicy(delays_of(check, retries), own.jitter)
        return own

    def _code_of(self, made: MadeCodes, log_prints: bool) -> TaskCode:
        """Return what workers need, the same object for all calls alike in a run."""
        with _making:
            code = made.codes.get(log_prints)
            if code is None:
                code = made.codes[log_prints] = self._new_code(made.caching, log_prints)
            return code

    def _new_code(self, caching: Any, log_prints: bool) -> TaskCode:
        """Make what workers need; what the task leaves open is as the settings say."""
        own, retries = self._settings, self.retries
        asked = (bool(own.hooks) or own.retry_condition_fn is not None
                 or (caching is not None and caching.asks_user))
        return TaskCode(
            token=f"{_process}-{next(_tokens)}", fn=self._function, name=own.name, retries=retries,
            retry_delay=self._policy(retries), retry_condition=own.retry_condition_fn,
            timeout_s=own.timeout_seconds, isolation=own.isolation, log_prints=log_prints,
            run_name=own.task_run_name, tags=own.tags, kind=self.kind,
            concurrency=concurrency_of(own, self.kind), hooks=own.hooks or None,
            owner=self if asked else None, caching=caching, effects=self._effects(),
        )

    def _effects(self) -> Any:
        own = self._settings
        if not (own.on_commit or own.on_rollback):
            return None
        from dataflow.task_transactions import Effects

        return Effects(own.on_commit, own.on_rollback)


def _make_anew_after_fork() -> None:
    global _making
    _making = threading.RLock()


os.register_at_fork(after_in_child=_make_anew_after_fork)
