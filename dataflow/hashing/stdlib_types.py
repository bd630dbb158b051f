"""Rules for the types of the standard library.

Lives here: containers, numbers, dates, paths, patterns, and subclasses of the
builtin types. Does not live here: classes of users' (``objects.py``), functions,
classes and modules as values (``callables.py``).
"""

from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import fractions
import ipaddress
import operator
import pathlib
import random
import re
import types
import uuid
import zoneinfo
from collections.abc import Callable, Sequence
from typing import Any

from dataflow.hashing.classes import class_part
from dataflow.hashing.contents import (
    Contents,
    Order,
    Refused,
    Rule,
    as_item,
    by_names,
    by_position,
    pairs_of,
)
from dataflow.hashing.encoding import head, of_chunks, of_str, sequence_head
from dataflow.hashing.names import class_name
from dataflow.hashing.objects import attributes_of


def _parts(tag: str, names: str) -> Rule:
    """Return the rule for a value that is some attributes of its."""
    wanted = names.split()
    get = [operator.attrgetter(name) for name in wanted]
    label = by_names([f".{name}" for name in wanted])
    start = head(tag, len(wanted))
    return lambda value: Contents(start, [one(value) for one in get], label)


def _made(tag: str, parts: Callable[[Any], Sequence[Any]]) -> Rule:
    """Return the rule for a value that is a few values made of it."""

    def rule(value: Any) -> Contents:
        found = parts(value)
        return Contents(head(tag, len(found)), found, by_position)

    return rule


def _list(value: Any) -> Contents:
    return Contents(sequence_head(list, len(value)), value, by_position)


def _tuple(value: Any) -> Contents:
    return Contents(sequence_head(tuple, len(value)), value, by_position)


def _dict(value: Any) -> Contents:
    parts, label = pairs_of(value)
    return Contents(head("dict", len(parts)), parts, label, Order.PAIRS)


def _ordered_dict(value: Any) -> Contents:
    parts, label = pairs_of(value, type(value).items)
    return Contents(head("ordered dict", len(parts)), parts, label)


def _set(tag: str) -> Rule:
    return lambda value: Contents(head(tag, len(value)), list(value), as_item, Order.SORTED)


def _default_dict(value: Any) -> Contents:
    parts = (value.default_factory, dict(value))
    return Contents(head("defaultdict", 2), parts, by_names([".default_factory", ""]))


def _memory(value: memoryview) -> bytes:
    chunks = [value if value.c_contiguous else value.tobytes()]
    return of_chunks(f"memoryview {value.format} {value.shape}", chunks)


def _array(value: Any) -> Contents:
    return Contents(head("array", 2), (value.typecode, value.tolist()), by_position)


def _zone(value: zoneinfo.ZoneInfo) -> Contents:
    if value.key is None:
        raise Refused("is a ZoneInfo without a key")
    return Contents(head("ZoneInfo", 1), [value.key], by_position)


def _path(cls: type) -> Rule:
    """Return the rule for paths: their text, never what is in the file."""
    if cls in (pathlib.PosixPath, pathlib.WindowsPath):
        kind: Any = "path"  # the same on every system
    elif cls.__module__.partition(".")[0] == "pathlib":
        kind = class_name(cls).replace("pathlib._local", "pathlib")
    else:
        kind = class_part(cls)
    return lambda value: Contents(head("path", 2), (kind, value.as_posix()), by_position)


_WHEN = "year month day hour minute second microsecond fold tzinfo"

