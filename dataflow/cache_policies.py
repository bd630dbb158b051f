"""What makes two runs of a task the same: cache policies, which add up and take away.

Lives here: the policies users name (``INPUTS``, ``TASK_SOURCE``, …), their
algebra, and what each one computes when it is asked alone. Does not live here:
the way keys are made for millions of elements (``cache_keys.py``), where
results are kept (``result_storage.py``).

A policy that has a built-in part tells tasks apart: two tasks with equal inputs
never share a record. A key that comes from a user's own policy or
``cache_key_fn`` alone is shared by all tasks that return it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dataflow.exceptions import DefinitionError, DefinitionTypeError
from dataflow.partitions import partition_of

KeyFunction = Callable[[Any, dict[str, Any]], str | None]

_LEVELS = ("READ_COMMITTED", "SERIALIZABLE")
_SETTINGS = {
    "key_storage": "storage locations", "isolation_level": "isolation levels",
    "lock_manager": "lock managers",
}


@dataclass
class CachePolicy:
    """What the cache key of a task run is made of; subclass it and write ``compute_key``.

    Parameters
    ----------
    key_storage
        Where the records are kept: a path, a URL or a storage object; None: where
        the task's results are.
    isolation_level
        ``"READ_COMMITTED"`` or ``"SERIALIZABLE"``. Of several that ask for one key
        only one computes on either level.
    lock_manager
        Locks to take beside the run store's claims, e.g. where several run
        stores share a result storage.

    Notes
    -----
    A policy is not changed once it is made: ``configure``, ``+`` and ``-`` return
    new ones. It is no frozen dataclass so that subclasses may be plain ones. It
    travels to workers by pickle.
    """

    key_storage: Any = None
    isolation_level: str | None = None
    lock_manager: Any = None

    @classmethod
    def from_cache_key_fn(cls, cache_key_fn: KeyFunction) -> CacheKeyFnPolicy:
        """Return the policy whose key is what ``cache_key_fn(context, parameters)`` returns."""
        return CacheKeyFnPolicy(cache_key_fn=cache_key_fn)

    def configure(self, key_storage: Any = None, lock_manager: Any = None,
                  isolation_level: str | None = None) -> Self:
        """Return a copy with another configuration; None leaves what is there.

        Raises
        ------
        DefinitionError
            There is no such isolation level, the lock manager cannot lock, or the storage is
            neither a folder, a URL nor a ResultStorage.
        """
        new = copy.copy(self)
        if key_storage is not None:
            _check_key_storage(key_storage)
            new.key_storage = key_storage
        if lock_manager is not None:
            _check_lock_manager(lock_manager)
            new.lock_manager = lock_manager
        if isolation_level is not None:
            if isolation_level not in _LEVELS:
                raise DefinitionError(
                    f"isolation_level of a cache policy must be one of {', '.join(_LEVELS)}, got "
                    f"{isolation_level!r}", option="isolation_level")
            new.isolation_level = isolation_level
        return new

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        """Return the key of one task run, None for no caching.

        Parameters
        ----------
        task_ctx
            What runs: ``task``, ``task_run`` (id, name, …), ``parameters``.
        inputs
            Arguments by parameter name, defaults included.
        flow_parameters
            Of the flow run around; empty outside of one.
        """
        raise NotImplementedError(
            f"{type(self).__name__} is a cache policy without a key: write its compute_key()")

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Return the policy of which both must agree.

        Raises
        ------
        ValueError
            Both are configured, and differently.
        """
        if not isinstance(other, CachePolicy):
            return NotImplemented
        settings = _joined(self, other)
        if isinstance(other, _None):
            return self._with(settings)
        if isinstance(self, _None):
            return other._with(settings)
        return CompoundCachePolicy(**settings, policies=[self, other])

    def __sub__(self, name: str) -> CachePolicy:
        """Return the policy that does not look at an argument.

        Nothing changes where it does not look at arguments anyway.
        """
        _check_name(name)
        return self

    def __str__(self) -> str:
        """Return the policy as one writes it."""
        return _WRITTEN.get(type(self), type(self).__name__)

    def _with(self, settings: Mapping[str, Any]) -> Self:
        if all(getattr(self, name) is value for name, value in settings.items()):
            return self
        new = copy.copy(self)
        for name, value in settings.items():
            setattr(new, name, value)
        return new


