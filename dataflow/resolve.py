"""Finding what stands for a value inside of plain data, and putting values in its place.

Lives here: the walk through lists, tuples, named tuples, sets, dicts (keys and
values), dataclasses and pydantic models; :class:`Marker`, the base of
everything the walk stops at; :func:`rebuild`, which workers call. Does not live
here: what a marker means for the graph (``arguments.py``). Imports nothing of the
package, since workers import it.

The walk goes level by level and looks at types, not at items, wherever a level
is plain data; it uses no recursion, so that depth is no limit, and meets each
container once, so that cycles end.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import chain
from operator import attrgetter
from typing import Any


class Marker:
    """Base of what the walk stops at: futures, states, annotations, leaves."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf(Marker):
    """The place of the n-th value in a template."""

    n: int


class Kind(IntEnum):
    """What the walk does with a type."""

    ATOM = 0  # not looked into
    MARKER = 1
    LIST = 2
    DICT = 3
    SET = 4
    TUPLE = 5
    NAMEDTUPLE = 6
    FROZENSET = 7
    DATACLASS = 8
    MODEL = 9


_EXACT = {
    list: Kind.LIST, dict: Kind.DICT, set: Kind.SET, tuple: Kind.TUPLE, frozenset: Kind.FROZENSET,
}
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range})
_SEQUENCES = frozenset({tuple, list})
_KINDS_KEPT = 4096
_kinds: dict[type, Kind] = {}
_SHELLS = frozenset({Kind.LIST, Kind.DICT, Kind.SET})  # filled after they were made


def kind_of(kind: type) -> Kind:
    """Return what the walk does with values of a type."""
    found = _kinds.get(kind)
    if found is None:
        if len(_kinds) > _KINDS_KEPT:  # types made at run time, again and again
            _kinds.clear()
        found = _kinds[kind] = _find_kind(kind)
    return found


def _find_kind(kind: type) -> Kind:
    if kind in _ATOMS:
        return Kind.ATOM
    if kind in _EXACT:
        return _EXACT[kind]
    if issubclass(kind, Marker):
        return Kind.MARKER
    if issubclass(kind, tuple):
        return Kind.NAMEDTUPLE if hasattr(kind, "_fields") else Kind.TUPLE
    for base, found in _EXACT.items():
        if issubclass(kind, base):
            return found
    if _is_model(kind):
        return Kind.MODEL
    return Kind.DATACLASS if dataclasses.is_dataclass(kind) else Kind.ATOM


def _is_model(kind: type) -> bool:
    """Tell whether a type is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass or model that have a value."""
    if kind_of(type(value)) == Kind.MODEL:
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    names = (f.name for f in dataclasses.fields(value))
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _children(value: Any) -> Iterable[Any]:
    """Return what stands directly in a container."""
    kind = kind_of(type(value))
    if kind == Kind.DICT:
        return chain(value, value.values())
    if kind >= Kind.DATACLASS:
        return _fields(value).values()
    return value  # type: ignore[no-any-return]  # a list, tuple or set: iterable itself


def _inner_types(children: Iterable[Any]) -> set[type]:
    """Return the types among children that are markers or containers."""
    return {found for found in set(map(type, children)) if kind_of(found)}


def _not_atoms(holder: Any) -> Iterable[Any]:
    """Return what stands directly in a container, plain data left out at the speed of C."""
    inner = _inner_types(_children(holder))
    return [child for child in _children(holder) if type(child) in inner] if inner else ()


def _contents(kind: type, level: Sequence[Any]) -> Iterator[Any]:
    """Return what stands directly in many containers of one type, at the speed of C."""
    found = kind_of(kind)
    if found == Kind.DICT:
        return chain(chain.from_iterable(level), chain.from_iterable(map(dict.values, level)))
    if found >= Kind.DATACLASS:
        return chain.from_iterable(_columns(kind, level))
    return chain.from_iterable(level)


def _columns(kind: type, level: Sequence[Any]) -> Iterable[Iterable[Any]]:
    if kind_of(kind) == Kind.DATACLASS:
        try:
            return [list(map(attrgetter(f.name), level)) for f in dataclasses.fields(kind)]
        except AttributeError:  # a field without a value
            pass
    return (_fields(value).values() for value in level)


def has_marker(value: Any) -> bool:
    """Tell whether a marker stands in ``value`` or anywhere below it.

    Notes
    -----
    A list of a million floats costs some 10 ms: one pass over the types.
    """
    kind = type(value)
    if kind_of(kind) <= Kind.MARKER:
        return kind_of(kind) == Kind.MARKER
    if not value if kind is dict else (
            kind in _SEQUENCES and _ATOMS.issuperset(map(type, value))):
        return False
    seen = {id(value)}
    level: dict[type, list[Any]] = {kind: [value]}
    while level:
        below: dict[type, list[Any]] = {}
        for holder, group in level.items():
            types = set(map(type, _contents(holder, group)))
            kinds = {found: kind_of(found) for found in types}
            if Kind.MARKER in kinds.values():
                return True
            inner = {found for found, what in kinds.items() if what}
            if inner:
                _gather(below, seen, inner, _contents(holder, group))
        level = below
    return False


def _gather(below: dict[type, list[Any]], seen: set[int], inner: set[type],
            contents: Iterator[Any]) -> None:
    """Sort the containers that were not met before by type."""
    unseen = {id(c): c for c in contents if type(c) in inner and id(c) not in seen}
    seen.update(unseen)
    if len(inner) == 1:
        below.setdefault(inner.pop(), []).extend(unseen.values())
        return
    for container in unseen.values():
        below.setdefault(type(container), []).append(container)