EXACT: dict[type, Rule] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set("set"),
    frozenset: _set("frozenset"),
    collections.OrderedDict: _ordered_dict,
    collections.defaultdict: _default_dict,
    collections.Counter: _made("Counter", lambda value: [dict(value)]),
    collections.deque: _made("deque", lambda value: [value.maxlen, list(value)]),
    collections.ChainMap: _parts("ChainMap", "maps"),
    types.MappingProxyType: _made("mappingproxy", lambda value: [dict(value)]),
    types.SimpleNamespace: _made("SimpleNamespace", lambda value: [vars(value)]),
    range: _parts("range", "start stop step"),
    slice: _parts("slice", "start stop step"),
    type(NotImplemented): lambda value: head("NotImplemented", 0),
    memoryview: _memory,
    array.array: _array,
    dt.datetime: _parts("datetime", _WHEN),
    dt.date: _parts("date", "year month day"),
    dt.time: _parts("time", "hour minute second microsecond fold tzinfo"),
    dt.timedelta: _parts("timedelta", "days seconds microseconds"),
    dt.timezone: _made("timezone", lambda value: [value.utcoffset(None), value.tzname(None)]),
    zoneinfo.ZoneInfo: _zone,
    decimal.Decimal: _made("Decimal", lambda value: [*value.as_tuple()]),
    fractions.Fraction: _parts("Fraction", "numerator denominator"),
    uuid.UUID: _parts("UUID", "bytes"),
    re.Pattern: _parts("pattern", "pattern flags"),
    ipaddress.IPv4Address: _made("IPv4Address", lambda value: [str(value)]),
    ipaddress.IPv6Address: _made("IPv6Address", lambda value: [str(value)]),
    ipaddress.IPv4Network: _made("IPv4Network", lambda value: [str(value)]),
    ipaddress.IPv6Network: _made("IPv6Network", lambda value: [str(value)]),
    random.Random: _made("Random", lambda value: [value.getstate()]),
}


def family_rule(cls: type) -> Rule | None:
    """Return the rule for paths, named tuples and time zones of libraries."""
    if issubclass(cls, pathlib.PurePath):
        return _path(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        label = by_names([f".{name}" for name in cls._fields])
        start = head("namedtuple", len(cls._fields) + 1) + of_str(" ".join(cls._fields))
        name = class_part(cls)
        extra = attributes_of(cls)

        def named(value: Any) -> Contents | bytes:
            if len(value) != len(cls._fields) or extra(value):
                return subclass(value)
            return Contents(start, (name, *value), lambda n: label(n - 1))

        subclass = _subclass(cls, tuple)
        return named
    if cls.__module__.partition(".")[0] == "pytz":
        return _made("pytz", lambda value: [
            value.zone, getattr(value, "_utcoffset", None), getattr(value, "_tzname", None)])
    return None


_BASES: dict[type, Callable[[Any], Any]] = {
    bool: bool,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
    collections.OrderedDict: lambda value: collections.OrderedDict(
        collections.OrderedDict.items(value)),
    collections.defaultdict: lambda value: [value.default_factory, dict(dict.items(value))],
    dict: lambda value: dict(dict.items(value)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    collections.deque: lambda value: [value.maxlen, *collections.deque.__iter__(value)],
    OSError: lambda value: [value.args, value.filename, value.filename2],
    ImportError: lambda value: [value.args, value.name, value.path],
    BaseException: lambda value: value.args,
    dt.datetime: lambda value: [getattr(value, name) for name in _WHEN.split()],
    dt.date: lambda value: [value.year, value.month, value.day],
    dt.timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    decimal.Decimal: lambda value: decimal.Decimal(value),
    fractions.Fraction: lambda value: [value.numerator, value.denominator],
    uuid.UUID: lambda value: value.bytes,
}
"""Builtin types that are subclassed, each with its content as a value of an exact type."""


def builtin_rule(cls: type) -> Rule | None:
    """Return the rule for a subclass of a builtin type: class, content, attributes."""
    for base in _BASES:
        if issubclass(cls, base):
            return _subclass(cls, base)
    return None


def _subclass(cls: type, base: type) -> Rule:
    content = _BASES[base]
    name = class_part(cls)
    attributes = attributes_of(cls)
    start = head("subclass", 3)
    label = by_names(["", ".args" if base is BaseException else "", ""])

    def rule(value: Any) -> Contents:
        return Contents(start, (name, content(value), attributes(value)), label)

    return rule
