"""Tables as Parquet: pandas, polars, pyarrow.

Lives here: from a table to bytes and back to a table of the same kind. Does not
live here: the serializer that users name (``serializers.py``).
"""

from __future__ import annotations

import sys
from typing import Any

from dataflow.exceptions import MissingModule

_KIND = b"dataflow.table"


def dump_table(table: Any, compression: str) -> bytes:
    """Return a table as Parquet.

    Raises
    ------
    MissingModule
        pyarrow is not installed.
    TypeError
        It is no table of pandas, polars or pyarrow.
    """
    kind = _kind_of(table)
    if kind is None:
        raise TypeError("it is no table of pandas, polars or pyarrow")
    arrow, parquet = _pyarrow()
    if kind == "pyarrow":
        rows = table
    elif kind == "polars":
        rows = table.to_arrow()
    else:
        rows = arrow.Table.from_pandas(table)
    rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), _KIND: kind.encode()})
    sink = arrow.BufferOutputStream()
    parquet.write_table(rows, sink, compression=compression)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def load_table(data: bytes) -> Any:
    """Return a table of the kind that was written.

    Raises
    ------
    MissingModule
        pyarrow or the table's own package is not installed.
    """
    arrow, parquet = _pyarrow()
    rows = parquet.read_table(arrow.BufferReader(data))
    metadata = dict(rows.schema.metadata or {})
    kind = metadata.pop(_KIND, b"pyarrow").decode()
    rows = rows.replace_schema_metadata(metadata or None)
    if kind == "pandas":
        return rows.to_pandas()
    if kind == "polars":
        try:
            import polars as pl
        except ImportError as error:
            raise _missing("polars", error) from error
        return pl.from_arrow(rows)
    return rows


def _kind_of(table: Any) -> str | None:
    """Return whose table it is, without importing anybody."""
    for kind, name in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")):
        module = sys.modules.get(kind)
        if module is not None and isinstance(table, getattr(module, name, ())):
            return kind
    return None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise _missing("pyarrow", error) from error
    return pa, pq


def _missing(module: str, error: ImportError) -> MissingModule:
    return MissingModule(
        f"The 'parquet' serializer needs {module}, which cannot be imported ({error}). Install it "
        f"(pip install {module}) here and on the workers, or use result_serializer='pickle'.",
        name=module)
