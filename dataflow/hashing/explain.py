"""A value as a short list of named parts, to say later which of them changed.

Lives here: leaves and their comparison, for people. Does not live here: the digest
of a key (``walk.py``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from dataflow.exceptions import NotCacheable
from dataflow.hashing.contents import cut, safe_repr, type_name
from dataflow.hashing.encoding import SCALARS
from dataflow.hashing.kinds import has_hook
from dataflow.hashing.objects import attributes_of, declares_fields, is_plain
from dataflow.hashing.walk import digest

_LEAF_BYTES: Final = 8
_DEEPEST: Final = 12
_TEXT: Final = 60
_UNKNOWN: Final = bytes(_LEAF_BYTES)


class Leaf(NamedTuple):
    """A part of a value that is not taken apart further.

    Parameters
    ----------
    path
        How it is reached: ``cfg.rate``, ``xs[3]``.
    digest
        8 bytes; zeros where it has none.
    text
        Its repr, or its type and shape, cut to 60 characters.
    """

    path: str
    digest: bytes
    text: str


def leaves(value: Any, *, name: str, limit: int = 200) -> list[Leaf]:
    """Return the parts of a value, at most ``limit``, in its own order.

    Parameters
    ----------
    value
        Anything; a part that has no digest gives a leaf whose text says so.
    name
        The first part of all paths.
    limit
        A container that does not fit into what is left of it is one leaf.
    """
    found: list[Leaf] = []
    waiting: list[tuple[str, Any, int]] = [(name, value, 0)]
    seen: set[int] = set()
    while waiting and len(found) < limit:
        path, part, depth = waiting.pop()
        inner = None
        if depth < _DEEPEST and id(part) not in seen:
            try:
                inner = _inner(part, limit - len(found) - len(waiting))
            except Exception:  # a property of a user's class
                inner = None
        if not inner:
            found.append(_leaf(path, part))
            continue
        seen.add(id(part))
        waiting += [(path + label, one, depth + 1) for label, one in reversed(inner)]
    return found


def changed_leaves(old: Sequence[Leaf], new: Sequence[Leaf]) -> list[str]:
    """Return what differs between two lists of leaves, a line for each part.

    Examples
    --------
    >>> changed_leaves(leaves([1], name="xs"), leaves([2], name="xs"))
    ['`xs[0]` 1 → 2']
    """
    before = {leaf.path: leaf for leaf in old}
    after = {leaf.path: leaf for leaf in new}
    lines = [line for leaf in new if (line := _difference(before.get(leaf.path), leaf))]
    return lines + [f"`{path}` is gone" for path in before if path not in after]


def _difference(old: Leaf | None, new: Leaf) -> str | None:
    if old is None:
        return f"`{new.path}` is new"
    if old.digest == new.digest:
        return None
    if old.text == new.text:
        return f"`{new.path}` has other values ({new.text})"
    return f"`{new.path}` {old.text} → {new.text}"


def _inner(value: Any, room: int) -> list[tuple[str, Any]] | None:
    """Return labels and parts of what is taken apart; None: it is one leaf."""
    kind = type(value)
    if has_hook(kind):
        return None
    if kind in (list, tuple):
        if len(value) > room:
            return None
        return [(f"[{n}]", one) for n, one in enumerate(list(value))]
    if kind is dict:
        if len(value) > room:
            return None
        return [(f"[{_key_text(key)}]", one) for key, one in list(value.items())]
    if kind.__flags__ & (1 << 9) and (declares_fields(kind) or is_plain(kind)):
        found = list(_attributes(value))
        return found if len(found) <= room else None
    if isinstance(value, tuple) and hasattr(kind, "_fields") and len(value) <= room:
        return [(f".{name}", one) for name, one in zip(kind._fields, value, strict=False)]
    return None


def _key_text(key: Any) -> str:
    """Return what a key is called in a path: no other's name, and the same in every process."""
    text = safe_repr(key) if type(key) in SCALARS or isinstance(key, Enum) else ""
    if text and len(text) <= _TEXT:
        return text
    try:
        shown = digest(key)[:4].hex()
    except NotCacheable:
        shown = "…"
    return f"{cut(text, _TEXT // 2) or type(key).__name__} {shown}"


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    kind = type(value)
    found = attributes_of(kind)(value)
    names = [field.name for field in dataclasses.fields(kind)] if (
        dataclasses.is_dataclass(kind)) else []
    for name in dict.fromkeys([*names, *found]):
        if name in found and not name.startswith("__"):
            yield f".{name}", found[name]


def _leaf(path: str, value: Any) -> Leaf:
    try:
        return Leaf(path, digest(value, name=path)[:_LEAF_BYTES], _text(value))
    except NotCacheable as error:
        return Leaf(path, _UNKNOWN, cut(f"not cacheable: {error.path} {error.reason}", _TEXT))
    except Exception as error:  # a user's property or hook
        return Leaf(path, _UNKNOWN, cut(f"not cacheable: {type(error).__name__}", _TEXT))


def _text(value: Any) -> str:
    kind = type(value)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and kind.__module__ != "builtins":
        return cut(_shaped(value, shape), _TEXT)
    if isinstance(value, (str, bytes, bytearray)):
        return cut(safe_repr(value[: _TEXT + 1]), _TEXT)
    if isinstance(value, (list, tuple, dict, set, frozenset)) and len(value) > _TEXT // 3:
        return f"{kind.__name__} of {len(value):,} items"
    if getattr(kind, "__repr__", None) is object.__repr__:
        return cut(type_name(kind), _TEXT)
    if kind in (set, frozenset):  # in an order that is the same in every process
        return cut(f"{{{', '.join(sorted(map(safe_repr, value)))}}}", _TEXT)
    if kind.__module__.partition(".")[0] in ("pyarrow", "polars") and hasattr(value, "__len__"):
        return f"{kind.__name__} of {len(value):,} items"
    return cut(safe_repr(value), _TEXT)


def _shaped(value: Any, shape: tuple[Any, ...]) -> str:
    """Say what a table or an array is, without a look at what is in it."""
    if hasattr(value, "columns"):
        return f"{shape[0]:,} rows, {shape[1]} columns"
    dtype = getattr(value, "dtype", None)
    return f"{type(value).__name__} {' × '.join(f'{n:,}' for n in shape)}, {dtype}"
