"""What an identity was made of, so that it is made again when a name stands for another thing.

Lives here: names and functions that are looked at, and whether they are as
they were. Does not live here: where identities are kept (``walk.py``).

In a notebook ``RATE = 2`` or a new ``def parse`` makes a task another one,
though its own cell is not run again. What changes in place (a list that is
appended to) is not seen: that a task counts its calls in a list makes it no
other task.
"""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

MISSING: Any = object()


def _kept(value: Any) -> Any:
    """Return a weak reference where there can be one: what is kept here keeps nothing alive."""
    try:
        return value if value is MISSING else weakref.ref(value)
    except TypeError:
        return value


def _same(kept: Any, now: Any) -> bool:
    return (kept() if isinstance(kept, weakref.ref) else kept) is now


@dataclass(frozen=True, slots=True)
class NameWatch:
    """A global name of a function or module, and what it stood for."""

    owner: weakref.ref[Any]
    name: str
    value: Any

    def holds(self) -> bool:
        """Return whether the name still stands for the same object."""
        owner = self.owner()
        if owner is None:
            return True  # it was replaced, and that was seen
        return _same(self.value, space_of(owner).get(self.name, MISSING))


@dataclass(frozen=True, slots=True)
class FunctionWatch:
    """A function, and what its code, defaults and closure were."""

    owner: weakref.ref[Any]
    code: Any
    values: tuple[Any, ...]

    def holds(self) -> bool:
        """Return whether the function is still made of the same objects."""
        owner = self.owner()
        if owner is None:
            return True
        now = values_of(owner)
        return (owner.__code__ is self.code and len(now) == len(self.values)
                and all(map(_same, self.values, now)))


@dataclass(frozen=True, slots=True)
class ModuleWatch:
    """A module that is not loaded for an identity, and whether it was."""

    name: str
    loaded: bool

    def holds(self) -> bool:
        """Return whether it is as it was."""
        return (self.name in sys.modules) is self.loaded


Watch = NameWatch | FunctionWatch | ModuleWatch


def space_of(owner: Any) -> dict[str, Any]:
    """Return the global names of a function or a module."""
    space: dict[str, Any] = vars(owner) if isinstance(owner, ModuleType) else owner.__globals__
    return space


def watch_name(owner: Any, name: str, value: Any) -> NameWatch:
    """Return the watch for a global name."""
    return NameWatch(weakref.ref(owner), name, _kept(value))


def watch_function(fn: FunctionType) -> FunctionWatch:
    """Return the watch for a function."""
    return FunctionWatch(weakref.ref(fn), fn.__code__, tuple(map(_kept, values_of(fn))))


def values_of(fn: FunctionType) -> list[Any]:
    """Return the defaults and the closure's values of a function."""
    found: list[Any] = [*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()]
    for cell in fn.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            found.append(MISSING)
    return found
