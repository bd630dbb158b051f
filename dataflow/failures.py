"""Exceptions of user code, on their way over a process border and back.

Lives here: :func:`record_of` (exception → record) and :func:`exception_of`
(record → an exception that can be raised). Does not live here: what a failure
leads to (``engine/``).
"""

from __future__ import annotations

import pickle
import traceback
from typing import Any, TypeVar

import cloudpickle

from dataflow import exceptions
from dataflow.exceptions import RemoteError
from dataflow.outcomes import ErrorRecord

E = TypeVar("E", bound=BaseException)

_MESSAGE_LIMIT = 64 * 1024  # characters of a message kept
_TRACEBACK_LIMIT = 64 * 1024  # characters of a traceback kept, its end


def type_name(kind: type[BaseException]) -> str:
    """Return ``ValueError`` for built-in exceptions, ``package.module.Name`` for others."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def record_of(error: BaseException, *, remote: bool, skip_frames: int = 0) -> ErrorRecord:
    """Turn an exception into a record that keeps text and traceback whatever it is.

    Parameters
    ----------
    error
        The exception, with its traceback.
    remote
        True where the record will cross a process border: the exception is
        pickled (and checked to come back) instead of being referred to.
    skip_frames
        Frames of the framework at the start of the traceback to leave out.
    """
    frames = error.__traceback__
    for _ in range(skip_frames):
        if frames is not None and frames.tb_next is not None:
            frames = frames.tb_next
    text = _traceback_text(error, frames)
    pickled = pickled_exception(error) if remote else None
    return ErrorRecord(
        type_name=type_name(type(error)),
        message=text_of(error)[:_MESSAGE_LIMIT],
        traceback=text[-_TRACEBACK_LIMIT:],
        pickled=pickled,
        exception=None if remote else error,
    )


def own_frames(error: BaseException, modules: str) -> int:
    """Count the leading frames of a traceback in modules whose names begin with ``modules``."""
    count, frame = 0, error.__traceback__
    while frame is not None and frame.tb_frame.f_globals.get("__name__", "").startswith(modules):
        count, frame = count + 1, frame.tb_next
    return count


def shorn(error: E, modules: str) -> E:
    """Take the leading frames in such modules off an exception's traceback; return it."""
    frame = error.__traceback__
    for _ in range(own_frames(error, modules)):
        frame = frame.tb_next if frame is not None else None
    return error.with_traceback(frame) if frame is not None else error


def exception_of(record: ErrorRecord) -> BaseException:
    """Return the exception to raise for a record: the same object each time.

    One that came over a process border carries the worker's traceback as a
    note. One that could not be pickled is a :class:`RemoteError` with the
    original type's name, text and traceback.
    """
    if record.exception is not None:
        return record.exception
    error: BaseException | None = None
    if record.pickled is not None:
        try:
            error = pickle.loads(record.pickled)()
        except Exception:  # user code: an exception's own __setstate__ or a missing module
            error = None
    if error is None:
        error = _own(record) or RemoteError(
            f"{record.type_name}: {record.message}",
            type_name=record.type_name, remote_traceback=record.traceback,
        )
    if record.traceback:
        error.add_note("Traceback where it was raised:\n" + record.traceback.rstrip())
    record.exception = error
    return error


def _own(record: ErrorRecord) -> BaseException | None:
    """Return an error of this package, which its name and text are enough to make."""
    module, _, name = record.type_name.rpartition(".")
    kind = getattr(exceptions, name, None) if module == exceptions.__name__ else None
    return kind(record.message) if isinstance(kind, type) else None


def describe(record: ErrorRecord) -> str:
    """Return ``ValueError: the message`` on one line, cut to 300 characters."""
    line = f"{record.type_name}: {record.message}".replace("\n", " ")
    return line if len(line) <= 300 else line[:297] + "..."


class _Plain:
    """An exception that the usual way of pickling would not bring back, taken apart."""

    def __init__(self, kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]):
        self.kind, self.args, self.state = kind, args, state

    def __call__(self) -> BaseException:
        error = self.kind.__new__(self.kind, *self.args)
        error.args = self.args
        error.__dict__.update(self.state)
        return error


class _Anew(_Plain):
    """One that only its own ``__init__`` makes whole, as the decoding errors are."""

    def __call__(self) -> BaseException:
        error = self.kind(*self.args)
        error.__dict__.update(self.state)
        return error


class _Chained:
    """An exception with its cause, since pickling an exception drops ``__cause__``."""

    def __init__(self, error: Any, cause: Any, context: Any, suppress: bool):
        self.error, self.cause, self.context, self.suppress = error, cause, context, suppress

    def __call__(self) -> BaseException:
        error: BaseException = self.error() if isinstance(self.error, _Plain) else self.error
        if self.cause is not None:
            error.__cause__ = self.cause()
        elif self.context is not None:
            error.__context__ = self.context()
        error.__suppress_context__ = self.suppress
        return error


def pickled_exception(error: BaseException) -> bytes | None:
    """Return bytes that unpickle to a callable making the exception, or None."""
    whole = _chain(error, depth=0)
    if whole is None:
        return None
    try:
        data: bytes = cloudpickle.dumps(whole)
    except Exception:  # user code: __reduce__ may raise anything
        return None
    return data


def _chain(error: BaseException | None, depth: int) -> _Chained | None:
    if error is None or depth > 5:
        return None
    part = _comes_back(error)
    if part is None:
        return None
    suppress = error.__suppress_context__
    context = None if suppress or error.__cause__ is not None else error.__context__
    return _Chained(part, _chain(error.__cause__, depth + 1), _chain(context, depth + 1), suppress)


def _comes_back(error: BaseException) -> Any:
    """Return what to pickle for an exception: itself, taken apart, or None when neither works."""
    parts = type(error), error.args, _bare_state(error)
    for candidate in (error, _Anew(*parts), _Plain(*parts)):
        try:
            data = cloudpickle.dumps(candidate)
            back = pickle.loads(data)
            if isinstance(candidate, _Plain):
                back = back()
            if type(back) is type(error) and text_of(back) == text_of(error):
                return candidate
        except Exception:  # user code: __reduce__, __init__ or __setstate__ may raise anything
            continue
    return None


def _bare_state(error: BaseException) -> dict[str, Any]:
    """Return the attributes of an exception that can be pickled one by one."""
    state = {}
    for name, value in error.__dict__.items():
        try:
            cloudpickle.dumps(value)
        except Exception:  # user values: __reduce__ may raise anything
            continue
        state[name] = value
    return state


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, and a text that says so where there is none to be had."""
    try:
        return str(error)
    except Exception as broken:  # user code: __str__ may raise anything
        return f"<{type(error).__name__} whose text cannot be made: {type(broken).__name__}>"


def _traceback_text(error: BaseException, frames: Any) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # user code: __str__ of an exception in the chain
        return f"{type_name(type(error))}: {text_of(error)}\n"
