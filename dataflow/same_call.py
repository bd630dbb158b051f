"""Whether a call of a resumed run is about the same things as the one that was recorded.

Lives here: samples of what a map goes over, recorded with it, and the
comparison. Does not live here: which recorded call it is (``resumption.py``).

A flow function that lists a folder may find other files now. Outcomes are kept
by position, so a list that is another one must not take them over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from dataflow.batch import CallCode, Const, One
from dataflow.graph import CallSpec

_LOOKED_INTO = (int, float, str, bytes, bool, type(None), tuple, PurePath)
_LARGE = 100_000  # characters, or members, of an item that is not looked into
_SHORT = 60  # characters of a text that is told as it is
_IS = "is"


def with_samples(facts: dict[str, Any], spec: CallSpec) -> dict[str, Any]:
    """Return the facts of a call with a digest of some items of what it maps over.

    Notes
    -----
    Some 10 µs per map and mapped list: its length, its first, middle and last item,
    where these are numbers, texts, paths or tuples.
    """
    samples = {mapped.name: sample for mapped in spec.mapped
               if mapped.items is not None and (sample := _sample(mapped.items)) is not None}
    if not samples:
        return facts
    entries = json.loads(facts.get("constants") or "[]")
    told = {entry[0] for entry in entries if not entry[1]}
    for entry in entries:
        if not entry[1] and entry[2] == "mapped" and entry[0] in samples:
            entry[3:] = [samples[entry[0]]]
    entries += [[name, "", "mapped", sample] for name, sample in samples.items()
                if name not in told]
    return {**facts, "constants": json.dumps(entries, separators=(",", ":"))}


def inputs_of(code: CallCode) -> dict[str, Any]:
    """Return what tells a single call from others of its task, where results are not kept.

    Notes
    -----
    Some 3 µs: numbers and short texts as they are, futures by the calls they are of.
    """
    found: list[list[Any]] = []
    for name, source in (*zip(code.names, code.args, strict=False), *code.kwargs.items()):
        if type(source) is One:
            found.append([name, "", "one", source.call, source.index])
        elif type(source) is Const:
            text = _short(source.value)
            if text is not None:
                found.append([name, "", _IS, text])
    return {"constants": json.dumps(found, separators=(",", ":"))} if found else {}


def given(code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the same of a direct call."""
    found = [[name, "", _IS, text] for name, value in
             (*zip(code.names, args, strict=False), *kwargs.items())
             if (text := _short(value)) is not None]
    return {"constants": json.dumps(found, separators=(",", ":"))} if found else {}


def _short(value: Any) -> str | None:
    kind = type(value)
    if kind is int or kind is float or kind is bool or value is None:
        return repr(value)
    return repr(value) if kind is str and len(value) < _SHORT else None


class Inputs:
    """What is known of a call's arguments, to be compared.

    Parameters
    ----------
    constants
        As recorded: :attr:`dataflow.store.CallRecord.constants`.
    """

    def __init__(self, constants: str | None) -> None:
        self._parts: dict[str, Any] = {}
        for path, digest, *more in json.loads(constants or "[]"):
            if digest:
                self._parts[path] = digest
            elif more[:1] == ["mapped"]:
                self._parts[path] = more[1] if len(more) > 1 else None
            elif more[:1] != ["too large"]:
                self._parts[path] = tuple(more)

    @property
    def identity(self) -> object:
        """The same for calls of which nothing tells that they differ."""
        return frozenset(self._parts.items())

    def other_than(self, before: Inputs) -> str | None:
        """Return the name of an argument that is another one, None where none is known to be."""
        mine, theirs = self._parts, before._parts
        return next((name for name in sorted(mine.keys() & theirs.keys())
                     if None not in (mine[name], theirs[name]) and mine[name] != theirs[name]),
                    None)


def difference(width: int | None, before: Inputs, now: Inputs, lengths: set[int]) -> str | None:
    """Return how a call differs from the recorded one, None where nothing tells that it does.

    Parameters
    ----------
    width, before
        What was recorded.
    now
        Of the call as it is made now.
    lengths
        Of what it maps over, as far as they are known.
    """
    if width is not None and lengths - {width}:
        many = " and ".join(map(str, sorted(lengths)))
        return f"it maps over {many} items now, and mapped over {width} then"
    changed = now.other_than(before)
    return None if changed is None else f"its argument {changed!r} is another one now"


def _sample(items: Sequence[Any]) -> str | None:
    if not len(items):
        return None
    from dataflow.exceptions import NotCacheable
    from dataflow.hashing import digest

    try:
        some = [items[at] for at in (0, len(items) // 2, len(items) - 1)]
        if not all(isinstance(item, _LOOKED_INTO) and _is_small(item) for item in some):
            return None
        return digest((len(items), some))[:8].hex()
    except (NotCacheable, LookupError, TypeError):  # a sequence of the user's, or such an item
        return None


def _is_small(item: Any) -> bool:
    return not isinstance(item, str | bytes | tuple) or len(item) < _LARGE
