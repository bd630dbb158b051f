"""The addresses of a host, each checked before anything connects to one.

Lives here: one look-up, and the check of all it found. Does not live here: the
connection, which is made to these addresses and never to the name again
(``pinned.py``). How long a look-up takes is up to the system's resolver.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from dataflow.alerts.hosts import Address, Place
from dataflow.alerts.reach import Reach
from dataflow.exceptions import ChannelError


def addresses_of(place: Place, reach: Reach, channel: str) -> tuple[Address, ...]:
    """Return the addresses of a host, all of them allowed.

    Parameters
    ----------
    channel
        As it may be shown, for errors.

    Raises
    ------
    ChannelRefused
        One of them is not allowed, also where others are.
    ChannelError
        There are none, or the resolver cannot say.
    """
    reach.check_spelling(place, channel)
    found = (place.address,) if place.address is not None else _looked_up(place, channel)
    for address in found:
        reach.check(address, place, channel)
    return found


def _looked_up(place: Place, channel: str) -> tuple[Address, ...]:
    try:
        answers = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ChannelError(
            f"{channel}: the name {place.host!r} cannot be resolved ({error}). Is it spelled "
            "right, and is there a network?", channel=channel, reason="name") from error
    found = dict.fromkeys(ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers)
    if not found:
        raise ChannelError(f"{channel}: the name {place.host!r} has no address.",
                           channel=channel, reason="name")
    return tuple(found)
