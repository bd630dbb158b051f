"""What a look-up gives: an entry of a pack, and which names packs have.

Lives here: values and names; pure. Does not live here: files.
"""

from __future__ import annotations

import re
from secrets import token_hex
from typing import NamedTuple

from dataflow.exceptions import ResultStorageError
from dataflow.packs.contents import Origin

_PACK = re.compile(r"[0-9a-f]{11}-[0-9a-f]{8}\.pack")
_PARTITION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
QUARANTINE = "quarantine"


class Entry(NamedTuple):
    """Where a result lies.

    Attributes
    ----------
    pack
        Name of the file in the storage, with its folder.
    slot
        Its place in the file.
    length
        Bytes of the serialised value.
    expires_s
        Epoch seconds, 0: never.
    index
        The map index that it was computed for.
    key
        16 bytes.
    """

    pack: str
    slot: int
    length: int
    expires_s: float
    index: int  # type: ignore[assignment]  # nobody asks a tuple's index() of it
    key: bytes


class Nearest(NamedTuple):
    """An older result of the same task and map index."""

    entry: Entry
    origin: Origin


def new_pack_name(created_s: float) -> str:
    """Return a name that no other pack has; later ones sort behind earlier ones."""
    return f"{max(0, int(created_s * 1000)) & 0xFFFFFFFFFFF:011x}-{token_hex(4)}.pack"


def is_pack_name(name: str) -> bool:
    """Tell whether a file of a partition is a pack, by its name."""
    return _PACK.fullmatch(name) is not None


def is_pack(name: str) -> bool:
    """Tell whether a file of a storage is a pack in a partition, by its name."""
    partition, _, file = name.rpartition("/")
    return is_pack_name(file) and is_partition(partition)


def is_partition(name: str) -> bool:
    """Tell whether a folder may be a partition."""
    return _PARTITION.fullmatch(name) is not None and name != QUARANTINE


def checked_partition(name: str) -> str:
    """Return the name of a partition, or refuse it with ResultStorageError."""
    if not is_partition(name):
        raise ResultStorageError(
            f"{name!r} cannot be a folder of results: up to 200 letters, digits, '-', '_' and "
            f"'.', not first a '.', and not {QUARANTINE!r}.", location=name, reason="name")
    return name
