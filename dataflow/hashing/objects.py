"""Rules for instances of classes: enums, dataclasses, pydantic, attrs, and plain classes.

Lives here: what of an object is its content. Does not live here: subclasses of
builtin types (``stdlib_types.py``), classes as values (``callables.py``).

An object is its class (by name, where that finds it) and its attributes. Values of
``functools.cached_property`` are left out, since they come and go with the looks at
them. What a class does is no part of its instances' content, its ``__call__`` apart: it
belongs to the identity of the code.
"""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import functools
import io
import operator
import types
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from dataflow.hashing.classes import MethodCode, class_part
from dataflow.hashing.contents import Contents, Refused, Rule, by_names, type_name
from dataflow.hashing.encoding import head
from dataflow.hashing.names import class_name

_NOTHING: dict[str, Any] = {}
_HEAP_TYPE = 1 << 9
"""Of ``__flags__``: made by a class statement or like one, not in C."""


def object_rule(cls: type) -> Rule | None:
    """Return the rule for an instance that declares its fields; None: it does not."""
    if issubclass(cls, enum.Enum):
        return _enum(cls)
    if dataclasses.is_dataclass(cls):
        return _by_fields(cls, "dataclass", [field.name for field in dataclasses.fields(cls)])
    if hasattr(cls, "__pydantic_validator__") and hasattr(cls, "model_fields"):
        return _pydantic(cls)
    if hasattr(cls, "__attrs_attrs__"):
        return _by_fields(cls, "attrs", [field.name for field in cls.__attrs_attrs__])
    if cls.__module__ != "pydantic_core._pydantic_core":
        return None
    if cls.__name__ == "PydanticUndefinedType":
        return lambda value: head("undefined", 0)
    if cls.__name__.endswith("Url"):
        name = class_name(cls)
        start = head("url", 2)
        return lambda value: Contents(start, (name, str(value)), by_names(["", ""]))
    return None


def declares_fields(cls: type) -> bool:
    """Say whether the class declares the fields of its instances; an enum does not."""
    return not issubclass(cls, enum.Enum) and object_rule(cls) is not None


def is_plain(cls: type) -> bool:
    """Say whether an instance is its attributes and nothing else."""
    return cls not in (type, object) and _why_not_plain(cls) is None and (
        not hasattr(cls, "__dataflow_hash__"))


def plain(cls: type) -> Rule:
    """Return the rule for any other object: its attributes, or why it has no content."""
    reason = _why_not_plain(cls)
    if reason is not None:
        return _refusal(*reason)
    name = _identity(cls)
    attributes = attributes_of(cls)
    checked = False

    def rule(value: Any) -> Contents:
        nonlocal checked
        if not checked:
            _check_that_nothing_is_hidden(value)
            checked = True  # it is a matter of the class
        found = sorted(attributes(value).items())
        labels = ["", *(f".{name}" for name, _ in found for _ in "kv")]
        parts = [name, *(one for pair in found for one in pair)]
        return Contents(head("object", len(parts)), parts, by_names(labels))

    return rule


def attributes_of(cls: type, but: Sequence[str] = ()) -> Callable[[Any], dict[str, Any]]:
    """Return what gives the attributes of an instance: ``__dict__`` and slots, caches left out.

    Parameters
    ----------
    cls
        The instance's class.
    but
        Names that are taken up otherwise.
    """
    cached = {name for parent in cls.__mro__ for name, member in vars(parent).items()
              if isinstance(member, functools.cached_property)}
    left_out = cached.union(but, ("__dict__", "__weakref__", "__orig_class__"))
    slots: list[tuple[str, Any]] = [
        (name, member) for parent in cls.__mro__ if "__slots__" in vars(parent)
        for name, member in vars(parent).items()
        if type(member) is _MEMBER and name not in left_out
    ]

    def attributes(value: Any) -> dict[str, Any]:
        own = getattr(value, "__dict__", None) or _NOTHING
        found = {str(name): own[name] for name in list(own) if name not in left_out}
        for name, member in slots:
            try:
                found[name] = member.__get__(value, cls)
            except AttributeError:
                continue  # not set
        return found

    return attributes


