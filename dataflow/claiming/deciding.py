"""Which of the wanted keys are granted, given what others have claimed.

Lives here: pure decisions that all adapters share, and the keys of claims taken
apart once. Does not live here: where claims are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from dataflow.claim import KEY_BYTES
from dataflow.claims import owner_alive


class Kept(NamedTuple):
    """A claim as it is kept, without its keys."""

    id: int
    owner: str
    until_s: float


def dead_among(owners: Iterable[str], owner: str) -> set[str]:
    """Return the owners whose processes are known to have ended; ``owner`` asks and lives."""
    return {each for each in set(owners) if each != owner and owner_alive(each) is False}


def is_over(claim: Kept, now_s: float, dead: Collection[str], replacing: int | None) -> bool:
    """Tell whether a claim ends now."""
    return claim.until_s <= now_s or claim.id == replacing or claim.owner in dead


def denied_of(keys: Sequence[bytes], claimed: Iterable[frozenset[bytes]]) -> frozenset[int]:
    """Return the positions of keys that are claimed, or that stand before among these."""
    denied: set[int] = set()
    first = dict(zip(keys, range(len(keys)), strict=True))
    if len(first) != len(keys):
        first.clear()
        for at, key in enumerate(keys):
            if first.setdefault(key, at) != at:
                denied.add(at)
    wanted = frozenset(first)
    taken: set[bytes] = set()
    for each in claimed:
        taken |= wanted & each
    if taken:
        denied.update(at for at, key in enumerate(keys) if key in taken)
    return frozenset(denied)


def granted_of(keys: Sequence[bytes], denied: frozenset[int]) -> Sequence[bytes]:
    """Return the keys that are not denied."""
    if not denied:
        return keys
    return [key for at, key in enumerate(keys) if at not in denied]


class KeySets:
    """The keys of claims, each taken apart once: a claim never changes its keys."""

    def __init__(self) -> None:
        self._by_partition: dict[str, dict[int, frozenset[bytes]]] = {}

    def unknown(self, partition: str, claims: Iterable[Kept]) -> list[int]:
        """Return the claims whose keys are not known, and forget those that are not there."""
        ids = {claim.id for claim in claims}
        known = self._by_partition.setdefault(partition, {})
        for gone in known.keys() - ids:
            del known[gone]
        if not ids:
            self._by_partition.pop(partition, None)
        return sorted(ids - known.keys())

    def learn(self, partition: str, id: int, blob: bytes) -> None:
        """Keep the keys of a claim."""
        self._by_partition.setdefault(partition, {})[id] = frozenset(
            blob[at : at + KEY_BYTES] for at in range(0, len(blob), KEY_BYTES))

    def of(self, partition: str, claims: Iterable[Kept]) -> list[frozenset[bytes]]:
        """Return the keys of claims, those that are known."""
        known = self._by_partition.get(partition, {})
        return [known[claim.id] for claim in claims if claim.id in known]
