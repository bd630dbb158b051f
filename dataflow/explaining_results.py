"""Older results of a task, as an explanation asks for them.

Lives here: all entries of a key, the nearest one of a map index, what was put
aside as damaged. Does not live here: look-up for runs (``packs/``), what the
entries tell (``explaining.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np

from dataflow.exceptions import ResultStorageError
from dataflow.packs import Entry, Origin, Results, results_at
from dataflow.packs.entries import QUARANTINE
from dataflow.packs.format import BadPack, NewerPack, number_of
from dataflow.packs.opening import read_tail
from dataflow.storages import open_storage
from dataflow.store import TaskRunRow


class Kept(NamedTuple):
    """A result that is kept, or was: ``forgotten`` ones only say that there is none any more."""

    entry: Entry
    origin: Origin

    @property
    def forgotten(self) -> bool:
        return self.entry.expires_s < 0


class OldResults:
    """What a partition of a storage has of old results."""

    def __init__(self, results: Results, partition: str) -> None:
        self._results, self._name = results, partition
        self._folder = results.partition(partition)
        self._folder.refresh(fresh=True)

    @classmethod
    def at(cls, location: str | None, partition: str) -> Self | None:
        """Return those of a place that is named in a record; None: it cannot be opened here."""
        try:
            return cls(results_at(open_storage(location)), partition)
        except (ResultStorageError, ImportError):
            return None

    def of_key(self, key: bytes) -> list[Kept]:
        """Return all entries that ever had a key and are still there, the newest first."""
        halves = np.frombuffer(key, "<u8")
        found: list[Kept] = []
        for pack, columns in self._packs():
            pairs = columns.keys.reshape(-1, 2)
            for slot in np.flatnonzero((pairs[:, 0] == halves[0]) & (pairs[:, 1] == halves[1])):
                found.append(_kept(pack, columns, int(slot)))
        return sorted(found, key=lambda each: each.origin.created_s, reverse=True)

    def nearest(self, row: TaskRunRow, *, task_name: str, before_s: float,
                run_id: str) -> Kept | None:
        """Return the newest result of a task that another run computed, of an element's index.

        Where there is none of that index, the newest of the task.
        """
        index = row.map_index or 0
        other: Kept | None = None
        for pack, columns in self._packs():
            for slot in _candidates(columns, index):
                kept = _kept(pack, columns, slot)
                origin = kept.origin
                if (kept.forgotten or origin.created_s >= before_s or origin.run_id == run_id
                        or origin.task_name != task_name):
                    continue
                if kept.entry.index == index:
                    return kept
                other = other or kept
        return other

    def damaged(self, key: bytes | None) -> str | None:
        """Return what is in quarantine that had a key, as a text; None: nothing."""
        for name, columns in self._put_aside():
            if key is not None and columns is not None and _has(columns, key):
                return f"put aside as {self._results.storage.location}/{name} ({self._why(name)})"
        return None

    def unreadable(self) -> int:
        """Return how many packs are in quarantine of which nobody can tell what was in them."""
        front = f"{QUARANTINE}/{self._name}__"
        return sum(columns is None and name.startswith(front)
                   for name, columns in self._put_aside())

    def _put_aside(self) -> Iterator[tuple[str, Any]]:
        """Yield (name, index) of what is in quarantine; the index is None where it is damaged."""
        storage = self._results.storage
        for found in storage.list(QUARANTINE, deep=True):
            if found.name.endswith(".why.txt"):
                continue
            try:
                yield found.name, read_tail(storage, found.name).columns
            except (BadPack, NewerPack):
                yield found.name, None
            except FileNotFoundError:
                continue

    def _why(self, name: str) -> str:
        try:
            return self._results.storage.read(f"{name}.why.txt").decode().strip()
        except (FileNotFoundError, ResultStorageError):
            return "damaged"

    def _packs(self) -> Iterator[tuple[Any, Any]]:
        for pack in self._folder.packs():
            try:
                yield pack, self._folder.columns(pack)
            except FileNotFoundError:
                continue


def _has(columns: Any, key: bytes) -> bool:
    halves, pairs = np.frombuffer(key, "<u8"), columns.keys.reshape(-1, 2)
    return bool(((pairs[:, 0] == halves[0]) & (pairs[:, 1] == halves[1])).any())


def _candidates(columns: Any, index: int) -> list[int]:
    """Return the entries of a map index, and one of another where there is none."""
    found: list[int] = np.flatnonzero(columns.indexes == index).tolist()
    if found or not len(columns.indexes):
        return found[::-1]
    others: list[int] = np.flatnonzero(columns.indexes >= 0)[-1:].tolist()
    return others


def _kept(pack: Any, columns: Any, slot: int) -> Kept:
    until_s = 0.0 if columns.expires is None else float(columns.expires[slot])
    entry = Entry(pack.name, slot, int(columns.lengths[slot]), until_s,
                  int(columns.indexes[slot]), columns.key(slot))
    return Kept(entry, pack.metadata.origins[number_of(columns, slot)])
