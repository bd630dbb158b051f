"""Rules for pandas: frames, series, indexes, extension arrays and scalars.

Lives here: everything of pandas'. Does not live here: NumPy's arrays (``arrays.py``),
Arrow's (``arrow_tables.py``). Imported when a value of pandas' comes by, so pandas
is there.

A table is its labels, the types of its columns and their values; blocks, views and
the storage of strings do not count. An index that counts (0, 1, 2 …) is the same
whether it is kept as a range or as numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dataflow.hashing.classes import class_part
from dataflow.hashing.contents import (
    Contents,
    Refused,
    Rule,
    by_names,
    by_position,
    cut,
    safe_repr,
    type_name,
)
from dataflow.hashing.encoding import head
from dataflow.hashing.names import class_name
from dataflow.hashing.strings import Strings

_SCALARS = "pandas scalar"


def rule_of(cls: type) -> Rule | None:
    """Return the rule for a class of pandas'; None: it has none of its own."""
    for kind, rule in _RULES.items():
        if issubclass(cls, kind):
            return rule
    return None


def _frame(value: Any) -> Contents:
    columns = [column.array for _, column in value.items()]
    parts = [class_part(type(value)), value.columns, value.index, _notes(value), *columns]
    names = value.columns

    def label(n: int) -> str:
        return ("", ".columns", ".index", ".attrs")[n] if n < 4 else (
            f"[{cut(safe_repr(names[n - 4]))}]")

    return Contents(head("frame", len(parts)), parts, label)


def _notes(value: Any) -> dict[str, Any] | None:
    """Return ``attrs``, and what a subclass declares to belong to its tables."""
    own = {name: getattr(value, name, None) for name in value._metadata if name != "_name"}
    return {**own, "attrs": value.attrs} if own or value.attrs else None


def _series(value: Any) -> Contents:
    parts = (class_part(type(value)), value.name, value.index, _notes(value), value.array)
    return Contents(head("series", 5), parts, by_names(["", ".name", ".index", ".attrs", ""]))


def _index(value: Any) -> Contents:
    counting = _counting(value)
    kind = "index" if type(value) is pd.RangeIndex else class_part(type(value))
    if kind == class_name(pd.Index):
        kind = "index"
    # of a period it is in the type, others have none; shifts and resampling go by it
    every = value.freqstr if isinstance(value, (pd.DatetimeIndex, pd.TimedeltaIndex)) else None
    parts = (kind, list(value.names), counting or value.array, every)
    return Contents(head("index", 4), parts, by_names(["", ".names", "", ".freq"]))


def _multi_index(value: Any) -> Contents:
    parts = [list(value.names), len(value),
             *(value.get_level_values(n).array for n in range(value.nlevels))]
    return Contents(head("multi-index", len(parts)), parts, by_position)


def _counting(index: Any) -> tuple[int, int, int] | None:
    """Return start, step and length of an index of int64 with one distance; None: it has not."""
    size = len(index)
    if type(index) is pd.RangeIndex:
        return (index.start, index.step, size) if size > 1 else _short_count(index)
    if index.dtype != np.dtype("int64"):
        return None
    if size <= 1:
        return _short_count(index)
    values = index.to_numpy()
    step = int(values[1]) - int(values[0])
    if int(values[-1]) - int(values[0]) != step * (size - 1) or not step:
        return None
    if not bool((values[1:] - values[:-1] == step).all()):
        return None
    return int(values[0]), step, size


def _short_count(index: Any) -> tuple[int, int, int]:
    return (int(index[0]), 1, 1) if len(index) else (0, 1, 0)


def _extension(value: Any) -> Contents:
    """Take apart one of pandas' arrays: its type, and its values in NumPy's or Arrow's terms."""
    dtype = value.dtype
    if isinstance(value, pd.arrays.NumpyExtensionArray) and not (
            isinstance(dtype, pd.StringDtype)):
        return Contents(head("column", 1), [value.to_numpy()], lambda n: "")
    parts = (_dtype_text(dtype), *_values(value, dtype))
    return Contents(head("extension column", len(parts)), parts, lambda n: "")


