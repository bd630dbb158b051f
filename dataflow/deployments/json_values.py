"""Values that JSON and every store can hold, and the text by which they are compared.

Lives here: what is refused, and a copy that nobody else changes. Does not live
here: which values a field may have (``spec_checks.py``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

DEPTH = 64
"""How deep lists and mappings may be nested."""


def json_copy(value: Any, where: str = "value") -> Any:
    """Return a value as JSON reads it back: mappings are dicts, sequences are lists.

    Parameters
    ----------
    value
        Made of None, bool, int, finite float, str, sequences and mappings with keys of text.
    where
        What the value is called in errors.

    Raises
    ------
    ValueError
        Some part is nothing that JSON can write, or no store could keep; the text names it.
    """
    return _copy(value, where, DEPTH)


def _copy(value: Any, where: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _whole(int(value), where)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which JSON does not know")
        return float(value)
    if isinstance(value, str):
        return checked_text(value, where)
    if not depth:
        raise ValueError(f"{where} is nested more than {DEPTH} deep")
    if isinstance(value, Mapping):
        return {_key(key, where): _copy(item, f"{where}.{key}", depth - 1)
                for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [_copy(item, f"{where}[{at}]", depth - 1) for at, item in enumerate(value)]
    raise ValueError(f"{where} is a {type(value).__name__}, which JSON does not know: give text, "
                     "a number, true, false, null, a list or a mapping of these")


def checked_text(text: str, where: str) -> str:
    """Return a text that UTF-8 and a database can hold. Raises ValueError."""
    if "\0" in text:
        raise ValueError(f"{where} has the character NUL in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} has half a character in it (a lone surrogate)") from None
    return str(text)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{where} has a key {key!r}: keys are texts")
    return checked_text(key, f"a key of {where}")


def _whole(value: int, where: str) -> int:
    if value.bit_length() > 1024:  # a float of most readers of JSON ends there
        raise ValueError(f"{where} is a whole number of {value.bit_length()} bits, at most 1024")
    return value
