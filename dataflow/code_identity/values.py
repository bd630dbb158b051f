"""What a value is, where code reads it: a constant, a default, a closure's, an instance's state.

Lives here: the bytes of a value, with links to the functions and classes in
it. Does not live here: the digest of plain data (``dataflow.hashing``), nodes of
values (``constants.py``), what functions and classes are (``functions.py``,
``classes.py``).
"""

from __future__ import annotations

import functools
import operator
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import Enum
from hashlib import blake2b
from typing import Any

from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.kinds import (
    CONTAINERS,
    PLAIN,
    holds_code,
    is_alias,
    is_pure,
    joined,
    own_classes_in,
    own_type,
    parts_of,
    special,
    state_of,
    text_of,
    unwrapped,
)
from dataflow.code_identity.names import chains, ours_in, resolve_softly, shown
from dataflow.code_identity.normal_form import canonical
from dataflow.code_identity.ownership import importable, is_extension, is_named
from dataflow.code_identity.source import function_source
from dataflow.exceptions import NotCacheable

_BUILTIN = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
            types.MethodWrapperType, types.ClassMethodDescriptorType)
_OPERATORS = (operator.itemgetter, operator.attrgetter, operator.methodcaller)
_DEEPEST = 100
_MOST_OBJECTS = 200_000

Inside = Callable[[Any, str], bytes]


def found(graph: Graph, node: Node, label: str, value: Any, name: str,
          key: tuple[int, str]) -> None:
    """Link a node to the value of a name: to code where it is such, else to a constant."""
    if key in graph.written or not refer_to(graph, node, label, value):
        graph.reach(node, label, fill="value", subject=(value, key), key=key, kind="constant",
                    name=name)


def describe(graph: Graph, node: Node, value: Any, path: str, depth: int = 0,
             around: tuple[int, ...] = ()) -> bytes:
    """Return the bytes of a value; what it holds of code becomes links of the node.

    Raises
    ------
    NotCacheable
        It has no digest; the text names the part.
    """
    value = unwrapped(value)
    if type(value) in PLAIN or not holds_code(graph, value):
        return _digest(node, value, path)
    graph.described += 1
    if graph.described > _MOST_OBJECTS:
        raise node.refuse(path, f"holds more than {_MOST_OBJECTS:,} objects, with code in them")
    if depth > _DEEPEST:
        raise node.refuse(path, f"is nested more than {_DEEPEST} deep, with code in it")
    if id(value) in around:
        return b"cycle %d;" % around.index(id(value))
    code = refer(graph, node, path, value)
    if code is not None:
        return code
    known = special(value)
    if known is not None:
        return known
    around = (*around, id(value))

    def inside(part: Any, below: str) -> bytes:
        return describe(graph, node, part, f"{path}{below}", depth + 1, around)

    if type(value) in (functools.partial, functools.partialmethod) or is_alias(value):
        part_of = _softly(node, inside) if node.soft and is_alias(value) else inside
        return joined(type(value).__name__, (part_of(part, below)
                                              for below, part in parts_of(value)))
    if isinstance(value, CONTAINERS) and is_pure(graph, type(value), CONTAINERS):
        return _container(graph, node, value, path, inside)
    return _instance(graph, node, value, path, inside)


def _softly(node: Node, inside: Inside) -> Inside:
    """Return what leaves out the parts of an alias that have no digest; its classes stay."""

    def left_out(part: Any, below: str) -> bytes:
        before = len(node.links)
        try:
            if below == ".args" and isinstance(part, tuple):
                return joined("args", (left_out(one, "") for one in part))
            return inside(part, below)
        except NotCacheable:
            del node.links[before:]
            return b"left out"

    return left_out


def _digest(node: Node, value: Any, path: str) -> bytes:
    from dataflow.hashing import digest

    try:
        return digest(value, name=path)
    except NotCacheable as error:
        raise node.refuse(str(getattr(error, "path", path)),
                          str(getattr(error, "reason", "has no digest"))) from error


def _container(graph: Graph, node: Node, value: Any, path: str, inside: Inside) -> bytes:
    kind = type(value)
    parts = [inside(kind, "")] if own_type(graph, kind) else []
    if isinstance(value, defaultdict):
        parts.append(inside(value.default_factory, ".default_factory"))
    if own_type(graph, kind) and hasattr(value, "__dict__"):
        parts += [inside((name, part), f".{name}") for name, part in state_of(value)]
    if isinstance(value, (dict, types.MappingProxyType)):
        for key, part in value.items():
            parts += (inside(key, ""), inside(part, f"[{text_of(key)[:40]}]"))
    elif isinstance(value, (set, frozenset)):
        parts += [inside(part, "{}") for part in _in_order(graph, node, value)]
    else:
        parts += [inside(part, f"[{number}]") for number, part in enumerate(value)]
    return joined(kind.__name__, parts)


