"""The part of a result storage that belongs to a task: a folder's name.

Lives here: names of partitions, and whether a function is known by its name
alone. Does not live here: keys (``cache_keys.py``), files (``packs/``).
"""

from __future__ import annotations

import re
import sys
from functools import partial
from hashlib import blake2b
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from dataflow.script_name import SCRIPTS, main_name, name_of_script, root_of

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
        Nothing else in ``root`` has this address. Not so for lambdas, functions made in
        functions (decorated ones too), partials, callable objects, methods of an object or
        a class, what was typed at a prompt: what else they are is in their code.
    root
        Folder that the top-level module stands in, None where it is installed: another
        folder may have a module of the same name.
    """

    module: str
    qualname: str
    alone: bool
    root: str | None = None


def address_of(fn: Any) -> Address:
    """Return where a function, method, partial or callable object stands."""
    plain = fn
    while isinstance(plain, partial):
        plain = plain.func
    plain = getattr(plain, "__func__", plain)
    named = plain if hasattr(plain, "__qualname__") else type(plain)
    module = getattr(named, "__module__", None) or "builtins"
    qualname = named.__qualname__
    names = getattr(plain, "__globals__", {})
    if names.get("__name__") != module:
        names = vars(sys.modules[module]) if module in sys.modules else {}
    alone = plain is named and plain is fn and not _is_bound(plain)
    if isinstance(plain, FunctionType):  # a decorated one has the name of what it wraps
        alone = alone and "<" not in qualname and "<" not in plain.__code__.co_qualname
    if module in SCRIPTS:
        script = name_of_script(names)
        alone = alone and script is not None
        module = script or module
    return Address(module, qualname, alone, root_of(names.get("__file__")))


def _is_bound(builtin: Any) -> bool:
    """Tell whether a builtin is a method of some object (``", ".join``)."""
    return not isinstance(getattr(builtin, "__self__", None), ModuleType | None)


def is_alone(task: Any) -> bool:
    """Tell whether nothing else has a task's address, as far as this process has seen.

    The same name may have been given to another function of the module since.
    """
    address: Address = task.address
    if not address.alone:
        return False
    script = address.module == main_name()
    found: Any = sys.modules.get("__main__" if script else address.module)
    for part in address.qualname.split("."):
        found = getattr(found, part, None)
    found = getattr(found, "fn", found)
    return not isinstance(found, FunctionType) or found.__code__ == task.fn.__code__


def partition_of(task: Any) -> str:
    """Return the name of a task's partition: the same in every process and folder.

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
    their names are the same; their keys hold their code, or their root (``cache_keys.py``).
    """
    address = getattr(task, "address", None) or address_of(task.fn)
    text = "\0".join((address.module, address.qualname, task.name))
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    slug = _ODD.sub("-", task.name)[:_NAME_LENGTH].strip("-")
    return f"{slug or 'task'}-{digest}"
