"""What a plain function is: its normal form and what it reads.

Lives here: filling the node of a function, and what functions and methods
have in common. Does not live here: classes (``classes.py``), values
(``values.py``).
"""

from __future__ import annotations

import ast
from types import FunctionType
from typing import Any

from dataflow.code_identity.annotations import link_annotations
from dataflow.code_identity.bytecode import VERSION, fingerprint, reads
from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.kinds import text_of
from dataflow.code_identity.names import (
    ours_in,
    reach_imports,
    resolve,
    shown,
)
from dataflow.code_identity.normal_form import canonical, normal, readable
from dataflow.code_identity.source import function_source
from dataflow.code_identity.values import describe, found, refer_to, told_above
from dataflow.code_identity.watching import MISSING, watch_function
from dataflow.code_identity.whole_modules import package_of


def fill_function(graph: Graph, node: Node) -> None:
    """Make the content of a function's node, and link it to what it reaches.

    Raises
    ------
    NotCacheable
        It is a method of a class that cannot be found.
    """
    fn: FunctionType = node.subject
    graph.watches[id(fn)] = watch_function(fn)
    tree = function_source(fn.__code__, fn.__globals__)
    if tree is None:
        node.content = b"code" + fingerprint(fn.__code__)
        node.text = f"(no source that gives this code: the code object of {VERSION})"
    else:
        plain = normal(tree, ours_in(fn.__globals__))
        if isinstance(plain, (ast.FunctionDef, ast.AsyncFunctionDef)):
            # decorators have done their work: what they made is what is looked at
            plain.decorator_list = []
        node.content, node.text = b"source" + canonical(plain), readable(plain)
    module = str(fn.__globals__.get("__name__", ""))
    if graph.origin(module) != "own":
        _library_function(graph, node, fn, module)
        return
    link_function(graph, node, fn, "", fn.__qualname__.rpartition("<locals>.")[2])
    if tree is not None and not graph.as_made:
        link_annotations(graph, node, fn, tree)
    cls = _class_of(graph, node, fn)
    if cls is not None:
        refer_to(graph, node, "its class", cls)


def _library_function(graph: Graph, node: Node, fn: FunctionType, module: str) -> None:
    """Link what a library made: by its version, with what it closes over.

    What it wraps is followed. Where that has the decorator's line in its
    source, the closure may hold what has no digest (a policy, a lock): the
    line says it instead.
    """
    graph.library(node, "library", module)
    wrapped = fn.__dict__.get("__wrapped__")
    told = told_above(graph, node, wrapped)
    node.content += told or b""
    if wrapped is not None:
        _value(graph, node, "__wrapped__", wrapped, "closure", "__wrapped__")
    _link_closure(graph, node, fn, "", fn.__name__, soft=told is not None)
    registry = getattr(fn, "registry", None)
    if registry is not None and hasattr(fn, "dispatch"):  # functools.singledispatch
        for kind in sorted(registry, key=lambda kind: (kind.__module__, kind.__qualname__)):
            _value(graph, node, f"registry[{kind.__qualname__}]", registry[kind], "closure",
                   kind.__qualname__)


def link_function(graph: Graph, node: Node, fn: FunctionType, prefix: str, name: str) -> None:
    """Link a node to whatever a function reads: names, closure, defaults, imports.

    Parameters
    ----------
    graph, node
        Where the links go.
    fn
        The function.
    prefix
        Before each label; tells the methods of a class apart.
    name
        What the function is called in the names of parts.
    """
    space = fn.__globals__
    seen = reads(fn.__code__)
    for written in sorted(seen.written):
        graph.written[id(space), written] = fn
    for chain in sorted(seen.names):
        resolve(graph, node, fn, chain, found)
    for written in sorted(seen.written - {chain[0] for chain in seen.names}):
        node.links.append((f"{prefix}writes {written}", -1))
    reach_imports(graph, node, seen.imports, package_of(space))
    _link_closure(graph, node, fn, prefix, name)
    label = shown(graph, str(space.get("__name__", "")), name)
    for argument, value in _defaults(fn):
        _value(graph, node, f"{prefix}default {argument}", value, "default",
               f"{label}({argument})")
    copied = getattr(fn.__dict__.get("__wrapped__"), "__dict__", {})  # by functools.wraps
    for attribute, value in sorted(fn.__dict__.items()):
        if attribute == "__wrapped__":
            _value(graph, node, f"{prefix}.{attribute}", value, "closure", f"{label}.{attribute}")
        elif not attribute.startswith("__") and copied.get(attribute, MISSING) is not value:
            _value(graph, node, f"{prefix}.{attribute}", value, "constant",
                   f"{label}.{attribute}", soft=True)
    if graph.as_made:
        for argument, note in _annotations(fn):
            _value(graph, node, f"{prefix}annotation {argument}", note, "constant",
                   f"{label}: {argument}", soft=True)


