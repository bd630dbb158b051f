"""Classes of a script in results that are kept: which class a loaded value has.

Lives here: the choice. Does not live here: pickling (``pickling.py``).

A result outlives the process that kept it, and with it a class that only that
process had. Where the result is loaded its class is

1. the class of that name in the script at hand, where the result comes from that
   script: so ``isinstance`` holds after a restart, as with a class that is imported;
2. the class in the module, where the script is imported (the command line does so);
3. on a worker the class that came with the task's code, where it is the same (names
   of attributes, code of methods). All of the user's own modules are sent to it; what
   it would import itself, its own copy of the script too, are other classes;
4. the class that was kept with the result.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Mapping
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any

from dataflow.script_name import NAMED, SCRIPTS, main_name, module_name, script_name

_Name = tuple[str, str]  # of a class: its module as it is imported, its qualified name

_kept: dict[bytes, tuple[type, _Name]] = {}  # digest of a class's pickle → what was kept
_chosen: dict[bytes, tuple[object, type]] = {}  # → what was there to choose from, the choice
_known: dict[bytes, bytes] = {}  # digest → code that stands beside values
_by_name: tuple[object, dict[_Name, type]] = (None, {})
_lock = threading.RLock()
_are_sent = False


def script_class(name: str, code: bytes, script: str | None = None) -> Any:
    """Return the class that a value of a result has here.

    Parameters
    ----------
    name
        Its qualified name in the script.
    code
        The cloudpickle of the class as it was when the result was kept.
    script
        Name under which the script is imported; None: it was no file.
    """
    return _here(name, script) or _chosen_for(
        blake2b(code, digest_size=16).digest(), code, name, script)


def shared_class(name: str, digest: bytes, script: str | None = None) -> Any:
    """Return the class of a value whose code stands beside many values.

    Raises
    ------
    LookupError
        Nobody told :func:`know_classes` of it, and the script has none of that name.
    """
    here = _here(name, script)
    if here is not None:
        return here
    code = _known.get(digest)
    if code is None:
        raise LookupError(f"the class {name!r} of a script is not known here")
    return _chosen_for(digest, code, name, script)


def referred_class(module: str, name: str) -> type | None:
    """Return the class that a result means by a reference to a module; None: it is imported.

    It was kept by a process that imported what is the script here, or was sent here.
    """
    if _are_sent:
        return _newest().get((module, name))
    return _class_in(sys.modules.get("__main__"), name) if module == main_name() else None


def are_sent() -> bool:
    """Tell whether this process works for others."""
    return _are_sent


def come_with_code() -> None:
    """Say that this process works for others: classes of their modules come with code."""
    global _are_sent
    _are_sent = True


def know_classes(classes: Mapping[bytes, bytes]) -> None:
    """Take in the code of classes by digest, for :func:`shared_class`."""
    _known.update(classes)


def is_importable(kind: type) -> bool:
    """Tell whether a class is what a process that imports its module finds under its name."""
    return (kind.__module__ not in SCRIPTS
            and _class_in(sys.modules.get(kind.__module__), kind.__qualname__) is kind)


def _here(name: str, script: str | None) -> type | None:
    """Return the class of that name in the script at hand, or where that script is imported."""
    if _are_sent:
        return None
    at_hand = script == main_name()
    return _class_in(sys.modules.get("__main__" if at_hand else script or ""), name)


def _class_in(module: Any, name: str) -> type | None:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _chosen_for(key: bytes, code: bytes, name: str, script: str | None) -> type:
    stamp = _stamp()
    known = _chosen.get(key)
    if known is not None and known[0] == stamp:
        return known[1]
    with _lock:
        if key not in _kept:
            _kept[key] = pickle.loads(code), (script or "__main__", name)
        chosen = _same_here(*_kept[key])
        _chosen[key] = _stamp(), chosen
        return chosen


def _tracked() -> Any:
    """Return the classes that came with pickled code, in the order they came: id → class."""
    import cloudpickle.cloudpickle

    # private; without it the fourth rule holds in the place of the third
    return getattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})


def _arrived() -> list[type]:
    return list(_tracked().values())


def _stamp() -> object:
    """Return what changes whenever a class arrives."""
    tracked = _tracked()
    try:
        return len(tracked), next(reversed(getattr(tracked, "data", tracked)), None)
    except RuntimeError:  # one arrives this moment
        return object()


def _newest() -> dict[_Name, type]:
    """Return the newest class of each name that came with code."""
    global _by_name
    stamp = _stamp(), script_name()
    if _by_name[0] != stamp:
        _by_name = stamp, {_name_of(each): each for each in _arrived()}
    return _by_name[1]


def _name_of(kind: type) -> _Name:
    return module_name(kind.__module__), kind.__qualname__


def _same_here(kept: type, name: _Name) -> type:
    """Return the newest class that came with code and is the same, else the first kept one."""
    mine = {id(each) for each, _ in _kept.values()}
    for other in reversed(_arrived()):
        if id(other) not in mine and _name_of(other) == name and _same(kept, other):
            return other
    return next((each for each, its in _kept.values() if its == name and _same(kept, each)), kept)


def _same(one: type, other: type) -> bool:
    if one is other:
        return True
    mine, others = _parts(one), _parts(other)
    return mine.keys() == others.keys() and all(
        _code(value) == _code(others[name]) for name, value in mine.items())


def _parts(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items()
            if name not in ("__dict__", "__weakref__", "_abc_impl", "__slotnames__", NAMED)}


def _code(value: Any) -> object:
    """Return what two methods that do the same have in common; None for what is no function."""
    value = getattr(value, "__func__", value)
    if not isinstance(value, FunctionType):
        return None
    code = value.__code__
    consts = tuple(each.co_code if isinstance(each, CodeType) else repr(each)
                   for each in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, consts
