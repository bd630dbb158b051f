"""Asking a service, from a program on the same machine or another one.

Lives here: one request and what is known of a service from it. Does not live here:
where it is (``notes.py``), what is shown (``cli/server.py``).
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dataflow.exceptions import ServerError
from dataflow.server.addresses import Place

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a service says of itself; ``problem`` is why it says less."""

    address: str
    healthy: bool = False
    ready: bool = False
    version: str | None = None
    problem: str | None = None


def status_of(address: str, token: str | None, *, cafile: str | None = None,
              timeout_s: float = TIMEOUT_S) -> Status:
    """Return what a service says of itself; the token goes to none over an open network.

    Parameters
    ----------
    address
        As it printed it: ``http://127.0.0.1:4207/api/v1``.
    cafile
        What the certificate of TLS is checked with; None: what this machine trusts.

    Raises
    ------
    ServerError
        The address is none.
    """
    line = _Line(address, cafile, timeout_s)
    healthy = False
    try:
        healthy = line.get("/health")[0] == 200
        ready, said = line.get("/ready")
        version, problem = None, None if ready == 200 else _what(said)
        if token is None:
            problem = problem or "There is no token yet to ask for more with."
        elif not line.is_private:
            problem = problem or "The token is not sent over http to another machine."
        else:
            code, said = line.get("/version", token)
            version = said.get("version") if code == 200 else None
            problem = problem or (None if code == 200 else _what(said))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Status(address=address, healthy=healthy, problem=_why(error, healthy))
    return Status(address=address, healthy=healthy, ready=ready == 200, version=version,
                  problem=problem)


def _why(error: Exception, healthy: bool) -> str:
    """Return what an answer that did not come means, and what to do."""
    if isinstance(error, ConnectionRefusedError):
        return "Nothing listens there: `dataflow server start` starts a service."
    if isinstance(error, TimeoutError):
        return ("It lives, but does not answer in time: look after its run store."
                if healthy else "It does not answer in time.")
    if isinstance(error, json.JSONDecodeError):
        return "What answers there is no service of dataflow."
    return f"{type(error).__name__}: {error}"


def _what(said: Any) -> str:
    error = said.get("error", {}) if isinstance(said, dict) else {}
    return str(error.get("what", "The answer is none of this service's."))


class _Line:
    """The way to a service: no proxy, no redirects."""

    def __init__(self, address: str, cafile: str | None, timeout_s: float) -> None:
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if (parts.scheme not in ("http", "https") or host is None or parts.username
                or not address.isascii() or any(each <= " " for each in address)):
            raise ServerError(
                f"{address!r} is no address of a service: write http://127.0.0.1:4207/api/v1.",
                address=address, reason="address")
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._path = parts.path.rstrip("/") or "/api/v1"
        self._tls = ssl.create_default_context(cafile=cafile) if parts.scheme == "https" else None
        self.is_private = self._tls is not None or Place(host=host).is_loopback

    def get(self, path: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of an answer."""
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
            if self._tls is None else
            http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s,
                                        context=self._tls))
        try:
            connection.request("GET", self._path + path, headers={} if token is None else {
                "Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            found = json.loads(answer.read(1 << 20))
        finally:
            connection.close()
        if not isinstance(found, dict):
            raise ValueError("the answer is no JSON object")
        return answer.status, found
