"""How records are made small, and read back.

Lives here: a span of elements as one blob, a text as a digest, a traceback
without the message that makes each one different. Pure functions over values.
Does not live here: tables or statements.

A blob holds column after column, little-endian::

    started  float32 × n   seconds after the span's started_s
    elapsed  float32 × n   seconds
    codes    uint8 × n     only where the elements ended differently
    indexes  uint32|64 × n counted from the first; only where they are no neighbours
    own_cpu  float32 × n   seconds; only where some were measured (outcomes.SHARED_CPU)

which is 8 bytes for an element of a map that completed. Cache keys are a blob of
their own, 16 bytes an element, so that who wants none reads none.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any, NamedTuple

from dataflow.failures import pickled_exception
from dataflow.outcomes import FIRST_FINAL, STATE_OF, ErrorRecord, Span, share_of_cpu
from dataflow.store import PICKLED_BYTES

_MESSAGE_MARK = "\x1a"  # SUBSTITUTE: stands for the message in a stored traceback
_NOT_FINAL = bytes(range(FIRST_FINAL))
_LOCAL_PICKLED = 100  # exceptions of a gulp
KEY_BYTES = 16
_NO_KEY = bytes(KEY_BYTES)  # stands in a span of keys for an element that has none


class PackedElement(NamedTuple):
    """What a span says of one element."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    code: int
    started_s: float
    ended_s: float
    key: bytes | None = None
    cpu_s: float | None = None
    cpu_estimated: bool = False


@dataclass(frozen=True, slots=True)
class PackedSpan:
    """A span as it is stored: elements with an outcome, in ascending order."""

    first: int
    last: int
    count: int
    code: int | None
    index_size: int
    started_s: float
    packed: bytes
    keys: bytes | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None

    def indexes(self) -> Sequence[int]:
        """Return the elements' indexes, ascending."""
        if self.index_size == 0:
            return range(self.first, self.last + 1)
        kind = "I" if self.index_size == 4 else "Q"
        begin = self.count * self._width()
        offsets = _native(array(kind, self.packed[begin : begin + self.count * self.index_size]))
        return [self.first + offset for offset in offsets]

    def codes(self) -> bytes:
        """Return a code per element."""
        if self.code is not None:
            return bytes((self.code,)) * self.count
        return self.packed[8 * self.count : 9 * self.count]

    def key(self, position: int) -> bytes | None:
        """Return the cache key of the element at a position, None where it has none."""
        return None if self.keys is None else key_at(self.keys, position)

    def element(self, index: int) -> PackedElement | None:
        """Return what the span says of an element, None where it says nothing."""
        indexes = self.indexes()
        if not (self.first <= index <= self.last) or index not in indexes:
            return None
        return next(self._at([indexes.index(index)]))

    def elements(self, codes: Collection[int] | None = None) -> Iterator[PackedElement]:
        """Yield the elements in index order, only those that ended with one of ``codes``.

        Cost grows with what is taken, and with the codes that have to be looked at.
        """
        return self._at(range(self.count) if codes is None else self._positions(codes))

    def _positions(self, codes: Collection[int]) -> Sequence[int]:
        if self.code is not None:
            return range(self.count) if self.code in codes else ()
        wanted = bytes(code in codes for code in range(256))
        marks = self.codes().translate(wanted)
        return [position for position, mark in enumerate(marks) if mark]

    def _at(self, positions: Sequence[int]) -> Iterator[PackedElement]:
        started = _native(array("f", self.packed[: 4 * self.count]))
        elapsed = _native(array("f", self.packed[4 * self.count : 8 * self.count]))
        indexes, codes = self.indexes(), self.codes()
        span = Span(0, indexes, bytearray(), started, elapsed, cpu_s=self.cpu_s,
                    own_cpu=self._own_cpu())
        cpu = span.cpu_column()
        for at in positions:
            begin_s = self.started_s + started[at]
            cpu_s, estimated = cpu(at)
            yield PackedElement(indexes[at], codes[at], begin_s, begin_s + elapsed[at],
                                self.key(at), cpu_s, estimated)

    def _own_cpu(self) -> array[float] | None:
        begin = self.count * (self._width() + self.index_size)
        rest = self.packed[begin : begin + 4 * self.count]
        return _native(array("f", rest)) if rest else None

    def _width(self) -> int:
        return 8 if self.code is not None else 9


def pack_span(span: Span, started_s: float) -> PackedSpan | None:
    """Return the elements of a span that have an outcome; None when none has."""
    count = len(span.codes)
    if not _ascending(span.indexes):
        return _pack_final(span, started_s)
    if count and span.codes.count(span.codes[0]) == count:  # the rule: all of them completed
        if span.codes[0] < FIRST_FINAL:
            return None
        return _pack(span, span.indexes, None, span.codes[0], started_s)
    if count and len(span.codes.translate(None, _NOT_FINAL)) == count:
        return _pack(span, span.indexes, span.codes, None, started_s)
    return _pack_final(span, started_s)