def substitute(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Return ``value`` with each marker replaced by ``replace(marker)``.

    Containers without a marker below them are kept as they are, the very same
    objects; the others are made anew with their types. Two places that held
    the same container hold the same new one. ``replace`` is asked once per
    marker object.
    """
    kind = kind_of(type(value))
    if kind == Kind.ATOM:
        return value
    if kind == Kind.MARKER:
        return replace(value)
    if not has_marker(value):
        return value
    return _Rewrite(value, replace).result()


def rebuild(template: Any, values: Sequence[Any]) -> Any:
    """Return a template with ``values[n]`` in the place of each ``Leaf(n)``."""
    if type(template) is list and len(template) == len(values):
        if all(type(t) is Leaf and t.n == n for n, t in enumerate(template)):
            return list(values)
    return substitute(template, lambda leaf: values[leaf.n])


class _Rewrite:
    """Makes anew what holds markers: first which containers do, then the containers."""

    def __init__(self, root: Any, replace: Callable[[Any], Any]) -> None:
        self._root = root
        self._replace = replace
        self._nodes: dict[int, Any] = {}  # id → container or marker; also keeps them alive
        self._parents: dict[int, list[int]] = {}
        self._new: dict[int, Any] = {}
        self._explore()

    def _explore(self) -> None:
        """Note every container and marker below the root and who holds it."""
        markers = []
        stack = [self._root]
        self._nodes[id(self._root)] = self._root
        while stack:
            holder = stack.pop()
            for child in _not_atoms(holder):
                kind = kind_of(type(child))
                key = id(child)
                self._parents.setdefault(key, []).append(id(holder))
                if key in self._nodes:
                    continue
                self._nodes[key] = child
                if kind == Kind.MARKER:
                    markers.append(key)
                else:
                    stack.append(child)
        self._spread(markers)

    def _spread(self, markers: list[int]) -> None:
        """Find the containers that have a marker somewhere below."""
        self._touched = set(markers)
        stack = list(markers)
        while stack:
            for parent in self._parents.get(stack.pop(), ()):
                if parent not in self._touched:
                    self._touched.add(parent)
                    stack.append(parent)
        for key in markers:
            self._new[key] = self._replace(self._nodes[key])

    def result(self) -> Any:
        """Make the containers: empty shells first, then what cannot change, then the filling."""
        shells = []
        for key in self._touched:
            value = self._nodes[key]
            if key not in self._new and _is_shell(value):
                self._new[key] = _empty(value)
                shells.append(key)
        for key in list(self._touched):
            if key not in self._new:
                self._build(key)
        # sets and dicts last: their members must not change any more once they are in
        for key in sorted(shells, key=lambda k: kind_of(type(self._nodes[k])) in (
                Kind.SET, Kind.DICT)):
            _fill(self._new[key], self._nodes[key], self._get)
        return self._new[id(self._root)]

    def _build(self, key: int) -> None:
        """Make what cannot be filled later, what it holds before itself."""
        stack = [key]
        opened = set()
        while stack:
            top = stack[-1]
            if top in self._new:
                stack.pop()
                continue
            value = self._nodes[top]
            opened.add(top)
            waiting = [
                id(c) for c in _children(value)
                if id(c) in self._touched and id(c) not in self._new and id(c) not in opened
            ]
            if waiting:
                stack.extend(waiting)
            else:
                self._new[top] = _made(value, self._get)
                stack.pop()

    def _get(self, child: Any) -> Any:
        return self._new.get(id(child), child)


def _is_shell(value: Any) -> bool:
    kind = kind_of(type(value))
    if kind < Kind.DATACLASS:
        return kind in _SHELLS
    how: Any = type(value).__hash__
    return how is None or how is object.__hash__  # else the hash is of the content


def _empty(value: Any) -> Any:
    """Return a container of the same type and settings to be filled."""
    if type(value) in _EXACT:
        return type(value)()
    return copy.copy(value)


def _fill(shell: Any, value: Any, get: Callable[[Any], Any]) -> None:
    kind = kind_of(type(value))
    if kind == Kind.LIST:
        items = list(value)
        inner = _inner_types(items)
        for place in [n for n, item in enumerate(items) if type(item) in inner]:
            items[place] = get(items[place])
        shell[:] = items
    elif kind == Kind.DICT:
        items = [(get(k), get(v)) for k, v in value.items()]
        shell.clear()
        for name, member in items:  # update() of a Counter would add them up
            shell[name] = member
    elif kind == Kind.SET:
        members = [get(item) for item in value]
        shell.clear()
        shell.update(members)
    else:
        _set_fields(shell, value, get)


def _made(value: Any, get: Callable[[Any], Any]) -> Any:
    kind = kind_of(type(value))
    if kind == Kind.NAMEDTUPLE:
        return type(value)._make(get(item) for item in value)
    if kind >= Kind.DATACLASS:
        new = copy.copy(value)
        _set_fields(new, value, get)
        return new
    return type(value)(get(item) for item in value)


def _set_fields(new: Any, value: Any, get: Callable[[Any], Any]) -> None:
    """Change the fields of a copy, frozen or not, without running its initialisation."""
    for name, old in _fields(value).items():
        changed = get(old)
        if changed is old:
            continue
        if kind_of(type(value)) == Kind.MODEL:
            extra = value.__pydantic_extra__
            target = new.__pydantic_extra__ if extra and name in extra else new.__dict__
            target[name] = changed
        else:
            object.__setattr__(new, name, changed)