def _in_order(graph: Graph, node: Node, members: Iterable[Any]) -> list[Any]:
    """Return the members of a set, which has no order, in one that is the same in each process.

    Theirs is that of their names or digests. Where those are alike (of lambdas, partials,
    bound methods) it is that of everything they reach.
    """
    tied: dict[tuple[str, str | bytes], list[Any]] = {}
    for part in members:
        tied.setdefault((type(part).__qualname__, _called(graph, part)), []).append(part)
    found: list[Any] = []
    for _, alike in sorted(tied.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        if len(alike) > 1:
            alike.sort(key=lambda part: graph.digest_alone(node, part))
        found += alike
    return found


def _called(graph: Graph, part: Any) -> str | bytes:
    """Return the name of a member of a set, or the digest of its data."""
    from dataflow.hashing import digest

    if callable(part):
        return str(getattr(part, "__qualname__", ""))
    try:
        return digest(state_of(part) if own_type(graph, type(part)) else part)
    except NotCacheable:
        return ""


def _instance(graph: Graph, node: Node, value: Any, path: str, inside: Inside) -> bytes:
    """Return the bytes of an object: its class, and its state as far as it can be seen."""
    kind = type(value)
    if not own_type(graph, kind):
        return _library_instance(graph, node, value, path, inside)
    cls = inside(kind, "")
    pure = is_pure(graph, kind, ())
    if isinstance(value, Enum):
        return joined("member", [cls, inside(value.name, ".name"), inside(value.value, ".value")])
    if hasattr(kind, "__dataflow_hash__") or not pure:
        return _with_classes(graph, node, value, path, inside)
    before = len(node.links)
    try:
        return joined("instance", [cls, *(inside((name, part), f".{name}")
                                           for name, part in state_of(value))])
    except NotCacheable:
        del node.links[before:]
        return _with_classes(graph, node, value, path, inside)  # a registered type


def _library_instance(graph: Graph, node: Node, value: Any, path: str, inside: Inside) -> bytes:
    kind = type(value)
    graph.library(node, path, kind.__module__)
    wrapped = getattr(value, "__wrapped__", None)
    told = told_above(graph, node, wrapped)
    if told is not None:
        return joined(f"{kind.__module__}.{kind.__qualname__}", [inside(wrapped, ""), told])
    return _with_classes(graph, node, value, path, inside)


def _with_classes(graph: Graph, node: Node, value: Any, path: str, inside: Inside) -> bytes:
    """Return the digest of an object, with the classes of the user's own that are in it."""
    digest = _digest(node, value, path)
    classes = [inside(kind, "") for kind in own_classes_in(graph, [value])]
    return joined("value", [digest, *classes])


def told_above(graph: Graph, node: Node, fn: Any) -> bytes | None:
    """Return the bytes of the decorators above a function; None where there are none to be seen.

    What a library's decorator made is told there: its object may hold what
    has no digest. Names in them are followed softly.
    """
    if not isinstance(fn, types.FunctionType):
        return None
    tree = function_source(fn.__code__, fn.__globals__)
    ours = ours_in(fn.__globals__)
    lines = [line for line in getattr(tree, "decorator_list", []) if not ours(line)]
    if not lines:
        return None
    if not graph.as_made:
        resolve_softly(graph, node, fn, chains(lines), found)
    return joined("decorators", map(canonical, lines))


def refer_to(graph: Graph, node: Node, label: str, value: Any) -> bool:
    """Link a node to code by a label; return whether the value is code.

    While the graph is followed softly, code that carries a value without a
    digest is left out.
    """
    before = len(node.links)
    try:
        code = refer(graph, node, label, value)
    except NotCacheable:
        if not graph.softly:
            raise
        del node.links[before:]
        return True
    if code is None:
        return False
    if code not in (b"function", b"class"):  # the link says it all
        node.links.append((f"{label} is {blake2b(code, digest_size=16).hexdigest()}", -1))
    return True


def refer(graph: Graph, node: Node, label: str, value: Any) -> bytes | None:
    """Link a node to a function, a class, a method or a library; None for other values."""
    value = unwrapped(value)
    if isinstance(value, types.FunctionType):
        return _function(graph, node, label, value)
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        return _class(graph, node, label, value)
    if isinstance(value, types.MethodType):
        return _method(graph, node, label, value)
    if isinstance(value, _BUILTIN):
        return _builtin(graph, node, label, value)
    if isinstance(value, types.ModuleType):
        return _module(graph, node, label, value)
    if isinstance(value, _OPERATORS):
        made_with: Any = value.__reduce__()[1:]
        return joined(type(value).__name__, [describe(graph, node, made_with, label)])
    if isinstance(value, (functools.partial, functools.partialmethod)):
        return None
    return _library_object(graph, node, label, value)


def _function(graph: Graph, node: Node, label: str, fn: types.FunctionType) -> bytes:
    module = str(fn.__globals__.get("__name__", ""))
    # what a library wrapped calls itself by the names of what it wraps
    foreign = graph.origin(module) != "own" and graph.origin(str(fn.__module__)) != "own"
    if foreign and importable(fn, fn.__module__, fn.__qualname__):
        graph.library(node, label, module)
        return f"library {module}.{fn.__qualname__}".encode()
    name = fn.__qualname__.rpartition("<locals>.")[2]
    graph.reach(node, label, fill="function", subject=fn, key=id(fn), kind="helper",
                name=shown(graph, str(fn.__module__), name))
    return b"function"


def _class(graph: Graph, node: Node, label: str, cls: type) -> bytes:
    module = str(cls.__module__)
    if graph.origin(module) != "own" and is_named(cls):
        graph.library(node, label, module)
        return f"library {module}.{cls.__qualname__}".encode()
    graph.reach(node, label, fill="class", subject=cls, key=id(cls), kind="class",
                name=shown(graph, module, cls.__qualname__.rpartition("<locals>.")[2]))
    return b"class"


def _method(graph: Graph, node: Node, label: str, method: types.MethodType) -> bytes:
    target, fn = method.__self__, method.__func__
    cls = target if isinstance(target, type) else type(target)
    graph.methods[id(fn)] = cls
    code = refer(graph, node, label, fn) or describe(graph, node, fn, label)
    return joined("method", [code, describe(graph, node, target, f"{label}.__self__")])


def _builtin(graph: Graph, node: Node, label: str, value: Any) -> bytes:
    """Return the bytes of a function in C: its library and name, and what it is bound to."""
    target = getattr(value, "__self__", None)
    name = f"builtin {getattr(value, '__qualname__', value.__name__)}".encode()
    owner = getattr(value, "__objclass__", None)
    if owner is not None:
        return joined(name.decode(), [refer(graph, node, label, owner) or b""])
    if target is None or isinstance(target, types.ModuleType):
        module = str(value.__module__ or getattr(target, "__name__", ""))
        if graph.origin(module) == "own":  # an extension of the user's own
            loaded = _module(graph, node, label, target) if target is not None else b""
            return joined(name.decode(), [loaded])
        graph.library(node, label, module)
        return joined(name.decode(), [module.encode()])
    return joined(name.decode(), [describe(graph, node, target, f"{label}.__self__")])


def _module(graph: Graph, node: Node, label: str, module: types.ModuleType) -> bytes:
    """Return the bytes of a module that is used as a value: it counts as a whole."""
    from pathlib import Path

    file = getattr(module, "__file__", None)
    if graph.origin(module.__name__) != "own":
        graph.library(node, label, module.__name__)
        return f"module {module.__name__}".encode()
    if file and Path(file).is_file():
        graph.reach(node, label, fill="module", subject=(module.__name__, Path(file)),
                    key=("module", str(file)), kind="module", name=module.__name__)
    return b"module"


def _library_object(graph: Graph, node: Node, label: str, value: Any) -> bytes | None:
    """Return the bytes of something that a library has under its name, a ufunc say."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not callable(value) or not isinstance(name, str):
        return None
    for module in (getattr(value, "__module__", None), type(value).__module__.partition(".")[0]):
        if not isinstance(module, str) or not importable(value, module, name):
            continue
        if graph.origin(module) != "own":
            graph.library(node, label, module)
            return f"library {module}.{name}".encode()
        if is_extension(module):  # compiled by the user, with Cython say
            return joined(name, [_module(graph, node, label, sys.modules[module])])
    return None
