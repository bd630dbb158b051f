"""The part of a result storage that belongs to a task: a folder's name.

Lives here: names of partitions, and whether a function is known by its name
alone. Does not live here: keys (``cache_keys.py``), files (``packs/``).
"""

from __future__ import annotations

import re
from functools import partial
from hashlib import blake2b
from types import FunctionType
from typing import Any, NamedTuple

from dataflow.script_name import main_name

SHARED = "shared"
"""The partition of keys that users make themselves: tasks that return one key share a record."""

_NAME_LENGTH = 48
_ODD = re.compile(r"[^A-Za-z0-9_]+")


class Address(NamedTuple):
    """Where a function stands.

    Attributes
    ----------
    module, qualname
        The script's own name in the place of ``__main__``.
    alone
        Nothing else has this address. Not so for lambdas, functions made in functions
        (decorated ones too), partials, callable objects, what was typed at a prompt:
        what else they are is in their code.
    """

    module: str
    qualname: str
    alone: bool


def address_of(fn: Any) -> Address:
    """Return where a function, method, partial or callable object stands."""
    plain = fn
    while isinstance(plain, partial):
        plain = plain.func
    plain = getattr(plain, "__func__", plain)
    named = plain if hasattr(plain, "__qualname__") else type(plain)
    module = getattr(named, "__module__", None) or "builtins"
    alone = plain is named and not isinstance(fn, partial)
    qualname = named.__qualname__
    if isinstance(plain, FunctionType):  # a decorated one has the name of what it wraps
        alone = alone and "<" not in qualname and "<" not in plain.__code__.co_qualname
    if module in ("__main__", "__mp_main__"):
        script = main_name()
        alone = alone and script is not None
        module = script or module
    return Address(module, qualname, alone)


def partition_of(task: Any) -> str:
    """Return the name of a task's partition: the same in every process, no other task's.

    Parameters
    ----------
    task
        A Task, or what a worker knows of one: ``name`` and ``address`` are looked at,
        without an address ``fn``.

    Notes
    -----
    A task keeps the address it had where it was defined, since a worker's ``__main__``
    is another one.

    Tasks whose address is not theirs alone may have a partition together where
    their names are the same; their keys hold their code (``cache_keys.py``).
    """
    address = getattr(task, "address", None) or address_of(task.fn)
    text = "\0".join((address.module, address.qualname, task.name))
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    slug = _ODD.sub("-", task.name)[:_NAME_LENGTH].strip("-")
    return f"{slug or 'task'}-{digest}"
