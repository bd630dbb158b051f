"""From the name of a pack to its index and values; what is damaged is put aside.

Lives here: ranged reads of a pack, warnings of what cannot be used, the
quarantine. Does not live here: the format (``format.py``), which packs there are
(``partition.py``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np

from dataflow.exceptions import ResultStorageError
from dataflow.packs.entries import QUARANTINE
from dataflow.packs.format import (
    HEAD,
    BadPack,
    Columns,
    NewerPack,
    Tail,
    check_head,
    tail_bytes,
    unpack,
)
from dataflow.result_storage import ResultStorage

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger("dataflow.results")
_CHUNK_BYTES = 64 << 20
_COPIED_BYTES = 4096  # smaller values are copied faster than views of them are made
_warned: set[tuple[str, str]] = set()
_warning = threading.Lock()


def read_tail(storage: ResultStorage, name: str) -> Tail:
    """Return the index and metadata of a pack: one read of its end, two where it is long.

    Raises
    ------
    FileNotFoundError
        It is gone.
    BadPack, NewerPack
        It cannot be used.
    """
    end = storage.read(name, -storage.block_bytes)
    size = tail_bytes(end)
    if size > len(end):
        end = storage.read(name, -size)
    return unpack(end)


def begins_like_a_pack(storage: ResultStorage, name: str) -> bool:
    """Tell whether a file that cannot be used was written by us, by its beginning."""
    try:
        check_head(storage.read(name, 0, HEAD.size))
    except (FileNotFoundError, BadPack):
        return False
    return True


class Pieces(NamedTuple):
    """Serialised values that were read at once."""

    at: slice  # of the slots that were asked for
    data: list[bytes] | list[memoryview]
    damaged: frozenset[int]  # places in ``data`` whose bytes do not have their checksum


def read_pieces(
    storage: ResultStorage, name: str, columns: Columns, slots: NDArray[np.int64]
) -> Iterator[Pieces]:
    """Yield the bytes of some entries; neighbours are read at once.

    Parameters
    ----------
    slots
        In ascending order.
    """
    begins, ends = columns.offsets[slots], columns.offsets[slots + 1]
    sums = columns.checksums[slots].tolist()
    for first, last in _chunks(begins, ends, storage.block_bytes):
        base = int(begins[first])
        read: Any = storage.read(name, base, int(ends[last - 1]))
        short = len(read) < ends[last - 1] - base
        if len(read) > _COPIED_BYTES * (last - first):
            read = memoryview(read)
        at = slice(first, last)
        cuts = zip((begins[at] - base).tolist(), (ends[at] - base).tolist(), strict=True)
        data = [read[begin:end] for begin, end in cuts]
        found = list(map(crc32, data))
        wrong = frozenset[int]()
        if short or found != sums[at]:
            wrong = frozenset(
                place for place, (one, other) in enumerate(zip(found, sums[at], strict=True))
                if one != other or len(data[place]) != columns.lengths[slots[first + place]])
        yield Pieces(at, data, wrong)


def _chunks(
    begins: NDArray[np.int64], ends: NDArray[np.int64], gap_bytes: int
) -> Iterator[tuple[int, int]]:
    """Yield (first, behind the last) of entries that are read at once."""
    if not len(begins):
        return
    if ends[-1] - begins[0] <= _CHUNK_BYTES and (begins[1:] - ends[:-1] <= gap_bytes).all():
        yield 0, len(begins)
        return
    first = 0
    for at in range(1, len(begins)):
        if begins[at] - ends[at - 1] > gap_bytes or ends[at] - begins[first] > _CHUNK_BYTES:
            yield first, at
            first = at
    yield first, len(begins)


def damaged_slots(storage: ResultStorage, name: str, columns: Columns) -> list[int]:
    """Return the entries of a pack whose bytes do not have their checksum.

    Raises
    ------
    BadPack
        The file does not begin like a pack.
    """
    check_head(storage.read(name, 0, HEAD.size))
    every = np.arange(len(columns.lengths))
    return [pieces.at.start + place for pieces in read_pieces(storage, name, columns, every)
            for place in sorted(pieces.damaged)]


def warn_once(storage: ResultStorage, name: str, text: str) -> None:
    """Say something of an entry, once in this process."""
    with _warning:
        if (storage.location, name) in _warned:
            return
        _warned.add((storage.location, name))
    logger.warning("%s", text)


def put_aside(storage: ResultStorage, name: str, why: str) -> None:
    """Move a file that cannot be used to the quarantine, with a reason; warn of it once.

    Where the storage cannot be written it stays.
    """
    flat = name.replace("/", "__")
    kept = f"{QUARANTINE}/{flat}-{token_hex(4)}"
    try:
        storage.move(name, kept)
        storage.write(f"{kept}.why.txt", [f"{name}: {why}\n".encode()])
    except FileNotFoundError:
        return  # another process was faster
    except ResultStorageError as error:
        where = f"it could not be put aside ({error.reason})"
    else:
        where = f"put aside as {kept}"
    warn_once(storage, name, f"Results in {storage.location}/{name} cannot be used: {why}; "
                             f"{where}. What is lost is computed again.")


def refused(storage: ResultStorage, name: str, error: ResultStorageError) -> bool:
    """Tell whether a single file is refused, and warn of it; a refused folder is not single."""
    if error.reason != "refused file":
        return False
    warn_once(storage, name, str(error))
    return True


def openable(
    storage: ResultStorage, names: Iterable[str], unusable: set[str]
) -> Iterator[tuple[str, Tail]]:
    """Yield packs with their index; what cannot be used is added to ``unusable`` and told of."""
    for name in names:
        try:
            yield name, read_tail(storage, name)
        except FileNotFoundError:
            continue  # gone since it was listed
        except BadPack as error:
            unusable.add(name)
            put_aside(storage, name, str(error))
        except NewerPack as error:
            unusable.add(name)
            warn_once(storage, name, f"Results in {storage.location}/{name} are not used: {error}.")
        except ResultStorageError as error:
            if not refused(storage, name, error):
                raise
            unusable.add(name)
