"""Which distributions a flow's modules import, and in which versions.

Lives here: a walk over the source of the user's own modules, from the flow's. Does
not live here: whose code a module is (``dataflow.code_identity.ownership``).

Imports are read, not run: what stands in a function counts as well, and what a
name made at run time imports cannot be seen.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import tokenize
from collections.abc import Callable, Iterator
from typing import Any

from dataflow.code_identity.ownership import distribution_of, origin_of
from dataflow.code_identity.parsing import parsed

ALWAYS = ("dataflow", "dask", "distributed")
_MODULES = 500
_MODULE_BYTES = 4 << 20
_PACKAGES = 300


def packages_of(fn: Callable[..., Any]) -> dict[str, str]:
    """Return distribution → version of dataflow, Dask, and what a function's modules import.

    The user's own modules are followed, at most 500 of them; at most 300
    distributions are returned, sorted.
    """
    found = {name: version for name in ALWAYS if (version := _version(name)) is not None}
    plain = inspect.unwrap(getattr(fn, "__func__", fn))
    for top in sorted(_libraries(str(getattr(plain, "__module__", "")))):
        names, versions = distribution_of(top) or ("", "")  # several of a namespace
        for name, version in zip(names.split(", "), versions.split(", "), strict=True):
            if name and len(found) < _PACKAGES:
                found[name] = version
    return dict(sorted(found.items()))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name != "dataflow":
            return None
        from dataflow import __version__  # run from its source

        return __version__


def _libraries(start: str) -> set[str]:
    """Return the top-level names of the libraries that a module and its own imports import."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [start]
    while waiting and len(seen) < _MODULES:
        module = waiting.pop()
        if module in seen or not module:
            continue
        seen.add(module)
        origin = origin_of(module)
        if origin == "library":
            found.add(module.partition(".")[0])
        elif origin == "own":
            waiting += _imports_of(module)
    return found


def _imports_of(module: str) -> Iterator[str]:
    """Yield the names of modules that a module of the user's own may import."""
    file, is_package = _file_of(module)
    tree = _tree_of(file)
    if tree is None:
        return
    around = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = around.split(".")
            front = ".".join(parts[:len(parts) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (front, node.module)))
            yield base
            # a name may be a module of the package; those that are none have no file
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _tree_of(file: str | None) -> ast.Module | None:
    try:
        if file is None or os.path.getsize(file) > _MODULE_BYTES:
            return None
        with tokenize.open(file) as source:
            return parsed(source.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # no Python after all
        return None


def _file_of(module: str) -> tuple[str | None, bool]:
    """Return a module's file and whether it is a package; nothing is imported."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        return getattr(loaded, "__file__", None), hasattr(loaded, "__path__")
    front = module.rpartition(".")[0]
    if front and not hasattr(sys.modules.get(front), "__path__"):
        return None, False  # find_spec would import what is around it
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None, False
    if spec is None or not spec.has_location:
        return None, False
    return spec.origin, spec.submodule_search_locations is not None
