"""What kind of thing a value is, told by looking at it.

Lives here: predicates of values, and what they are made of. Does not live
here: their bytes (``values.py``).
"""

from __future__ import annotations

import functools
import logging
import re
import reprlib
import types
import typing
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any

from dataflow.code_identity.graph import Graph

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range,
                   type(Ellipsis)})
CONTAINERS = (dict, list, tuple, set, frozenset, deque, types.MappingProxyType)
_STATELESS: frozenset[Any] = frozenset({object, typing.Generic, typing.Protocol})
_BEHIND = ("__supertype__", "__value__", "__bound__", "__constraints__", "__forward_arg__")
_TASKS = frozenset({"dataflow.tasks", "dataflow.flows"})
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MOST_OBJECTS = 50_000
_repr = reprlib.Repr()
_repr.maxlevel = 5
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = _repr.maxfrozenset = 100
_repr.maxdeque = 100
_repr.maxstring = _repr.maxother = _repr.maxlong = 2000


def joined(kind: str, parts: Iterable[bytes]) -> bytes:
    """Return bytes that say which parts there are, and where each ends."""
    whole = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return f"{kind}(".encode() + whole + b")"


def text_of(value: Any) -> str:
    """Return a repr that is never long in the making."""
    if isinstance(value, (str, bytes, bytearray)):
        return repr(value[:2000])
    try:
        made = _repr.repr(value) if isinstance(value, CONTAINERS) else repr(value)
        return _ADDRESS.sub("", made[:20_000])
    except Exception:  # the user's __repr__
        return f"<{type(value).__name__}>"


def is_task(value: Any) -> bool:
    """Return whether a value is a task or a flow of this package."""
    return any(kind.__module__ in _TASKS for kind in type(value).__mro__) and hasattr(value, "fn")


def unwrapped(value: Any) -> Any:
    """Return what a task, a static method or a cache calls: the wrapping changes no value."""
    for _ in range(100):
        if is_task(value):
            value = value.fn
        elif isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, functools._lru_cache_wrapper):
            value = value.__wrapped__
        else:
            break
    return value


def is_code(value: Any) -> bool:
    """Return whether a value is a function, a class, a module or the like."""
    return (callable(value) or isinstance(value, (types.ModuleType, staticmethod, classmethod,
                                                  functools.partialmethod))
            or is_alias(value))


def is_alias(value: Any) -> bool:
    """Return whether a value is a type as annotations write them: ``list[int]``, ``int | None``."""
    return type(value).__module__ == "typing" or typing.get_origin(value) is not None


def is_word_of_types(value: Any) -> bool:
    """Return whether a value is Python's own word for types: ``Optional``, ``Annotated``."""
    return getattr(value, "__module__", None) == "typing" and not typing.get_args(value)


def own_type(graph: Graph, kind: type) -> bool:
    """Return whether a class is of the user's own code."""
    return graph.origin(str(kind.__module__)) == "own"


def inside_of(value: Any) -> list[Any]:
    """Return what a value holds, as far as it can be seen without running anything."""
    if isinstance(value, (dict, types.MappingProxyType)):
        return [*value.keys(), *value.values()]
    if isinstance(value, CONTAINERS):
        return [*value]
    if getattr(getattr(value, "dtype", None), "hasobject", False) is True:
        return list(getattr(value, "flat", ()))  # an array of objects
    return list(getattr(value, "__dict__", {}).values())


def holds_code(graph: Graph, value: Any) -> bool:
    """Return whether there is something in a value that is not for the hasher alone."""
    stack, seen, objects = [value], set(), 0
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind in PLAIN or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, defaultdict) or own_type(graph, kind):
            return True
        if not isinstance(item, CONTAINERS):
            objects += 1
            if is_code(item) or special(item) is not None or objects > _MOST_OBJECTS:
                return True
        stack += [part for part in inside_of(item) if type(part) not in PLAIN]
    return False


def own_classes_in(graph: Graph, value: Any) -> list[type]:
    """Return the classes of the user's own whose instances a library's object holds."""
    stack = list(inside_of(value))
    seen: set[int] = set()
    classes: set[type] = set()
    while stack and len(seen) < _MOST_OBJECTS:
        item = stack.pop()
        if type(item) in PLAIN or id(item) in seen or isinstance(item, (type, types.ModuleType)):
            continue
        seen.add(id(item))
        if not isinstance(item, types.FunctionType) and own_type(graph, type(item)):
            classes.add(type(item))
        stack += inside_of(item)
    return sorted(classes, key=lambda kind: (kind.__qualname__, kind.__module__))


def special(value: Any) -> bytes | None:
    """Return the bytes of what has no data of its own, or data that only this room knows of."""
    if isinstance(value, (logging.Logger, logging.LoggerAdapter)):
        return b"logger"
    if type(value) is object:
        return b"sentinel"
    if isinstance(value, re.Pattern):
        return repr(("pattern", value.pattern, value.flags)).encode("utf-8", "surrogatepass")
    return None


def parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a partial or an alias is made of."""
    if isinstance(value, (functools.partial, functools.partialmethod)):
        yield ".func", value.func
        yield ".args", value.args
        for name in sorted(value.keywords):
            yield f".keywords[{name!r}]", (name, value.keywords[name])
        return
    origin = typing.get_origin(value)
    if origin in (typing.Union, types.UnionType):
        yield ".args", ("union", typing.get_args(value))
        return
    yield ".origin", getattr(value, "__name__", None) or str(type(value))
    yield ".origin", origin
    yield ".args", typing.get_args(value)
    yield ".value", [_behind(value, name) for name in _BEHIND]


def _behind(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # ``type A = …`` is evaluated now: user code
        return None


def is_pure(graph: Graph, kind: type, allowed: tuple[type, ...]) -> bool:
    """Return whether all of an object's state is in its attributes and, of those, its items."""
    return all(own_type(graph, part) or part in _STATELESS or part in allowed
               or part.__module__ in ("abc", "collections") for part in kind.__mro__)


def state_of(value: Any) -> list[tuple[str, Any]]:
    """Return the attributes of an object by name; those of ``cached_property`` are none."""
    state = {name: part for name, part in getattr(value, "__dict__", {}).items()
             if not isinstance(getattr(type(value), name, None), functools.cached_property)}
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{kind.__name__.lstrip('_')}{name}"
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                state[name] = getattr(value, name)
    return sorted(state.items())
