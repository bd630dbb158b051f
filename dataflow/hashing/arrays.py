"""Rules for NumPy's arrays and scalars: their type, shape and values, in whichever layout.

Lives here: everything of NumPy's. Does not live here: tables (``pandas_tables.py`` …).
Imported when a value of NumPy's comes by, so NumPy is there.

Values go in C order and little-endian, all NaN as one. A contiguous array is hashed
where it lies; any other is copied in pieces.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from dataflow.hashing.classes import class_part
from dataflow.hashing.contents import Contents, Refused, Rule, by_names, by_position, type_name
from dataflow.hashing.encoding import head, of_bytes, of_chunks, of_str, short
from dataflow.hashing.objects import attributes_of

Array = Any  # np.ndarray of any dtype and shape

_CHUNK_BYTES: Final = 1 << 19
"""Looked at for NaN and then hashed, while it is in the cache of the processor."""
_PLAIN_KINDS: Final = frozenset("biufcmMSUV")
_LONG_DOUBLE_PADDED: Final = np.finfo(np.longdouble).nmant == 63


def rule_of(cls: type) -> Rule | None:
    """Return the rule for a class of NumPy's; None: it has none of its own."""
    if cls is type(np.ma.masked):
        return lambda value: head("masked item", 0)
    if issubclass(cls, np.ma.MaskedArray):
        return _masked
    if issubclass(cls, np.ndarray):
        return array if cls in (np.ndarray, np.memmap) else _subclass(cls)
    if issubclass(cls, np.generic):
        return _number(cls) if issubclass(cls, (np.bool_, np.number)) else _scalar
    if issubclass(cls, np.dtype):
        return lambda value: Contents(head("numpy dtype", 1), [_layout(value)], by_position)
    if issubclass(cls, np.ufunc):
        return _ufunc
    if issubclass(cls, np.random.Generator):
        return lambda value: Contents(
            head("Generator", 1), [value.bit_generator], by_names([".bit_generator"]))
    if issubclass(cls, (np.random.BitGenerator, np.random.RandomState)):
        return _random
    return None


def array(value: Array) -> Contents | bytes:
    """Encode an array, or take it apart where its items are objects or records."""
    dtype = value.dtype
    if dtype.names is not None:
        parts = [dtype_text(dtype), value.shape, *(value[name] for name in dtype.names)]
        labels = ["", ".shape", *(f"[{name!r}]" for name in dtype.names)]
        return Contents(head("records", len(parts)), parts, by_names(labels))
    if dtype.kind == "O" or dtype.kind == "T":
        items = value.astype(object).ravel().tolist()
        parts = [dtype_text(dtype), value.shape, *items]
        shape = value.shape

        def label(n: int) -> str:
            where = np.unravel_index(n - 2, shape) if n >= 2 else ()
            return f"[{', '.join(str(int(i)) for i in where)}]"

        return Contents(head("object array", len(parts)), parts, label)
    if dtype.kind not in _PLAIN_KINDS:
        raise Refused(f"is an array of {dtype}")
    return of_chunks(f"array {dtype_text(dtype)} {value.shape}", contents_of(value))


def dtype_text(dtype: Any) -> str:
    """Return a dtype as text that is the same on every machine."""
    if dtype.names is not None:
        fields = ((name, dtype_text(dtype.fields[name][0])) for name in dtype.names)
        return str([(name, text) for name, text in fields])
    if dtype.subdtype is not None:
        return f"{dtype_text(dtype.subdtype[0])} {dtype.shape}"
    if dtype.kind == "T":
        return repr(dtype)
    return str(dtype.newbyteorder("<").str)


def _layout(dtype: Any) -> Any:
    """Return all that a dtype says, as a value of its own: byte order, offsets, sizes, notes."""
    notes = dict(dtype.metadata) if dtype.metadata else None
    if dtype.names is not None:
        fields = [(name, *dtype.fields[name][1:], _layout(dtype.fields[name][0]))
                  for name in dtype.names]
        kind = type_name(dtype.type)  # records are read by attribute, void is not
        return ("fields", kind, dtype.itemsize, dtype.isalignedstruct, fields, notes)
    if dtype.subdtype is not None:
        return ("shaped", _layout(dtype.subdtype[0]), dtype.shape, notes)
    return (repr(dtype) if dtype.kind == "T" else dtype.str, dtype.isalignedstruct, notes)