def _dtype_text(dtype: Any) -> str:
    if isinstance(dtype, pd.StringDtype):  # the storage does not count
        return f"str {dtype.na_value is pd.NA}"
    if isinstance(dtype, pd.CategoricalDtype):
        return f"category {dtype.ordered}"
    if isinstance(dtype, np.dtype):
        return f"numpy {dtype}"
    return f"{type(dtype).__name__} {dtype}"


def _values(value: Any, dtype: Any) -> tuple[Any, ...]:
    if isinstance(dtype, pd.StringDtype):
        return (_strings(value),)
    if isinstance(dtype, pd.CategoricalDtype):
        return (dtype.categories, value.codes.astype("int64"))
    if isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype, np.dtype)):
        return (value.view("i8") if isinstance(dtype, np.dtype) else value.asi8,)
    if isinstance(dtype, pd.IntervalDtype):
        return (value.left, value.right)
    if isinstance(dtype, pd.ArrowDtype):
        return (value.__arrow_array__(),)
    if hasattr(value, "_mask"):  # Int64, Float64, boolean and their like
        missing = value.isna()
        plain = value.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return (missing, plain)
    return (type_name(type(value)), np.asarray(value.astype(object), dtype=object))


def _strings(value: Any) -> Any:
    if value.dtype.storage == "pyarrow":
        from dataflow.hashing.arrow_tables import strings_of

        return strings_of(pa_whole(value))
    return Strings.of(value.to_numpy(dtype=object, na_value=None).tolist())


def pa_whole(value: Any) -> Any:
    """Return what is kept in Arrow as one array."""
    chunks = value.__arrow_array__()
    return chunks.combine_chunks() if hasattr(chunks, "combine_chunks") else chunks


def _timestamp(value: Any) -> Contents:
    raw = value.asm8
    parts = (type(value).__name__, getattr(value, "unit", "ns"), int(raw.view("i8")),
             getattr(value, "tzinfo", None), getattr(value, "fold", 0))
    return Contents(head(_SCALARS, 5), parts, by_position)


def _period(value: Any) -> Contents:
    return Contents(head(_SCALARS, 3), ("Period", value.ordinal, value.freqstr), by_position)


def _interval(value: Any) -> Contents:
    parts = ("Interval", value.left, value.right, value.closed)
    return Contents(head(_SCALARS, 4), parts, by_position)


def _offset(value: Any) -> Contents:
    parts = (type_name(type(value)), value.n, value.normalize, dict(value.kwds))
    return Contents(head(_SCALARS, 4), parts, by_position)


def _missing(value: Any) -> Contents:
    return Contents(head(_SCALARS, 1), [type(value).__name__], by_position)


def _dtype(value: Any) -> Contents:
    parts: tuple[Any, ...] = (_dtype_text(value),)
    if isinstance(value, pd.CategoricalDtype):
        parts += (value.categories,)
    return Contents(head("pandas dtype", len(parts)), parts, by_position)


def _grouped(value: Any) -> Contents:
    raise Refused(f"is a {type_name(type(value))}", "pass the table and what it is grouped by")


_RULES: dict[type, Rule] = {
    pd.DataFrame: _frame,
    pd.Series: _series,
    pd.MultiIndex: _multi_index,
    pd.Index: _index,
    pd.api.extensions.ExtensionArray: _extension,
    type(pd.NaT): _missing,
    type(pd.NA): _missing,
    pd.Timestamp: _timestamp,
    pd.Timedelta: _timestamp,
    pd.Period: _period,
    pd.Interval: _interval,
    pd.DateOffset.__mro__[-2]: _offset,
    pd.api.extensions.ExtensionDtype: _dtype,
    type(pd.DataFrame({"a": [1]}).groupby("a")): _grouped,
}
