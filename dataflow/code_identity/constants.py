"""What a constant, a default or a closure's value is; what a name is that the code binds.

Lives here: filling the node of a value. Does not live here: the bytes of a value
(``values.py``), where the source binds a name (``bindings.py``).

A name that a function binds (``global``) has another value after it ran: a counter,
something that is made at first use. What it begins with stands for it: the statements
that bind it in its module, with all that they name.
"""

from __future__ import annotations

import ast
import sys
from types import FunctionType, ModuleType
from typing import Any

from dataflow.code_identity.bindings import Binding, begins_unbound, bindings, brought
from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.kinds import text_of
from dataflow.code_identity.names import chains, ours_in, resolve, shown, watch_space
from dataflow.code_identity.normal_form import canonical, normal, readable
from dataflow.code_identity.values import describe, found
from dataflow.code_identity.watching import MISSING

_DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def fill_value(graph: Graph, node: Node) -> None:
    """Make the content of a constant, a default or a closure's value.

    Raises
    ------
    NotCacheable
        Something in it has no digest; the text names it.
    """
    value, key = node.subject
    if key in graph.written:
        _fill_written(graph, node, value, key[1], graph.written[key])
        return
    node.text = text_of(value)
    graph.library(node, "type", type(value).__module__)
    node.content = b"value" + describe(graph, node, value, "value")


def _fill_written(graph: Graph, node: Node, value: Any, name: str, writer: FunctionType) -> None:
    """Make the content of a name that a function binds."""
    filename, space = writer.__code__.co_filename, writer.__globals__
    places = bindings(name, filename, space)
    if not places and not begins_unbound(filename, space):
        # of another cell, or set from outside: what it is now has to do
        node.text = text_of(value)
        node.content = b"written now" + describe(graph, node, value, "value")
        return
    ours = ours_in(space)
    parts = [normal(part, ours) for place in places for part in place.nodes]
    node.content = b"".join([b"written", *map(canonical, parts)])
    node.text = "\n".join(map(readable, parts)) or "(bound by the code itself)"
    for place in places:
        _link_names(graph, node, place, writer)
        for part in place.nodes:
            for full, attribute in brought(part, name, space):
                _link_from(graph, node, full, attribute)


def _link_names(graph: Graph, node: Node, place: Binding, writer: FunctionType) -> None:
    """Link a node to what the names in a binding stand for."""
    read = {part.id for one in place.nodes for part in ast.walk(one)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
    local = {name for one in place.nodes if isinstance(one, _DEFINED) for name in _locals(one)}
    for chain in sorted(set(chains(place.nodes))):
        if chain[0] in read - local:
            resolve(graph, node, writer, chain, found)


def _locals(tree: ast.AST) -> set[str]:
    """Return the names that a definition binds in itself."""
    return {part.arg if isinstance(part, ast.arg) else part.id for part in ast.walk(tree)
            if isinstance(part, ast.arg)
            or (isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load))}


def _link_from(graph: Graph, node: Node, name: str, attribute: str | None) -> None:
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType):
        node.links.append((f"import {name}", -1))
    elif graph.origin(name) != "own":
        graph.library(node, f"import {name}", name)
    elif attribute is None:
        found(graph, node, f"import {name}", module, name, (id(vars(module)), ""))
    elif (value := watch_space(graph, module, attribute)) is not MISSING:
        found(graph, node, f"{name}.{attribute}", value, shown(graph, name, attribute),
              (id(vars(module)), attribute))
