"""Whose code a module is: the user's own, a library's, or Python's.

Lives here: that decision, versions of libraries, and whether a name finds a
thing. Does not live here: what follows from it (``walk.py``).

The user's own code is followed. A library (something in ``site-packages`` or
``dist-packages`` that a distribution brought) counts by name and version.
Python itself and dataflow count for nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from dataflow.script_name import NAMED

Origin = Literal["own", "library", "python"]

_HERE = str(Path(__file__).resolve().parents[1])
_RUNNERS = str(Path(_HERE).parent / "runners")
_STDLIB = tuple({os.path.realpath(sysconfig.get_path(name)) + os.sep
                 for name in ("stdlib", "platstdlib")})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_MADE_BY_PYTHON = 1 << 9  # of a class's flags; others are in C, NoneType say


def origin_of(module: str) -> Origin:
    """Return whose code a module is, by its name; what cannot be found is the user's own."""
    top = module.partition(".")[0]
    if top in ("__main__", "builtins", "sys"):
        return "own" if top == "__main__" else "python"
    return _origin(top, _place(module))


@lru_cache(maxsize=4096)
def _origin(top: str, place: str | None) -> Origin:
    if place is None:
        return "python" if top in sys.stdlib_module_names else "own"
    if place.startswith((_HERE + os.sep, _RUNNERS + os.sep)):
        return "python"
    if _INSTALLED & set(Path(place).parts):
        return "own" if distribution_of(top) is None else "library"
    return "python" if place.startswith(_STDLIB) else "own"


def _place(module: str) -> str | None:
    """Return the file or folder of a module, or of the nearest package around it."""
    loaded = sys.modules.get(module)
    if loaded is None:
        top = module.partition(".")[0]
        loaded = sys.modules.get(top)
        if loaded is None:
            return _found(top)
    file = getattr(loaded, "__file__", None)
    if file is None:
        file = next(iter(getattr(loaded, "__path__", ())), None)
    return None if file is None else _real(file)


@lru_cache(maxsize=4096)
def _real(file: str) -> str:
    return os.path.realpath(file)


def _found(top: str) -> str | None:
    """Return the place of a top-level module that is not loaded; nothing is run."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.has_location and spec.origin:
        return _real(spec.origin)
    places = list(spec.submodule_search_locations or ())
    return _real(places[0]) if places else None


@lru_cache(maxsize=1024)
def distribution_of(top: str) -> tuple[str, str] | None:
    """Return name and version of the distribution that a top-level module came with, or None."""
    try:
        return top, importlib.metadata.version(top)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        names = sorted(set(_distributions().get(top, ())))
    versions = [importlib.metadata.version(name) for name in names]
    return (", ".join(names), ", ".join(versions)) if names else None


@lru_cache(maxsize=1)
def _distributions() -> Any:
    return importlib.metadata.packages_distributions()  # some 50 ms: only where it is needed


def importable(value: Any, module: str | None, qualname: str | None) -> bool:
    """Return whether that name in that module is the very object."""
    found: Any = sys.modules.get(module or "")
    if not isinstance(found, ModuleType) or not qualname:
        return False
    for name in qualname.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
        if isinstance(found, (staticmethod, classmethod)):
            found = found.__func__
    return found is value


def is_named(cls: type) -> bool:
    """Return whether a class is found under its name, here or where it came from by value.

    One that a call made mostly is not: of another call it has the same name.
    """
    return (NAMED in vars(cls) or not cls.__flags__ & _MADE_BY_PYTHON
            or importable(cls, cls.__module__, cls.__qualname__))


def is_extension(module: str) -> bool:
    """Return whether a loaded module is compiled code."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return isinstance(file, str) and file.endswith(tuple(EXTENSION_SUFFIXES))