@dataclass
class CacheKeyFnPolicy(CachePolicy):
    """The key is what a function of the user's returns.

    Parameters
    ----------
    cache_key_fn
        ``(context, parameters) -> str | None``; None: no caching.
    """

    cache_key_fn: KeyFunction | None = None

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        """Return what the function returns."""
        return None if self.cache_key_fn is None else self.cache_key_fn(task_ctx, inputs)

    def __str__(self) -> str:
        fn = self.cache_key_fn
        name = getattr(fn, "__name__", None) or type(fn).__name__  # a partial has none
        return "NO_CACHE" if fn is None else f"cache_key_fn {name!r}"


@dataclass
class CompoundCachePolicy(CachePolicy):
    """Several policies at once; made by ``+``.

    Parameters
    ----------
    policies
        Flattened and without NO_CACHE; those by inputs become one, which leaves out
        what any of them leaves out. The order does not matter.
    """

    policies: list[CachePolicy] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = list(_flat(self.policies))
        by_inputs = [policy for policy in found if type(policy) is Inputs]
        if len(by_inputs) > 1:
            left_out = {name for policy in by_inputs for name in policy.exclude}
            found = [policy for policy in found if type(policy) is not Inputs]
            found.append(Inputs(exclude=sorted(left_out)))
        self.policies = found

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        """Return one key of the keys of all parts; parts without a key do not count."""
        keys = [
            (type(policy).__qualname__, key) for policy in self.policies
            if (key := policy.compute_key(task_ctx=task_ctx, inputs=inputs,
                                          flow_parameters=flow_parameters, **kwargs)) is not None
        ]
        return _hex(sorted(keys)) if keys else None

    def __sub__(self, name: str) -> CachePolicy:
        """Return the policy that does not look at an argument."""
        _check_name(name)
        new = copy.copy(self)
        new.policies = [policy - name for policy in self.policies]
        return new

    def __str__(self) -> str:
        return " + ".join(map(str, self.policies)) or "NO_CACHE"


@dataclass
class _None(CachePolicy):
    """No caching; adds nothing to another policy."""

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        """Return None."""
        return None


@dataclass
class TaskSource(CachePolicy):
    """The code of the task: its source, the helpers it reaches, what it closes over."""

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any] | None,
                    flow_parameters: dict[str, Any] | None, **kwargs: Any) -> str | None:
        """Return the digest of the code. Raises NotCacheable where it cannot be known."""
        if not task_ctx:
            return None
        from dataflow.code_identity import code_identity

        task = task_ctx.task
        own = getattr(task, "code_digest", None)
        found = own() if callable(own) else code_identity(task.fn).digest
        return found if isinstance(found, str) else found.hex()


@dataclass
class FlowParameters(CachePolicy):
    """The parameters of the flow run around."""

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        """Return the digest of the parameters, None where there are none."""
        return _hex(dict(flow_parameters), "flow parameters") if flow_parameters else None


@dataclass
class RunId(CachePolicy):
    """The flow run around, outside of one the task run: nothing is shared between runs."""

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        """Return the id of the flow run, else of the task run."""
        if not task_ctx:
            return None
        run = task_ctx.task_run
        found = run.id if run.flow_run_id is None else run.flow_run_id
        return None if found is None else str(found)


