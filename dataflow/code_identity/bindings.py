"""The statements of a module that bind a name, wherever at its level they stand.

Lives here: finding them in the source. Does not live here: what they reach
(``constants.py``).
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dataflow.code_identity.source import source_file
from dataflow.code_identity.whole_modules import absolute, package_of

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class Binding:
    """One statement that binds a name.

    Attributes
    ----------
    nodes
        What decides on the value: the statement, or the part of it that binds, and the
        conditions, loops and subjects around.
    """

    nodes: tuple[ast.AST, ...]


def bindings(name: str, filename: str, namespace: dict[str, Any]) -> list[Binding]:
    """Return what binds a global name in a file, in its order.

    Also in ``if``, ``try``, ``for``, ``with``, ``match``, by ``:=`` and by imports; a star
    import counts where what it brings is not known.
    """
    file = source_file(filename, namespace)
    return [] if file is None else [
        Binding(nodes) for nodes in _in_body(file.tree.body, name, ())]


def begins_unbound(filename: str, namespace: dict[str, Any]) -> bool:
    """Return whether a name that a file does not bind at its level has no value at first.

    Not where the file is not all of its module, as in a notebook.
    """
    whole = namespace.get("__file__")
    return isinstance(whole, str) and os.path.realpath(whole) == os.path.realpath(filename)


def brought(statement: ast.AST, name: str,
            namespace: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return the modules and their names that an import binds a name to.

    None stands for a module itself; another statement brings nothing.
    """
    if isinstance(statement, ast.Import):
        return [(alias.name if alias.asname else alias.name.partition(".")[0], None)
                for alias in statement.names]
    if not isinstance(statement, ast.ImportFrom):
        return []
    imported = (statement.level, statement.module or "", ())
    module = absolute(imported, package_of(namespace))
    return [(module[-1], name if alias.name == "*" else alias.name)
            for alias in statement.names if module]


def _in_body(body: Iterable[ast.stmt], name: str,
             around: tuple[ast.AST, ...]) -> Iterator[tuple[ast.AST, ...]]:
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                if statement.name == name:
                    yield (*around, statement)
            case ast.Import() | ast.ImportFrom():
                found = [alias for alias in statement.names if _brings(alias, statement, name)]
                if found:
                    yield (*around, _only(statement, found))
            case ast.If() | ast.While() | ast.For() | ast.AsyncFor() | ast.With() \
                    | ast.AsyncWith() | ast.Try() | ast.TryStar() | ast.Match():
                yield from _in_block(statement, name, around)
            case ast.AnnAssign(value=None):
                continue
            case _:
                if _stores([statement], name):
                    yield (*around, statement)


def _in_block(block: ast.stmt, name: str,
              around: tuple[ast.AST, ...]) -> Iterator[tuple[ast.AST, ...]]:
    """Yield what binds the name in a compound statement: its header, then its bodies."""
    header = tuple(part for field, part in _parts(block) if not isinstance(part, ast.stmt)
                   and field not in ("handlers", "cases"))
    inside = (*around, *header)
    if _stores(header, name):
        yield inside
    for field in ("body", "orelse", "finalbody"):
        yield from _in_body(getattr(block, field, ()), name, inside)
    for case in (*getattr(block, "handlers", ()), *getattr(block, "cases", ())):
        head = tuple(part for field, part in _parts(case) if field != "body")
        if getattr(case, "name", None) == name or _stores(head, name):
            yield (*inside, *head)
        yield from _in_body(case.body, name, (*inside, *head))


def _parts(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for field, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield field, part


def _brings(alias: ast.alias, statement: ast.Import | ast.ImportFrom, name: str) -> bool:
    if alias.name == "*":
        return True
    bound = alias.asname or (
        alias.name.partition(".")[0] if isinstance(statement, ast.Import) else alias.name)
    return bound == name


def _only(statement: ast.Import | ast.ImportFrom, found: list[ast.alias]) -> ast.stmt:
    """Return an import without the names that are not asked for."""
    if isinstance(statement, ast.Import):
        return ast.Import(found, lineno=statement.lineno)
    return ast.ImportFrom(statement.module, found, statement.level, lineno=statement.lineno)


def _stores(nodes: Iterable[ast.AST], name: str) -> bool:
    """Return whether expressions or a simple statement bind the name in the scope they stand in."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name == name:
            return True
        if isinstance(node, ast.MatchMapping) and node.rest == name:
            return True
        if isinstance(node, _SCOPES):
            continue
        if isinstance(node, _COMPREHENSIONS):  # its targets are its own, what := binds is not
            stack += [part for part in ast.walk(node) if isinstance(part, ast.NamedExpr)]
            continue
        stack += ast.iter_child_nodes(node)
    return False
