"""Modules that count as a whole: those imported in the body of a function.

Lives here: from an import statement to the file, without running it. Does not
live here: what is made of it (``walk.py``).

An import in a body has often not been made when the identity is asked for,
and it is not made for that: it may be slow or possible on workers only. So the
whole text of the module counts, whether it is loaded or not, and the modules
that it imports in turn.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dataflow.code_identity.source import source_file

Import = tuple[int, str, tuple[str, ...]]  # level, module, names


def absolute(imported: Import, package: str) -> list[str]:
    """Return the modules that an import may name: the module, and its names as submodules."""
    level, module, names = imported
    if level:
        parents = package.split(".") if package else []
        kept = parents[:len(parents) - level + 1]
        module = ".".join([*kept, *([module] if module else [])])
    if not names:  # ``import a.b`` gives ``a``
        parts = module.split(".")
        return [".".join(parts[:size]) for size in range(1, len(parts) + 1) if module]
    return [module, *(f"{module}.{name}" for name in names if name != "*")] if module else []


def package_of(namespace: Mapping[str, Any]) -> str:
    """Return the package that relative imports of a module start from."""
    package = namespace.get("__package__")
    if isinstance(package, str):
        return package
    name = str(namespace.get("__name__", ""))
    return name if "__path__" in namespace else name.rpartition(".")[0]


def file_of(module: str) -> Path | None:
    """Return the file of a module; neither it nor its packages are run."""
    first, *rest = module.split(".")
    loaded = sys.modules.get(first)
    places = [str(place) for place in getattr(loaded, "__path__", ())]
    if loaded is None or not places:
        try:
            spec = find_spec(first)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
        if not rest:
            return Path(spec.origin) if spec.has_location and spec.origin else None
    elif not rest:
        return next(_files([os.path.dirname(place) for place in places], first), None)
    for name in rest[:-1]:
        places = [os.path.join(place, name) for place in places]
    return next(_files(places, rest[-1]), None)


def _files(places: list[str], name: str) -> Iterator[Path]:
    for place in places:
        folder = Path(place)
        for path in (folder / name / "__init__.py", folder / f"{name}.py",
                     *(folder / f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES)):
            if path.is_file():
                yield path


def bytes_of(path: Path) -> bytes:
    """Return the digest of a file that is no source."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def imports_of(path: Path) -> set[Import]:
    """Return every import in a file, at any depth."""
    file = source_file(str(path))
    found: set[Import] = set()
    for node in ast.walk(file.tree) if file else ():
        if isinstance(node, ast.Import):
            found |= {(0, alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.add((node.level, node.module or "", names))
    return found
