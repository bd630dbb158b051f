"""The packs of one folder, and the look-up of keys in all of them.

Lives here: which packs are known, taking in new ones, letting go of those that
are gone. Does not live here: sorted arrays (``index.py``), reading of files
(``opening.py``), values (``results.py``).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from dataflow.exceptions import ResultStorageError
from dataflow.packs.contents import Metadata
from dataflow.packs.entries import Entry, is_pack_name
from dataflow.packs.format import BadPack, Columns, Tail
from dataflow.packs.index import Run, levelled, look_up, merged, run_of, short, without
from dataflow.packs.opening import openable, put_aside, read_tail, refused
from dataflow.result_storage import ResultStorage

_LIST_AGAIN_S = 1.0  # where only listing tells whether something changed
_make: Callable[[type[Entry], Any], Entry] = tuple.__new__  # three times as fast as Entry(…)
_LISTINGS = 4  # until two agree
_COLUMNS_BYTES = 32 << 20  # of columns in memory, per partition


class Pack:
    """A pack that is known. Its columns are kept while there is room."""

    __slots__ = ("damaged", "first", "last", "metadata", "name", "number")

    def __init__(self, name: str, number: int, tail: Tail) -> None:
        self.name = name
        self.number = number
        self.metadata: Metadata = tail.metadata
        indexes = tail.columns.indexes
        self.first, self.last = (int(indexes.min()), int(indexes.max())) if len(indexes) else (0, 0)
        self.damaged: frozenset[int] = frozenset()

    @property
    def created_s(self) -> float:
        """Return when its newest entry was computed."""
        return max(origin.created_s for origin in self.metadata.origins)


class Partition:
    """Look keys up in the packs of a folder. Thread-safe.

    Parameters
    ----------
    name
        The folder.
    """

    def __init__(self, storage: ResultStorage, name: str) -> None:
        self._storage = storage
        self.name = name
        self._lock = threading.RLock()
        self._packs: dict[str, Pack] = {}
        self._by_number: list[Pack] = []
        self._unusable: set[str] = set()
        self._runs: tuple[Run, ...] = ()
        self._columns: OrderedDict[str, Columns] = OrderedDict()
        self._columns_bytes = 0
        self._token: object = None
        self._listed_s = float("-inf")
        self._files: set[str] = set()  # of the last listing
        self._begun = self._taken_in = 0  # listings, numbered: the last that began, that ended

    def refresh(self, *, fresh: bool = False) -> None:
        """Take in the packs that are there by now.

        Parameters
        ----------
        fresh
            List the folder even where nothing says that it changed.
        """
        wanted = self._begun + 1
        with self._lock:
            if self._taken_in >= wanted:
                return  # another thread began to list after this one had asked
            self._begun += 1
            begun = self._begun
            token = self._storage.changed(self.name)
            now_s = time.monotonic()
            if not fresh and (token == self._token if token is not None
                              else now_s - self._listed_s < _LIST_AGAIN_S):
                return
            names = self._names()
            gone = self._packs.keys() - names
            if gone:  # merged into others, perhaps: a listing made meanwhile may lack both
                names = self._settled(names)
                gone = self._packs.keys() - names
            if gone:
                self._let_go(gone)
            self._unusable &= names
            new = sorted(names - self._packs.keys() - self._unusable)
            self._take_in(openable(self._storage, new, self._unusable))
            self._token, self._listed_s = token, now_s
            self._taken_in = begun

    def _names(self) -> set[str]:
        names, before = set(self._storage.names(self.name)), self._files
        files = {file for file in before if file in names}
        files.update(file for file in names - before if is_pack_name(file))
        self._files = files
        front = f"{self.name}/"
        return {front + file for file in files}

    def _settled(self, names: set[str]) -> set[str]:
        for _ in range(_LISTINGS):
            again = self._names()
            if again == names:
                break
            names = again
        return names

    def adopt(self, name: str, tail: Tail) -> None:
        """Take in a pack that was just written, without reading it."""
        with self._lock:
            if name not in self._packs:
                self._take_in(iter([(name, tail)]))

    def drop(self, name: str) -> None:
        """Let go of a pack."""
        with self._lock:
            if name in self._packs:
                self._let_go({name})

    def find(
        self, keys: Sequence[bytes], now_s: float, *, fresh: bool = False
    ) -> list[Entry | None]:
        """Return the newest entry of each key that has not expired; see ``Results.find``."""
        self.refresh(fresh=fresh)
        for _ in range(_LISTINGS):
            try:
                return self._find(keys, now_s)
            except FileNotFoundError:  # a pack went away since, and its index is not in memory
                self.refresh(fresh=True)
        return [None] * len(keys)

    def _find(self, keys: Sequence[bytes], now_s: float) -> list[Entry | None]:
        found: list[Entry | None] = [None] * len(keys)
        runs = self._runs
        if not runs or not keys:
            return found
        joined = b"".join(keys)
        if len(joined) != 16 * len(keys):
            raise ValueError("a key has 16 bytes")
        whole = np.frombuffer(joined, "<u8")
        positions, numbers, slots = look_up(runs, short(whole))
        for group in _groups(numbers):
            at, chosen = positions[group], slots[group]
            pack = self._by_number[numbers[group[0]]]
            for position, entry in self._entries(pack, at, chosen, keys, whole, now_s):
                found[position] = entry
        return found

    def _entries(
        self, pack: Pack, at: np.ndarray, slots: np.ndarray, keys: Sequence[bytes],
        whole: np.ndarray, now_s: float,
    ) -> Iterator[tuple[int, Entry]]:
        """Return the entries of one pack that do have the keys and have not expired."""
        columns = self.columns(pack)
        good = columns.keys[2 * slots + 1] == whole[2 * at + 1]
        good &= columns.keys[2 * slots] == whole[2 * at]
        if columns.expires is not None:
            until = columns.expires[slots]
            good &= (until == 0) | (until > now_s)
        if pack.damaged:
            good &= ~np.isin(slots, list(pack.damaged))
        if not good.all():
            at, slots = at[good], slots[good]
        expires = repeat(0.0) if columns.expires is None else columns.expires[slots].tolist()
        places = at.tolist()
        fields = zip(repeat(pack.name), slots.tolist(), columns.lengths[slots].tolist(), expires,
                     columns.indexes[slots].tolist(), [keys[place] for place in places],
                     strict=False)
        return zip(places, map(_make, repeat(Entry), fields), strict=False)

    def pack(self, name: str) -> Pack:
        """Return a pack that is known or there. FileNotFoundError: it is gone."""
        with self._lock:
            if name not in self._packs:
                self.refresh(fresh=True)
            if name not in self._packs:
                raise FileNotFoundError(name)
            return self._packs[name]

    def known(self, name: str) -> Pack | None:
        """Return a pack that is known, without looking at the storage."""
        return self._packs.get(name)

    def packs(self) -> list[Pack]:
        """Return all that are known, the newest first."""
        with self._lock:
            return sorted(self._packs.values(), key=lambda each: (each.created_s, each.name),
                          reverse=True)

    def columns(self, pack: Pack) -> Columns:
        """Return the index of a pack; read again where it was let go of."""
        with self._lock:
            columns = self._columns.get(pack.name)
            if columns is not None:
                self._columns.move_to_end(pack.name)
                return columns
            try:
                columns = read_tail(self._storage, pack.name).columns
            except BadPack as error:  # damaged since it was taken in
                put_aside(self._storage, pack.name, str(error))
                self.drop(pack.name)
                raise FileNotFoundError(pack.name) from error
            except ResultStorageError as error:
                if not refused(self._storage, pack.name, error):
                    raise
                self._unusable.add(pack.name)
                self.drop(pack.name)
                raise FileNotFoundError(pack.name) from error
            self._hold(pack.name, columns)
            return columns

    def note_damaged(self, name: str, slots: Collection[int]) -> None:
        """Find these entries no more."""
        with self._lock:
            pack = self._packs.get(name)
            if pack is not None:
                pack.damaged = pack.damaged.union(slots)

    def _take_in(self, tails: Iterator[tuple[str, Tail]]) -> None:
        runs = []
        try:
            for name, tail in tails:
                pack = Pack(name, len(self._by_number), tail)
                self._by_number.append(pack)
                self._packs[name] = pack
                self._hold(name, tail.columns)
                runs.append(run_of(short(tail.columns.keys), pack.number, _created(tail)))
        finally:  # what was opened before one that could not be
            if runs:
                self._runs = levelled((*self._runs, merged(runs)))

    def _let_go(self, names: Collection[str]) -> None:
        numbers = {self._packs.pop(name).number for name in names}
        for name in names:
            columns = self._columns.pop(name, None)
            if columns is not None:
                self._columns_bytes -= columns.nbytes
        self._runs = without(self._runs, numbers)

    def _hold(self, name: str, columns: Columns) -> None:
        self._columns[name] = columns
        self._columns_bytes += columns.nbytes
        while self._columns_bytes > _COLUMNS_BYTES and len(self._columns) > 1:
            _, old = self._columns.popitem(last=False)
            self._columns_bytes -= old.nbytes


def _created(tail: Tail) -> np.ndarray | float:
    origins = tail.metadata.origins
    if tail.columns.origins is None:
        return origins[0].created_s
    return np.array([each.created_s for each in origins])[tail.columns.origins]


def _groups(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the positions of equal numbers, a group for each."""
    if not len(numbers):
        return []
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order])) + 1
    return np.split(order, cuts)
