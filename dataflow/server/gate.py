"""The gate: who may ask at all. Pure.

Lives here: the check of Host, Origin and token, which every request passes, whatever
its path and method, before anything else is looked at. Does not live here: reading
requests (``exchange.py``), which routes need no token (``table.py``).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dataflow.server.problems import Problem

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}
_OWN_SITES = frozenset({"same-origin", "none"})

LOOPBACK_NAMES = frozenset({"localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the gate sees of a request: its line, and all headers of these names."""

    method: str
    path: str  # as it came, without the query
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    sites: Sequence[str] = ()  # Sec-Fetch-Site
    authorizations: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Lets a request through, or says why not.

    Parameters
    ----------
    token
        What must come as ``Authorization: Bearer``.
    is_open
        Tells of (method, path) whether it needs no token.
    names
        Under which the service is reached, in lower case, beside those of loopback.
    any_address
        An address as Host will do, not only loopback's: no page of others has one.
    scheme
        Of the service's own origin.
    """

    token: str
    is_open: Callable[[str, str], bool]
    names: frozenset[str] = frozenset()
    any_address: bool = False
    scheme: str = "http"

    def refusal(self, asked: Asked) -> Problem | None:
        """Return why a request is not let through; None: it is."""
        return (self._host(asked.hosts) or self._origin(asked)
                or (None if self.is_open(asked.method, asked.path)
                    else self._token(asked.authorizations)))

    def _host(self, hosts: Sequence[str]) -> Problem | None:
        if len(hosts) == 1 and self._is_ours(hosts[0]):
            return None
        return Problem(
            status=403, kind="HostRefused",
            what="The Host header names no host that this service answers for.",
            what_to_do="Ask under the address that the service printed, or add the name to "
                       "DATAFLOW_API_ALLOWED_HOSTS.")

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        if name in LOOPBACK_NAMES or name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or self.any_address

    def _origin(self, asked: Asked) -> Problem | None:
        """Refuse what a page of somebody else asks for."""
        own = _authority(self.scheme, asked.hosts[0])
        if (all(site in _OWN_SITES for site in asked.sites)
                and all(_origin_authority(origin) == (self.scheme, own)
                        for origin in asked.origins)):
            return None
        return Problem(
            status=403, kind="OriginRefused",
            what="The request comes from a page of another origin.",
            what_to_do="Ask from a program, or from a page that this service gave out.")

    def _token(self, authorizations: Sequence[str]) -> Problem | None:
        if len(authorizations) == 1:
            scheme, _, given = authorizations[0].partition(" ")
            if scheme.lower() == "bearer" and hmac.compare_digest(
                    given.encode("utf-8", "surrogatepass"), self.token.encode()):
                return None
        return Problem(
            status=401, kind="TokenRefused",
            what="The request does not bring the token of this service."
                 if authorizations else "The request brings no token.",
            what_to_do="Send it as `Authorization: Bearer …`: it is in DATAFLOW_API_TOKEN, or in "
                       "the file `token` in DATAFLOW_HOME.",
            headers={"WWW-Authenticate": 'Bearer realm="dataflow"'})


def _authority(scheme: str, host: str) -> tuple[str, int]:
    match = _HOST.fullmatch(host)
    if match is None:
        return host, -1
    return match[1].lower(), int(match[2] or _PORTS.get(scheme, 0))


def _origin_authority(origin: str) -> tuple[str, tuple[str, int]]:
    scheme, _, host = origin.partition("://")
    return scheme.lower(), _authority(scheme.lower(), host)
