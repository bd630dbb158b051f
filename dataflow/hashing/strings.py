"""Columns of text, in whichever library they are: the same contents from each.

Lives here: the canonical form of many strings. Does not live here: how a library
keeps them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from sys import byteorder
from typing import Any

from dataflow.hashing.encoding import of_chunks


@dataclass(slots=True, eq=False)
class Strings:
    """Texts or bytes, some of them missing.

    Parameters
    ----------
    count
        How many there are.
    missing
        A byte for each, 1 where it is missing (its length is 0 then); None: all are there.
    lengths
        In bytes, of each, as little-endian int64.
    data
        All texts one after the other, as UTF-8, in any number of buffers.
    """

    count: int
    missing: Any
    lengths: Any
    data: Sequence[Any]

    @classmethod
    def of(cls, items: Sequence[str | bytes | None]) -> Strings:
        """Return the column of those items, None where one is missing."""
        data = [item if type(item) is bytes else _text(item) for item in items]
        missing = bytes([item is None for item in items]) if None in items else None
        return cls(len(data), missing, _lengths(data), [b"".join(data)])

    def encoding(self) -> bytes:
        """Return the encoding: which are there, how long each is, and all in one."""
        first = [] if self.missing is None else [self.missing]
        kind = f"strings {self.count} {bool(first)}"
        return of_chunks(kind, chain(first, [self.lengths], self.data))


def _text(item: Any) -> bytes:
    return b"" if item is None else bytes(item.encode("utf-8", "surrogatepass"))


def _lengths(data: Sequence[bytes]) -> bytes:
    numbers = array("q", map(len, data))
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
