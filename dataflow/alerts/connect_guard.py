"""No connection to an address that is not allowed, while another package sends for us.

Lives here: the watch over connections of one thread. Does not live here: which
addresses are allowed (``reach.py``), our own connections (``pinned.py``).

Packages that send for us look names up by themselves, so checking a name before
they do would leave a gap in which it can change. Python tells of each connection
just before it is made (the audit event ``socket.connect``) with the address that
it is made to; an exception there prevents it. The watch is set up when it is first
needed and stays for the life of the process; in threads that are not guarded it
costs some 0.1 µs per event.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from dataflow.alerts.reach import Reach
from dataflow.exceptions import ChannelRefused


class _Guarded(threading.local):
    """What holds in this thread."""

    reach: Reach | None = None
    hosts: tuple[str, ...] = ()
    refused: str | None = None


_here = _Guarded()
_lock = threading.Lock()
_watching = False


@contextmanager
def only_within(reach: Reach, channel: str, host: str = "") -> Iterator[None]:
    """Let this thread connect only to addresses that are allowed, inside of the block.

    Parameters
    ----------
    reach
        What is allowed.
    channel
        As it may be shown, for the error.
    host
        The host of the channel, where it has one, which may be allowed by name.

    Raises
    ------
    ChannelRefused
        At the end of the block, where a connection was prevented; also in place of whatever
        the block made of that, and where it made nothing of it.
    """
    _watch()
    before = _here.reach, _here.hosts, _here.refused
    _here.reach, _here.hosts, _here.refused = reach, (host.lower(),), None
    try:
        yield
    finally:
        refused = _here.refused
        _here.reach, _here.hosts, _here.refused = before
        if refused is not None:
            raise ChannelRefused(
                f"{channel} leads to {refused}, an address to which no channel may go. Where it "
                f"is meant, allow it in the settings: alerts_allow_private = [\"{refused}\"] "
                f"(DATAFLOW_ALERTS_ALLOW_PRIVATE={refused}).",
                channel=channel, reason="address") from None


def _watch() -> None:
    global _watching
    with _lock:
        if not _watching:
            sys.addaudithook(_hear)
            _watching = True


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto") or _here.reach is None:
        return
    where = arguments[1]
    if not isinstance(where, tuple) or not where:
        return  # a socket of this machine's file system, not of the network
    try:
        address = ip_address(str(where[0]).partition("%")[0])
    except ValueError:
        _here.refused = _here.refused or "a name that was not looked up"
        raise PermissionError("a connection to a name cannot be checked") from None
    if not any(_here.reach.allows(address, host) for host in _here.hosts):
        _here.refused = _here.refused or str(address)
        raise PermissionError(f"{address} is not allowed")
