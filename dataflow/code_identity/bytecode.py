"""Code objects: what one is, and which names it reads.

Lives here: :func:`fingerprint` and :func:`reads`, functions of code objects
alone. Does not live here: what the names stand for (``walk.py``).
"""

from __future__ import annotations

import dis
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from types import CodeType
from typing import Any

_NEW_LOCALS = 0x2
_HAS_DOCSTRING = 0x4000000  # a flag since Python 3.13
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_FREE = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_WRITTEN = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
VERSION = f"python {sys.version_info[0]}.{sys.version_info[1]}"


@lru_cache(maxsize=4096)
def _fingerprint(ident: _Same) -> bytes:
    return blake2b(repr(_facts(ident.code)).encode("utf-8", "surrogatepass"),
                   digest_size=16).digest()


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """A code object as a key by identity: equality of code objects looks at line numbers."""

    code: CodeType

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.code is self.code

    def __hash__(self) -> int:
        return id(self.code)


def fingerprint(code: CodeType) -> bytes:
    """Return 16 bytes of what a code object does: without lines, file and docstrings.

    Equal ones run alike on this minor version of Python; between versions the
    bytes differ.
    """
    return _fingerprint(_Same(code))


def _facts(code: CodeType) -> tuple[Any, ...]:
    consts = list(code.co_consts)
    if consts and isinstance(consts[0], str) and _has_docstring(code):
        consts[0] = None
    return (
        VERSION, code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
        code.co_flags & ~_HAS_DOCSTRING, code.co_code, code.co_exceptiontable, code.co_names,
        code.co_varnames, code.co_cellvars, code.co_freevars,
        tuple(_constant(const) for const in consts),
    )


def _has_docstring(code: CodeType) -> bool:
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    # before, a function's first constant was its docstring or None
    return bool(code.co_flags & _NEW_LOCALS) and not code.co_name.startswith("<")


def _constant(const: object) -> tuple[Any, ...]:
    if isinstance(const, CodeType):
        return ("code", fingerprint(const))
    if isinstance(const, tuple):
        return ("tuple", *map(_constant, const))
    if isinstance(const, frozenset):
        return ("frozenset", *sorted(map(_constant, const), key=repr))
    if type(const) is int:
        return ("int", hex(const))
    return (type(const).__name__, repr(const))


@dataclass(slots=True)
class Reads:
    """The names that a code object and those nested in it read.

    Attributes
    ----------
    names
        Chains of global names: ``("RATE",)``, ``("helpers", "parse")``.
    free
        Chains whose first name is of a function around it.
    written
        Global names that it binds.
    imports
        ``(level, module, names)`` of the imports in its body.
    """

    names: set[tuple[str, ...]] = field(default_factory=set)
    free: set[tuple[str, ...]] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    imports: set[tuple[int, str, tuple[str, ...]]] = field(default_factory=set)


def reads(code: CodeType) -> Reads:
    """Return what the code reads by name.

    Attributes are followed while they hang on a name; what ``getattr``,
    ``exec`` or ``eval`` reach cannot be seen.
    """
    found = Reads()
    stack, seen = [code], 0
    while stack:
        one = stack.pop()
        seen += 1
        stack += [const for const in one.co_consts if isinstance(const, CodeType)]
        _read_one(one, found)
    return found


def _read_one(code: CodeType, found: Reads) -> None:
    chain: list[str] = []
    into: set[tuple[str, ...]] | None = None
    loaded: list[Any] = [0, None]  # the last two constants: level and names of an import
    for step in dis.get_instructions(code):
        name = step.opname
        if name in _ATTRIBUTE and into is not None:
            chain.append(step.argval)
            continue
        if name == "EXTENDED_ARG":
            continue
        if into is not None:
            into.add(tuple(chain))
            into = None
        if name in _GLOBAL:
            into, chain = found.names, [step.argval]
            if name != "LOAD_GLOBAL" and step.argval == "__name__":
                into = None  # the body of a class takes its module's name
        elif name in _FREE:
            into, chain = found.free, [step.argval]
        elif name in _WRITTEN:
            found.written.add(step.argval)
        elif name == "IMPORT_NAME":
            level, names = loaded[-2:]
            found.imports.add((level or 0, step.argval, tuple(names or ())))
        elif step.opcode in dis.hasconst or name == "LOAD_SMALL_INT":
            loaded = [loaded[-1], step.argval]
    if into is not None:
        into.add(tuple(chain))
