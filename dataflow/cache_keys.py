"""Cache keys of elements: what they are made of.

Lives here: :class:`KeyRecipe`, what the flow's process says once of a call's
keys. Does not live here: the making of keys where the elements run
(``key_maker.py``), what a policy means alone (``cache_policies.py``), how a value
becomes a digest (``hashing/``), how code does (``code_identity/``).

A key is the blake2b-128 of a head (format, partition, code, run, flow
parameters, names of arguments) and of one digest per argument, in the order of
the signature. How an argument is given (by position, by name, by default, as a
constant of a map) makes no difference.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dataflow.cache_policies import (
    CachePolicy,
    FlowParameters,
    Inputs,
    RunId,
    TaskSource,
    is_built_in,
    policy_parts,
)
from dataflow.exceptions import NotCacheable
from dataflow.hashing import digest
from dataflow.partitions import SHARED

KEY_BYTES = 16
_FORMAT = 2  # of keys: another one makes all that is stored a miss


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What keys ask of a task.

    Parameters
    ----------
    partition
        See :func:`dataflow.partitions.partition_of`.
    code
        Returns the digest of the code; called where the code is in the key.
    signature
        None where it cannot be read.
    alone
        No other task below ``root`` has the partition: :attr:`dataflow.partitions.Address.alone`.
        Else the code is in the key whatever the policy says.
    root
        See :attr:`dataflow.partitions.Address.root`; in the key where the code is not.
    """

    name: str
    partition: str
    code: Callable[[], bytes]
    signature: inspect.Signature | None
    alone: bool = True
    root: str | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What keys ask of the run around; outside of a flow a fresh id stands for it."""

    run_id: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of a function, as keys name them.

    Attributes
    ----------
    named
        All but ``*args`` and ``**kwargs``, in their order: the key's order.
    positional
        How many of them take an argument by position; so many of these
    positional_only
        take it in no other way.
    star, stars
        Names of ``*args`` and ``**kwargs``.
    defaults
        Digests of what is left out, or why there is none.
    """

    named: tuple[str, ...] = ()
    positional: int = 0
    positional_only: int = 0
    star: str | None = None
    stars: str | None = None
    defaults: tuple[tuple[str, bytes | NotCacheable], ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRecipe:
    """How the keys of a call's elements are made: plain data, but for ``user``.

    Attributes
    ----------
    partition
        Of the results; ``"shared"`` where the user makes the whole key.
    code
        Hex digest of the code, None where it does not count.
    root
        Folder of the code, where neither code nor run tells tasks of one name apart.
    exclude
        Names of arguments that do not count.
    run_id, flow_parameters
        None where they do not count; a hex digest of the latter.
    user
        Policies that are asked per element.
    shape
        None where arguments do not count.
    needs_text
        Without an answer of ``user`` there is no key: nothing else tells runs apart.
    """

    task_name: str
    partition: str
    code: str | None = None
    root: str | None = None
    shape: Shape | None = None
    exclude: frozenset[str] = frozenset()
    run_id: str | None = None
    flow_parameters: str | None = None
    user: tuple[CachePolicy, ...] = ()
    needs_text: bool = False
    version: int = _FORMAT

    @property
    def wants_inputs(self) -> bool:
        """Whether the arguments count."""
        return self.shape is not None


def recipe_of(policy: CachePolicy, task: TaskFacts, run: RunFacts) -> KeyRecipe | None:
    """Return how keys are made by a policy; None: nothing is cached.

    None is for NO_CACHE, and where nothing is there to look at: INPUTS of a function
    without parameters, FLOW_PARAMETERS of a flow without any.

    Raises
    ------
    NotCacheable
        The code, or a parameter of the flow, has no digest. Nothing can be cached.

    Notes
    -----
    Once per task, options and flow run, not per call. A policy of built-in parts
    alone becomes plain data.
    """
    parts = policy_parts(policy)
    kinds = {type(part) for part in parts}
    takes_none = task.signature is not None and not task.signature.parameters
    shape = _shape_of(task.signature) if Inputs in kinds and not takes_none else None
    flow_parameters = None
    if FlowParameters in kinds and run.parameters:
        flow_parameters = digest(dict(run.parameters), name="flow parameters").hex()
    user = tuple(part for part in parts if not is_built_in(part))
    says_something = bool(shape or flow_parameters or kinds & {TaskSource, RunId})
    if not says_something and not user:
        return None
    ours = len(user) < len(parts)
    wants_code = TaskSource in kinds or (ours and not task.alone)
    return KeyRecipe(
        task_name=task.name, partition=task.partition if ours else SHARED,
        needs_text=not says_something,
        code=task.code().hex() if wants_code else None,
        root=None if wants_code or RunId in kinds else task.root, shape=shape,
        exclude=frozenset(
            name for part in parts if isinstance(part, Inputs) and part not in user
            for name in part.exclude),
        run_id=run.run_id if RunId in kinds else None,
        flow_parameters=flow_parameters, user=user,
    )


def _shape_of(signature: inspect.Signature | None) -> Shape:
    if signature is None:
        return Shape(star="args", stars="kwargs")
    kinds = inspect.Parameter
    found = signature.parameters.values()
    by_kind = {kind: [p for p in found if p.kind is kind] for kind in (
        kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY,
        kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)}
    only, both, by_name, star, stars = by_kind.values()
    named = [*only, *both, *by_name]
    return Shape(
        named=tuple(p.name for p in named),
        positional=len(only) + len(both), positional_only=len(only),
        star=star[0].name if star else None, stars=stars[0].name if stars else None,
        defaults=tuple((p.name, _digest_or_why(p.default, f"default of {p.name!r}"))
                       for p in named if p.default is not p.empty),
    )


def _digest_or_why(value: Any, name: str) -> bytes | NotCacheable:
    try:
        return digest(value, name=name)
    except NotCacheable as why:
        return why.with_traceback(None)


def own_key(run_id: str, call: int, index: int) -> bytes:
    """Return the key of a result that is kept for its own run alone."""
    return blake2b(b"own:%s:%d:%d" % (run_id.encode(), call, index),
                   digest_size=KEY_BYTES).digest()


def user_key(text: str) -> bytes:
    """Return the key for a text of the user's, in the partition ``"shared"``."""
    return blake2b(b"user:" + text.encode("utf-8", "surrogatepass"),
                   digest_size=KEY_BYTES).digest()
