"""What annotations name: classes of arguments, aliases, validators, bounds of constants.

Lives here: from the annotations of a function, its body or a class to links.
Does not live here: names (``names.py``), what they stand for (``values.py``).

Methods of an argument are called without a global name; its annotation is what
there is to be seen of its class. Pydantic runs what stands in ``Annotated``. So
whatever they name counts, softly: what has no digest is left out. Python's own
types count as they are written.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from dataflow.code_identity.bindings import bindings, brought
from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.kinds import is_word_of_types
from dataflow.code_identity.names import (
    Chain,
    chain_of,
    chains,
    resolve,
    resolve_softly,
    shown,
    watch_space,
)
from dataflow.code_identity.parsing import parsed_expression
from dataflow.code_identity.values import found, refer_to
from dataflow.code_identity.watching import MISSING, ModuleWatch, space_of

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def link_annotations(graph: Graph, node: Node, fn: FunctionType, tree: ast.AST) -> None:
    """Link to what the annotations of a function name, those in its body included.

    Parameters
    ----------
    graph, node
        Where the links go.
    fn
        The function, or one in whose globals the names are.
    tree
        Its definition.
    """
    link_names(graph, node, fn, _of_function(tree))
    inner: list[ast.expr] = []
    for part in ast.walk(tree) if isinstance(tree, _FUNCTIONS) else ():
        if isinstance(part, ast.AnnAssign):
            inner.append(part.annotation)
        elif isinstance(part, _FUNCTIONS) and part is not tree:
            inner += _of_function(part)
    # Python evaluates none of those in bodies: a name may be missing there for good
    link_names(graph, node, fn, inner, only_there=True)


def link_names(graph: Graph, node: Node, owner: Any, notes: Iterable[ast.expr], *,
               only_there: bool = False) -> None:
    """Link a node to what annotations name.

    Parameters
    ----------
    graph, node
        Where the links go.
    owner
        The function or module in whose globals the names are.
    notes
        The annotations.
    only_there
        Names that stand for nothing are left out.
    """
    space = space_of(owner)
    there: list[Chain] = []
    for chain in sorted(set(annotation_chains(notes))):
        if chain[0] in space:
            there.append(chain)
        elif not _link_guarded(graph, node, owner, chain) and not only_there:
            resolve(graph, node, owner, chain, found_note)
    resolve_softly(graph, node, owner, there, found_note)


def found_note(graph: Graph, node: Node, label: str, value: Any, name: str,
               key: tuple[int, str]) -> None:
    """Link a node to what a name in an annotation stands for."""
    if is_word_of_types(value):
        return
    if isinstance(value, type):
        refer_to(graph, node, label, value)
    else:
        found(graph, node, label, value, name, key)


def _of_function(tree: ast.AST) -> list[ast.expr]:
    arguments = getattr(tree, "args", None)
    if not isinstance(arguments, ast.arguments):
        return []
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg,
             arguments.kwarg]
    notes = [one.annotation for one in every if one is not None]
    return [note for note in (*notes, getattr(tree, "returns", None)) if note is not None]


def _link_guarded(graph: Graph, node: Node, owner: Any, chain: Chain) -> bool:
    """Link to a class that is imported for type checkers alone, where its module is loaded.

    It is not loaded for that. Where an argument has the class, something else loaded it.
    """
    code, space = getattr(owner, "__code__", None), space_of(owner)
    file = getattr(owner, "__file__", None) if code is None else code.co_filename
    before, graph.softly = graph.softly, True
    try:
        for place in bindings(chain[0], file, space) if isinstance(file, str) else ():
            for full, attribute in brought(place.nodes[-1], chain[0], space):
                if attribute is not None and _link_loaded(
                        graph, node, ".".join(chain), full, attribute):
                    return True
    finally:
        graph.softly = before
    return False


def _link_loaded(graph: Graph, node: Node, label: str, name: str, attribute: str) -> bool:
    module = sys.modules.get(name)
    graph.watches["loaded", name] = ModuleWatch(name, module is not None)
    if not isinstance(module, ModuleType):
        return False
    if graph.origin(name) != "own":
        graph.library(node, label, name)
        return True
    value = watch_space(graph, module, attribute)
    if value is MISSING:
        return False
    found_note(graph, node, label, value, shown(graph, name, attribute),
               (id(vars(module)), attribute))
    return True


def annotation_chains(nodes: Iterable[ast.expr | None]) -> Iterator[Chain]:
    """Yield the chains of names in annotations, also in those that are texts."""
    for node in nodes:
        for text in _texts(node) if node is not None else ():
            try:
                yield from chains([parsed_expression(text)])
            except (SyntaxError, ValueError):
                continue
        yield from chains([node])


def _texts(note: ast.AST) -> Iterator[str]:
    """Yield the texts in an annotation that are annotations: no literals, nothing of a call."""
    stack = [note]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        elif isinstance(part, ast.Subscript) and chain_of(part.value)[-1:] == ("Literal",):
            continue
        elif isinstance(part, ast.Subscript) and chain_of(part.value)[-1:] == ("Annotated",):
            stack += part.slice.elts[:1] if isinstance(part.slice, ast.Tuple) else [part.slice]
        elif not isinstance(part, (ast.Call, ast.Lambda)):
            stack += ast.iter_child_nodes(part)
