"""One HTTP request to an address that was checked, within a time and a size.

Lives here: the connection to the address (never to the name, which could
resolve to another one by now), TLS for the name, the deadline of the whole, the
bounds of the answer. Does not live here: which address (``resolving.py``), what
is sent, redirects (``sending.py``).
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from dataflow.alerts.hosts import Address, Place

START = 2_000
"""So many bytes of an answer's body are read at most, and only where it says that it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent to a place."""

    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status, where it leads, and of a failure the start of its body."""

    status: int
    reason: str = ""
    location: str | None = None
    retry_after: str | None = None
    start: bytes = b""

    @property
    def is_good(self) -> bool:
        """Tell whether the request was taken."""
        return 200 <= self.status < 300


class Deadline:
    """The moment until which all of a request must be done."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError where none are."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError("its time is over")
        return left


def exchange(place: Place, address: Address, request: Request, deadline: Deadline) -> Answer:
    """Send a request to one address of a place, once.

    Raises
    ------
    OSError, http.client.HTTPException
        No connection, no answer, or none that is HTTP; ``TimeoutError`` where the time is over,
        also while bytes still come.
    """
    connection = _Pinned(place, address, request, deadline)
    try:
        headers = {"Host": place.host_header, "User-Agent": "dataflow", **request.headers,
                   "Content-Length": str(len(request.body)), "Connection": "close"}
        connection.request(request.method, place.target, body=request.body, headers=headers)
        answer = connection.getresponse()
        return Answer(status=answer.status, reason=answer.reason,
                      location=answer.getheader("Location"),
                      retry_after=answer.getheader("Retry-After"), start=_start(answer))
    finally:
        connection.end()


def _start(answer: HTTPResponse) -> bytes:
    """Return the first bytes of a failure's body; how it ends does not matter."""
    if answer.status < 400:
        return b""
    try:
        return answer.read1(START)  # what is there; not until there are so many
    except (OSError, HTTPException):
        return b""


class _Pinned(HTTPConnection):
    """A connection whose host is a name for headers and TLS, and an address for the network."""

    def __init__(self, place: Place, address: Address, request: Request,
                 deadline: Deadline) -> None:
        super().__init__(place.host, place.port)
        self._place, self._address = place, address
        self._verify, self._deadline = request.verify, deadline
        self.auto_open = 0  # never again by itself: that would ask for the name
        self.connect()

    def connect(self) -> None:
        left = self._deadline.left()
        plain = socket.create_connection((str(self._address), self.port), timeout=left)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secure = self._encrypted(plain) if self._place.scheme == "https" else plain
        except BaseException:
            plain.close()
            raise
        self._socket = secure
        self.sock = _Bounded(secure, self._deadline)

    def end(self) -> None:
        """Close the connection, whatever still comes."""
        self.close()
        self._socket.close()

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        context = ssl.create_default_context()
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        plain.settimeout(self._deadline.left())
        return context.wrap_socket(plain, server_hostname=self._place.host)


class _Bounded:
    """A socket each of whose calls may take what is left of the time, and not longer."""

    def __init__(self, inner: socket.socket, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def sendall(self, data: Any) -> None:
        self._inner.settimeout(self._deadline.left())
        self._inner.sendall(data)

    def makefile(self, mode: str = "rb", buffering: int = -1) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._inner, self._deadline))

    def close(self) -> None:
        """Do nothing: http.client closes the socket before it has read the body."""


class _Reader(io.RawIOBase):
    """The bytes of a socket until a deadline: one byte a second does not make it longer."""

    def __init__(self, inner: socket.socket, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._inner.settimeout(self._deadline.left())
        return self._inner.recv_into(buffer)
