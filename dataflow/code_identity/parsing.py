"""Text to syntax tree, where other threads may make syntax trees at the same time.

Lives here: ``ast.parse``, tried again. CPython up to 3.11 counts the depth of all trees that a
process makes in one number (https://github.com/python/cpython/issues/106905),
so that ``ast.parse`` may raise SystemError although nothing is wrong with the
text. Another thread that logs a traceback is enough, since 3.11 parses the
lines of it to underline their parts.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeVar

_TRIES = 100

Tree = TypeVar("Tree", bound=ast.AST)


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a module.

    Raises
    ------
    SyntaxError, ValueError, RecursionError, MemoryError
        As ``ast.parse`` does: the text is no Python, or is too deep.
    """
    return _undisturbed(lambda: ast.parse(text))


def parsed_expression(text: str) -> ast.Expression:
    """Return the syntax tree of an expression; raises as ``parsed`` does."""
    return _undisturbed(lambda: ast.parse(text, mode="eval"))


def _undisturbed(parse: Callable[[], Tree]) -> Tree:
    for _ in range(_TRIES - 1):
        try:
            return parse()
        except SystemError:  # met another thread's tree
            continue
    return parse()
