"""Claims on cache keys as a process uses them: how they are reached, and who owns one.

Lives here: :func:`claims_at`, the name of an owner, whether that process still
lives. Does not live here: the port (``claim.py``), its adapters (``claiming/``).
"""

from __future__ import annotations

import functools
import os
import socket
import threading

from dataflow.claim import Address, Claims, Grant

__all__ = [
    "Address", "Claims", "Grant", "claims_at", "owner_alive", "owner_of_this_process",
    "this_host", "this_machine",
]

_opened: dict[tuple[int, Address], Claims] = {}
_opening = threading.Lock()


def claims_at(address: Address) -> Claims | None:
    """Return the claims at an address, the same for the whole process.

    None where this process cannot reach them: on another machine than a file is
    on, or in another process than the one in whose memory they are.

    Raises
    ------
    StoreError
        They should be there but cannot be opened.
    """
    place = os.getpid(), address
    found = _opened.get(place)
    if found is not None:
        return found
    with _opening:
        found = _opened.get(place) or address.reached()
        if found is not None:
            _opened[place] = found
        return found


def _forget_after_fork() -> None:
    global _opening
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


def owner_of_this_process() -> str:
    """Return ``host:pid:start``: who owns what this process claims or leases."""
    return _owner(os.getpid())


@functools.lru_cache(maxsize=8)  # by pid: a forked child is another owner
def _owner(pid: int) -> str:
    return f"{this_host()}:{pid}:{_start_of(pid)}"  # its own start is always known


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


def this_machine() -> str:
    """Return what tells this running kernel from any other: memory is shared within it alone."""
    return _boot() if _boot() != "0" else socket.gethostname()


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
            return file.read(13)
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
