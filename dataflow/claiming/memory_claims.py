"""Claims in the memory of one process: for its threads, and for tests.

Lives here: the plainest way to keep the port's promises. Does not live here:
anything that another process could reach.
"""

from __future__ import annotations

import itertools
import os
import threading
import uuid
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dataflow.claim import Claims, Grant
from dataflow.claiming.deciding import Kept, dead_among, denied_of, granted_of, is_over

_here: weakref.WeakValueDictionary[str, MemoryClaims] = weakref.WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class MemoryAddress:
    """Claims in the memory of a process."""

    pid: int
    token: str

    def reached(self) -> Claims | None:
        """Return the claims in the process they are in, None in any other."""
        return _here.get(self.token) if self.pid == os.getpid() else None


@dataclass(slots=True)
class _Claim:
    kept: Kept
    keys: frozenset[bytes]


@dataclass(slots=True)
class _Partition:
    claims: dict[int, _Claim] = field(default_factory=dict)


class MemoryClaims(Claims):
    """Claims that end with the process."""

    def __init__(self) -> None:
        self._partitions: dict[str, _Partition] = {}
        self._where: dict[int, str] = {}  # claim → partition
        self._numbers = itertools.count(1)
        self._turn = threading.Lock()
        self._address = MemoryAddress(os.getpid(), uuid.uuid4().hex)
        _here[self._address.token] = self

    def take(
        self, partition: str, keys: Sequence[bytes], owner: str, *, now_s: float, lease_s: float,
        replacing: int | None = None,
    ) -> Grant:
        with self._turn:
            there = self._partitions.setdefault(partition, _Partition()).claims
            dead = dead_among((claim.kept.owner for claim in there.values()), owner)
            for claim in list(there.values()):
                if is_over(claim.kept, now_s, dead, replacing):
                    self._end(claim.kept.id)
            denied = denied_of(keys, [claim.keys for claim in there.values()])
            granted = granted_of(keys, denied)
            if not granted:
                return Grant(None, denied)
            number = next(self._numbers)
            there[number] = _Claim(Kept(number, owner, now_s + lease_s), frozenset(granted))
            self._where[number] = partition
            return Grant(number, denied)

    def release(self, claim_id: int) -> None:
        with self._turn:
            self._end(claim_id)

    def renew(self, claim_ids: Iterable[int], until_s: float) -> None:
        with self._turn:
            for number in claim_ids:
                partition = self._where.get(number)
                if partition is not None:
                    claim = self._partitions[partition].claims[number]
                    claim.kept = claim.kept._replace(until_s=until_s)

    @property
    def address(self) -> MemoryAddress:
        return self._address

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _end(self, claim_id: int) -> None:
        partition = self._where.pop(claim_id, None)
        if partition is not None:
            self._partitions[partition].claims.pop(claim_id, None)
