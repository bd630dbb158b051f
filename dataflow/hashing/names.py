"""What a class is called in a key: the same in a script that runs and one that is imported.

Lives here: names of classes and functions. Does not live here: the name of the script
(``script_name.py``), what is in them.
"""

from __future__ import annotations

from typing import Any

from dataflow.script_name import module_name


def class_name(cls: type) -> str:
    """Return ``module:qualified.Name`` of a class."""
    return f"{module_name(cls.__module__)}:{cls.__qualname__}"


def function_name(function: Any) -> str:
    """Return ``module:qualified.name`` of a builtin function."""
    module = getattr(function, "__module__", None) or "builtins"
    return f"{module_name(module)}:{getattr(function, '__qualname__', function.__name__)}"
