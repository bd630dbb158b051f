"""How a single value without parts becomes bytes: tagged, self-delimiting, the same everywhere.

Lives here: encodings of scalars, text and buffers, and the rule that keeps an
encoding short. Does not live here: what has parts (``walk.py``), which type is
treated how (``kinds.py``).

Every encoding begins with a byte that no other kind of encoding begins with, and
its length follows from its beginning: two different sequences of values never
give the same bytes. Numbers are little-endian on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b, sha256
from itertools import chain
from struct import Struct, pack
from struct import error as StructError
from typing import Any, Final

DIGEST_BYTES: Final = 16
INLINE_BYTES: Final = 1024
"""Text and buffers up to this stand in the encoding themselves; longer ones by their SHA-256.

It is a part of the format, as is ``SHORT_BYTES``: another number gives other keys.
SHA-256 since processors have instructions for it: about twice as fast as blake2b.
"""
SHORT_BYTES: Final = 64
"""What has parts is encoded by its digest where its encoding would be longer."""

Buffer = bytes | bytearray | memoryview

_tagged_int = Struct("<cq").pack
_tagged_float = Struct("<cd").pack
_tagged_length = Struct("<cQ").pack
_length = Struct("<Q").pack
_NAN: Final = b"n"


def short(raw: bytes) -> bytes:
    """Return an encoding of at most ``SHORT_BYTES`` for one of any length."""
    if len(raw) <= SHORT_BYTES:
        return raw
    return b"#" + blake2b(raw, digest_size=DIGEST_BYTES).digest()


def final(encoded: bytes) -> bytes:
    """Return the digest of a value from its encoding."""
    return blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def of_int(value: int) -> bytes:
    """Encode an int of any size."""
    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        return _tagged_int(b"i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return _sized(b"I", b"J", data)


def of_float(value: float) -> bytes:
    """Encode a float; all NaN are one, -0.0 is not 0.0."""
    return _tagged_float(b"f", value) if value == value else _NAN


def of_numbers(values: list[Any]) -> bytes | None:
    """Encode many floats, or many ints, in one go; None: they are something else.

    Notes
    -----
    A shortcut: one after the other they give the same bytes.
    """
    kind = type(values[0])
    if kind not in (float, int) or len(set(map(type, values))) > 1:
        return None
    count = len(values)
    if kind is float:
        if (total := sum(values)) != total:  # there may be a NaN
            return None
        tag, raw = b"f", pack(f"<{count}d", *values)
    else:
        try:
            tag, raw = b"i", pack(f"<{count}q", *values)
        except StructError:  # a long one
            return None
    encoded = bytearray(9 * count)
    encoded[::9] = tag * count
    for n in range(8):
        encoded[n + 1 :: 9] = raw[n::8]
    return bytes(encoded)


def of_complex(value: complex) -> bytes:
    """Encode a complex by its two floats."""
    return b"c" + of_float(value.real) + of_float(value.imag)


def of_str(value: str) -> bytes:
    """Encode text as UTF-8, lone surrogates included."""
    try:
        data = value.encode()
    except UnicodeEncodeError:
        data = value.encode("utf-8", "surrogatepass")
    if len(data) <= INLINE_BYTES:
        return _tagged_length(b"s", len(data)) + data
    return _sized(b"s", b"S", data)


def of_bytes(value: bytes) -> bytes:
    """Encode bytes."""
    return _sized(b"b", b"B", value)


def of_bytearray(value: bytearray) -> bytes:
    """Encode a bytearray, which is not equal to bytes: it can change."""
    return _sized(b"y", b"Y", value)


def _sized(small: bytes, large: bytes, data: Buffer) -> bytes:
    """Encode data: itself where it is small, else by its SHA-256."""
    size = len(data)
    if size <= INLINE_BYTES:
        return _tagged_length(small, size) + data
    return _tagged_length(large, size) + sha256(data).digest()


def of_chunks(kind: str, chunks: Iterable[Any]) -> bytes:
    """Encode the content of something large, which comes in chunks of any size.

    Parameters
    ----------
    kind
        What it is, with all that its content does not say: type, shape.
    chunks
        Contiguous buffers. Where they are cut makes no difference.
    """
    hasher = sha256()
    size = 0
    for chunk in chunks:
        hasher.update(chunk)
        size += memoryview(chunk).nbytes
    return b"x" + of_str(kind) + _length(size) + hasher.digest()


@lru_cache(2048)
def head(tag: str, count: int) -> bytes:
    """Return how an encoding begins that has ``count`` parts."""
    return _tagged_length(b"o", count) + of_str(tag)


def back_reference(levels: int) -> bytes:
    """Encode a part that is what it stands in, so many levels up."""
    return _tagged_length(b"^", levels)


LIST: Final = b"l"
TUPLE: Final = b"t"
SCALARS: Final[dict[type, Callable[[Any], bytes]]] = {
    int: of_int,
    str: of_str,
    float: of_float,
    bool: lambda value: b"T" if value else b"F",
    type(None): lambda value: b"N",
    bytes: of_bytes,
    bytearray: of_bytearray,
    complex: of_complex,
    type(...): lambda value: b"E",
}
"""Exact types without parts; subclasses are looked up elsewhere."""

_FLAT_ITEMS: Final = 32
_flat_head: Final[dict[type, list[bytes]]] = {
    kind: [_tagged_length(tag, count) for count in range(_FLAT_ITEMS + 1)]
    for kind, tag in ((tuple, TUPLE), (list, LIST))
}


def sequence_head(kind: type, count: int) -> bytes:
    """Return how the encoding of a list or tuple begins."""
    if count <= _FLAT_ITEMS:
        return _flat_head[kind][count]
    return _tagged_length(TUPLE if kind is tuple else LIST, count)


def flat(value: Any) -> bytes | None:
    """Encode a short list, tuple or dict of scalars; None: it is something else.

    Notes
    -----
    A shortcut: the walk gives the same bytes.
    """
    kind = type(value)
    if kind is dict:
        return _flat_dict(value)
    heads = _flat_head.get(kind)
    if heads is None or len(value) > _FLAT_ITEMS:
        return None
    parts = [heads[len(value)]]
    add = parts.append
    for item in value:
        encode = SCALARS.get(type(item))
        if encode is None:
            return None
        add(encode(item))
    raw = b"".join(parts)
    if len(raw) <= SHORT_BYTES:
        return raw
    return b"#" + blake2b(raw, digest_size=DIGEST_BYTES).digest()


def _flat_dict(value: dict[Any, Any]) -> bytes | None:
    if len(value) > _FLAT_ITEMS:
        return None
    pairs = []
    for key, item in value.items():
        of_key, of_item = SCALARS.get(type(key)), SCALARS.get(type(item))
        if of_key is None or of_item is None:
            return None
        pairs.append((of_key(key), of_item(item)))
    pairs.sort()
    return short(b"".join([head("dict", 2 * len(pairs)), *chain.from_iterable(pairs)]))
