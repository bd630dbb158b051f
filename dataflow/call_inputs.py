"""What is recorded of the arguments of a call, so that a run that goes on knows it again.

Lives here: from the arguments of a call to the entries of its record, and from these
to what the call depends on. Does not live here: the comparison (``same_call.py``), what
begins anew with what (``taken_along.py``), how keys are explained (``call_facts.py``,
whose entries of calls with kept results these add to).

An entry is ``[path, digest, how, …]`` as JSON. Where ``digest`` is empty, ``how`` tells
the value (``is``, ``hash``, ``a``: a value without a digest, by its type) or where it
comes from: ``one``, ``item``, ``whole`` and ``aligned`` name a call, ``made`` and
``after`` (of ``wait_for``) have places, ``mapped`` has samples of the items, ``each`` has
places for each element.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from dataflow.batch import (
    Aligned,
    CallCode,
    Const,
    Flat,
    FlatItem,
    ItemOf,
    Items,
    One,
    Source,
    Tree,
    Whole,
)
from dataflow.graph import CallSpec, Dep, FlatPart, Mapped
from dataflow.resolve import Leaf, substitute
from dataflow.small_values import digest_of, sample_of

MAPPED = "mapped"
"""How an argument comes that is an item of what the flow's process had."""

_WAIT_FOR = "wait_for"
_TEXT = 60  # characters of a text that is told as it is
_EACH = 10_000  # elements of which it is told on what each depends
_ALL = -1  # in the place of an index: all elements of a call
_NEXT = -2  # between the places of one element and the next

Entry = list[Any]


def with_inputs(facts: dict[str, Any], spec: CallSpec) -> dict[str, Any]:
    """Return the facts of a submit or map with what tells its arguments.

    Parameters
    ----------
    facts
        How the call is cached, which tells its constants; empty where it is not.

    Notes
    -----
    Some 3 µs for numbers, short texts and futures, a few more for small containers. Of
    what a map goes over some thousand parts are looked into, of more three items.
    """
    code = spec.code
    if not facts:
        entries = [_entry(name, source) for name, source in
                   (*zip(code.names, code.args, strict=False), *code.kwargs.items())]
        if spec.mapped or spec.deps:
            entries = _with_graph(entries, spec)
    elif spec.mapped or any(not dep.value for dep in spec.deps):
        entries = _with_graph(json.loads(facts.get("constants") or "[]"), spec)
    else:
        return facts
    return {**facts, "constants": json.dumps(entries, separators=(",", ":"))} if entries else facts