def _pack_final(span: Span, started_s: float) -> PackedSpan | None:
    keep = [at for at, code in enumerate(span.codes) if code >= FIRST_FINAL]
    keep.sort(key=span.indexes.__getitem__)
    if not keep:
        return None
    codes = bytearray(span.codes[at] for at in keep)
    uniform = codes.count(codes[0]) == len(codes)
    kept = _only(span, keep)
    return _pack(kept, kept.indexes, None if uniform else codes, codes[0] if uniform else None,
                 started_s)


def _only(span: Span, keep: list[int]) -> Span:
    """Return some positions of a span, with the part of the processor time that is theirs."""
    keys, own = span.keys, span.own_cpu
    kept = Span(
        span.call, [span.indexes[at] for at in keep], bytearray(span.codes[at] for at in keep),
        array("f", [span.started[at] for at in keep]),
        array("f", [span.elapsed[at] for at in keep]),
        keys=None if keys is None else b"".join(
            keys[KEY_BYTES * at : KEY_BYTES * (at + 1)] for at in keep),
        own_cpu=None if own is None else array("f", [own[at] for at in keep]),
        peak_bytes=span.peak_bytes)
    if span.cpu_s is not None:
        rest_s, shared_s = span.cpu_s - span.measured_cpu_s(), span.shared_elapsed_s()
        kept.cpu_s = kept.measured_cpu_s() + (
            share_of_cpu(rest_s, kept.shared_elapsed_s(), shared_s) if shared_s > 0
            else max(0.0, rest_s))  # of elements side by side: it is theirs together
    return kept


def _pack(
    span: Span, indexes: Sequence[int], codes: bytearray | None, code: int | None,
    started_s: float,
) -> PackedSpan:
    count, keys = len(indexes), span.keys
    first, last = indexes[0], indexes[-1]
    parts = [_little(span.started), _little(span.elapsed)]
    if codes is not None:
        parts.append(bytes(codes))
    index_size = 0
    if last - first + 1 != count:
        index_size = 4 if last - first < 1 << 32 else 8
        kind = "I" if index_size == 4 else "Q"
        parts.append(_little(array(kind, [index - first for index in indexes])))
    if span.own_cpu is not None:
        parts.append(_little(span.own_cpu))
    return PackedSpan(first, last, count, code, index_size, started_s, b"".join(parts),
                      keys if keys and any(keys) else None, span.cpu_s, span.peak_bytes)


def key_at(keys: bytes, position: int) -> bytes | None:
    """Return one of many cache keys, None where none stands there."""
    key = keys[KEY_BYTES * position : KEY_BYTES * (position + 1)]
    return None if key == _NO_KEY else key


def _ascending(indexes: Sequence[int]) -> bool:
    if isinstance(indexes, range):
        return indexes.step > 0
    return all(a < b for a, b in pairwise(indexes))


def _little(column: array[Any]) -> bytes:
    return _native(column).tobytes()


def _native(column: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column


def clean(text: str) -> str:
    """Return a text that every database takes: lone surrogates and NUL are written as escapes.

    They come from file names that are no UTF-8, and from bytes that were taken for a text; a
    store must not fail on them.
    """
    if "\x00" in text:
        text = text.replace("\x00", "\\x00")
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@lru_cache(maxsize=4096)
def digest(text: str) -> int:
    """Return a signed 64-bit number that stands for a text."""
    raw = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True)


def shorten_traceback(error: ErrorRecord) -> str:
    """Return the traceback with a mark for the message: the same text for equal failures.

    ``ValueError: flight 17 has no air time`` differs in each of 9,430
    tracebacks; without it they are one text, stored once.
    """
    if not error.message or _MESSAGE_MARK in error.traceback:
        return error.traceback
    head, found, rest = error.traceback.rpartition(error.message)
    return f"{head}{_MESSAGE_MARK}{rest}" if found else error.traceback


def restore_traceback(stored: str | None, message: str | None) -> str | None:
    """Return what :func:`shorten_traceback` was given."""
    if stored is None or message is None:
        return stored
    return stored.replace(_MESSAGE_MARK, message, 1)


def pickled_of(error: ErrorRecord | None) -> bytes | None:
    """Return the exception as bytes, None where there are none or too many."""
    if error is None or error.pickled is None or len(error.pickled) > PICKLED_BYTES:
        return None
    return error.pickled


def pickle_local(errors: Iterable[ErrorRecord | None]) -> None:
    """Pickle the first of the exceptions that local runners handed over as they are.

    A run that goes on in another process raises the very same then. Some 100 µs each, so
    that of thousands of failures all but the first have their texts alone.
    """
    alive = (each for each in errors if each is not None and each.pickled is None
             and each.exception is not None)
    for error in islice(alive, _LOCAL_PICKLED):
        if error.exception is not None:
            error.pickled = pickled_exception(error.exception)


def codes_of(state: str) -> frozenset[int]:
    """Return the codes that a state type or name means, in any case; empty where none does."""
    wanted = state.casefold().replace(" ", "").replace("_", "")
    return frozenset(
        int(code)
        for code, names in STATE_OF.items()
        if wanted in (name.casefold() for name in names)
    )
