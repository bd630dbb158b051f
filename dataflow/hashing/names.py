"""What a class is called in a key: the same in a script that runs and one that is imported.

Lives here: names of classes and functions. Does not live here: what is in them.
"""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Any


def module_name(name: str) -> str:
    """Return the name of a module; a script's is the stem of its file, not ``__main__``."""
    if name != "__main__":
        return name
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if file else name


def class_name(cls: type) -> str:
    """Return ``module:qualified.Name`` of a class."""
    return f"{module_name(cls.__module__)}:{cls.__qualname__}"


def function_name(function: Any) -> str:
    """Return ``module:qualified.name`` of a builtin function."""
    module = getattr(function, "__module__", None) or "builtins"
    return f"{module_name(module)}:{getattr(function, '__qualname__', function.__name__)}"
