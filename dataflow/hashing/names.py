"""What a class is called in a key: the same in a script that runs and one that is imported.

Lives here: names of classes and functions, and the name of the script. Does not
live here: what is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dataflow.script_name import SCRIPTS, main_name

_script: ContextVar[str | None] = ContextVar("dataflow_script", default=None)


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


def class_name(cls: type) -> str:
    """Return ``module:qualified.Name`` of a class."""
    return f"{module_name(cls.__module__)}:{cls.__qualname__}"


def function_name(function: Any) -> str:
    """Return ``module:qualified.name`` of a builtin function."""
    module = getattr(function, "__module__", None) or "builtins"
    return f"{module_name(module)}:{getattr(function, '__qualname__', function.__name__)}"
