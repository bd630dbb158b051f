"""Digests of values that are looked at in the flow's process, where that costs little.

Lives here: what is small enough, and samples of lists that are not. Does not live here:
what a digest is (``hashing/``), what is recorded (``call_inputs.py``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from dataflow.resolve import Kind, kind_of

_PARTS = 4_000  # of a value that is looked into: some ms at most
_CHARS = 64  # of a text, or bytes of an array, that count as one part
_PLAIN = frozenset({int, float, bool, complex, type(None)})
_TEXTS = frozenset({str, bytes, bytearray})
_HOLDERS = (list, tuple, set, frozenset, dict)
_LEAVES = (
    PurePath, date, time, timedelta, tzinfo, Decimal, Fraction, UUID, Enum, range, str, bytes, int,
    float,
)
_SAMPLED = (int, float, str, bytes, bool, type(None), tuple, PurePath)
_LARGE = 100_000  # characters, or members, of an item that is not sampled


def digest_of(value: Any) -> str | None:
    """Return 16 bytes of hexadecimal that tell a value, None where it is large or has no digest."""
    try:
        small = _is_small(value)
    except Exception:  # user values: properties of dataclasses, members of containers
        return None
    return (_digest(value) or None) if small else None


def sample_of(items: Sequence[Any], plain: Callable[[Any], Any] | None = None) -> list[str | None]:
    """Return a digest of three items, and one of all where that costs little; else nothing.

    Parameters
    ----------
    items
        A list, tuple, range or array.
    plain
        Makes an item what is to be told of it.
    """
    if not len(items):
        return []
    some = _three(items, plain)
    whole = None
    if len(items) <= _PARTS:
        whole = digest_of(items if plain is None else list(map(plain, items)))
    if whole is not None:
        return [some, whole]
    return [] if some is None else [some]


def _three(items: Sequence[Any], plain: Callable[[Any], Any] | None) -> str | None:
    """Return what tells the length, and the first, the middle and the last item."""
    try:
        some = [items[at] for at in (0, len(items) // 2, len(items) - 1)]
    except (LookupError, TypeError):  # a sequence of the user's
        return None
    if plain is not None:
        some = list(map(plain, some))
    if not all(isinstance(item, _SAMPLED) and _is_short(item) for item in some):
        return None
    return _digest((len(items), some))[:16] or None


def _is_short(item: Any) -> bool:
    return not isinstance(item, str | bytes | tuple) or len(item) < _LARGE


def _digest(value: Any) -> str:
    """Return a digest in hexadecimal, an empty text where there is none."""
    from dataflow.hashing import digest

    try:
        return digest(value).hex()
    except Exception:  # user values: fields and __dataflow_hash__ may raise anything
        return ""


def _is_small(value: Any) -> bool:
    """Tell whether a value consists of a few parts of kinds that are known."""
    left, stack = _PARTS, [value]
    while stack:
        each = stack.pop()
        kind = type(each)
        if kind in _PLAIN:
            left -= 1
        elif kind in _TEXTS:
            left -= 1 + len(each) // _CHARS
        elif isinstance(each, _HOLDERS):
            left -= 1 + len(each)
            if left >= 0:
                _push(stack, each)
        else:
            left -= _parts(each, kind, stack)
        if left < 0:
            return False
    return True


def _push(stack: list[Any], holder: Any) -> None:
    """Have the members of a container looked at, unless all are plain, as a rule."""
    members: Collection[Any] = holder
    if isinstance(holder, dict):
        members = [*holder, *holder.values()]
    if not _PLAIN.issuperset(map(type, members)):
        stack.extend(members)


def _parts(value: Any, kind: type, stack: list[Any]) -> int:
    """Return how many parts another value counts for: too many where its kind is unknown."""
    if kind.__module__ == "numpy" and hasattr(value, "nbytes"):
        return _PARTS + 1 if value.dtype.hasobject else 1 + int(value.nbytes) // _CHARS
    if isinstance(value, _LEAVES):
        return 4
    if kind_of(kind) < Kind.DATACLASS:
        return _PARTS + 1
    inner = vars(value).values() if kind_of(kind) == Kind.MODEL else [
        getattr(value, field.name, None) for field in dataclasses.fields(value)]
    stack.extend(inner)
    return 4 + len(inner)
