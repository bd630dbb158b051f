"""Importing the module that a flow stands in, from a file or by its name.

Lives here: which name a file's module has, and the proof that what was imported
is that file. Does not live here: entry points (``entrypoints.py``).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from dataflow.exceptions import ResumeError


def module_of_file(file: Path, entrypoint: str) -> Any:
    """Import a file under the name that it has in its package, or by its stem.

    Raises
    ------
    ResumeError
        Python cannot import such a file, or another file of that name in a package
        is loaded already.
    Exception
        What the file raised.
    """
    root, parts = file.parent, [] if file.stem == "__init__" else [file.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts)
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    _look_there_first(root)
    if len(parts) > 1:
        return _proved(importlib.import_module(name), file, entrypoint)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ResumeError(f"{file} cannot be imported.", entrypoint=entrypoint)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def module_named(name: str, root: Path, entrypoint: str) -> Any:
    """Import a module by its name, from a folder before all others.

    Raises
    ------
    ResumeError
        There is no such module, or the folder has one and another of its name is
        loaded already.
    Exception
        What the module raised.
    """
    _look_there_first(root)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and what it imports is not
        raise ResumeError(
            f"There is no module {name} in {root} or elsewhere on Python's path: "
            f"{error.msg}. What to do: install it, or name its file (path/to/file.py:function).",
            entrypoint=entrypoint) from error
    own = root.joinpath(*name.split("."))
    for file in (own / "__init__.py", own.with_name(f"{own.name}.py")):
        if file.is_file():
            return _proved(module, file, entrypoint)
    return module


def _look_there_first(root: Path) -> None:
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()  # it may have been made a moment ago


def _proved(module: Any, file: Path, entrypoint: str) -> Any:
    """Return the module if it is of that file: a package of the same name may be loaded."""
    found = getattr(module, "__file__", None)
    if found is not None and os.path.realpath(found) == os.path.realpath(file):
        return module
    raise ResumeError(
        f"{file} cannot be imported as {module.__name__}: this process has loaded that module "
        f"from {found or 'elsewhere'}. What to do: load it in a process of its own, or give one "
        "of the two packages another name.", entrypoint=entrypoint)
