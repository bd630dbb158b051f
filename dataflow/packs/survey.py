"""All files of a storage with what they say of themselves.

Lives here: the walk for housekeeping. Does not live here: what is done about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dataflow.exceptions import ResultStorageError
from dataflow.packs.entries import QUARANTINE, is_pack
from dataflow.packs.format import BadPack, NewerPack, Tail
from dataflow.packs.opening import begins_like_a_pack, read_tail
from dataflow.packs.pins import FILE
from dataflow.result_storage import ResultStorage


@dataclass(frozen=True, slots=True)
class PackFile:
    """A file of results.

    Attributes
    ----------
    partition
        None for one that a user named.
    tail
        None where it cannot be used: ``why`` says it.
    """

    name: str
    partition: str | None
    size_bytes: int
    modified_s: float
    tail: Tail | None
    why: str | None = None
    damaged: bool = False  # it was a pack, or should be one

    @property
    def run_ids(self) -> frozenset[str]:
        """Return the runs that its results come from."""
        if self.tail is None:
            return frozenset()
        return frozenset(origin.run_id for origin in self.tail.metadata.origins)

    @property
    def entries(self) -> int:
        """Return how many results it has."""
        return 0 if self.tail is None else len(self.tail.columns.lengths)

    @property
    def created_s(self) -> float:
        """Return when its newest result was computed."""
        if self.tail is None:
            return self.modified_s
        return max(origin.created_s for origin in self.tail.metadata.origins)

    def created(self) -> np.ndarray:
        """Return when each result was computed."""
        assert self.tail is not None
        origins = self.tail.metadata.origins
        each = np.array([origin.created_s for origin in origins])
        numbers = self.tail.columns.origins
        return np.repeat(each[:1], self.entries) if numbers is None else each[numbers]


def survey(storage: ResultStorage, partition: str = "") -> Iterator[PackFile]:
    """Yield the files of a storage, or of one partition; not those in quarantine."""
    for found in storage.list(partition, deep=not partition):
        if found.name.partition("/")[0] == QUARANTINE or found.name == FILE:
            continue
        inside = found.name.rpartition("/")[0] if is_pack(found.name) else None
        facts = found.name, inside, found.size_bytes, found.modified_s
        try:
            yield PackFile(*facts, read_tail(storage, found.name))
        except FileNotFoundError:
            continue  # gone meanwhile
        except BadPack as error:
            ours = inside is not None or begins_like_a_pack(storage, found.name)
            yield PackFile(*facts, None, str(error), damaged=ours)
        except NewerPack as error:
            yield PackFile(*facts, None, str(error))
        except ResultStorageError as error:
            if error.reason != "refused file":
                raise
            yield PackFile(*facts, None, str(error))


def quarantined(storage: ResultStorage) -> tuple[int, int]:
    """Return how many files are in quarantine, and their bytes."""
    found = list(storage.list(QUARANTINE, deep=True))
    return (sum(not each.name.endswith(".why.txt") for each in found),
            sum(each.size_bytes for each in found))
