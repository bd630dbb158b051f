"""Rules for polars: frames and series, by what they say.

Lives here: everything of polars'. Does not live here: other tables. Imported when a
value of polars' comes by, so it is there; whether PyArrow is makes no difference.

Names, types and values count; chunks and codes do not.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from dataflow.hashing.contents import Contents, Refused, Rule, by_position, type_name
from dataflow.hashing.encoding import head
from dataflow.hashing.strings import Strings


def rule_of(cls: type) -> Rule | None:
    """Return the rule for a class of polars'; None: it has none of its own."""
    for kinds, rule in _RULES:
        if issubclass(cls, kinds):
            return rule
    return None


def _frame(value: Any) -> Contents:
    names = value.columns
    parts = [value.height, *value.get_columns()]

    def label(n: int) -> str:
        return f"[{names[n - 1]!r}]" if n else ".height"

    return Contents(head("polars frame", len(parts)), parts, label)


def _series(value: Any) -> Contents:
    parts = (value.name, str(value.dtype), len(value), *_pieces(value))
    return Contents(head("polars series", len(parts)), parts, by_position)


def _pieces(value: Any) -> tuple[Any, ...]:
    """Return what a series consists of: values that have rules of their own."""
    kind = value.dtype
    if kind == pl.Null:
        return ()
    if kind in (pl.Categorical, pl.Enum):
        value = value.cast(pl.String)
        kind = value.dtype
    missing = value.is_null().cast(pl.UInt8).to_numpy() if value.null_count() else None
    if kind == pl.Struct:
        fields = [value.struct.field(field.name) for field in kind.fields]
        return missing, *fields
    if kind in (pl.String, pl.Binary):
        return (Strings.of(value.to_list()),)
    if kind == pl.Boolean:
        return missing, value.cast(pl.UInt8).fill_null(0).to_numpy()
    if kind.is_temporal():
        value = value.to_physical()
        return missing, value.fill_null(0).to_numpy()
    if kind.is_numeric() and kind != pl.Decimal:
        return missing, value.fill_null(0).to_numpy()
    if kind == pl.Object:
        return (list(value),)
    if kind == pl.List:
        present = value.drop_nulls()
        lengths = value.list.len().fill_null(0).cast(pl.Int64).to_numpy()
        inner = present.filter(present.list.len() > 0).explode()
        return missing, lengths, inner
    return (value.to_list(),)  # decimals, arrays of one size: one by one


def _lazy(value: Any) -> Contents:
    raise Refused(f"is a {type_name(type(value))}, which is a plan",
                  "collect() it, or register(polars.LazyFrame) what stands for it")


def _type(value: Any) -> Contents:
    return Contents(head("polars type", 1), [str(value)], by_position)


_RULES: list[tuple[Any, Rule]] = [
    (pl.DataFrame, _frame),
    (pl.Series, _series),
    (pl.LazyFrame, _lazy),
    (pl.DataType, _type),
]

