"""Results on their way into packs.

Lives here: :class:`Writer`, and the writing of one pack. Does not live here: the
format (``format.py``), when a writer is flushed (who has it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from dataflow.packs.contents import Items, Metadata, Origin
from dataflow.packs.entries import checked_partition, new_pack_name
from dataflow.packs.format import MAX_ENTRIES, Tail, pack
from dataflow.result_storage import ResultStorage
from dataflow.serializers import Serializer

ALONE_BYTES = 1 << 20
"""Larger values have a pack of their own."""

PACK_BYTES = 64 << 20
"""Values in one pack, unless one alone is larger."""


def write_pack(
    storage: ResultStorage, name: str, metadata: Metadata, items: Items
) -> Tail:
    """Write a pack under a name and return its index.

    Raises
    ------
    ResultStorageError
        It could not be written; nothing of it is visible.
    """
    from dataflow import __version__

    parts, columns = pack(metadata, __version__, items)
    storage.write(name, parts)
    return Tail(metadata, columns)


class Writer:
    """Gather results, and write many to a file.

    Parameters
    ----------
    partition
        The folder.
    origin
        Which call of which run they come from.
    written
        Told of each pack that was written, with its index.
    """

    def __init__(
        self, storage: ResultStorage, partition: str, origin: Origin, serializer: Serializer,
        written: Callable[[str, Tail], None] = lambda name, tail: None,
    ) -> None:
        self._storage = storage
        self._partition = checked_partition(partition)
        self._metadata = Metadata.of(serializer, (origin,))
        self._origins: dict[Origin, int] = {origin: 0}
        self._dumps = serializer.dumps_sharing
        self._classes: dict[bytes, bytes] = {}
        self._written = written
        self._items = Items()
        self.pending_bytes = 0
        """Bytes of values that wait to be written."""

    def add(self, key: bytes, value: Any, *, index: int, expires_s: float = 0.0,
            origin: Origin | None = None) -> None:
        """Take a result.

        Parameters
        ----------
        key
            16 bytes.
        index
            Map index, for explanations.
        expires_s
            Epoch seconds; 0: never.
        origin
            Where it comes from, if not from the writer's origin.

        Raises
        ------
        UnserializableResult
            Its serializer cannot hold it; nothing of it is kept.
        """
        data = self._dumps(value, self._classes)
        number = 0 if origin is None else self._origins.setdefault(origin, len(self._origins))
        self._items.add(key, data, index, expires_s, number)
        self.pending_bytes += len(data)

    def add_many(self, keys: Sequence[bytes], values: Sequence[Any], indexes: Sequence[int], *,
                 expires_s: float, origin: Origin) -> dict[int, Exception]:
        """Take many results of one origin; see :meth:`add`.

        Returns
        -------
        dict
            Position → what its serializer raised: nothing of such a one is kept.
        """
        dumps, classes, refused = self._dumps, self._classes, {}
        payloads: list[bytes] = []
        for at, value in enumerate(values):
            try:
                payloads.append(dumps(value, classes))
            except Exception as error:  # user values: __reduce__ may raise anything
                refused[at] = error
        if refused:
            keys = [key for at, key in enumerate(keys) if at not in refused]
            indexes = [index for at, index in enumerate(indexes) if at not in refused]
        number = self._origins.setdefault(origin, len(self._origins))
        items, count = self._items, len(payloads)
        items.keys += keys
        items.payloads += payloads
        items.indexes += indexes
        items.expires += [expires_s] * count
        items.origins += [number] * count
        self.pending_bytes += sum(map(len, payloads))
        return refused

    def flush(self) -> list[str]:
        """Write what was taken, and return the names of the packs.

        Raises
        ------
        ResultStorageError
            It could not be written. What of it was not is gone: the results are computed
            again where they are needed.
        """
        items, self._items, self.pending_bytes = self._items, Items(), 0
        metadata = replace(self._metadata, origins=tuple(self._origins),
                           classes=tuple(self._classes.items()))
        self._classes = {}
        names = []
        for group in _groups(items):
            name = f"{self._partition}/{new_pack_name(metadata.origins[0].created_s)}"
            self._written(name, write_pack(self._storage, name, metadata, group))
            names.append(name)
        return names


def _groups(items: Items) -> Iterator[Items]:
    """Yield what goes into one pack each: large values alone."""
    if not items:
        return
    lengths = list(map(len, items.payloads))
    if max(lengths) <= ALONE_BYTES and sum(lengths) <= PACK_BYTES and len(items) <= MAX_ENTRIES:
        yield items
        return
    small, size = Items(), 0
    for at, length in enumerate(lengths):
        if length > ALONE_BYTES:
            yield items[at : at + 1]
            continue
        if size + length > PACK_BYTES or len(small) >= MAX_ENTRIES:
            yield small
            small, size = Items(), 0
        small.add(items.keys[at], items.payloads[at], items.indexes[at], items.expires[at],
                  items.origins[at])
        size += length
    if small:
        yield small
