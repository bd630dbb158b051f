"""The format of a pack: many results in one file that never changes.

Lives here: from entries to the parts of a file, and from the end of a file to
its index; pure. Does not live here: reading and writing files (``reading.py``,
``writing.py``), looking keys up in many packs (``index.py``).

::

    head      16 bytes   magic, version
    payloads             the serialised values, back to back
    metadata             JSON: serializer, origins (run id, run name, task, call, created),
                         code of classes of a script
    index                columns, little-endian, each with one number per entry:
                         keys 16 bytes, lengths u64, checksums u32, map indexes i64,
                         then expiry f64 and number of origin u16 where they differ from 0
    footer    64 bytes   sizes of the parts, flags, version, digest of metadata and index, magic

The footer is found from the end, so one ranged read gives all but the values.
A payload's checksum is its CRC-32, twice as fast as a digest: it finds each burst
of up to 32 bits, and any other damage but for one case in 2**32. It is against
accidents; whoever can write files could write any checksum.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from dataflow.packs.contents import Items, Metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
HEAD = struct.Struct("<8sII")
FOOTER = struct.Struct("<QQQQII16s8s")
MAGIC = b"dfpack\r\n"  # the line end finds what was sent as text
END = b"\r\nkcapfd"
_SUMMED = FOOTER.size - 24  # bytes of the footer that its digest covers
_EXPIRES, _ORIGINS = 1, 2

MAX_ENTRIES = 1 << 20
"""Entries in a pack: more are written as several."""


class BadPack(Exception):
    """The bytes are no pack, or not what was written."""


class NewerPack(Exception):
    """The pack was written by a newer version."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The index of a pack, a number per entry in each column."""

    keys: NDArray[np.uint64]  # two numbers per entry
    lengths: NDArray[np.uint64]
    checksums: NDArray[np.uint32]
    indexes: NDArray[np.int64]
    expires: NDArray[np.float64] | None  # None: never
    origins: NDArray[np.uint16] | None  # None: the only one
    offsets: NDArray[np.int64]  # of payloads in the file, and where the last ends

    @property
    def nbytes(self) -> int:
        """Return roughly what it takes in memory."""
        return 64 * len(self.lengths) + 512

    def key(self, slot: int) -> bytes:
        """Return the key of an entry."""
        return self.keys[2 * slot : 2 * slot + 2].tobytes()


@dataclass(frozen=True, slots=True)
class Tail:
    """All of a pack but its values."""

    metadata: Metadata
    columns: Columns


def pack(metadata: Metadata, version: str, items: Items) -> tuple[list[bytes], Columns]:
    """Return the parts of a file, to be written one after the other, and its index.

    Parameters
    ----------
    version
        Of dataflow, for the metadata.
    """
    keys, payloads = items.keys, items.payloads
    lengths = np.fromiter(map(len, payloads), np.dtype("<u8"), len(items))
    sums = np.fromiter(map(crc32, payloads), np.dtype("<u4"), len(items))
    flags, columns = 0, [b"".join(keys), lengths.tobytes(), sums.tobytes(),
                         np.array(items.indexes, "<i8").tobytes()]
    if any(items.expires):
        flags |= _EXPIRES
        columns.append(np.array(items.expires, "<f8").tobytes())
    if any(items.origins):
        flags |= _ORIGINS
        columns.append(np.array(items.origins, "<u2").tobytes())
    said, index = metadata.to_json(version), b"".join(columns)
    sizes = len(said), len(index), len(items), int(lengths.sum())
    head = HEAD.pack(MAGIC, VERSION, 0)
    footer = FOOTER.pack(*sizes, flags, marked(VERSION), bytes(16), END)
    digest = _digest(footer, said, index)
    footer = FOOTER.pack(*sizes, flags, marked(VERSION), digest, END)
    parts = [head, b"".join(payloads)] if len(payloads) > 1 else [head, payloads[0]]
    parts.append(b"".join((said, index, footer)))
    return parts, _columns(index, len(items), flags)


def marked(version: int) -> int:
    """Return a version as the footer has it: with its complement, so that damage is no version."""
    return version | (~version & 0xFFFF) << 16


def tail_bytes(end: bytes) -> int:
    """Return how many bytes from the end of the file metadata, index and footer take.

    Parameters
    ----------
    end
        The last bytes of a file, those of the footer at least.

    Raises
    ------
    BadPack
        It does not end like a pack.
    NewerPack
        Another version wrote it, which we cannot read.
    """
    if len(end) < FOOTER.size:
        raise BadPack("it is empty" if not end else f"it has {len(end)} bytes only")
    said, index, count, payload, flags, version, _, magic = FOOTER.unpack(end[-FOOTER.size :])
    if magic != END:
        raise BadPack("it does not end like a pack: cut short, or another kind of file")
    if version != marked(VERSION):
        number = version & 0xFFFF
        if number > VERSION and version == marked(number):
            raise NewerPack(f"its format is version {number}, and this dataflow knows {VERSION}")
        raise BadPack("its footer is damaged")
    size = FOOTER.size + said + index
    if index != count * _entry_bytes(flags) or size > 1 << 40 or payload > 1 << 62:
        raise BadPack("its footer is damaged")
    return int(size)


def unpack(end: bytes) -> Tail:
    """Return the index and metadata.

    Parameters
    ----------
    end
        The last bytes of a file, :func:`tail_bytes` at least.

    Raises
    ------
    BadPack
        The bytes are not those that were written.
    """
    size = tail_bytes(end)
    if len(end) < size:
        raise BadPack("it is cut short")
    footer = end[-FOOTER.size :]
    said_bytes, index_bytes, count, payload, flags, _, digest, _ = FOOTER.unpack(footer)
    said = end[-size : -size + said_bytes]
    index = end[-FOOTER.size - index_bytes : -FOOTER.size]
    if _digest(footer, said, index) != digest:
        raise BadPack("its index does not have its checksum")
    columns = _columns(index, count, flags)
    if int(columns.offsets[-1]) - HEAD.size != payload:
        raise BadPack("its index does not fit its values")
    return Tail(Metadata.from_json(said), columns)


def check_head(head: bytes) -> None:
    """Raise BadPack unless a file begins like a pack."""
    if len(head) < HEAD.size or HEAD.unpack(head[: HEAD.size]) != (MAGIC, VERSION, 0):
        raise BadPack("it does not begin like a pack")


def number_of(columns: Columns, slot: int) -> int:
    """Return the number of an entry's origin."""
    return 0 if columns.origins is None else int(columns.origins[slot])


def _digest(footer: bytes, said: bytes, index: bytes) -> bytes:
    digest = blake2b(footer[:_SUMMED], digest_size=16)
    digest.update(said)
    digest.update(index)
    return digest.digest()


def _entry_bytes(flags: int) -> int:
    return 36 + (8 if flags & _EXPIRES else 0) + (2 if flags & _ORIGINS else 0)


def _columns(index: bytes, count: int, flags: int) -> Columns:
    at = 0

    def take(kind: str, each: int = 1) -> Any:
        nonlocal at
        column = np.frombuffer(index, np.dtype(kind), count * each, at)
        at += column.nbytes
        return column

    keys, lengths, sums, indexes = take("<u8", 2), take("<u8"), take("<u4"), take("<i8")
    expires = take("<f8") if flags & _EXPIRES else None
    origins = take("<u2") if flags & _ORIGINS else None
    offsets = np.empty(count + 1, np.int64)
    offsets[0] = HEAD.size
    np.cumsum(lengths, out=offsets[1:])
    offsets[1:] += HEAD.size
    return Columns(keys, lengths, sums, indexes, expires, origins, offsets)
