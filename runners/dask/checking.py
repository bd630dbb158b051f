"""Results that cannot leave their worker.

Lives here: finding them in a block and turning their elements into failures.
Does not live here: pickling for real, which happens when a block moves.
"""

from __future__ import annotations

import sys
from typing import Any

import cloudpickle

from dataflow.batch import Batch, Block, Column
from dataflow.exceptions import UnpicklableResult
from dataflow.failures import record_of
from dataflow.outcomes import Code, Detail, Report, Span
from runners.dask.parcel import dumps

_SAFE = frozenset({int, float, complex, str, bytes, bytearray, bool, type(None), range})


def drop_unpicklable(batch: Batch, report: Report, block: Block) -> Block | None:
    """Fail the elements whose values cannot be pickled; return the block without them.

    Notes
    -----
    Columns of plain scalars and arrays are let through by type alone (some
    30 ns a value); others are pickled once, with the buffers of arrays left out.
    """
    for call, column in list(block.columns.items()):
        if _is_safe(column.values) or _pickles(column.values):
            continue
        kept = _without_guilty(batch, report, call, column)
        if kept is None:
            del block.columns[call]
        else:
            block.columns[call] = kept
    return block if block.columns else None


def _is_safe(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    if kinds <= _SAFE:
        return True
    numpy = sys.modules.get("numpy")
    if numpy is None or not all(k in _SAFE or k.__module__ == "numpy" for k in kinds):
        return False
    return all(type(v) in _SAFE or not getattr(getattr(v, "dtype", None), "hasobject", True)
               for v in values)


def _pickles(value: Any) -> bool:
    try:
        dumps(value, [])
    except Exception:  # user values: __reduce__ may raise anything
        return False
    return True


def _without_guilty(batch: Batch, report: Report, call: int, column: Column) -> Column | None:
    indexes: list[int] = []
    values: list[Any] = []
    for index, value in zip(column.indexes, column.values, strict=True):
        error = _error_of(value)
        if error is None:
            indexes.append(index)
            values.append(value)
        else:
            _fail(report, call, index, value, error, _task_name(batch, call))
    return Column(indexes, values) if indexes else None


def _error_of(value: Any) -> Exception | None:
    if type(value) in _SAFE or _pickles(value):
        return None
    try:
        cloudpickle.dumps(value, protocol=5)
    except Exception as error:  # user values: __reduce__ may raise anything
        return error
    return None


def _fail(report: Report, call: int, index: int, value: Any, cause: Exception, task: str) -> None:
    kind = type(value)
    error = UnpicklableResult(
        f"The result of task {task!r} cannot be pickled, so it cannot leave its worker: "
        f"{kind.__module__}.{kind.__qualname__} ({type(cause).__name__}: {cause}). Return what it "
        "is made from instead (a path, an address, plain data).",
        task=task, type=f"{kind.__module__}.{kind.__qualname__}", index=index,
    )
    record = record_of(error, remote=True)
    span, position = _find(report, call, index)
    if span is None:
        return
    span.codes[position] = Code.FAILED
    detail = span.details.setdefault(index, Detail())
    detail.error, detail.length = record, None


def _find(report: Report, call: int, index: int) -> tuple[Span | None, int]:
    for span in report.spans:
        if span.call == call and index in span.indexes:
            return span, span.indexes.index(index)
    return None, -1


def _task_name(batch: Batch, call: int) -> str:
    for group in batch.groups:
        for part in group.parts:
            if part.code.call == call:
                return part.code.task.name
    return "?"