_MEMBER = types.MemberDescriptorType
"""What a slot is, as an attribute of its class."""


def _identity(cls: type) -> Any:
    """Return what stands for the class in its instances.

    With the code of ``__call__`` where there is one: such an object is passed as a function.
    """
    call = getattr(cls, "__call__", None)  # noqa: B004  what it is, not whether it is
    name = class_part(cls)
    return (name, MethodCode(call, cls)) if isinstance(call, types.FunctionType) else name


def _enum(cls: type[enum.Enum]) -> Rule:
    name = class_part(cls)
    start = head("enum", 3)
    label = by_names(["", ".name", ".value"])
    return lambda value: Contents(
        start, (name, value._name_, operator.attrgetter("_value_")(value)), label)


def _by_fields(cls: type, tag: str, names: list[str]) -> Rule:
    """Return the rule for an instance of which fields are declared.

    Attributes that are no fields count as well: ``__post_init__`` may have made them of
    what is not kept.
    """
    name = _identity(cls)
    others = attributes_of(cls, but=names)
    labels = ["", *(f".{field}" for field in names for _ in "kv")]

    def rule(value: Any) -> Contents:
        parts: list[Any] = [name]
        for field in names:
            parts += (field, getattr(value, field, ...))
        found = others(value)
        if found:
            parts.append(found)
        return Contents(head(tag, len(parts)), parts, by_names([*labels, ""]))

    return rule


def _pydantic(cls: type) -> Rule:
    name = _identity(cls)
    attributes = attributes_of(cls, but=(
        "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"))
    start = head("pydantic", 4)
    label = by_names(["", "", "", ""])

    def rule(value: Any) -> Contents:
        extra = getattr(value, "__pydantic_extra__", None) or None
        private = getattr(value, "__pydantic_private__", None) or None
        return Contents(start, (name, attributes(value), extra, private), label)

    return rule


# ------------------------------------------------------------------ what is refused


def _why_not_plain(cls: type) -> tuple[str, str | None] | None:
    """Return what a value of the class is, and what to do about it; None: it is plain."""
    called = type_name(cls)
    if cls is object:
        return ("is an object()", "it is equal to nothing but itself; use an enum")
    if issubclass(cls, io.IOBase):
        return (f"is an open file ({called})", "pass its path or its content")
    if hasattr(cls, "__next__"):
        return (f"is an iterator ({called})", "looking at it would use it up; pass a list")
    if issubclass(cls, Future) or hasattr(cls, "add_done_callback"):
        return (f"is a future ({called})", "pass its result")
    if issubclass(cls, (weakref.ref, type(lambda: None))):
        return (f"is a {called}", None)
    if any(not parent.__flags__ & _HEAP_TYPE for parent in cls.__mro__[:-1]):
        return (f"is a {called}", None)
    if _has_state_of_its_own(cls):
        return (f"is a {called}, which says itself how it is pickled", None)
    return None


def _has_state_of_its_own(cls: type) -> bool:
    """Say whether the class has another idea of its state than its attributes."""
    return (
        cls in copyreg.dispatch_table
        or any(name in vars(parent) for parent in cls.__mro__[:-1] for name in (
            "__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__",
            "__getnewargs_ex__"))
    )


def _check_that_nothing_is_hidden(value: Any) -> None:
    """Refuse an object that has state which Python cannot see: made in C."""
    try:
        object.__reduce_ex__(value, 2)  # looks at the size of an instance; nothing is pickled
    except TypeError:
        raise Refused(f"is a {type_name(type(value))}") from None


def _refusal(reason: str, what_to_do: str | None) -> Rule:
    def rule(value: Any) -> Contents:
        raise Refused(reason, what_to_do)

    return rule
