"""What a class is: its normal form, its bases, and what its methods read.

Lives here: filling the node of a class. Does not live here: its content without
source (``made_classes.py``), instances (``values.py``), functions (``functions.py``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import Enum
from types import FunctionType
from typing import Any

from dataflow.code_identity.annotations import link_annotations, link_names
from dataflow.code_identity.bytecode import VERSION
from dataflow.code_identity.functions import link_function
from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.made_classes import (
    MACHINERY,
    content_as_made,
    fields_of,
    functions_of,
)
from dataflow.code_identity.names import (
    chains,
    module_of,
    ours_in,
    resolve,
    resolve_softly,
)
from dataflow.code_identity.normal_form import canonical, normal, readable
from dataflow.code_identity.ownership import is_extension, is_named
from dataflow.code_identity.source import class_source
from dataflow.code_identity.values import describe, found, refer_to
from dataflow.exceptions import NotCacheable


def fill_class(graph: Graph, node: Node) -> None:
    """Make the content of a class's node, and link it to what it reaches."""
    cls: type = node.subject
    for number, base in enumerate(cls.__bases__):
        if base is not object:
            refer_to(graph, node, f"base {number}", base)
    if type(cls) is not type:
        refer_to(graph, node, "metaclass", type(cls))
    module = module_of(cls)
    inline = dict(_own_functions(cls))
    codes = [fn.__code__ for fn in inline.values()]
    file = codes[0].co_filename if codes else getattr(module, "__file__", None)
    space = next((fn.__globals__ for fn in inline.values()), vars(module) if module else {})
    tree = class_source(cls, codes, file, space) if (
        isinstance(file, str) and not graph.as_made) else None
    for name, fn in sorted(inline.items()):
        link_function(graph, node, fn, f"{name}: ", f"{cls.__name__}.{name}")
    if tree is None:
        _without_source(graph, node, cls, inline)
        return
    plain = normal(tree, ours_in(space))
    node.text = readable(plain)
    node.content = b"class" + canonical(plain) + fields_of(graph, node, cls)
    owner = next(iter(inline.values()), module)
    if owner is not None and isinstance(plain, ast.ClassDef):
        _link_body(graph, node, plain, owner)
    for name, member in sorted(vars(cls).items()):
        if name in inline:
            continue
        if functions_of(member):
            _link_others(graph, node, name, member)
        elif not (name.startswith("__") or name in MACHINERY or issubclass(cls, Enum)):
            _link_value(graph, node, name, member)


def _own_functions(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions that were defined in the body of a class, and are no wrappers."""
    for name, member in vars(cls).items():
        for number, fn in enumerate(functions_of(member)):
            code = fn.__code__
            if (code.co_qualname == f"{cls.__qualname__}.{fn.__name__}"
                    and not code.co_filename.startswith("<string")
                    and fn.__globals__.get("__name__") == cls.__module__):
                yield f"{name}.{number}" if number else name, fn


def _link_others(graph: Graph, node: Node, name: str, member: Any) -> None:
    """Link functions that came into a class from elsewhere: wrappers, and what was set on it."""
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__
    for number, fn in enumerate(functions_of(member)):
        made = fn.__code__.co_filename.startswith(("<string", "<attrs")) and name.startswith("__")
        if made or graph.origin(str(fn.__globals__.get("__name__", ""))) == "python":
            continue  # made by dataclasses, enum or typing from what the source says
        refer_to(graph, node, f"{name}: {number}", fn)


def _link_body(graph: Graph, node: Node, tree: ast.ClassDef, owner: Any) -> None:
    """Link what the body of a class reads when it is made; decorators and annotations softly."""
    hard: list[ast.AST] = [*tree.bases, *tree.keywords]
    soft: list[ast.AST] = list(tree.decorator_list)
    notes: list[ast.expr] = []
    for part in _statements(tree):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            soft += part.decorator_list
            if isinstance(owner, FunctionType):
                link_annotations(graph, node, owner, part)
        elif isinstance(part, ast.AnnAssign):
            notes.append(part.annotation)
            hard += [part.value] if part.value is not None else []
        elif isinstance(part, ast.ClassDef):
            hard += [*part.bases, *part.keywords]
            soft += part.decorator_list
        else:
            hard.append(part)
    local = _bound(tree)
    for chain in sorted({chain for chain in chains(hard) if chain[0] not in local}):
        resolve(graph, node, owner, chain, found)
    resolve_softly(graph, node, owner, chains(soft), found)
    link_names(graph, node, owner, notes)


def _statements(tree: ast.ClassDef) -> Iterator[ast.stmt]:
    """Yield the statements of a class's body and of the classes in it."""
    for part in tree.body:
        yield part
        if isinstance(part, ast.ClassDef):
            yield from _statements(part)


def _bound(tree: ast.ClassDef) -> set[str]:
    """Return the names that the body binds by plain assignment."""
    found: set[str] = set()
    for part in tree.body:
        targets: list[ast.expr] = []
        if isinstance(part, ast.Assign):
            targets = part.targets
        elif isinstance(part, ast.AnnAssign) and part.value is not None:
            targets = [part.target]
        found |= {name.id for target in targets for name in ast.walk(target)
                  if isinstance(name, ast.Name)}
    return found


def _link_value(graph: Graph, node: Node, name: str, member: Any) -> None:
    """Add the value of an attribute; one without a digest is what the source says of it."""
    before = len(node.links)
    try:
        node.content += name.encode() + describe(graph, node, member, f"value.{name}")
    except NotCacheable:
        del node.links[before:]


def _without_source(graph: Graph, node: Node, cls: type, inline: dict[str, FunctionType]) -> None:
    """Make the content of a class from its members: one of a console, one that came by value."""
    if is_extension(cls.__module__):
        refer_to(graph, node, "compiled", module_of(cls))

    def others(name: str, member: Any) -> None:
        _link_others(graph, node, name, member)

    hard = not (graph.as_made and is_named(cls))
    node.text = f"(the members of the class {cls.__name__}, {VERSION})"
    node.content = content_as_made(graph, node, cls, inline, others, hard=hard)
