"""The normal form of source: what is left when only what runs counts.

Lives here: which parts of a syntax tree count, and its canonical text and
bytes. Does not live here: where the tree comes from (``source.py``).

Left out: comments and formatting (they are not in a tree), docstrings, type
comments, annotations of local variables (Python never keeps them), and the
decorators for which the caller says so. Annotations of parameters, of results
and in classes count: pydantic and dataclasses read them.

The bytes come from a dump of our own, not from ``ast.dump`` or ``ast.unparse``:
theirs differ between Python versions. Fields that are None or empty are left
out of it, so that a field a newer Python adds changes nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")

Left = Callable[[ast.expr], bool]  # whether a decorator is left out


def normal(node: ast.AST, left_out: Left, *, in_function: bool = False) -> ast.AST:
    """Return the node without what does not count; the given one stays as it is.

    Parameters
    ----------
    node
        A module, a statement or an expression.
    left_out
        Asked for each decorator of the definitions in it.
    in_function
        Whether the node stands in the body of a function.
    """
    if not isinstance(node, (ast.Module, ast.stmt, ast.excepthandler, ast.match_case)):
        return node
    if isinstance(node, ast.AnnAssign) and in_function:
        return _without_annotation(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, _DEFINITIONS):
        in_function = not isinstance(node, ast.ClassDef)
        fields["decorator_list"] = [d for d in node.decorator_list if not left_out(d)]
    if isinstance(node, (ast.Module, *_DEFINITIONS)):
        fields["body"] = _without_docstring(node)
    for name in _BODIES:
        if isinstance(fields.get(name), list):
            fields[name] = [normal(child, left_out, in_function=in_function)
                            for child in fields[name]]
    made: ast.AST = type(node)(**fields)
    if isinstance(made, ast.stmt):
        made.lineno = getattr(node, "lineno", 0)  # asked for when it is written out
    return made


def _without_docstring(node: ast.Module | Definition) -> list[ast.stmt]:
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str())) as first, *rest]:
            return rest or [ast.Pass(lineno=first.lineno)]
    return node.body


def _without_annotation(node: ast.AnnAssign) -> ast.stmt:
    if node.value is not None:
        return ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno)
    nothing = ast.Constant(value=None)  # it makes the name local, so it stays
    return ast.AnnAssign(node.target, nothing, None, node.simple, lineno=node.lineno)


def canonical(node: ast.AST) -> bytes:
    """Return the bytes of a node: the same on every Python version for the same source."""
    out: list[str] = []
    stack: list[Any] = [node]
    while stack:  # no recursion: a sum of 5,000 terms is a tree as deep
        item = stack.pop()
        if isinstance(item, _Done):
            out.append(item)
        elif isinstance(item, ast.Constant):
            out.append(f"{type(item.value).__name__}:{_constant(item.value)};")
        elif isinstance(item, ast.AST):
            out.append(f"{type(item).__name__}(")
            stack.append(_Done(")"))
            for name, value in reversed(list(ast.iter_fields(item))):
                if isinstance(item, ast.JoinedStr):
                    value = _joined(value)
                if name not in _SKIPPED and value is not None and value != []:
                    stack += (value, _Done(f"{name}="))
        elif isinstance(item, list):
            stack += (_Done("]"), *reversed(item), _Done("["))
        else:
            out.append(f"{item!r};")
    return "".join(out).encode("utf-8", "surrogatepass")


def _joined(pieces: list[ast.expr]) -> list[ast.expr]:
    """Return the pieces of an f-string as every Python version would cut it."""
    found: list[ast.expr] = []
    for piece in pieces:
        last = found[-1] if found else None
        match last, piece:
            case _, ast.Constant(value=""):
                continue
            case ast.Constant(value=str(before)), ast.Constant(value=str(after)):
                found[-1] = ast.Constant(before + after)
            case _:
                found.append(piece)
    return found


class _Done(str):
    """A piece of the output."""

    __slots__ = ()


def _constant(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)  # a long one has no repr
    return repr(value)


def readable(node: ast.AST) -> str:
    """Return the node as source for people; no digest is made of it."""
    try:
        return ast.unparse(node)
    except (RecursionError, ValueError):
        return "(too deep to be shown)"
