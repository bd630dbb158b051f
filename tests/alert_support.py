"""Receivers of alerts on loopback: an HTTP server that behaves as told, names that resolve so.

Lives here: what the tests of channels share. Does not live here: the tests.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


Answering = Callable[[BaseHTTPRequestHandler], None]


def plainly(status: int, body: bytes = b"ok", **headers: str) -> Answering:
    """Return what answers with a status, headers (``_`` for ``-``) and a body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endlessly(start: bytes, more: bytes, pause_s: float = 0.0) -> Answering:
    """Return what sends bytes, then others without end, until the other side has gone."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        over: threading.Event = handler.server.over  # type: ignore[attr-defined]
        try:
            handler.wfile.write(start)
            while not over.wait(pause_s):
                handler.wfile.write(more)
        except OSError:
            handler.server.cut.set()  # type: ignore[attr-defined]

    return answer


@dataclass
class Receiver:
    """An HTTP server: what it got, and how it answers (the last answer repeats)."""

    host: str
    port: int
    answers: list[Answering] = field(default_factory=lambda: [plainly(200)])
    requests: list[Received] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    connections: int = 0
    cut: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/hook", scheme: str = "http", host: str | None = None) -> str:
        """Return the address of a path."""
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    def answer(self) -> Answering:
        """Return the next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def receiver(host: str = "127.0.0.1", port: int = 0,
             certificate: tuple[str, str] | None = None) -> Iterator[Receiver]:
    """Run an HTTP server, with TLS where a certificate and its key are given (files)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.requests.append(Received(self.command, self.path, dict(self.headers), body))
            found.answer()(self)
            self.close_connection = True

        do_POST = do_GET = do_PUT = handle_any

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        over = threading.Event()

        def get_request(self) -> Any:
            pair = super().get_request()
            found.connections += 1
            return pair

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that go away."""

    server = Server((host, port), Handler)
    server.over = threading.Event()
    found = Receiver(host, server.server_address[1])
    server.cut = found.cut  # type: ignore[attr-defined]
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.sni_callback = lambda sock, name, context: found.names.append(name)  # type: ignore[assignment]
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def two_receivers(first: str, second: str) -> Iterator[tuple[Receiver, Receiver]]:
    """Run a server at each of two addresses, on the same port."""
    with ExitStack() as stack:
        for attempt in range(50):
            one = stack.enter_context(receiver(first))
            try:
                other = stack.enter_context(receiver(second, one.port))
            except OSError:  # somebody else has that port at the second address
                if attempt == 49:
                    raise
                continue
            yield one, other
            return


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Names:
    """Stands for the resolver: names with a list of answers each, the last of which repeats."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): each for name, each in answers.items()}
        self._real = socket.getaddrinfo
        self.asked: list[str] = []

    def __call__(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self._answers:
            return self._real(host, port, *arguments, **options)
        self.asked.append(name)
        answers = self._answers[name]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(port or 0)))
                for each in found]
