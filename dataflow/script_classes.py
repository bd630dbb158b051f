"""Classes of a script in results that are kept: which class a loaded value has.

Lives here: the choice. Does not live here: pickling (``pickling.py``).

A result outlives the script's process, and with it the class. Where it is loaded
its class is

1. the class of that name in the script at hand: so ``isinstance`` holds after a
   restart, as with a class that is imported;
2. on a worker, whose script is another: the class that came with the task's code,
   where it is the same (names of attributes, code of methods);
3. the class that was kept with the result.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Mapping
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any

_kept: dict[bytes, type] = {}  # digest of a class's pickle → the class that was kept
_chosen: dict[bytes, tuple[object, type]] = {}  # → what was there to choose from, the choice
_known: dict[bytes, bytes] = {}  # digest → code that stands beside values
_lock = threading.RLock()


def script_class(name: str, code: bytes) -> Any:
    """Return the class that a value of a result has here.

    Parameters
    ----------
    name
        Its qualified name in the script.
    code
        The cloudpickle of the class as it was when the result was kept.
    """
    return _here(name) or _chosen_for(blake2b(code, digest_size=16).digest(), code)


def shared_class(name: str, digest: bytes) -> Any:
    """Return the class of a value whose code stands beside many values.

    Raises
    ------
    LookupError
        Nobody told :func:`know_classes` of it, and the script has none of that name.
    """
    here = _here(name)
    if here is not None:
        return here
    code = _known.get(digest)
    if code is None:
        raise LookupError(f"the class {name!r} of a script is not known here")
    return _chosen_for(digest, code)


def know_classes(classes: Mapping[bytes, bytes]) -> None:
    """Take in the code of classes by digest, for :func:`shared_class`."""
    _known.update(classes)


def _here(name: str) -> type | None:
    """Return the class of that name in the script at hand."""
    found: Any = sys.modules.get("__main__")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _chosen_for(key: bytes, code: bytes) -> type:
    stamp = _stamp()
    known = _chosen.get(key)
    if known is not None and known[0] == stamp:
        return known[1]
    with _lock:
        if key not in _kept:
            _kept[key] = pickle.loads(code)
        chosen = _same_here(_kept[key])
        _chosen[key] = _stamp(), chosen
        return chosen


def _arrived() -> Any:
    """Return the classes that came with pickled code, in the order they came: id → class."""
    import cloudpickle.cloudpickle

    # private; without it the third rule holds in the place of the second
    return getattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})


def _stamp() -> object:
    """Return what changes whenever a class arrives."""
    arrived = _arrived()
    try:
        return len(arrived), next(reversed(getattr(arrived, "data", arrived)), None)
    except RuntimeError:  # one arrives this moment
        return object()


def _same_here(kept: type) -> type:
    """Return the newest class that came with code and is the same, else the first kept one."""
    mine = set(map(id, _kept.values()))
    for other in reversed(list(_arrived().values())):
        if id(other) not in mine and _same(kept, other):
            found: type = other
            return found
    return next((other for other in _kept.values() if _same(kept, other)), kept)


def _same(one: type, other: type) -> bool:
    if one is other:
        return True
    if (one.__module__, one.__qualname__) != (other.__module__, other.__qualname__):
        return False
    mine, others = _parts(one), _parts(other)
    return mine.keys() == others.keys() and all(
        _code(value) == _code(others[name]) for name, value in mine.items())


def _parts(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items()
            if name not in ("__dict__", "__weakref__", "_abc_impl", "__slotnames__")}


def _code(value: Any) -> object:
    """Return what two methods that do the same have in common; None for what is no function."""
    value = getattr(value, "__func__", value)
    if not isinstance(value, FunctionType):
        return None
    code = value.__code__
    consts = tuple(each.co_code if isinstance(each, CodeType) else repr(each)
                   for each in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, consts
