"""The port to claims on cache keys: one computes, everybody else waits for it.

Lives here: what a claim is, and the contract of the place where claims are kept.
Adapters live in ``claiming/``. Does not live here: reaching that place, and who
owns a claim (``claims.py``); what is done with a key that somebody else claims
(``worker/``).

A claim is a lease on the keys of a batch. It ends when it is released, when its
time is over, or when the process that took it is known to be dead.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Grant:
    """What :meth:`Claims.take` answers."""

    id: int | None  # of the claim; None where nothing was granted
    denied: frozenset[int] = frozenset()  # positions in the keys that somebody else is computing


class Claims(abc.ABC):
    """Where keys are claimed. Safe to use from many threads, processes, and after a fork.

    Every method raises :class:`dataflow.exceptions.StoreError` and nothing else when the
    place of the claims fails; nothing was claimed or released then.
    """

    @abc.abstractmethod
    def take(
        self, partition: str, keys: Sequence[bytes], owner: str, *, now_s: float, lease_s: float,
        replacing: int | None = None,
    ) -> Grant:
        """Claim what nobody has, in one short transaction.

        Parameters
        ----------
        partition
            Keys of different partitions never meet.
        keys
            16 bytes each. Of equal ones the first can be granted, the others are denied.
        owner
            See :func:`dataflow.claims.owner_of_this_process`. Its own other claims are in its
            way as anybody's are: another thread may have taken them.
        now_s, lease_s
            Epoch seconds; the claim ends at ``now_s + lease_s`` unless it is renewed.
        replacing
            A claim of the caller's own that ends with this one's beginning: nobody else comes
            between them.
        """

    @abc.abstractmethod
    def release(self, claim_id: int) -> None:
        """Give the keys of a claim free. One that has ended already is no error."""

    @abc.abstractmethod
    def renew(self, claim_ids: Iterable[int], until_s: float) -> None:
        """Let claims that have not ended live until then, epoch seconds."""

    @property
    @abc.abstractmethod
    def address(self) -> Address:
        """What another process opens the same claims by, with :func:`dataflow.claims.claims_at`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give connections back. Claims stay."""


class Address(Protocol):
    """Where claims are; small, hashable, travels to workers. Says no password in its repr."""

    def reached(self) -> Claims | None:
        """Open the claims; None where this process cannot get at them."""
