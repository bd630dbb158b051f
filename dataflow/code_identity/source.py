"""The source of a function or class, found and proved.

Lives here: from a code object to the syntax tree it was compiled from. Does
not live here: what of the tree counts (``normal_form.py``).

A file can be edited while the program runs. So no source is believed: it is
compiled again and must give the very code object, line numbers aside. Where
it does not (an edited file, a rewritten function, as pytest does with asserts)
there is no source, and the code object itself is the identity.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from dataflow.code_identity.bytecode import fingerprint
from dataflow.code_identity.parsing import parsed

_FUTURE = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names
              if getattr(__future__, name).compiler_flag > 0xFFFF)
_MARK = 10_000_000  # a line that no file has
_KEPT = 16  # files
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Spot:
    """A definition in a file, and the statement of the module that it stands in."""

    node: Definition
    line: int  # as code objects count: that of the first decorator
    top: ast.stmt


@dataclass(slots=True)
class SourceFile:
    """The parsed text of a file."""

    text: str
    tree: ast.Module
    spots: dict[str, list[Spot]] = field(default_factory=dict)  # by qualified name
    imports: list[ast.stmt] = field(default_factory=list)  # at the module's level
    compiled: dict[tuple[int, int], list[CodeType]] = field(default_factory=dict)

    def codes(self, top: ast.stmt, flags: int) -> list[CodeType]:
        """Return all code objects of one statement."""
        key = (id(top), flags)
        if key not in self.compiled:
            self.compiled[key] = list(self.compile(top, flags))
        return self.compiled[key]

    def compile(self, top: ast.stmt, flags: int) -> Iterator[CodeType]:
        """Compile one statement, below the imports: a call on an imported name is other code."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = ast.Module([*self.imports, top], [])
                stack = [compile(module, "<source>", "exec", flags, True)]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        while stack:
            code = stack.pop()
            yield code
            stack += [const for const in code.co_consts if isinstance(const, CodeType)]


_files: OrderedDict[str, SourceFile] = OrderedDict()


def source_file(filename: str, namespace: dict[str, Any] | None = None) -> SourceFile | None:
    """Return a file parsed, or None where there is no such text or it is no Python."""
    linecache.checkcache(filename)
    text = "".join(linecache.getlines(filename, namespace))
    if not text:
        return None
    known = _files.get(filename)
    if known is not None and known.text == text:
        _files.move_to_end(filename)
        return known
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = _files[filename] = SourceFile(text, tree)
    for top in tree.body:
        _index(top, top, "", found.spots)
        found.imports += _imports(top)
    while len(_files) > _KEPT:
        _files.popitem(last=False)
    return found


def _index(node: ast.AST, top: ast.stmt, prefix: str, spots: dict[str, list[Spot]]) -> None:
    """Note every definition under its qualified name; those in expressions are lambdas."""
    if isinstance(node, Definition):
        name = prefix + node.name
        first = node.decorator_list[0] if node.decorator_list else node
        spots.setdefault(name, []).append(Spot(node, first.lineno, top))
        prefix = f"{name}." if isinstance(node, ast.ClassDef) else f"{name}.<locals>."
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        children = getattr(node, part, ())
        for child in children if isinstance(children, list) else ():
            _index(child, top, prefix, spots)


def _imports(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the imports of a statement that bind names of the module."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        if getattr(node, "module", "") != "__future__":
            yield node
    elif not isinstance(node, (*_DEFINITIONS, ast.expr)):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def function_source(code: CodeType, namespace: dict[str, Any]) -> ast.AST | None:
    """Return the definition or lambda that a code object was compiled from.

    Parameters
    ----------
    code
        Of the function.
    namespace
        Its globals; their loader knows the text where it is in no file.

    Returns
    -------
    ast.AST or None
        None where no source is to be had that gives this code.
    """
    file = source_file(code.co_filename, namespace)
    if file is None:
        return None
    wanted, flags = fingerprint(code), code.co_flags & _FUTURE
    if code.co_name == "<lambda>":
        return _lambda(file, code, wanted, flags)
    spots = file.spots.get(code.co_qualname, ())
    for spot in sorted(spots, key=lambda spot: abs(spot.line - code.co_firstlineno)):
        for candidate in file.codes(spot.top, flags):
            if (candidate.co_firstlineno == spot.line and candidate.co_name == code.co_name
                    and fingerprint(candidate) == wanted):
                return spot.node
    return None


def _lambda(file: SourceFile, code: CodeType, wanted: bytes, flags: int) -> ast.Lambda | None:
    """Return the right one of the lambdas on a line.

    Each is given a line of its own and compiled again: the code that is equal
    then says by its line which of them it is.
    """
    line = code.co_firstlineno
    for top in file.tree.body:
        if not _first_line(top) <= line <= (top.end_lineno or top.lineno):
            continue
        found = [node for node in ast.walk(top)
                 if isinstance(node, ast.Lambda) and node.lineno == line]
        places = [(node.lineno, node.end_lineno) for node in found]
        try:
            for number, node in enumerate(found):
                node.lineno = _MARK + 2 * number
                node.end_lineno = node.lineno + 1
            codes = list(file.compile(top, flags))
        finally:
            for node, (start, end) in zip(found, places, strict=True):
                node.lineno, node.end_lineno = start, end
        for candidate in codes:
            if candidate.co_firstlineno >= _MARK and fingerprint(candidate) == wanted:
                return found[(candidate.co_firstlineno - _MARK) // 2]
    return None


def _first_line(top: ast.stmt) -> int:
    decorators = getattr(top, "decorator_list", None)
    return decorators[0].lineno if decorators else top.lineno


def class_source(cls: type, codes: list[CodeType], filename: str,
                 namespace: dict[str, Any]) -> ast.ClassDef | None:
    """Return the definition of a class: the last under its name that has its methods.

    Parameters
    ----------
    cls
        The class.
    codes
        Of the methods that stand in the same file under the class's name.
    filename, namespace
        Where to look.
    """
    file = source_file(filename, namespace)
    if file is None:
        return None
    wanted = {fingerprint(code) for code in codes}
    try:
        noted = {name for name in inspect.get_annotations(cls) if "__" not in name}
    except Exception:  # Python 3.14 evaluates them now: user code
        noted = None
    flags = codes[0].co_flags & _FUTURE if codes else 0
    for spot in reversed(file.spots.get(cls.__qualname__, ())):
        if not isinstance(spot.node, ast.ClassDef):
            continue
        if noted is not None and _annotated(spot.node) != noted:
            continue
        if wanted <= {fingerprint(code) for code in file.codes(spot.top, flags)}:
            return spot.node
    return None


def _annotated(tree: ast.ClassDef) -> set[str]:
    """Return the names that the body of a class annotates, in whatever statement."""
    stack: list[ast.AST] = list(tree.body)
    found: set[str] = set()
    while stack:
        node = stack.pop()
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.simple:
            if "__" not in node.target.id:  # in a class it has another name
                found.add(node.target.id)
        elif not isinstance(node, (*_DEFINITIONS, ast.expr)):
            stack += ast.iter_child_nodes(node)
    return found
