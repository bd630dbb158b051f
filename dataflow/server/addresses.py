"""Where the service listens, under which names it is reached, and which of that is refused.

Lives here: the rules, and sockets that are bound by them. Does not live here: the note
of a running service (``notes.py``).
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tornado.netutil import bind_sockets

from dataflow.exceptions import ServerError
from dataflow.server.gate import LOOPBACK_NAMES
from dataflow.server.routes import PREFIX

_BACKLOG = 128
_NAME = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the service is to listen.

    Parameters
    ----------
    port
        0: a free one.
    certfile, keyfile
        For TLS: certificate chain and key, PEM.
    insecure
        Another address than loopback is served without TLS.
    allowed_hosts
        Names under which it is reached, beside those of loopback and ``host``.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certfile: Path | None = None
    keyfile: Path | None = None
    insecure: bool = False
    allowed_hosts: Sequence[str] = ()

    @property
    def scheme(self) -> str:
        """Return ``http`` or ``https``."""
        return "http" if self.certfile is None else "https"

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine reaches it."""
        address = _address(self.host)
        return self.host.lower() in LOOPBACK_NAMES if address is None else address.is_loopback

    @property
    def names(self) -> frozenset[str]:
        """Return the names that a Host header may have."""
        own = () if _address(self.host) is not None else (self.host,)
        return frozenset(each.lower() for each in (*self.allowed_hosts, *own))

    def url(self, port: int) -> str:
        """Return where the service is reached from this machine."""
        address = _address(self.host)
        host = self.host
        if address is not None:
            if address.is_unspecified:
                address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
            host = f"[{address}]" if address.version == 6 else str(address)
        return f"{self.scheme}://{host}:{port}{PREFIX}"


def checked(place: Place) -> Place:
    """Return a place where one may listen. Raises ServerError."""
    if not place.host.strip():
        raise ServerError(
            "The service is to listen on an address that is empty. What to do: leave --host and "
            "DATAFLOW_API_HOST away (127.0.0.1), or name one; 0.0.0.0 is all of this machine.",
            address=place.host, reason="address")
    for name in place.allowed_hosts:
        if not _NAME.fullmatch(name):
            raise ServerError(
                f"{name!r} is no name under which a service is reached (--allowed-host, "
                "DATAFLOW_API_ALLOWED_HOSTS): write flows.example.org, without scheme, port or *.",
                address=name, reason="name")
    if (place.certfile is None) != (place.keyfile is None):
        raise ServerError(
            "TLS needs both: a certificate (--certfile) and its key (--keyfile). Nothing was "
            "started.", address=place.host, reason="tls")
    if not place.is_loopback and place.certfile is None and not place.insecure:
        raise ServerError(
            f"The service is not started on {place.host}: others reach that address, and the "
            "token would cross the network in the clear. What to do: give --certfile and "
            "--keyfile; or leave --host away and put a proxy with TLS before it; or say "
            "--insecure where you trust the network.", address=place.host, reason="insecure")
    return place


def bound(place: Place) -> tuple[list[socket.socket], int]:
    """Return sockets that listen, and their port. Raises ServerError."""
    try:
        sockets = bind_sockets(place.port, place.host, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) and (
            error.errno or 0) > 0 else str(error)
        raise ServerError(
            f"The service cannot listen on {place.host}, port {place.port}: {reason}. Nothing "
            "was started. What to do: give another --port (0 takes a free one) or --host; "
            "`dataflow server status` tells of a service that runs already.",
            address=f"{place.host}:{place.port}", reason=reason) from error
    return sockets, int(sockets[0].getsockname()[1])


def tls_of(place: Place) -> ssl.SSLContext | None:
    """Return what TLS needs; None where there is none. Raises ServerError."""
    if place.certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(place.certfile, place.keyfile, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ServerError(
            f"{place.certfile} and {place.keyfile} are no certificate with its key: {error}. "
            "Nothing was started.", address=str(place.certfile), reason="tls") from error
    return context


def _no_password() -> str:
    raise ValueError("the key needs a password; give one without")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
