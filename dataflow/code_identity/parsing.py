"""Text to syntax tree, where other threads may make syntax trees at the same time.

Lives here: ``parsed``. CPython up to 3.11 counts the depth of all trees that a
process makes in one number (https://github.com/python/cpython/issues/106905),
so that ``ast.parse`` may raise SystemError although nothing is wrong with the
text. Another thread that logs a traceback is enough, since 3.11 parses the
lines of it to underline their parts.
"""

from __future__ import annotations

import ast
from typing import Literal, overload

_TRIES = 100


@overload
def parsed(text: str) -> ast.Module: ...
@overload
def parsed(text: str, mode: Literal["eval"]) -> ast.Expression: ...
def parsed(text: str, mode: str = "exec") -> ast.Module | ast.Expression:
    """Return the syntax tree of a module or, with ``mode="eval"``, of an expression.

    Raises
    ------
    SyntaxError, ValueError, RecursionError, MemoryError
        As ``ast.parse`` does: the text is no Python, or is too deep.
    """
    for _ in range(_TRIES - 1):
        try:
            return ast.parse(text, mode=mode)
        except SystemError:  # met another thread's tree
            continue
    return ast.parse(text, mode=mode)
