"""The pickles of results that are kept: other processes and later ones have to load them.

Lives here: when plain pickle will do, and how classes of a script are kept. Does
not live here: serializers (``serializers.py``), what crosses to a worker
(``runners``).

Plain pickle is ten times as fast as cloudpickle, but names classes and functions
of a script as ``__main__.X``, which only that script could load. A pickle that
names ``__main__`` anywhere is therefore thrown away and made again: a class of
the script is then kept with its code, or its code beside many values
(``script_classes.py`` says which class a value has where it is loaded).
"""

from __future__ import annotations

import io
import pickle
from functools import cache
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from dataflow.script_classes import script_class, shared_class

_PROTOCOL = 5
_dumps = pickle.dumps
_MAIN = b"__main__"
_PLAIN = frozenset({int, float, bool, complex, type(None)})  # that name nothing
_codes: WeakKeyDictionary[type, tuple[bytes, bytes]] = WeakKeyDictionary()


def kept_pickle(value: Any, classes: dict[bytes, bytes] | None = None) -> bytes:
    """Return a pickle that any process can load which has the same packages.

    Parameters
    ----------
    classes
        Takes the code of the script's classes by its digest, instead of the pickle:
        :func:`dataflow.script_classes.know_classes` has to hear of it before the
        pickle is loaded.

    Raises
    ------
    Exception
        What pickling raises, or the value's own methods.
    """
    if type(value) in _PLAIN:
        return _dumps(value, _PROTOCOL)
    try:
        data = _dumps(value, _PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):  # of a local class, a lambda, …
        return _by_value(value, classes)
    return _by_value(value, classes) if _MAIN in data else data


def load_pickle(data: bytes | memoryview) -> Any:
    """Return the value of a pickle."""
    return pickle.loads(data)


def _by_value(value: Any, classes: dict[bytes, bytes] | None) -> bytes:
    with io.BytesIO() as file:
        pickler = _pickler()(file, protocol=_PROTOCOL)
        pickler.classes = classes
        pickler.dump(value)
        return file.getvalue()


@cache
def _pickler() -> Any:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
        classes: dict[bytes, bytes] | None = None

        def reducer_override(self, obj: Any) -> Any:
            if not isinstance(obj, type) or not _of_script(obj):
                return super().reducer_override(obj)
            digest, code = _code_of(obj)
            if self.classes is None:
                return script_class, (obj.__qualname__, code)
            self.classes[digest] = code
            return shared_class, (obj.__qualname__, digest)

    return Pickler


def _of_script(kind: type) -> bool:
    return kind.__module__ == "__main__" and "<locals>" not in kind.__qualname__


def _code_of(kind: type) -> tuple[bytes, bytes]:
    """Return digest and cloudpickle of a class of the script; made once."""
    known = _codes.get(kind)
    if known is None:
        import cloudpickle

        code = cloudpickle.dumps(kind, protocol=_PROTOCOL)
        known = _codes[kind] = blake2b(code, digest_size=16).digest(), code
    return known
