"""Makes the keys of elements where they run, by a recipe.

Lives here: :class:`KeyMaker`, the part that costs microseconds per element.
Does not live here: what goes into a key and why (``cache_keys.py``), the digest
of a value (``hashing/``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from dataflow.cache_keys import KEY_BYTES, KeyRecipe, Shape, user_key
from dataflow.cache_policies import CacheKeyFnPolicy, CachePolicy
from dataflow.context import TaskRunContext
from dataflow.exceptions import DefinitionTypeError, NotCacheable
from dataflow.failures import text_of
from dataflow.hashing import digest
from dataflow.hooks import finished
from dataflow.partitions import SHARED
from dataflow.signatures import name_of


@dataclass(slots=True)
class _Plan:
    """Where the digests of a key come from, for one number of arguments and set of keywords.

    ``pieces`` is the head and one digest per argument; those of constants and
    defaults are in it, the others are put into a copy.
    """

    pieces: list[bytes]
    names: list[str] = field(default_factory=list)  # of the arguments, one per piece
    positions: list[tuple[int, str, int]] = field(default_factory=list)  # slot, path, position
    keywords: list[tuple[int, str, str]] = field(default_factory=list)
    star: tuple[int, str, int] | None = None
    refused: NotCacheable | None = None  # of a constant or default: no element has a key


class KeyMaker:
    """Makes the keys of one call's elements.

    Parameters
    ----------
    recipe
        Of the call.

    Notes
    -----
    Two small arguments cost some 4 µs. What is the same for all elements is given once
    to :meth:`constant`, before the first key; else its digest is made for each.
    """

    __slots__ = ("_constants", "_defaults", "_planned", "recipe")

    def __init__(self, recipe: KeyRecipe) -> None:
        self.recipe = recipe
        self._constants: dict[str, Any] = {}
        self._defaults = dict(recipe.shape.defaults) if recipe.shape is not None else {}
        self._planned: tuple[Any, _Plan] | None = None

    def constant(self, name: str, value: Any) -> None:
        """Say that a parameter has this value in every element: its digest is made once.

        Those of ``*args`` (``"args[0]"``) are looked at for each element all the same.
        """
        self._constants[name] = value
        self._planned = None

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any],
            context: TaskRunContext | None = None) -> bytes | None:
        """Return the key of an element; None where the user's function wants no caching.

        Parameters
        ----------
        args, kwargs
            As the function gets them.
        context
            Of the element; needed where the recipe has ``user``.

        Raises
        ------
        NotCacheable
            An argument has no digest, or the user's function raised (that is chained).
        DefinitionTypeError
            The user's function returned something else than a str or None.
        """
        texts: list[tuple[int, str]] = []
        if self.recipe.user:
            texts = self._texts(context)
            if not texts and self.recipe.needs_text:
                return None
            if self.recipe.partition == SHARED:
                return _shared_key(texts)
        plan = self._plan(args, kwargs)
        if plan.refused is not None:
            raise plan.refused.with_traceback(None)
        pieces = self._filled(plan, args, kwargs)
        if texts:
            pieces.append(digest(texts))
        return blake2b(b"".join(pieces), digest_size=KEY_BYTES).digest()

    def column(self, items: Sequence[Any], args: tuple[Any, ...],
               kwargs: dict[str, Any]) -> list[bytes] | None:
        """Return the keys of elements that differ in one argument alone, as :meth:`key` makes them.

        Parameters
        ----------
        items
            That argument of each element.
        args, kwargs
            Of any one of them.

        Returns
        -------
        list of bytes or None
            None where they differ in more, or one of them has no key: :meth:`key` tells.
        """
        plan = self._plan(args, kwargs)
        varying = [*plan.positions, *plan.keywords]
        if self.recipe.user or plan.refused or plan.star is not None or len(varying) != 1:
            return None
        slot, path, _ = varying[0]
        before, after = b"".join(plan.pieces[:slot]), b"".join(plan.pieces[slot + 1:])
        try:
            return [blake2b(before + digest(item, name=path) + after,
                            digest_size=KEY_BYTES).digest() for item in items]
        except NotCacheable:
            return None

    def input_digests(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, bytes]:
        """Return the digests of the arguments that count, by name, for explanations.

        Raises
        ------
        NotCacheable
            One has none.
        """
        plan = self._plan(args, kwargs)
        if plan.refused is not None:
            raise plan.refused.with_traceback(None)
        return dict(zip(plan.names, self._filled(plan, args, kwargs)[1:], strict=True))

    def _filled(self, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[bytes]:
        pieces = plan.pieces.copy()
        for slot, path, position in plan.positions:
            pieces[slot] = digest(args[position], name=path)
        for slot, path, keyword in plan.keywords:
            pieces[slot] = digest(kwargs[keyword], name=path)
        if plan.star is not None:
            slot, path, first = plan.star
            pieces[slot] = digest(args[first:], name=path)
        return pieces

    def _plan(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Plan:
        given = (len(args), *kwargs) if kwargs else len(args)
        planned = self._planned  # one attribute: threads may share a maker
        if planned is not None and planned[0] == given:
            return planned[1]
        plan = self._new_plan(len(args), kwargs)
        self._planned = (given, plan)
        return plan

    def _new_plan(self, count: int, kwargs: dict[str, Any]) -> _Plan:
        recipe, plan = self.recipe, _Plan(pieces=[b""])
        shape = recipe.shape
        if shape is not None:
            for position, name in enumerate(shape.named):
                if name not in recipe.exclude:
                    self._plan_named(plan, shape, position, name, count, kwargs)
            first = shape.positional
            if shape.star is not None and count > first and shape.star not in recipe.exclude:
                plan.star = (self._slot(plan, f"*{shape.star}"), f"args[{shape.star!r}]", first)
            for name in _members(shape, kwargs):
                if name not in recipe.exclude and shape.stars not in recipe.exclude:
                    slot = self._slot(plan, f"**{name}")
                    plan.keywords.append((slot, f"args[{name!r}]", name))
        plan.pieces[0] = digest((
            "dataflow key", recipe.version, recipe.partition, recipe.code, recipe.root,
            recipe.run_id, recipe.flow_parameters,
            tuple(plan.names) if shape is not None else None))
        return plan

    def _plan_named(self, plan: _Plan, shape: Shape, position: int, name: str, count: int,
                    kwargs: dict[str, Any]) -> None:
        slot, path = self._slot(plan, name), f"args[{name!r}]"
        by_position = position < min(count, shape.positional)
        if name in self._constants:
            self._plan_fixed(plan, slot, self._constants[name], path)
        elif by_position:
            plan.positions.append((slot, path, position))
        elif name in kwargs and position >= shape.positional_only:
            plan.keywords.append((slot, path, name))
        else:
            found = self._defaults[name]
            if isinstance(found, NotCacheable):
                plan.refused = found
            else:
                plan.pieces[slot] = found

    def _plan_fixed(self, plan: _Plan, slot: int, value: Any, path: str) -> None:
        try:
            plan.pieces[slot] = digest(value, name=path)
        except NotCacheable as why:
            plan.refused = why

    def _slot(self, plan: _Plan, name: str) -> int:
        plan.names.append(name)
        plan.pieces.append(b"")
        return len(plan.pieces) - 1

    def _texts(self, context: TaskRunContext | None) -> list[tuple[int, str]]:
        """Ask the user's policies; those that answer None or ``""`` do not count.

        None is a choice. ``""`` is told of where nothing else makes a key.
        """
        assert context is not None  # the recipe says that somebody asks for it
        flow_parameters = dict(context.run.parameters) if context.run is not None else {}
        texts: list[tuple[int, str]] = []
        nothing: NotCacheable | None = None
        for number, policy in enumerate(self.recipe.user):
            try:
                text = finished(policy.compute_key(
                    task_ctx=context, inputs=context.parameters, flow_parameters=flow_parameters))
            except NotCacheable:
                raise
            except Exception as error:  # user code: it runs, but is not cached
                raise _refused(policy, error) from error
            if text is not None and not isinstance(text, str):
                raise DefinitionTypeError(
                    f"{_name_of(policy)} of task {self.recipe.task_name!r} must return a str, or "
                    f"None for no caching, got {type(text).__name__} {text!r:.80}",
                    option="cache_policy")
            if text:
                texts.append((number, text))
            elif text is not None:
                nothing = NotCacheable.because(
                    _name_of(policy), "returned ''",
                    "return a text that tells calls apart, or None for no caching")
        if nothing is not None and not texts and self.recipe.needs_text:
            raise nothing
        return texts


def _shared_key(texts: list[tuple[int, str]]) -> bytes:
    if len(texts) == 1:
        return user_key(texts[0][1])
    return digest(("dataflow shared key", texts))


def _members(shape: Shape, kwargs: dict[str, Any]) -> Iterator[str]:
    """Yield the names of what ``**kwargs`` takes up."""
    own = shape.named[shape.positional_only:]
    return iter(sorted(name for name in kwargs if name not in own))


def _name_of(policy: CachePolicy) -> str:
    if type(policy) is CacheKeyFnPolicy and policy.cache_key_fn is not None:
        return f"cache_key_fn {name_of(policy.cache_key_fn)!r}"
    return f"compute_key() of cache policy {type(policy).__name__}"


def _refused(policy: CachePolicy, error: Exception) -> NotCacheable:
    what = _name_of(policy)
    reason = f"raised {type(error).__name__}: {text_of(error)}"
    return NotCacheable.because(what, reason, "the task runs all the same; mend it")