def contents_of(value: Array) -> Iterator[Array]:
    """Yield the values of an array without objects as contiguous buffers of bytes."""
    if value.size == 0 or value.dtype.itemsize == 0:
        return
    if value.flags.c_contiguous and _little(value.dtype):
        flat = value.reshape(-1).view(np.ndarray)
        step = max(1, _CHUNK_BYTES // flat.dtype.itemsize)
        chunks: Any = (flat[n:n + step] for n in range(0, len(flat), step))
    else:
        chunks = _pieces(value)
    if value.dtype.kind in "fc":
        chunks = map(_one_nan, chunks)
    for chunk in chunks:
        yield chunk.view(np.uint8).data


def _little(dtype: Any) -> bool:
    return dtype.byteorder in "<|" or (dtype.byteorder == "=" and sys.byteorder == "little")


def _pieces(value: Array) -> Iterator[Array]:
    """Yield copies of the values, in C order and little-endian."""
    size = max(1, _CHUNK_BYTES // value.dtype.itemsize)
    wanted = value.dtype.newbyteorder("<")
    with np.nditer(value.view(np.ndarray), flags=["external_loop", "buffered", "zerosize_ok"],
                   op_flags=[["readonly"]], op_dtypes=[wanted], order="C", casting="equiv",
                   buffersize=size) as pieces:
        for piece in pieces:
            yield np.ascontiguousarray(piece, dtype=wanted)


def _one_nan(chunk: Array) -> Array:
    """Return the floats with each NaN as the usual one; the same array where there is none."""
    real = chunk
    if chunk.dtype.kind == "c":
        real = chunk.view(f"<f{chunk.dtype.itemsize // 2}") if chunk.dtype.itemsize <= 16 else (
            chunk.view(np.longdouble))
    with np.errstate(all="ignore"):
        clean = not np.isnan(real.min())
    if real.dtype.itemsize > 8:
        real = np.array(real)
        if _LONG_DOUBLE_PADDED:  # 10 bytes of number, the rest is whatever was there
            real.view(np.uint8).reshape(len(real), -1)[:, 10:] = 0
    elif clean:
        return chunk
    else:
        real = np.array(real)
    nan = np.isnan(real)
    real.view(np.uint8).reshape(len(real), -1)[nan] = _nan_bytes(real.dtype)
    return real


def _nan_bytes(dtype: Any) -> Array:
    nan = np.array([np.nan], dtype)
    raw = nan.view(np.uint8).copy()
    if dtype.itemsize > 8 and _LONG_DOUBLE_PADDED:
        raw[10:] = 0
    return raw


def _ufunc(value: Any) -> Contents:
    name = str(value.__name__)
    if getattr(np, name, None) is not value:
        raise Refused(f"is a ufunc {name!r} that is none of NumPy's")
    return Contents(head("ufunc", 1), [name], by_position)


def _number(cls: Any) -> Rule:
    """Return the rule for scalars of a numeric type: the type and their bytes.

    One differs from Python's number of the same value: what is computed of it has another type.
    """
    dtype = np.dtype(cls)
    if dtype.kind == "c" or dtype.itemsize > 8:
        return _scalar
    start = head("numpy number", 2) + of_str(dtype_text(dtype))
    nan = start + of_bytes(np.array(np.nan, dtype.newbyteorder("<")).tobytes()) if (
        dtype.kind == "f") else b""
    swapped = sys.byteorder == "big"

    def rule(value: Any) -> bytes:
        if value != value:
            return short(nan)
        return short(start + of_bytes((value.byteswap() if swapped else value).tobytes()))

    return rule


def _scalar(value: Any) -> Contents:
    """Take a scalar as an array of no dimension, and say that it is none."""
    return Contents(head("numpy scalar", 1), [np.asarray(value)], lambda n: "")


def _masked(value: Any) -> Contents:
    """Take apart a masked array; what is under the mask does not count."""
    mask = np.ma.getmaskarray(value)
    data = np.array(value.filled(np.zeros((), value.dtype)) if mask.any() else value.data)
    parts = (class_part(type(value)), data, mask, np.asarray(value.fill_value))
    return Contents(head("masked", 4), parts, by_names(["", ".data", ".mask", ".fill_value"]))


def _subclass(cls: type) -> Rule:
    name = class_part(cls)
    attributes = attributes_of(cls)

    def rule(value: Any) -> Contents:
        parts = (name, value.view(np.ndarray), attributes(value))
        return Contents(head("array subclass", 3), parts, by_names(["", "", ""]))

    return rule


def _random(value: Any) -> Contents:
    state = value.get_state(legacy=False) if hasattr(value, "get_state") else value.state
    parts = (type_name(type(value)), state)
    return Contents(head("random state", 2), parts, by_names(["", ".state"]))
