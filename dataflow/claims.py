"""The port to claims on cache keys: one computes, everybody else waits for it.

Lives here: what a claim is, who owns one, whether that process still lives.
Adapters live in ``claiming/``. Does not live here: what is done with a key that
somebody else claims (``worker/``), where values are kept (``packs/``).

A claim is a lease on the keys of a batch. It ends when it is released, when its
time is over, or when the process that took it is known to be dead.
"""

from __future__ import annotations

import abc
import functools
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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
        self, partition: str, keys: Sequence[bytes], owner: str, *, now_s: float, lease_s: float
    ) -> Grant:
        """Claim what nobody has, in one short transaction.

        Parameters
        ----------
        partition
            Keys of different partitions never meet.
        keys
            16 bytes each. Of equal ones the first can be granted, the others are denied.
        owner
            See :func:`owner_of_this_process`. Its own other claims are in its way as
            anybody's are: another thread may have taken them.
        now_s, lease_s
            Epoch seconds; the claim ends at ``now_s + lease_s`` unless it is renewed.
        """

    @abc.abstractmethod
    def release(self, claim_id: int) -> None:
        """Give the keys of a claim free. One that has ended already is no error."""

    @abc.abstractmethod
    def renew(self, claim_ids: Iterable[int], until_s: float) -> None:
        """Let claims that have not ended live until then, epoch seconds."""

    @property
    @abc.abstractmethod
    def address(self) -> Any:
        """What another process opens the same claims by, with :func:`claims_at`; small, pickled."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give connections back. Claims stay."""


def owner_of_this_process() -> str:
    """Return ``host:pid:start``: who owns what this process claims or leases."""
    return _owner(os.getpid())


@functools.lru_cache(maxsize=8)  # by pid: a forked child is another owner
def _owner(pid: int) -> str:
    return f"{this_host()}:{pid}:{_start_of(pid)}"


def owner_alive(owner: str) -> bool | None:
    """Tell whether the process of an owner lives; None where that cannot be known from here.

    A process of another host, another container or an earlier boot is not known from here.
    """
    host, _, rest = owner.partition(":")
    pid, _, start = rest.partition(":")
    start = start.partition(":")[0]
    if host != this_host() or not pid.isdigit():
        return None
    here = _start_of(os.getpid())
    if start.partition(".")[0] != here.partition(".")[0]:
        return None
    return _start_of(int(pid)) == start


@functools.cache
def this_host() -> str:
    """Return the name of this host; in a container, with the number of its process space."""
    name = socket.gethostname().replace(":", "-") or "localhost"
    try:
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return name
    return name if space == _FIRST_PID_SPACE else f"{name}/{space}"


_FIRST_PID_SPACE = "4026531836"  # of Linux itself, outside of all containers


@functools.cache
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "0"


def _start_of(pid: int) -> str:
    """Return when a process began, as a text to compare; "" where it does not live.

    Counted from the boot where that is known: the clock may be set meanwhile.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        return "" if os.path.exists("/proc/self/stat") else _start_by_psutil(pid)
    except OSError:  # it ended while it was read
        return ""
    return "" if fields[0] in (b"Z", b"X") else f"{_boot()}.{int(fields[19])}"


def _start_by_psutil(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return "" if dead else f"0.{process.create_time():.0f}"
    except psutil.Error:
        return ""
