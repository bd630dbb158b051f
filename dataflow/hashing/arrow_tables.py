"""Rules for Arrow: tables, batches, arrays and scalars, by what they say.

Lives here: everything of PyArrow's. Does not live here: how a library keeps tables
otherwise (``pandas_tables.py``, ``polars_tables.py``). Imported when a value of
PyArrow's comes by, so it is there.

Chunks, offsets, what stands under a null and the codes of a dictionary do not count;
names, types and the metadata of a schema do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.hashing.contents import Contents, Refused, Rule, by_names, by_position, type_name
from dataflow.hashing.encoding import head
from dataflow.hashing.strings import Strings


def rule_of(cls: type) -> Rule | None:
    """Return the rule for a class of PyArrow's; None: it has none of its own."""
    for kinds, rule in _RULES:
        if issubclass(cls, kinds):
            return rule
    return None


def _table(value: Any) -> Contents:
    names = value.schema.names
    parts = [type(value).__name__, value.schema, value.num_rows, *value.columns]

    def label(n: int) -> str:
        return f"[{names[n - 3]!r}]" if n >= 3 else ("", ".schema", ".num_rows")[n]

    return Contents(head("arrow table", len(parts)), parts, label)


def _schema(value: Any) -> Contents:
    fields = [(field.name, str(field.type), field.nullable, field.metadata or None)
              for field in value]
    parts = (fields, value.metadata or None)
    return Contents(head("arrow schema", 2), parts, by_names(["", ".metadata"]))


def _array(value: Any) -> Contents:
    whole = value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
    if isinstance(whole, pa.ChunkedArray):  # of a type that cannot be combined
        whole = pa.array(value.to_pylist(), value.type)
    parts = (str(value.type), len(value), *_pieces(whole))
    return Contents(head("arrow array", len(parts)), parts, lambda n: "")


def _pieces(value: Any) -> tuple[Any, ...]:
    """Return what an array consists of: values that have rules of their own."""
    kind = value.type
    if pa.types.is_null(kind):
        return ()
    if isinstance(kind, pa.BaseExtensionType):
        return (value.storage,)
    if pa.types.is_dictionary(kind):
        return (value.dictionary_decode(),)
    if _is_text(kind):
        return (strings_of(value),)
    missing = _missing(value)
    if pa.types.is_boolean(kind):
        return missing, _numbers(value.cast(pa.uint8()), 0)
    if pa.types.is_integer(kind):
        return missing, _numbers(value, 0)
    if pa.types.is_floating(kind):
        return missing, _numbers(value, 0.0)
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return missing, _numbers(value.view(f"int{kind.bit_width}"), 0)
    if pa.types.is_struct(kind):
        return missing, *value.flatten()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = _numbers(pc.list_value_length(value).cast(pa.int64()), 0)
        return missing, lengths, value.flatten()
    if pa.types.is_fixed_size_list(kind):
        return missing, value.flatten()
    return (value.to_pylist(),)  # decimals, maps, unions, intervals, views of lists: one by one


def strings_of(value: Any) -> Strings:
    """Return an array of text or bytes as a column of strings."""
    binary = value.cast(pa.large_string() if _is_string(value.type) else pa.large_binary())
    missing = None
    if binary.null_count:
        missing = _bytes_of(binary.is_null())
        binary = binary.fill_null("" if _is_string(value.type) else b"")
    _, offset_buffer, data = binary.buffers()
    count = len(binary)
    if not count or offset_buffer is None:
        return Strings(count, missing, b"", [])
    first = binary.offset
    offsets = np.frombuffer(offset_buffer, np.int64)[first:first + count + 1]
    lengths = np.ascontiguousarray(np.diff(offsets), dtype="<i8")
    content = memoryview(data)[offsets[0]:offsets[-1]] if data is not None else b""
    return Strings(count, missing, lengths.data, [content])


def _is_string(kind: Any) -> bool:
    view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or view(kind))


def _is_text(kind: Any) -> bool:
    view = getattr(pa.types, "is_binary_view", lambda _: False)
    return bool(_is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
                or pa.types.is_fixed_size_binary(kind) or view(kind)) and not (
                    pa.types.is_decimal(kind))


def _missing(value: Any) -> Any:
    return _bytes_of(value.is_null()) if value.null_count else None


def _bytes_of(booleans: Any) -> Any:
    return booleans.to_numpy(zero_copy_only=False).view(np.uint8)


def _numbers(value: Any, zero: float) -> Any:
    if value.null_count:
        value = value.fill_null(pa.scalar(zero, value.type))
    return value.to_numpy(zero_copy_only=False)


def _scalar(value: Any) -> Contents:
    parts = (str(value.type), pa.array([value.as_py()], value.type))
    return Contents(head("arrow scalar", 2), parts, by_position)


def _type(value: Any) -> Contents:
    return Contents(head("arrow type", 1), [str(value)], by_position)


def _field(value: Any) -> Contents:
    return Contents(head("arrow field", 1), [pa.schema([value])], lambda n: "")


def _buffer(value: Any) -> Contents:
    return Contents(head("arrow buffer", 1), [memoryview(value).cast("B")], lambda n: "")


def _stream(value: Any) -> Contents:
    raise Refused(f"is a {type_name(type(value))}", "pass a table: reading it would use it up")


_RULES: list[tuple[Any, Rule]] = [
    ((pa.Table, pa.RecordBatch), _table),
    ((pa.Array, pa.ChunkedArray), _array),
    (pa.Schema, _schema),
    (pa.Field, _field),
    (pa.DataType, _type),
    (pa.Scalar, _scalar),
    (pa.Buffer, _buffer),
    ((pa.RecordBatchReader, pa.NativeFile), _stream),
]

