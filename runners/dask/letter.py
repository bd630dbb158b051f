"""The letter that carries a batch to a worker: bytes inside bytes.

Lives here: its fields, and the functions that its pickles call to find what
does not lie inside (task codes the worker may know already, constants that came
as Dask dependencies). Does not live here: writing it (``wire.py``), acting on
it (``worker_side.py``).

No class of the user's is in a letter itself, so that it can be opened on a
worker that lacks a module: the batch inside may then fail, and is reported.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from runners.dask.parcel import Parcel


class Outline(NamedTuple):
    """What a report needs of a batch that cannot be opened: one call's elements."""

    call: int
    task: str
    indexes: Sequence[int]
    attempts: dict[int, int]


class Piece(NamedTuple):
    """Pickled once, needed by many batches; by its digest a worker knows that it has it."""

    digest: bytes
    data: bytes | None  # None: it comes as a shared constant
    shared: int = -1  # position among the shared constants


class Letter(NamedTuple):
    """A batch on its way."""

    session: str
    number: int
    batch: int
    topic: str
    body: bytes | None  # the batch, pickled; None: it is too big and comes as the last constant
    run: Piece
    codes: tuple[Piece, ...]
    shared: int  # how many of the dependencies are constants; results follow
    inputs: tuple[bool, ...]  # per input of the batch: it is among the results
    outline: tuple[Outline, ...]
    lengths_of: tuple[tuple[int, int, int], ...] = ()  # what a "lengths" batch asks for

    def seal(self) -> bytes:
        """Return the letter as bytes."""
        return pickle.dumps(self, protocol=5)

    @classmethod
    def opened(cls, data: bytes) -> Letter:
        """Return the letter in the bytes."""
        letter: Letter = pickle.loads(data)
        return letter


class Known:
    """What this worker process has unpickled already, by digest; bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, piece: Piece, constants: Sequence[Parcel]) -> Any:
        """Return the value of a piece, the same object each time."""
        with self._lock:
            if piece.digest in self._values:
                self._values.move_to_end(piece.digest)
                return self._values[piece.digest]
            if piece.data is None:
                value = constants[piece.shared].open()
            else:
                value = pickle.loads(piece.data)
            self._values[piece.digest] = value
            while len(self._values) > self._limit:
                self._values.popitem(last=False)
            return value


class _Desk(threading.local):
    """What the pickle being read in this thread may refer to."""

    def __init__(self) -> None:
        self.codes: dict[bytes, Any] = {}
        self.constants: Sequence[Parcel] = ()


_desk = _Desk()


@contextmanager
def on_desk(codes: dict[bytes, Any], constants: Sequence[Parcel]) -> Iterator[None]:
    """Make codes and constants reachable for the pickles read inside the block."""
    before = (_desk.codes, _desk.constants)
    _desk.codes, _desk.constants = codes, constants
    try:
        yield
    finally:
        _desk.codes, _desk.constants = before


def code_by_digest(digest: bytes) -> Any:
    """Return a task code; called by pickles."""
    return _desk.codes[digest]


def constant_at(position: int) -> Any:
    """Return a shared constant; called by pickles."""
    return _desk.constants[position].open()
