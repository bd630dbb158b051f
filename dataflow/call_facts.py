"""What is recorded of a call whose results are kept, so that its keys can be explained.

Lives here: from a call to the fields of its record (code, policy, storage, and
where its arguments come from), and back from these fields to values. Does not
live here: the explanation (``explaining.py``).

Nothing of it is kept per element: an element has its key, and that is all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflow.batch import CallCode, Const, Source
from dataflow.call_inputs import MAPPED, how_of
from dataflow.masking import masked

if TYPE_CHECKING:
    from dataflow.caching import Caching
    from dataflow.hashing import Leaf
    from dataflow.store import CallRow

_LEAVES = 100  # parts of arguments that are recorded of a map
_LEAVES_OF_ONE = 24  # of a single call, of which there may be many: some 10 µs each
_TEXT, _SHORT = 60, 50
_SCALARS = (int, float, bool, type(None))
_LARGE_BYTES, _LARGE_ITEMS = 1 << 20, 10_000  # what is larger is not looked into a second time
_REFRESH = "refresh_cache"
_NAMED = "result_storage_key "
_BUILT_IN = frozenset({"INPUTS", "TASK_SOURCE", "RUN_ID", "FLOW_PARAMETERS", "NO_CACHE"})
_EXCLUDED = re.compile(r" - '([^']*)'")

TOO_LARGE = "too large"
"""How an argument comes that is the same for all elements, but was not looked into."""

_FROM_CALLS = ("aligned", "one", "item", "whole")
_HOWS = (*_FROM_CALLS, MAPPED, TOO_LARGE, "made")  # others tell what a call waits for, and the like


@dataclass(frozen=True, slots=True)
class Input:
    """An argument that is not the same for all elements, or not known where the call was made.

    Attributes
    ----------
    how
        :data:`MAPPED`, :data:`TOO_LARGE`; of the values of ``call``: ``"aligned"`` (element
        i), ``"one"`` (element ``index``), ``"item"`` (item i of element ``index``),
        ``"whole"``; ``"made"`` of several of them.
    """

    name: str
    how: str
    call: int | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class CallFacts:
    """The recorded fields, read back.

    Attributes
    ----------
    policy
        As users write it.
    parts
        Of the policy: names of built-in ones, and what users call theirs.
    excluded
        Names of arguments that do not count.
    leaves
        Of the arguments that all elements share.
    inputs
        The other arguments.
    """

    policy: str
    parts: tuple[str, ...]
    excluded: frozenset[str]
    refresh: bool
    named: str | None
    leaves: tuple[Leaf, ...]
    inputs: tuple[Input, ...]

    @property
    def by_user(self) -> tuple[str, ...]:
        """The parts of the policy that are the user's."""
        return tuple(part for part in self.parts if part not in _BUILT_IN)

    @property
    def counts_nothing(self) -> bool:
        """Whether nothing is looked up for other calls."""
        return self.parts in ((), ("NO_CACHE",)) and self.named is None


def facts_of(code: CallCode, args: tuple[Any, ...] | None = None,
             kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the fields of a :class:`dataflow.store.CallRecord` that tell how it is cached.

    Parameters
    ----------
    code
        The call.
    args, kwargs
        Of a direct call, as the function gets them; else the sources of ``code`` count.
    """
    caching: Caching | None = code.task.caching
    if caching is None:
        return {}
    if args is None:
        sources = [*zip(code.names, code.args, strict=False), *code.kwargs.items()]
    else:
        sources = [(name, Const(value)) for name, value in
                   (*zip(code.names, args, strict=False), *(kwargs or {}).items())]
    return {
        "code": caching.code, "partition": caching.place, "policy": _policy_text(caching),
        "storage": caching.storage.location,
        "constants": _constants(sources, _LEAVES if code.mapped else _LEAVES_OF_ONE),
    }


def read_facts(call: CallRow) -> CallFacts:
    """Return what the record of a call says."""
    policy, *more = (call.policy or "").split("; ")
    named = next((text.removeprefix(_NAMED) for text in more if text.startswith(_NAMED)), None)
    parts = tuple(_EXCLUDED.sub("", part) for part in policy.split(" + ") if part)
    leaves, inputs = _read_constants(call.constants)
    return CallFacts(policy, parts, frozenset(_EXCLUDED.findall(policy)), _REFRESH in more, named,
                     tuple(leaves), tuple(inputs))


def _policy_text(caching: Caching) -> str:
    parts = [caching.policy]
    if caching.refresh:
        parts.append(_REFRESH)
    if caching.named is not None:
        parts.append(f"{_NAMED}{caching.named!r}")
    return "; ".join(parts)


def _constants(sources: Sequence[tuple[str, Source]], limit: int) -> str | None:
    if not sources:
        return None
    from dataflow.hashing import digest, leaves

    found: list[list[Any]] = []
    for name, source in sources:
        if type(source) is not Const:
            found.append([name, "", *how_of(source)])
        elif type(source.value) in _SCALARS or (
                type(source.value) is str and len(source.value) < _SHORT):
            leaf = digest(source.value, name=name)[:8]  # as leaves() has it, in a third of the time
            text = repr(source.value)
            found.append([name, leaf.hex(), masked(
                name, text if len(text) <= _TEXT else f"{text[:_TEXT - 1]}…")])
        elif _is_large(source.value):
            found.append([name, "", TOO_LARGE])
        else:
            found += [[leaf.path, leaf.digest.hex(), masked(leaf.path, leaf.text[:_TEXT])]
                      for leaf in leaves(source.value, name=name, limit=limit)]
    return json.dumps(found[:_LEAVES], separators=(",", ":"))


def _is_large(value: Any) -> bool:
    """Tell whether a look at it would be felt by whoever makes the call."""
    kind = type(value)
    try:
        if hasattr(kind, "nbytes"):
            return bool(value.nbytes > _LARGE_BYTES)
        return len(value) > (_LARGE_BYTES if kind in (str, bytes, bytearray) else _LARGE_ITEMS)
    except Exception:  # user values: __len__ may raise anything, or there is none
        return False


def _read_constants(text: str | None) -> tuple[list[Leaf], list[Input]]:
    from dataflow.hashing import Leaf

    leaves: list[Leaf] = []
    inputs: list[Input] = []
    for path, digest, said, *more in json.loads(text or "[]"):
        if digest:
            leaves.append(Leaf(path, bytes.fromhex(digest), said))
        elif said in _HOWS:
            inputs.append(Input(path, said, *(more if said in _FROM_CALLS else ())))
    return leaves, inputs
