"""What a class is as it was made: its members and fields, whatever its source says.

Lives here: the content of a class without a look at its source, and the fields
of data classes, which stand in no source where a call made the class. Does not
live here: classes by their source (``classes.py``).

It is the same in every process that has the class, also where it came by value
and the names of its module did not.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

from dataflow.code_identity.bytecode import fingerprint
from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.kinds import is_task, joined, state_of
from dataflow.code_identity.names import ours_in
from dataflow.code_identity.normal_form import canonical, normal
from dataflow.code_identity.source import function_source
from dataflow.code_identity.values import describe
from dataflow.exceptions import NotCacheable

MACHINERY = frozenset({"_abc_impl", "_is_protocol", "_is_runtime_protocol"})
_DATACLASS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_FIELD = ("default", "default_factory", "init", "repr", "hash", "compare", "kw_only")
_ATTRS = ("default", "validator", "converter", "init", "eq", "order", "hash", "kw_only")
_FOR_PEOPLE = frozenset({"title", "description", "examples", "deprecated", "field_title_generator"})
_DEEPEST = 3  # attributes of a value without a digest
_UNSET = frozenset({"PydanticUndefinedType", "_MISSING_TYPE", "_Nothing"})

Linked = Callable[[str, Any], None]  # links functions of a member that came from elsewhere


def content_as_made(graph: Graph, node: Node, cls: type, inline: dict[str, FunctionType],
                    others: Linked, *, hard: bool) -> bytes:
    """Return the bytes of a class from its members.

    Parameters
    ----------
    graph, node
        Where links go.
    cls, inline
        The class, and the functions of its body.
    others
        Called with the members that are functions from elsewhere.
    hard
        A member without a digest is refused; else its type stands for it.
    """
    content = [f"members {cls.__name__}".encode()]
    content += [name.encode() + code_of(fn) for name, fn in sorted(inline.items())]
    content.append(fields_of(graph, node, cls))
    for name, member in sorted(vars(cls).items()):
        if (name in inline or name in MACHINERY or name.startswith("__")
                or issubclass(cls, Enum) or is_place(cls, member)):
            continue
        if functions_of(member):
            others(name, member)
        else:
            content.append(name.encode() + _value(graph, node, member, f".{name}", hard))
    return b"\0".join(content)


def code_of(fn: FunctionType) -> bytes:
    """Return the bytes of a function of a class: of its source where that gives its code."""
    tree = function_source(fn.__code__, fn.__globals__)
    return fingerprint(fn.__code__) if tree is None else (
        canonical(normal(tree, ours_in(fn.__globals__))))


def is_place(cls: type, member: Any) -> bool:
    """Return whether a member is the place of a slot or of a named tuple's field."""
    return hasattr(type(member), "__set__") or (
        issubclass(cls, tuple) and type(member).__name__ == "_tuplegetter")


def functions_of(member: Any) -> list[FunctionType]:
    """Return the functions behind a member: those of a property, of a task, of a class method."""
    if isinstance(member, property):
        return [fn for fn in (member.fget, member.fset, member.fdel)
                if isinstance(fn, FunctionType)]
    for _ in range(20):
        if isinstance(member, FunctionType):
            return [member]
        if isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        elif is_task(member):
            member = member.fn
        elif type(member).__module__ == "functools" and hasattr(member, "func"):
            member = member.func  # cached_property, partialmethod, singledispatchmethod
        elif hasattr(member, "__wrapped__") and not isinstance(member, type):
            member = member.__wrapped__
        else:
            break
    return []


def fields_of(graph: Graph, node: Node, cls: type) -> bytes:
    """Return the bytes of what a class declares of its instances: names, types, defaults."""
    return joined("fields", (joined(kind, (
        _value(graph, node, part, f".{name}", hard=False) for part in parts))
        for kind, name, parts in _declared(cls)))


def _declared(cls: type) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield kind, name and facts of what is declared."""
    own = vars(cls)
    if issubclass(cls, Enum):
        for member, value in cls.__members__.items():
            yield "member", member, [member, value.value]
    elif issubclass(cls, tuple) and "_fields" in own:
        yield "tuple", "_fields", [own["_fields"], own.get("_field_defaults")]
    for name, note in sorted(_annotations(cls).items()):
        yield "annotation", name, [name, note]
    if "__dataclass_fields__" in own:
        params = own["__dataclass_params__"]
        yield "dataclass", "", [getattr(params, name, None) for name in _DATACLASS]
        for field in dataclasses.fields(cls):
            yield "field", field.name, [field.name, *_facts(field, _FIELD), dict(field.metadata)]
    for field in own.get("__attrs_attrs__", ()):
        yield "attribute", field.name, [field.name, *_facts(field, _ATTRS), dict(field.metadata)]
    found = own.get("__pydantic_fields__", own.get("model_fields"))
    for name, info in sorted(found.items()) if isinstance(found, dict) else ():
        names = sorted(name for name in type(info).__slots__
                       if not name.startswith("_") and name not in _FOR_PEOPLE)
        yield "model", name, [name, *_facts(info, names)]


def _facts(field: Any, names: Any) -> list[Any]:
    return [(name, value) for name in names
            if (value := getattr(field, name, None)) is not None
            and type(value).__name__ not in _UNSET]


def _annotations(cls: type) -> dict[str, Any]:
    """Return the annotations of a class, as texts where they were written so."""
    try:
        return inspect.get_annotations(cls)
    except Exception:  # Python 3.14 evaluates them now: user code
        return {}


def _value(graph: Graph, node: Node, value: Any, path: str, hard: bool, depth: int = 0) -> bytes:
    """Return the bytes of a value; softly, those of what can be seen of it."""
    before = len(node.links)
    try:
        return describe(graph, node, value, f"value{path}")
    except NotCacheable:
        if hard:
            raise
        del node.links[before:]
    kind = f"without a digest {type(value).__qualname__}"
    if depth > _DEEPEST or isinstance(value, (type, FunctionType, ModuleType)):
        return kind.encode()
    items = enumerate(value) if type(value) in (list, tuple) else state_of(value)
    return joined(kind, (str(name).encode() + _value(graph, node, part, path, False, depth + 1)
                         for name, part in items))
