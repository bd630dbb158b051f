"""Classes that go to another process by value, and are known there by their name.

Lives here: a pickler that says so of classes which their name finds. Does not live
here: what hangs on it (``hashing/classes.py``), when classes go by value
(``pickling.py``, ``runners``).

A class of a script, or of a module that a worker does not have, comes there by value;
nothing finds it under its name then, as nothing finds a class that a call made. Keys
tell the two apart, in the same way in every process.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any

import cloudpickle

from dataflow.script_name import NAMED

_BY_VALUE = (type, FunctionType)


class NamingPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Cloudpickle that keeps of a class its whole name, and whether that finds it."""

    def reducer_override(self, obj: Any) -> Any:
        """Say how to pickle what is not of a built-in type; called by the pickler."""
        if not isinstance(obj, _BY_VALUE):  # cloudpickle leaves these to the pickler as well
            return NotImplemented
        made = super().reducer_override(obj)
        if isinstance(made, tuple) and isinstance(obj, type):
            make, args, *rest = made
            if getattr(make, "__module__", "").startswith("cloudpickle"):
                return (_class, (make, args, obj.__qualname__, _is_named(obj)), *rest)
        return made


def _is_named(cls: type) -> bool:
    from dataflow.code_identity.ownership import is_named  # 30 ms: only where a class is sent

    return is_named(cls)


def _class(make: Callable[..., type], args: tuple[Any, ...], name: str, named: bool) -> type:
    """Return a class that came by value, called as it was and marked where that found it."""
    cls = make(*args)
    if cls.__qualname__ != name:
        type.__setattr__(cls, "__qualname__", name)
    if named and not _is_named(cls):  # where it comes back the class itself is there
        type.__setattr__(cls, NAMED, True)
    return cls


def dumps_naming(value: Any,
                 buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Return what :class:`NamingPickler` makes of a value.

    Raises
    ------
    Exception
        Whatever pickling raises.
    """
    with io.BytesIO() as file:
        NamingPickler(file, protocol=5, buffer_callback=buffer_callback).dump(value)
        return file.getvalue()
