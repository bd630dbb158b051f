"""The user's own modules, which a worker cannot import.

Lives here: which modules these are, and the context in which cloudpickle sends
their functions and classes by value. Does not live here: pickling itself
(``wire.py``).
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import ModuleType

import cloudpickle

_INSTALLED = frozenset({"dataflow", "runners", "dask", "distributed", "cloudpickle", "tornado"})
"""Installed on the workers, even where they lie in a checkout."""

_lock = RLock()
_known: tuple[int, list[ModuleType]] = (0, [])


def _installed_paths() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(site.getsitepackages() if hasattr(site, "getsitepackages") else ())
    paths.add(site.getusersitepackages())
    return tuple(os.path.realpath(path) + os.sep for path in paths if path)


_PREFIXES = _installed_paths()


def is_local(name: str, module: object) -> bool:
    """Tell whether a module is the user's own: a file outside of what is installed."""
    if type(module) is not ModuleType or name.partition(".")[0] in _INSTALLED:
        return False
    if name == "__main__":
        return False  # cloudpickle sends it by value on its own, unless multiprocessing copied it
    path = getattr(module, "__file__", None)
    if not isinstance(path, str) or module.__name__ != name:
        return False
    path = os.path.realpath(path)
    parts = ("site-packages" + os.sep, "dist-packages" + os.sep)
    return not path.startswith(_PREFIXES) and not any(part in path for part in parts)


def local_modules() -> list[ModuleType]:
    """Return the user's own modules that are loaded now."""
    global _known
    with _lock:
        count, found = _known
        if count != len(sys.modules):
            loaded = list(sys.modules.items())
            found = [module for name, module in loaded if is_local(name, module)]
            _known = (len(loaded), found)
        return found


@contextmanager
def by_value() -> Iterator[None]:
    """Let cloudpickle send the user's own modules by value; undone at the end."""
    with _lock:
        mine: list[ModuleType] = []
        already = set(cloudpickle.list_registry_pickle_by_value())
        for module in local_modules():
            if module.__name__ not in already:
                cloudpickle.register_pickle_by_value(module)
                mine.append(module)
        try:
            yield
        finally:
            for module in mine:
                cloudpickle.unregister_pickle_by_value(module)