def given(code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what tells the arguments of a direct call whose result is not kept."""
    found = [_told(name, value) for name, value in
             (*zip(code.names, args, strict=False), *kwargs.items())]
    return {"constants": json.dumps(found, separators=(",", ":"))} if found else {}


def _entry(name: str, source: Source) -> Entry:
    kind = type(source)
    if kind is Const:
        return _told(name, source.value)  # type: ignore[union-attr]  # as just checked
    if kind is One:
        return [name, "", "one", source.call, source.index]  # type: ignore[union-attr]
    return [name, "", *how_of(source)]


def _told(name: str, value: Any) -> Entry:
    kind = type(value)
    if kind is int or kind is float or kind is bool or value is None or (
            kind is str and len(value) < _TEXT):
        return [name, "", "is", repr(value)]
    digest = digest_of(value)
    if digest is None:
        return [name, "", "a", kind.__qualname__]  # the module of a script has several names
    return [name, "", "hash", digest]


def _with_graph(entries: list[Entry], spec: CallSpec) -> list[Entry]:
    """Return entries with what is known of mapped parameters and of ``wait_for``."""
    sources = spec.item_deps is not None
    mapped = {each.name: _mapped(each, sources=sources) for each in spec.mapped
              if each.items is not None or each.flat is not None}
    entries = [mapped.pop(entry[0], entry) if not entry[1] else entry for entry in entries]
    entries += mapped.values()
    if spec.item_deps is not None:
        entries.append(_each(spec))
    after = [dep for dep in spec.deps if not dep.value]
    if after:
        entries.append([_WAIT_FOR, "", "after", sorted(map(_place, after))])
    return entries


def _mapped(mapped: Mapped, *, sources: bool) -> Entry:
    if mapped.items is not None:
        return [mapped.name, "", MAPPED, *sample_of(mapped.items, _plain if sources else None)]
    parts: list[Any] = []
    places: list[list[int]] = []
    for part in mapped.flat or ():
        if isinstance(part, FlatPart):
            parts.append(("flat", part.call, part.index, part.depth))
            places.append(_place(part))
        else:
            parts.append(list(map(_plain, part)))
            places += (place for item in part for place in _places(item))
    return [mapped.name, "", "made", digest_of(parts), places]


def _each(spec: CallSpec) -> Entry:
    """Return on which elements each element of a map depends."""
    deps = spec.item_deps or ()
    name = next((mapped.name for mapped in spec.mapped if mapped.items is not None), "")
    rows = [[part for dep in some for part in _place(dep)] for some in deps]
    flat = array("q")
    for row in rows:
        flat.extend((*row, _NEXT))
    calls = sorted({dep.call for some in deps for dep in some})
    return [name, "", "each", blake2b(flat.tobytes(), digest_size=16).hexdigest(),
            rows if len(rows) <= _EACH else None, calls]


def how_of(source: Source) -> Iterator[Any]:
    """Yield how an argument comes that is not the same for all elements, and where from."""
    match source:
        case Items():
            yield MAPPED
        case Aligned(call=call):
            yield from ("aligned", call)
        case One(call=call, index=index):
            yield from ("one", call, index)
        case ItemOf(call=call, index=index) | FlatItem(call=call, index=index, depth=1):
            yield from ("item", call, index)
        case Whole(call=call):
            yield from ("whole", call)
        case _:
            yield from ("made", _digest_of_list(source) or digest_of(_plain(source)),
                        list(_places(source)))


def _digest_of_list(source: Source) -> str | None:
    """Return a digest of a list or tuple of nothing but futures, at a third of the usual cost."""
    if not isinstance(source, Tree) or type(source.template) not in (list, tuple):
        return None
    if not {Leaf}.issuperset(map(type, source.template)):
        return None
    parts = [_plain(source.leaves[leaf.n]) for leaf in source.template]
    if not all(type(part) is tuple and part[0] == "future" for part in parts):
        return None
    text = repr((type(source.template).__name__, parts))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """Return what tells an item or a source: futures by the elements they are of."""
    match value:
        case Const():
            return value.value
        case Tree():
            return substitute(value.template, lambda leaf: _plain(value.leaves[leaf.n]))
        case Flat():
            return "flat", _plain(value.source)
        case One() | ItemOf() | FlatItem() | Whole() | Aligned():
            return "future", value.call, getattr(value, "index", None), value.__class__.__name__
        case _:
            return value


def _places(source: Any) -> Iterator[list[int]]:
    match source:
        case Tree():
            for leaf in source.leaves:
                yield from _places(leaf)
        case Flat():
            yield from _places(source.source)
        case One() | ItemOf() | FlatItem():
            yield [source.call, source.index]
        case Whole() | Aligned():
            yield [source.call, _ALL]
        case _:
            pass


def _place(dep: Dep | FlatPart) -> list[int]:
    return [dep.call, _ALL if dep.index is None else dep.index]


class Depends(NamedTuple):
    """What a recorded call depends on.

    Attributes
    ----------
    aligned
        Calls that it follows element by element.
    all
        (call, index), or (call, None) for a whole call, that all its elements depend on.
    each
        The same for each element, where that is told.
    """

    aligned: tuple[int, ...]
    all: tuple[tuple[int, int | None], ...]
    each: tuple[tuple[tuple[int, int | None], ...], ...]


def depends_on(constants: str | None) -> Depends:
    """Return what a record tells of the dependencies of its call; nothing where it is old."""
    aligned: list[int] = []
    shared: list[tuple[int, int | None]] = []
    each: Sequence[Sequence[int]] = ()
    for _, digest, how, *more in json.loads(constants or "[]"):
        if digest or not more:
            continue
        if how == "aligned":
            aligned.append(more[0])
        elif how in ("one", "item"):
            shared.append((more[0], more[1] if len(more) > 1 else 0))
        elif how == "whole":
            shared.append((more[0], None))
        elif how in ("made", "after"):
            shared += (_read(place) for place in more[-1])
        elif how == "each" and more[1] is not None:
            each = more[1]
        elif how == "each":
            shared += ((call, None) for call in more[2])
    return Depends(tuple(aligned), tuple(shared), tuple(
        tuple(_read(row[at : at + 2]) for at in range(0, len(row), 2)) for row in each))


def _read(place: Sequence[int]) -> tuple[int, int | None]:
    return place[0], None if place[1] == _ALL else place[1]
