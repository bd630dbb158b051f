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
import re
from functools import cache
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from dataflow.script_classes import (
    are_sent,
    is_importable,
    referred_class,
    script_class,
    shared_class,
)
from dataflow.script_name import SCRIPTS, main_name, script_name

_PROTOCOL = 5
_dumps = pickle.dumps
_MAIN = b"_main__"  # also of __mp_main__, as multiprocessing calls a script that it copies
_NO_CLASS = 24  # bytes: a pickle of that length names none
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
    if len(data) > _NO_CLASS and _may_refer_here(data):
        return _Unpickler(io.BytesIO(data)).load()
    return pickle.loads(data)


def _may_refer_here(data: bytes | memoryview) -> bool:
    """Tell whether a pickle may name a class of the script, or of what was sent to a worker."""
    if are_sent():
        return _has(data, b"\x93")  # STACK_GLOBAL
    script = main_name()
    if script is None:
        return False
    text = script.encode("utf-8", "surrogatepass")
    return len(text) > 255 or _has(data, b"\x8c%c%s" % (len(text), text))  # SHORT_BINUNICODE


def _has(data: bytes | memoryview, part: bytes) -> bool:
    return part in data if isinstance(data, bytes) else re.search(re.escape(part), data) is not None


class _Unpickler(pickle.Unpickler):
    """Finds the script's classes in the script, where others found them by importing it."""

    def find_class(self, module: str, name: str) -> Any:
        found = referred_class(module, name)
        if found is not None:
            return found
        return super().find_class(module, name)


def _by_value(value: Any, classes: dict[bytes, bytes] | None) -> bytes:
    with io.BytesIO() as file:
        pickler = _pickler()(file, protocol=_PROTOCOL)
        pickler.classes = classes
        pickler.dump(value)
        return file.getvalue()


@cache
def _pickler() -> Any:
    import cloudpickle

    from dataflow.code_identity.ownership import is_named

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
        classes: dict[bytes, bytes] | None = None

        def reducer_override(self, obj: Any) -> Any:
            if not isinstance(obj, type) or is_importable(obj) or not is_named(obj):
                return super().reducer_override(obj)
            digest, code = _code_of(obj)
            script = script_name() if obj.__module__ in SCRIPTS else obj.__module__
            if self.classes is None:
                return script_class, (obj.__qualname__, code, script)
            self.classes[digest] = code
            return shared_class, (obj.__qualname__, digest, script)

    return Pickler


def _code_of(kind: type) -> tuple[bytes, bytes]:
    """Return digest and cloudpickle of a class that cannot be imported; made once."""
    known = _codes.get(kind)
    if known is None:
        from dataflow.named_classes import dumps_naming

        code = dumps_naming(kind)
        known = _codes[kind] = blake2b(code, digest_size=16).digest(), code
    return known
