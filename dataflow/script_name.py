"""What the running script is called where it is imported, and where a module's folder begins.

Lives here: the one name for all ways to run a file, also where another process's
script is meant. Does not live here: names of what is in it (``hashing/names.py``,
``partitions.py``). Loaded with every task that a script defines: it imports nothing of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

SCRIPTS = frozenset({"__main__", "__mp_main__"})
"""Names of modules that are the script: the second while ``multiprocessing`` starts a child."""

NAMED = "__dataflow_named__"
"""Attribute of a class that came by value, and is found under its name where it came from."""

_script: ContextVar[str | None] = ContextVar("dataflow_script", default=None)
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def main_name() -> str | None:
    """Return the name under which this process's ``__main__`` would be imported.

    ``python package/module.py``, ``python -m package.module`` and an import give one name.
    """
    main = sys.modules.get("__main__")
    return None if main is None else name_of_script(vars(main))


def script_name() -> str | None:
    """Return the name under which the running script would be imported; None: it has none."""
    said = _script.get()
    return main_name() if said is None else said or None


@contextmanager
def within_script(name: str | None) -> Iterator[None]:
    """Say which script's classes come by: a worker has another ``__main__`` than its driver.

    Parameters
    ----------
    name
        :func:`script_name` of the process that sent them, ``""`` where it has none; None:
        nothing is said.
    """
    token = _script.set(name)
    try:
        yield
    finally:
        _script.reset(token)


def module_name(name: str) -> str:
    """Return the name of a module; a script's is the one under which it would be imported."""
    return (script_name() or name) if name in SCRIPTS else name


def name_of_script(names: Mapping[str, Any]) -> str | None:
    """Return the same of the script with these globals; None: it is no file."""
    spec = names.get("__spec__")
    if spec is not None and spec.name:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    file = names.get("__file__")
    return _module_at(file) if file and not file.startswith("<") else None


def root_of(file: str | None) -> str | None:
    """Return the folder that a file's top-level module stands in; None: it is installed.

    What is installed has its name to itself; of two folders each may have a ``main.py``.
    """
    if not file or file.startswith("<"):
        return None
    return _root_at(file)


@lru_cache(maxsize=64)
def _root_at(file: str) -> str | None:
    folder = Path(file).resolve().parent
    if _INSTALLED & set(folder.parts):
        return None
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return str(folder)


@lru_cache(maxsize=8)
def _module_at(file: str) -> str:
    """Return the name of the module in a file: with those of the packages it stands in."""
    path = Path(file).resolve()
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts).removesuffix(".__main__")
