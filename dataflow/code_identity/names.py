"""From a name in code to what it stands for.

Lives here: resolution of global names and chains, of imports in bodies, and
names read off a syntax tree. Does not live here: what becomes of a value
(``values.py``).
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.watching import MISSING, space_of, watch_name
from dataflow.code_identity.whole_modules import (
    Import,
    absolute,
    bytes_of,
    file_of,
    imports_of,
)

Chain = tuple[str, ...]
Found = Callable[[Graph, Node, str, Any, str, tuple[int, str]], None]

# what a module is called and where it was loaded from; not what it does
_AMBIENT = frozenset({"__name__", "__package__", "__spec__", "__loader__", "__builtins__",
                      "__cached__", "__debug__", "__annotations__"})
_TOOLS = frozenset({"task", "flow"})
_TOOL_MODULES = frozenset({"dataflow.tasks", "dataflow.flows"})


def shown(graph: Graph, module: str, name: str) -> str:
    """Return a name as parts have it: with its module where that is another one."""
    return name if module == graph.home or not module else f"{module}.{name}"


def resolve_softly(graph: Graph, node: Node, owner: Any, chains: Iterable[Chain],
                   found: Found) -> None:
    """Link a node to what names stand for, and leave out what has no digest.

    For decorators and annotations: what they name may matter, and need not.
    """
    before, graph.softly = graph.softly, True
    try:
        for chain in sorted(set(chains)):
            resolve(graph, node, owner, chain, found)
    finally:
        graph.softly = before


def resolve(graph: Graph, node: Node, owner: Any, chain: Chain, found: Found) -> None:
    """Link a node to what a chain of names stands for.

    Parameters
    ----------
    graph, node
        Where the link goes.
    owner
        The function or module in whose globals the first name is.
    chain
        The name and the attributes that follow; they are followed through
        modules of the user's own code.
    found
        Called with what it stands for.
    """
    space = space_of(owner)
    name, rest, label = chain[0], list(chain[1:]), ".".join(chain)
    if name in _AMBIENT:
        return None
    value = space.get(name, MISSING)
    _watch(graph, owner, name)
    while isinstance(value, ModuleType):
        if graph.origin(value.__name__) != "own":
            return graph.library(node, label, value.__name__)
        if not rest:
            break
        space, name = vars(value), rest.pop(0)
        value = watch_space(graph, value, name)
    if value is MISSING and (id(space), name) not in graph.written:
        if name not in vars(builtins):
            node.links.append((label, -1))
        return None
    module = str(space.get("__name__", ""))
    return found(graph, node, label, value, shown(graph, module, name), (id(space), name))


def _watch(graph: Graph, owner: Any, name: str) -> None:
    space = space_of(owner)
    key = (id(space), name)
    if key not in graph.watches:
        graph.watches[key] = watch_name(owner, name, space.get(name, MISSING))


def watch_space(graph: Graph, module: ModuleType, name: str) -> Any:
    """Return what a name of a module stands for, MISSING where it is none; it is watched."""
    _watch(graph, module, name)
    return _attribute(module, name)


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name, MISSING)
    except Exception:  # the module's own __getattr__
        return MISSING


def reach_imports(graph: Graph, node: Node, imports: Iterable[Import], package: str) -> None:
    """Link a node to the modules that are imported in a body, each as a whole."""
    for module in sorted({name for one in imports for name in absolute(one, package)}):
        if graph.origin(module) != "own" or module == "__main__":
            graph.library(node, f"import {module}", module)
            continue
        path = file_of(module)
        if path is not None:
            graph.reach(node, f"import {module}", fill="module", subject=(module, path),
                        key=("module", str(path)), kind="module", name=module)


def fill_module(graph: Graph, node: Node) -> None:
    """Make the content of a module that counts as a whole."""
    from dataflow.code_identity.normal_form import canonical, normal, readable
    from dataflow.code_identity.source import source_file

    module, path = node.subject
    file = source_file(str(path))
    if file is None:
        node.content = b"file" + bytes_of(path)
        node.text = f"(no source: {path.name})"
        return
    tree = normal(file.tree, ours_by_name)
    node.content, node.text = b"module" + canonical(tree), readable(tree)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    reach_imports(graph, node, imports_of(path), package)


def chains(nodes: Iterable[ast.AST | None]) -> Iterator[Chain]:
    """Yield the chains of names in expressions."""
    stack = [node for node in nodes if node is not None]
    while stack:
        node = stack.pop()
        chain = chain_of(node)
        if chain:
            yield chain
        else:
            stack += ast.iter_child_nodes(node)


def chain_of(node: ast.AST) -> Chain:
    """Return ``("a", "b")`` for ``a.b``; nothing for other expressions."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def ours_in(space: dict[str, Any]) -> Callable[[ast.expr], bool]:
    """Return what tells the decorators of this package, by what their names stand for."""

    def ours(decorator: ast.expr) -> bool:
        chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        value = space.get(chain[0], MISSING) if chain else MISSING
        for name in chain[1:]:
            value = getattr(value, name, MISSING) if value is not MISSING else MISSING
        if value is MISSING:
            return ours_by_name(decorator)
        value = getattr(value, "func", value)  # partial(task, retries=2)
        return (getattr(value, "__module__", None) in _TOOL_MODULES
                and getattr(value, "__name__", None) in _TOOLS)

    return ours


def ours_by_name(decorator: ast.expr) -> bool:
    """Return whether a decorator is called like one of this package."""
    chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return bool(chain) and chain[-1] in _TOOLS


def module_of(value: Any) -> ModuleType | None:
    """Return the module that a class or function says it is of."""
    return sys.modules.get(str(getattr(value, "__module__", "")))
