"""The results of a storage, as workers and drivers use them.

Lives here: :class:`Results`, and the one of a storage in this process. Does not
live here: look-up (``partition.py``), files (``opening.py``, ``writing.py``),
housekeeping.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from dataflow.exceptions import CorruptResult, ResultStorageError
from dataflow.packs.contents import Items, Metadata, Origin, forgotten
from dataflow.packs.entries import Entry, Nearest, checked_partition, is_pack, new_pack_name
from dataflow.packs.format import BadPack, Columns, NewerPack, Tail, number_of
from dataflow.packs.opening import Pieces, put_aside, read_pieces, read_tail, refused, warn_once
from dataflow.packs.partition import Partition
from dataflow.packs.salvage import salvage
from dataflow.packs.writing import Writer, write_pack
from dataflow.result_storage import ResultStorage, checked_name
from dataflow.serializers import PickleSerializer, Serializer

_MERGES = 8  # so many in the time of one load are believed
_places: dict[ResultStorage, Results] = {}
_opening = threading.Lock()


def results_at(storage: ResultStorage) -> Results:
    """Return the results of a storage; one object for each place in a process."""
    with _opening:
        results = _places.get(storage)
        if results is None:
            results = _places[storage] = Results(storage)
        return results


class Results:
    """Find, load and write results by key. Thread-safe.

    Every method raises :class:`~dataflow.exceptions.ResultStorageError` where the
    storage fails or refuses.

    Notes
    -----
    Each partition that is asked for has an index in memory, 24 bytes an entry.
    """

    def __init__(self, storage: ResultStorage) -> None:
        self.storage = storage
        self._partitions: dict[str, Partition] = {}
        self._lock = threading.Lock()

    def partition(self, name: str) -> Partition:
        """Return a folder of packs."""
        known = self._partitions.get(name)
        if known is not None:
            return known
        with self._lock:
            return self._partitions.setdefault(
                name, Partition(self.storage, checked_partition(name)))

    def find(
        self, partition: str, keys: Sequence[bytes], now_s: float, *, fresh: bool = False
    ) -> list[Entry | None]:
        """Return the newest entry of each key, None where there is none or it has expired.

        Parameters
        ----------
        keys
            16 bytes each.
        now_s
            Epoch seconds, for expiry.
        fresh
            See also what was written this moment, where the storage does not tell of
            changes (S3); costs a listing of the folder.
        """
        return self.partition(partition).find(keys, now_s, fresh=fresh)

    def load(self, partition: str, entries: Sequence[Entry]) -> list[Any]:
        """Return the values of entries.

        Where one cannot be had, a CorruptResult stands in its place (it is not raised): its
        bytes are damaged, and were put aside; or it is gone; or unpickling it fails here.
        """
        out: list[Any] = [None] * len(entries)
        lost = self._load(entries, range(len(entries)), out)
        for _ in range(_MERGES):  # packs may have been merged into others meanwhile
            again = [at for at in lost if is_pack(entries[at].pack)]
            if not again:
                break
            found = self.find(partition, [entries[at].key for at in again], 0.0, fresh=True)
            moved = {at: entry for at, entry in zip(again, found, strict=True) if entry is not None}
            still = set(self._load(moved, list(moved), out))
            lost = [at for at in lost if at not in moved or at in still]
        for at in lost:
            out[at] = _corrupt(entries[at].pack, "it is gone: removed or put aside meanwhile")
        return out

    def _load(self, entries: Any, positions: Sequence[int], out: list[Any]) -> list[int]:
        """Fill in values by position; return the positions of entries whose file is gone."""
        by_pack: dict[str, list[int]] = {}
        for at in positions:
            by_pack.setdefault(entries[at].pack, []).append(at)
        lost: list[int] = []
        for name, inside in by_pack.items():
            try:
                self._load_pack(name, [entries[at].slot for at in inside], inside, out)
            except FileNotFoundError:
                lost += inside
            except ResultStorageError as error:
                if not refused(self.storage, name, error):
                    raise
                for at in inside:
                    out[at] = _corrupt(name, str(error))
        return lost

    def _load_pack(
        self, name: str, slots: Sequence[int], positions: Sequence[int], out: list[Any]
    ) -> None:
        metadata, columns = self._open(name)
        try:
            loads = metadata.loader()
        except Exception as error:  # a serializer of the user's
            why = f"its serializer {metadata.serializer!r} cannot be used: {error}"
            for at in positions:
                out[at] = self._unloadable(name, why)
            return
        order = np.argsort(slots, kind="stable")
        ordered = np.asarray(slots, np.int64)[order]
        places = [positions[at] for at in order.tolist()]
        damaged: list[int] = []
        for pieces in read_pieces(self.storage, name, columns, ordered):
            for at, value in zip(places[pieces.at], self._values(name, loads, pieces),
                                 strict=True):
                out[at] = value
            damaged += [int(ordered[pieces.at][place]) for place in pieces.damaged]
        if damaged:
            self._condemn(name, metadata, columns, damaged)

    def _values(self, name: str, loads: Any, pieces: Pieces) -> list[Any]:
        if not pieces.damaged:
            try:
                return list(map(loads, pieces.data))
            except Exception:  # user values: which of them it is shows below
                pass
        values: list[Any] = []
        for place, data in enumerate(pieces.data):
            if place in pieces.damaged:
                values.append(_corrupt(name, "its bytes do not have their checksum"))
                continue
            try:
                values.append(loads(data))
            except Exception as error:  # user values: unpickling may raise anything
                values.append(self._unloadable(name, f"{type(error).__name__}: {error}"))
        return values

    def _unloadable(self, name: str, why: str) -> CorruptResult:
        warn_once(self.storage, name, f"Results in {self.storage.location}/{name} cannot be "
                                      f"loaded here: {why}. They are computed again.")
        return _corrupt(name, f"it cannot be loaded: {why}")

    def _condemn(
        self, name: str, metadata: Metadata, columns: Columns, damaged: Sequence[int]
    ) -> None:
        """Put a pack aside; what of it is whole is kept in a new one."""
        if not is_pack(name):
            put_aside(self.storage, name, "its bytes do not have their checksum")
            return
        partition = self.partition(name.partition("/")[0])
        partition.note_damaged(name, damaged)
        for new, tail in salvage(self.storage, name, Tail(metadata, columns), damaged):
            partition.adopt(new, tail)

    def _open(self, name: str) -> tuple[Metadata, Columns]:
        if is_pack(name):
            partition = self.partition(name.partition("/")[0])
            pack = partition.pack(name)
            return pack.metadata, partition.columns(pack)
        try:
            tail = read_tail(self.storage, name)
        except (BadPack, NewerPack) as error:
            raise FileNotFoundError(name) from error
        return tail.metadata, tail.columns

    def origin(self, partition: str, entry: Entry) -> Origin:
        """Return where an entry comes from. CorruptResult: it is gone."""
        try:
            metadata = self._metadata(entry.pack)
            if len(metadata.origins) == 1:
                return metadata.origins[0]
            columns = self._open(entry.pack)[1]
        except FileNotFoundError:
            raise _corrupt(entry.pack, "it is gone") from None
        return metadata.origins[number_of(columns, entry.slot)]

    def _metadata(self, name: str) -> Metadata:
        folder = self._partitions.get(name.partition("/")[0])
        known = None if folder is None else folder.known(name)
        return self._open(name)[0] if known is None else known.metadata

    def nearest(
        self, partition: str, *, index: int, before_s: float, task_name: str | None = None
    ) -> Nearest | None:
        """Return the newest result of a map index that was computed before then.

        Parameters
        ----------
        before_s
            Epoch seconds.
        task_name
            Only of this task, where several share the partition.
        """
        folder = self.partition(partition)
        folder.refresh()
        for pack in folder.packs():
            if not pack.first <= index <= pack.last:
                continue
            try:
                columns = folder.columns(pack)
            except FileNotFoundError:
                continue
            best: Nearest | None = None
            for slot in (columns.indexes == index).nonzero()[0].tolist():
                origin = pack.metadata.origins[number_of(columns, slot)]
                if origin.created_s >= before_s or task_name not in (None, origin.task_name):
                    continue
                if best is None or origin.created_s >= best.origin.created_s:
                    until = 0.0 if columns.expires is None else float(columns.expires[slot])
                    best = Nearest(Entry(pack.name, slot, int(columns.lengths[slot]), until,
                                         index, columns.key(slot)), origin)
            if best is not None:
                return best
        return None

    def writer(self, partition: str, origin: Origin, serializer: Serializer) -> Writer:
        """Return a writer; what it writes is found from here at once."""
        return Writer(self.storage, partition, origin, serializer, self.partition(partition).adopt)

    def forget(self, partition: str, keys: Sequence[bytes], *, now_s: float,
               origin: Origin | None = None) -> None:
        """Let nobody find what was kept under these keys before; what comes later is found.

        A small pack says so: nothing is deleted here (``dataflow cache gc`` does).
        """
        if not keys:
            return
        metadata = Metadata.of(PickleSerializer(), (origin or Origin("", "", "", 0, now_s),))
        name = f"{checked_partition(partition)}/{new_pack_name(now_s)}"
        self.partition(partition).adopt(
            name, write_pack(self.storage, name, metadata, forgotten(keys)))

    def find_named(self, name: str, now_s: float) -> Entry | None:
        """Return the entry that a user's name stands for, None where there is none."""
        try:
            columns = read_tail(self.storage, checked_name(name)).columns
        except FileNotFoundError:
            return None
        except BadPack as error:
            put_aside(self.storage, name, str(error))
            return None
        except NewerPack as error:
            warn_once(self.storage, name, f"The result {self.storage.location}/{name} is not "
                                          f"used: {error}.")
            return None
        except ResultStorageError as error:
            if not refused(self.storage, name, error):
                raise
            return None
        until = 0.0 if columns.expires is None else float(columns.expires[0])
        if until != 0 and until <= now_s:
            return None
        return Entry(name, 0, int(columns.lengths[0]), until, int(columns.indexes[0]),
                     columns.key(0))

    def write_named(self, name: str, key: bytes, value: Any, origin: Origin,
                    serializer: Serializer, expires_s: float = 0.0, *, index: int = 0) -> Entry:
        """Keep one value under exactly this name; what was there is replaced.

        Raises
        ------
        ResultStorageError
            The name is not one we take, or it cannot be written; what was there still is.
        UnserializableResult
            The serializer cannot hold it.
        """
        classes: dict[bytes, bytes] = {}
        data = serializer.dumps_sharing(value, classes)
        write_pack(self.storage, checked_name(name), Metadata.of(serializer, (origin,), classes),
                   Items([key], [data], [index], [expires_s]))
        return Entry(name, 0, len(data), expires_s, index, key)


def _corrupt(name: str, why: str) -> CorruptResult:
    return CorruptResult(f"The result in {name} cannot be had: {why}.", name=name, reason=why)


def _forget_places() -> None:
    global _opening
    _opening = threading.Lock()  # another thread may have held it
    _places.clear()


os.register_at_fork(after_in_child=_forget_places)
