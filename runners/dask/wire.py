"""Batches as bytes.

Lives here: pickling a batch in the flow's process, once per task what belongs
to a task, once per run what is large. Does not live here: finding out what was
at fault when that fails (``refusal.py``), the format (``letter.py``).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from operator import attrgetter
from typing import Any

from dataflow import batch as batches
from dataflow.batch import Batch, Const, RunInfo, TaskCode, Tree
from dataflow.named_classes import NamingPickler, dumps_naming
from runners.dask.constants import Constants, Scatter
from runners.dask.letter import Letter, Outline, Piece, code_by_digest, constant_at
from runners.dask.local_modules import by_value
from runners.dask.parcel import Parcel

EMBED_BYTES = 32 * 1024
"""Task codes up to this size lie in every letter; larger ones are shared constants."""

BODY_BYTES = 1_000_000
"""A batch with larger items does not pass through the scheduler's memory."""


def dumps_by_value(value: Any, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Pickle with the user's modules by value; by reference where that is impossible."""
    callback = None if buffers is None else buffers.append
    try:
        with by_value():
            return dumps_naming(value, callback)
    except Exception:  # user values: a module's globals may hold what cannot be pickled
        if buffers is not None:
            buffers.clear()
        return dumps_naming(value, callback)


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch ready to go: its letter, and the constants it needs on the worker."""

    sealed: bytes
    constants: list[Any]  # Dask futures


class Packer:
    """Pickles the batches of one session. Not thread-safe.

    Parameters
    ----------
    session, topic
        Where the worker sends its news.
    run
        The flow run.
    scatter
        Puts a parcel on a worker and returns its Dask future.
    """

    def __init__(self, session: str, topic: str, run: RunInfo, scatter: Scatter) -> None:
        self._session, self._topic = session, topic
        self.constants = Constants(f"constant-{session}", scatter, dumps_by_value)
        self._codes: dict[str, tuple[TaskCode, Piece]] = {}
        self._run = _piece(_pickled_run(run))

    def pack(self, batch: Batch, number: int, inputs: Sequence[bool]) -> Packed:
        """Pickle a batch.

        Raises
        ------
        Exception
            Whatever pickling raises; nothing was sent but constants.
        """
        writing, body = self._write(batch)
        run = writing.placed(self._run)
        codes = tuple(writing.placed(piece) for piece in writing.codes.values())
        outline = tuple(
            Outline(part.code.call, part.code.task.name, group.indexes, part.attempts)
            for group in batch.groups for part in group.parts
        )
        shared = writing.shared
        if body is not None and len(body) > BODY_BYTES:
            shared.append(self.constants.send(Parcel.closed(body, [], len(body))))
            body = None
        letter = Letter(self._session, number, batch.id, self._topic, body, run, codes,
                        len(shared), tuple(inputs), outline, batch.lengths_of)
        return Packed(letter.seal(), shared)

    def _write(self, batch: Batch) -> tuple[_Writing, bytes | None]:
        writing = _Writing(self)
        try:
            with by_value():
                return writing, writing.dumps(batch)
        except Exception:  # user values: a module's globals may hold what cannot be pickled
            writing = _Writing(self)
            return writing, writing.dumps(batch)

    def code(self, code: TaskCode) -> Piece:
        """Return a task code pickled; each is pickled once."""
        known = self._codes.get(code.token)
        if known is None or known[0] is not code:
            known = self._codes[code.token] = (code, _piece(dumps_by_value(code)))
        return known[1]


def _piece(data: bytes) -> Piece:
    return Piece(blake2b(data, digest_size=16).digest(), data)


def _pickled_run(run: RunInfo) -> bytes:
    """Pickle the flow run; parameters that cannot be pickled become their repr."""
    try:
        return dumps_by_value(run)
    except Exception:  # user values: __reduce__ may raise anything
        texts = {name: _pickles_or_repr(value) for name, value in run.parameters.items()}
        return dumps_by_value(replace(run, parameters=texts))


def _pickles_or_repr(value: Any) -> Any:
    try:
        dumps_by_value(value)
    except Exception:  # user values: __reduce__ may raise anything
        return repr(value)
    return value


_OURS: dict[type, Any] = {
    kind: attrgetter(*(field.name for field in fields(kind)))
    for kind in (Batch, batches.Group, batches.Part, batches.CallCode, batches.Placement,
                 batches.One, batches.Whole, batches.ItemOf, batches.FlatItem, batches.Flat)
}
"""Our classes of several fields, which are made again from them: cheaper than their state."""


class _Writing(NamingPickler):
    """One batch being pickled: task codes and large constants are left out and noted."""

    def __init__(self, packer: Packer) -> None:
        self._file = io.BytesIO()
        super().__init__(self._file, protocol=5)
        self._packer = packer
        self.codes: dict[bytes, Piece] = {}
        self.shared: list[Any] = []
        self._places: dict[int, int] = {}

    def dumps(self, batch: Batch) -> bytes:
        """Return the batch pickled."""
        self.dump(batch)
        return self._file.getvalue()

    def reducer_override(self, obj: Any) -> Any:
        """Say how to pickle what is not of a built-in type; called by the pickler."""
        kind = type(obj)
        if kind is Const:
            if self._is_large(obj, obj.value):
                return _shared_const, (self._place(obj, obj.value),)
            return Const, (obj.value,)
        if kind in _OURS:
            return kind, _OURS[kind](obj)
        if kind is TaskCode:
            piece = self._packer.code(obj)
            self.codes[piece.digest] = piece
            return code_by_digest, (piece.digest,)
        if kind is Tree and self._is_large(obj, obj.template):
            return _shared_tree, (self._place(obj, obj.template), obj.leaves)
        return super().reducer_override(obj)

    def placed(self, piece: Piece) -> Piece:
        """Return a piece as it goes into the letter: inside, or as a shared constant."""
        if piece.data is None or len(piece.data) <= EMBED_BYTES:
            return piece
        self.shared.append(self._packer.constants.sealed(piece.digest, piece.data))
        return Piece(piece.digest, None, len(self.shared) - 1)

    def _is_large(self, holder: Any, value: Any) -> bool:
        return self._packer.constants.is_large(holder, value)

    def _place(self, holder: Any, value: Any) -> int:
        place = self._places.get(id(holder))
        if place is None:
            self.shared.append(self._packer.constants.future_of(holder, value))
            place = self._places[id(holder)] = len(self.shared) - 1
        return place


def _shared_const(position: int) -> Const:
    return Const(constant_at(position))


def _shared_tree(position: int, leaves: tuple[Any, ...]) -> Tree:
    return Tree(constant_at(position), leaves)
