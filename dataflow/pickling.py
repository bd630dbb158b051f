"""The pickles of results that are kept: other processes and later ones have to load them.

Lives here: when plain pickle will do, and how classes of a script are kept. Does
not live here: serializers (``serializers.py``), what crosses to a worker
(``runners``).

Plain pickle is ten times as fast as cloudpickle, but names classes and functions
of a script as ``__main__.X``, which only that script could load. A pickle that
names ``__main__`` anywhere is therefore thrown away and made again: a class of
the script is then kept with its code. Where it is loaded the class of that name
in the script at hand is taken, so that ``isinstance`` holds after a restart; else
the one that was kept.
"""

from __future__ import annotations

import io
import pickle
import sys
from functools import cache
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

_PROTOCOL = 5
_dumps = pickle.dumps
_MAIN = b"__main__"
_made: dict[bytes, Any] = {}  # digest of a class's code → the class
_codes: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()


def kept_pickle(value: Any) -> bytes:
    """Return a pickle that any process can load which has the same packages.

    Raises
    ------
    Exception
        What pickling raises, or the value's own methods.
    """
    try:
        data = _dumps(value, _PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):  # of a local class, a lambda, …
        return _by_value(value)
    return _by_value(value) if _MAIN in data else data


def load_pickle(data: bytes | memoryview) -> Any:
    """Return the value of a pickle."""
    return pickle.loads(data)


def script_class(name: str, code: bytes) -> Any:
    """Return the class ``name`` of this process's script, else the one that was kept."""
    found: Any = sys.modules.get("__main__")
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type):
        return found
    key = blake2b(code, digest_size=16).digest()
    if key not in _made:
        _made[key] = pickle.loads(code)
    return _made[key]


def _by_value(value: Any) -> bytes:
    with io.BytesIO() as file:
        _pickler()(file, protocol=_PROTOCOL).dump(value)
        return file.getvalue()


@cache
def _pickler() -> Any:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type) and _of_script(obj):
                return script_class, (obj.__qualname__, _code_of(obj))
            return super().reducer_override(obj)

    return Pickler


def _of_script(kind: type) -> bool:
    return kind.__module__ == "__main__" and "<locals>" not in kind.__qualname__


def _code_of(kind: type) -> bytes:
    """Return the cloudpickle of a class of the script; made once."""
    code = _codes.get(kind)
    if code is None:
        import cloudpickle

        code = _codes[kind] = cloudpickle.dumps(kind, protocol=_PROTOCOL)
    return code