@dataclass
class Inputs(CachePolicy):
    """The arguments of the task run, by parameter name, defaults included.

    Parameters
    ----------
    exclude
        Names of arguments that do not count; ``INPUTS - "name"`` adds one.
    """

    exclude: list[str] = field(default_factory=list)

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        """Return the digest of the arguments; the same inputs of another task give another.

        Raises
        ------
        NotCacheable
            An argument has no content that could be compared; the text names the part.
        """
        if not inputs:
            return None
        left_out = frozenset(self.exclude)
        looked_at = {name: value for name, value in inputs.items() if name not in left_out}
        return _hex((_partition(task_ctx), looked_at), "inputs")

    def __sub__(self, name: str) -> Inputs:
        """Return the policy that does not look at an argument."""
        _check_name(name)
        new = copy.copy(self)
        new.exclude = sorted({*self.exclude, name})
        return new

    def __str__(self) -> str:
        return " - ".join(["INPUTS", *map(repr, self.exclude)]) if is_built_in(self) else (
            type(self).__name__)


def task_input_hash(context: Any, arguments: dict[str, Any]) -> str | None:
    """Return a key by task, code and inputs; a ``cache_key_fn`` that old flows name."""
    return (INPUTS + TASK_SOURCE).compute_key(context, arguments, {}) or _hex(_partition(context))


def is_built_in(policy: CachePolicy) -> bool:
    """Tell whether a policy is one of ours as it is: a subclass of one is a user's."""
    return type(policy) in (_None, Inputs, TaskSource, FlowParameters, RunId)


def policy_parts(policy: CachePolicy) -> list[CachePolicy]:
    """Return the parts of a policy, none for NO_CACHE."""
    return list(_flat([policy]))


def _flat(policies: Sequence[CachePolicy]) -> Iterator[CachePolicy]:
    for policy in policies:
        if type(policy) is CompoundCachePolicy:
            yield from _flat(policy.policies)
        elif type(policy) is not _None:
            yield policy


def _joined(one: CachePolicy, other: CachePolicy) -> dict[str, Any]:
    """Return the configuration of a sum. Raises ValueError where the two differ."""
    found = {}
    for name, what in _SETTINGS.items():
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine is not None and theirs is not None and mine != theirs:
            raise DefinitionError(
                f"Cannot add cache policies with different {what}: {mine!r} and {theirs!r}; "
                "configure the sum instead", option=name)
        found[name] = theirs if mine is None else mine
    return found


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise DefinitionTypeError(
            f"What is taken from a cache policy is the name of an argument, e.g. INPUTS - 'now', "
            f"got {type(name).__name__} {name!r:.80}")


def _check_key_storage(storage: object) -> None:
    from dataflow.result_storage import ResultStorage

    if isinstance(storage, str | Path) and str(storage).strip():
        return
    if not isinstance(storage, ResultStorage):
        raise DefinitionTypeError(
            "key_storage of a cache policy must be a folder, a URL or a ResultStorage, got "
            f"{type(storage).__name__} {storage!r:.80}", option="key_storage")


def _check_lock_manager(manager: object) -> None:
    for method in ("acquire_lock", "release_lock"):
        if not callable(getattr(manager, method, None)):
            raise DefinitionTypeError(
                f"lock_manager of a cache policy must have acquire_lock() and release_lock(), got "
                f"{type(manager).__name__} {manager!r:.80}", option="lock_manager")


def _partition(context: Any) -> str:
    return partition_of(context.task) if context else ""


def _hex(value: Any, name: str = "value") -> str:
    from dataflow.hashing import digest

    return digest(value, name=name).hex()


_WRITTEN: dict[type, str] = {
    _None: "NO_CACHE", TaskSource: "TASK_SOURCE", FlowParameters: "FLOW_PARAMETERS",
    RunId: "RUN_ID",
}
INPUTS = Inputs()
NONE = _None()
NO_CACHE = _None()
TASK_SOURCE = TaskSource()
FLOW_PARAMETERS = FlowParameters()
RUN_ID = RunId()
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
