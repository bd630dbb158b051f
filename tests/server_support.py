"""A service on loopback, in this process, and a client that sends what it is told to.

Lives here: starting and ending it in a thread, requests as they are, made-up records.
Does not live here: assertions, the service as a command (``test_server_command.py``).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dataflow.server.addresses import Place, bound
from dataflow.server.routes import Route
from dataflow.server.running import serve
from dataflow.server.table import ROUTES
from dataflow.store import Store

TOKEN = "Made-up_token.0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """Return the kind of the error."""
        return str(self.json["error"]["kind"])


@dataclass(frozen=True)
class Client:
    """Sends requests to a port of loopback."""

    port: int

    @property
    def url(self) -> str:
        """Return the address."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def ask(self, method: str, target: str, body: Any = None,
            headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request with exactly these headers, but for Host, and the body's own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            own = {} if body is None or isinstance(body, bytes) else {
                "Content-Type": "application/json"}
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, target, sent, {**own, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in
                                          answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """GET a path under ``/api/v1`` with the token."""
        return self.ask("GET", f"/api/v1{path}", headers={**BEARER, **headers})

    def post(self, path: str, body: Any = None) -> Answer:
        """POST to a path under ``/api/v1`` with the token."""
        return self.ask("POST", f"/api/v1{path}", body, BEARER)

    def pages(self, path: str, **asked: Any) -> list[Any]:
        """Return the items of all pages."""
        found: list[Any] = []
        fields = "&".join(f"{name}={value}" for name, value in asked.items())
        cursor = ""
        while True:
            page = self.get(f"{path}?{fields}{cursor}").json
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    def raw(self, text: bytes) -> bytes:
        """Send bytes, and return all that comes until the other side ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as line:
            line.sendall(text)
            found = b""
            while chunk := line.recv(65536):
                found += chunk
        return found

    @contextmanager
    def follow(self, path: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """Open a stream; yield (name, data) of its events as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", f"/api/v1{path}", headers=BEARER)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Content-Type")) == (200, "text/event-stream")
            yield _events(answer)
        finally:
            connection.close()


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    fields: dict[str, str] = {}
    while line := answer.readline():
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], json.loads(fields["data"])
            fields = {}


@contextmanager
def serving(store: Store, routes: tuple[Route, ...] = ROUTES, **place: Any) -> Iterator[Client]:
    """Serve a store in a thread meanwhile."""
    sockets, port = bound(Place(**place))
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        until = asyncio.Event()
        loops.append((asyncio.get_running_loop(), until))
        await serve(store, Place(port=port, **place), TOKEN, sockets, until, routes=routes,
                    began=ready.set)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(20)
        yield Client(port)
    finally:
        loop, until = loops[0]
        loop.call_soon_threadsafe(until.set)
        thread.join(20)
        assert not thread.is_alive()
