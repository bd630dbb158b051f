"""Where a URL leads, read in one way only. Pure.

Lives here: the parts of a URL of a webhook, spellings of IP addresses, which
addresses belong to the public internet. Does not live here: which of the others
are allowed (``reach.py``), resolving names (``resolving.py``).

What two readers could read differently is refused: a host that one takes for
the public one and the other connects to the private one is the oldest trick.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from dataflow.alerts.channel_urls import shown
from dataflow.exceptions import ChannelRefused

Address = IPv4Address | IPv6Address
PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PART = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_KINDS = ("loopback", "link_local", "multicast", "unspecified", "site_local", "private", "reserved")
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(map(ip_network, ("192.88.99.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")))
"""Set aside since the oldest Python we support was made, or never meant for hosts."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a connection is made to, and what is asked for there.

    ``address`` is set where the host is an IP address; ``odd`` where it is spelled as none
    is by people (``127.1``, ``0x7f000001``).
    """

    scheme: str
    host: str
    port: int
    target: str
    user: str | None = None
    password: str | None = None
    address: Address | None = None
    odd: bool = False

    @property
    def host_header(self) -> str:
        """Return the value of ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return what must be the same for secrets to go along a redirect."""
        return self.scheme, self.host, self.port


def place_of(url: str) -> Place:
    """Return where a URL leads.

    Raises
    ------
    ChannelRefused
        It is no http or https URL, or can be read in more than one way.
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in PORTS:
        _refuse(url, f"only http and https are allowed, not {scheme[:20]!r}")
    if any(ord(one) <= 0x20 or ord(one) == 0x7F or one == "\\" for one in url):
        _refuse(url, "it has a blank, a control character or a backslash; write them as %20")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        _refuse(url, str(error))
    if parts.netloc.count("@") > 1:
        _refuse(url, "it has more than one '@' before its path; write '@' in a password as %40")
    if not parts.hostname or port == 0:
        _refuse(url, "it names no host, or the port 0")
    host, address, odd = read_host(parts.hostname, url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii():
        _refuse(url, "its path has characters other than ASCII; write them as %C3%A4")
    return Place(
        scheme, host, port or PORTS[scheme], target, address=address, odd=odd,
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password))


def read_host(host: str, url: str = "") -> tuple[str, Address | None, bool]:
    """Return a host as it is asked for, its address where it is one, whether it is spelled oddly.

    Raises
    ------
    ChannelRefused
        It is neither a name nor an address.
    """
    if ":" in host:
        try:
            found = IPv6Address(host)
        except ValueError:
            _refuse(url or host, "its host is no IPv6 address")
        return host.lower(), found, found.scope_id is not None or found.ipv4_mapped is not None
    try:
        ascii_host = host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        _refuse(url or host, "its host is no name")
    address = ipv4_of(ascii_host)
    if address is not None:
        return ascii_host, address, ascii_host != str(address) or ascii_host != host
    labels = ascii_host.split(".")
    if len(ascii_host) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or (
            _PART.fullmatch(labels[-1])):
        _refuse(url or host, "its host is neither a name nor an address")
    return ascii_host, None, False


def ipv4_of(host: str) -> IPv4Address | None:
    """Return the IPv4 address that a text means to ``inet_aton``; None where it means none.

    ``127.0.0.1``, ``127.1``, ``0177.0.0.1``, ``0x7f000001``, ``2130706433`` are the same one.
    """
    parts = host.split(".")
    if not 1 <= len(parts) <= 4 or not all(_PART.fullmatch(part) for part in parts):
        return None
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        return None
    *front, last = numbers
    if any(number > 255 for number in front) or last >= 256 ** (5 - len(numbers)):
        return None
    value = last
    for at, number in enumerate(front):
        value += number << (24 - 8 * at)
    return IPv4Address(value)


def _number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    return int(part, 8) if len(part) > 1 and part[0] == "0" else int(part)


def leads_to(address: Address) -> tuple[Address, ...]:
    """Return the addresses that a connection to this one ends at or passes through.

    Of an IPv6 address that stands for an IPv4 one (mapped, NAT64) that one; of a 6to4 address
    both.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,) if address.sixtofour is None else (address, address.sixtofour)


def why_not_public(address: Address) -> str | None:
    """Return what an address, or one within it, is that is not public; None where all are."""
    return next((kind for one in leads_to(address) if (kind := kind_of(one)) is not None), None)


def kind_of(address: Address) -> str | None:
    """Return what an address by itself is that is not of the public internet; None where it is."""
    for kind in _KINDS:
        if getattr(address, f"is_{kind}", False):
            return kind.replace("_", "-")
    listed = any(address in network for network in _NOT_PUBLIC
                 if network.version == address.version)
    return "not public" if listed or not address.is_global else None


def _refuse(url: str, reason: str) -> NoReturn:
    raise ChannelRefused(
        f"{shown(url)} cannot be a webhook: {reason}.", channel=shown(url), reason="bad URL")