def _annotations(fn: FunctionType) -> list[tuple[str, Any]]:
    """Return the annotations of a function but those that are texts: its source has them."""
    try:
        found = fn.__annotations__
    except Exception:  # Python 3.14 evaluates them now: user code
        return []
    return sorted((name, note) for name, note in found.items() if not isinstance(note, str))


def _defaults(fn: FunctionType) -> list[tuple[str, Any]]:
    code = fn.__code__
    positional = code.co_varnames[:code.co_argcount]
    values = fn.__defaults__ or ()
    named = list(zip(positional[len(positional) - len(values):], values, strict=True))
    return named + sorted((fn.__kwdefaults__ or {}).items())


def _link_closure(graph: Graph, node: Node, fn: FunctionType, prefix: str, name: str,
                  soft: bool = False) -> None:
    label = shown(graph, str(fn.__globals__.get("__name__", "")), name)
    for free, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            node.links.append((f"{prefix}closure {free}", -1))
            continue
        _value(graph, node, f"{prefix}closure {free}", value, "closure", f"{label}.{free}", soft)


def _value(graph: Graph, node: Node, label: str, value: Any, kind: str, name: str,
           soft: bool = False) -> None:
    """Link to a value: code becomes a helper or a class, other values a part of their own."""
    before, graph.softly = graph.softly, graph.softly or soft
    try:
        if not refer_to(graph, node, label, value):
            key = (id(node), f"{label} {len(node.links)}")
            graph.reach(node, label, fill="value", subject=(value, key), key=key, kind=kind,
                        name=name)
    finally:
        graph.softly = before


def _class_of(graph: Graph, node: Node, fn: FunctionType) -> type | None:
    """Return the class that a method belongs to, or None for a plain function."""
    known = graph.methods.get(id(fn))
    if known is not None:
        return known
    outer, _, inner = fn.__qualname__.rpartition("<locals>.")
    names = inner.split(".")[:-1]
    if not names:
        return None
    value: Any = MISSING if outer else fn.__globals__.get(names[0], MISSING)
    for name in names[1:]:
        value = getattr(value, name, MISSING)
    if graph.as_made and _is_static(fn, value):
        return None
    if not isinstance(value, type) or _is_replaced(value, fn):
        raise node.refuse("", f"is a method of a class `{'.'.join(names)}` that cannot be found "
                              "under its name")
    return value


def _is_static(fn: FunctionType, cls: Any) -> bool:
    """Return whether a function of a class is called without an object of it.

    Where the class did not come along, the name of the first argument says so.
    """
    if isinstance(cls, type):
        return isinstance(vars(cls).get(fn.__name__), staticmethod)
    return fn.__code__.co_varnames[:1] not in (("self",), ("cls",))


def _is_replaced(cls: type, fn: FunctionType) -> bool:
    """Return whether the class has another function of the same origin: it was made anew."""
    member: Any = next((vars(kind)[fn.__name__] for kind in cls.__mro__
                        if fn.__name__ in vars(kind)), None)
    for _ in range(20):
        if isinstance(member, FunctionType) and \
                member.__code__.co_qualname == fn.__code__.co_qualname:
            return member is not fn
        member = next((getattr(member, name) for name in ("fn", "__func__", "fget", "func",
                                                          "__wrapped__")
                       if getattr(member, name, None) is not None), None)
    return False


def describe_callable(graph: Graph, node: Node, value: Any) -> None:
    """Make the content of a node for something callable that is no plain function."""
    node.text = text_of(value)
    node.content = b"callable" + describe(graph, node, value, "value")
