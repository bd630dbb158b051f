"""Which call and which argument of a batch cannot be pickled.

Lives here: the search, and the errors that name what was found. Does not live
here: pickling what can be pickled (``wire.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dataflow.batch import Batch, Const, Group, Part, Source, Tree
from dataflow.exceptions import TransportError, UnpicklableArgument, UnpicklableTask
from dataflow.failures import record_of, text_of
from dataflow.outcomes import ErrorRecord

Pickle = Callable[[Any], Any]


def find_guilty(batch: Batch, pickles: Pickle, error: Exception) -> dict[int, ErrorRecord]:
    """Return the errors of the calls at fault, by call.

    Parameters
    ----------
    batch
        Could not be pickled.
    pickles
        Pickles one value, or raises.
    error
        What pickling the whole raised; said of every call when no piece fails alone.
    """
    found: dict[int, ErrorRecord] = {}
    for group in batch.groups:
        for part in group.parts:
            call = part.code.call
            guilty = None if call in found else _guilt_of(part, group, pickles)
            if guilty is not None:
                found[call] = record_of(guilty, remote=False)
    if found:
        return found
    for group in batch.groups:
        for part in group.parts:
            name = part.code.task.name
            made = TransportError(
                f"A batch with calls of task {name!r} cannot be pickled: {_text(error)}", task=name)
            made.__cause__ = error
            found.setdefault(part.code.call, record_of(made, remote=False))
    return found


def find_elements(batch: Batch, errors: dict[int, ErrorRecord],
                  pickles: Pickle) -> dict[int, dict[int, ErrorRecord]]:
    """Return the elements at fault, by call, for the calls of ``errors`` whose items are."""
    found: dict[int, dict[int, ErrorRecord]] = {}
    for group in batch.groups:
        for part in group.parts:
            call = part.code.call
            fault = errors[call].exception if call in errors else None
            if getattr(fault, "index", None) is None:
                continue  # innocent, or the fault is the same for every element
            for parameter, index, value in _values(part, group):
                error = None if index is None else _error_of(value, pickles)
                if index is not None and error is not None:
                    made = _argument_error(part.code.task.name, parameter, index, value, error)
                    found.setdefault(call, {}).setdefault(index, record_of(made, remote=False))
    return found


def _guilt_of(part: Part, group: Group, pickles: Pickle) -> TransportError | None:
    task = part.code.task
    error = _error_of(task, pickles)
    if error is not None:
        made = UnpicklableTask(
            f"Task {task.name!r} cannot be pickled, so it cannot go to a Dask worker: "
            f"{_text(error)}. Its function, or a default, closure or global that it uses, holds "
            "something that lives in this process only (a lock, a connection, an open file): "
            "make that inside the task, or pass what it is made from.",
            task=task.name,
        )
        made.__cause__ = error
        return made
    for parameter, index, value in _values(part, group):
        error = _error_of(value, pickles)
        if error is not None:
            return _argument_error(task.name, parameter, index, value, error)
    return None


def _argument_error(task: str, parameter: str, index: int | None, value: Any,
                    error: Exception) -> UnpicklableArgument:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    where = "" if index is None else f" of element {index}"
    made = UnpicklableArgument(
        f"Argument {parameter!r}{where} of task {task!r} cannot be pickled, so it cannot go to a "
        f"Dask worker: it is a {kind} ({_text(error)}). Pass what it is made from (a path, an "
        "address, plain data) and make it inside the task, or use a runner of threads.",
        task=task, argument=parameter, type=kind, index=index,
    )
    made.__cause__ = error
    return made


def _values(part: Part, group: Group) -> Iterator[tuple[str, int | None, Any]]:
    """Yield (parameter, element or None for all, value) of everything sent with a part."""
    code = part.code
    sources: list[tuple[int | str, Source]] = [*enumerate(code.args), *code.kwargs.items()]
    for key, source in sources:
        if isinstance(source, Const):
            yield _name(part, key), None, source.value
        elif isinstance(source, Tree):
            yield _name(part, key), None, source.template
    for key, items in part.items.items():
        for index, item in zip(group.indexes, items, strict=False):
            yield _name(part, key), index, item.value if isinstance(item, Const) else item


def _name(part: Part, key: int | str) -> str:
    if isinstance(key, str):
        return key
    names = part.code.names
    return names[key] if key < len(names) else f"argument {key + 1}"


def _error_of(value: Any, pickles: Pickle) -> Exception | None:
    try:
        pickles(value)
    except Exception as error:  # user values: __reduce__ may raise anything
        return error
    return None


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {text_of(error)}"
