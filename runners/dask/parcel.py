"""Values that cross process borders as one opaque object.

Lives here: :class:`Parcel` (pickled when it leaves, unpickled when it is
opened) and :class:`Result`, what a batch's Dask task returns. Does not live
here: how a batch is pickled (``wire.py``).

Dask walks lists and tuples when it serialises them (20 µs an element); a parcel
costs what pickling its content costs, and buffers of arrays travel beside it
uncopied. Since it is opened by our code, content that cannot be unpickled is an
error of one batch, not of the connection that it came over.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Any

from dataflow.batch import Block
from dataflow.named_classes import dumps_naming

Dumps = Callable[[Any, list[pickle.PickleBuffer]], bytes]
_EMPTY = object()
_MINIMUM_BYTES = 64


def dumps(value: Any, buffers: list[pickle.PickleBuffer]) -> bytes:
    """Pickle with the fast pickler, with cloudpickle where that fails; buffers out of band."""
    try:
        return pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    except Exception:  # user values: __reduce__ may raise anything
        buffers.clear()
        return dumps_naming(value, buffers.append)


class Parcel:
    """One value on its way.

    Parameters
    ----------
    value
        The live value.
    size_bytes
        Its memory, estimated; what Dask decides on spilling and moving by.
    """

    __slots__ = ("_buffers", "_head", "_lock", "_value", "size_bytes")

    def __init__(self, value: Any, size_bytes: int = 0) -> None:
        self._value = value
        self._head: bytes | None = None
        self._buffers: list[Any] = []
        self._lock = Lock()
        self.size_bytes = size_bytes

    @classmethod
    def closed(cls, head: bytes, buffers: list[Any], size_bytes: int) -> Parcel:
        """Return a parcel of pickled content."""
        parcel = cls(_EMPTY, size_bytes)
        parcel._head, parcel._buffers = head, buffers
        return parcel

    @classmethod
    def packed(cls, value: Any, pickler: Dumps) -> Parcel:
        """Return a parcel whose content is pickled here and now."""
        buffers: list[pickle.PickleBuffer] = []
        head = pickler(value, buffers)
        return cls.closed(head, buffers, len(head) + sum(b.raw().nbytes for b in buffers))

    def digest(self) -> bytes:
        """Return a digest of the pickled content."""
        digest = blake2b(self._head or b"", digest_size=16)
        for buffer in self._buffers:
            digest.update(buffer.raw() if isinstance(buffer, pickle.PickleBuffer) else buffer)
        return digest.digest()

    def open(self) -> Any:
        """Return the value; the same object each time."""
        with self._lock:
            if self._value is _EMPTY:
                assert self._head is not None
                # bytes would make arrays that cannot be written to
                buffers = [bytearray(b) if type(b) is bytes else b for b in self._buffers]
                self._value = pickle.loads(self._head, buffers=buffers)
            return self._value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        head, buffers = self._head, self._buffers
        if head is None:
            buffers = []
            head = dumps(self._value, buffers)
        views: list[Any] = [b if isinstance(b, pickle.PickleBuffer) else pickle.PickleBuffer(b)
                            for b in buffers]
        if protocol < 5:  # what a scheduler passes on to a client
            views = [bytes(view.raw()) for view in views]
        # a function, not the classmethod: cloudpickle ships bound methods by value, and with
        # them a copy of this module's globals
        return (_closed, (head, views, self.size_bytes))

    def __sizeof__(self) -> int:
        return max(self.size_bytes, _MINIMUM_BYTES)


class Result:
    """What the Dask task of a batch leaves on its worker: the values, and the report again."""

    __slots__ = ("parcel", "report")

    def __init__(self, report: bytes, parcel: Parcel | None) -> None:
        self.report = report
        self.parcel = parcel

    @classmethod
    def of(cls, report: bytes, block: Block | None) -> Result:
        """Return the result of a batch."""
        return cls(report, None if block is None else Parcel(block, block.size_bytes))

    def block(self) -> Block:
        """Return the values; an empty block where none were kept."""
        if self.parcel is None:
            return Block({})
        block: Block = self.parcel.open()
        return block

    def __reduce__(self) -> tuple[Any, ...]:
        return (Result, (self.report, self.parcel))

    def __sizeof__(self) -> int:
        return len(self.report) + (_MINIMUM_BYTES if self.parcel is None
                                   else self.parcel.__sizeof__())


def _closed(head: bytes, buffers: list[Any], size_bytes: int) -> Parcel:
    return Parcel.closed(head, buffers, size_bytes)
