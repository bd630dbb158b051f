"""What stands for a class in a value: its name, and its content where that says too little.

Lives here: that choice, and the code of a class that is looked at for it. Does not
live here: names (``names.py``), what the content of a class is (``code_identity/``).

A class that is found under its name is called by it. One that a call made (a class of a
function, ``pydantic.create_model``, ``namedtuple``) shares its name with those of other
calls, so its members and code count.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

from dataflow.exceptions import NotCacheable
from dataflow.hashing.contents import Contents, Refused, by_position
from dataflow.hashing.encoding import head
from dataflow.hashing.names import class_name, function_name

_under_way = threading.local()
"""Code that is being looked at: a closure may hold its own function, a class its instance."""
_WHAT_TO_DO: Final = (
    "define the class at the top of a module, or say what its instances are: give it a "
    "__dataflow_hash__, or register it (dataflow.hashing.register)")


@dataclass(slots=True, eq=False)
class MadeClass:
    """Stands for a class that its name does not find."""

    cls: type


@dataclass(slots=True, eq=False)
class MethodCode:
    """Stands for the code of a function that is called on instances of a class."""

    function: FunctionType
    cls: type


def class_part(cls: type) -> Any:
    """Return what stands for a class: its name, or what has the digest of its content."""
    from dataflow.code_identity.ownership import is_named

    generic = getattr(cls, "__pydantic_generic_metadata__", None)
    if isinstance(generic, dict) and generic.get("origin") is not None:
        return (class_part(generic["origin"]), generic["args"])  # Page[int]
    return class_name(cls) if is_named(cls) else MadeClass(cls)


def made_class(part: MadeClass) -> Contents:
    """Take apart a class that its name does not find: name and content.

    One of a library is its name where it has no content: C made it, or a lock is in it.
    """
    from dataflow.code_identity import identity_as_made
    from dataflow.code_identity.ownership import origin_of

    cls = part.cls
    with _looking_at(cls) as again:
        if again:
            return Contents(head("class itself", 1), [class_name(cls)], by_position)
        try:
            content = identity_as_made(cls).digest
        except NotCacheable as error:
            if origin_of(cls.__module__) == "own":
                raise _refused(f"is of a class {cls.__qualname__!r} that its name does not find",
                               error, _WHAT_TO_DO) from error
            content = None
    return Contents(head("made class", 2), (class_name(cls), content), by_position)


def function_code(function: FunctionType, cls: type = object) -> Contents:
    """Take apart a function: its code, with the class that it is called on.

    Parameters
    ----------
    function
        What counts.
    cls
        Of the object that it is bound to.
    """
    from dataflow.code_identity import identity_as_made

    with _looking_at(function) as again:
        if again:
            return Contents(head("function itself", 1), [function_name(function)], by_position)
        try:
            code = identity_as_made(function, cls).digest
        except NotCacheable as error:
            raise _refused("is a function", error) from error
    return Contents(head("function", 1), [code], by_position)


@contextmanager
def _looking_at(code: Any) -> Iterator[bool]:
    """Note what is being looked at; gives whether it is already."""
    active: set[int] = getattr(_under_way, "ids", None) or set()
    _under_way.ids = active
    if id(code) in active:
        yield True
        return
    active.add(id(code))
    try:
        yield False
    finally:
        active.discard(id(code))


def _refused(what: str, error: NotCacheable, what_to_do: str | None = None) -> Refused:
    path = getattr(error, "path", "?")
    return Refused(f"{what} ({path} {getattr(error, 'reason', 'has no known code')})", what_to_do)
