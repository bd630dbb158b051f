"""One request and its answer, over tornado's HTTP/1 connections.

Lives here: reading a request, passing it through the gate, sending what comes of it.
Does not live here: the gate, the routes, what is answered (``application.py``).

Tornado's own request handlers are passed by: they answer some requests before any of
our code is asked. Here nothing is answered, whatever the method and path, that the
gate has not seen.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping
from http.client import responses
from typing import TYPE_CHECKING, Any

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from dataflow.server.gate import Asked
from dataflow.server.paths import split_target
from dataflow.server.problems import TOO_LARGE, Problem
from dataflow.server.routes import Found

if TYPE_CHECKING:
    from dataflow.server.application import Application

BODY_BYTES = 1024 * 1024
"""A longer body is refused."""

PASSED_OVER_BYTES = 16 * BODY_BYTES
"""Of a body that is refused, so much is read and forgotten, so that the answer arrives."""

logger = logging.getLogger("dataflow.server")

_ALWAYS = {
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "dataflow",
}


class Exchanges(HTTPServerConnectionDelegate):
    """Makes an :class:`Exchange` for each request."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> Exchange:
        """Begin a request."""
        return Exchange(self._application, request_conn)


class Exchange(HTTPMessageDelegate):
    """One request and its answer; tornado calls the methods without a leading underscore."""

    def __init__(self, application: Application, connection: HTTPConnection) -> None:
        self._application = application
        self._connection: Any = connection
        self._body = bytearray()
        self._verdict: Found | Problem = TOO_LARGE
        self._task: asyncio.Task[None] | None = None
        self.closed = False
        self.status: int | None = None  # once an answer has begun
        self.method = self.path = self.query = ""
        self.headers: Mapping[str, str] = {}

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        """Pass the gate, and find the route; the body comes after.

        Where no body should come any more, the answer is given at once, and waited for.
        """
        assert isinstance(start_line, RequestStartLine)
        self.method = start_line.method
        self.path, self.query = split_target(start_line.path)
        self.headers = {name.lower(): value for name, value in headers.get_all()}
        self._verdict = self._application.judge(Asked(
            method=self.method, path=self.path, hosts=headers.get_list("Host"),
            origins=headers.get_list("Origin"), sites=headers.get_list("Sec-Fetch-Site"),
            authorizations=headers.get_list("Authorization")))
        length = headers.get("Content-Length", "0")
        size = int(length) if length.isdecimal() and len(length) < 18 else 0
        if size > BODY_BYTES:
            self._refuse_body()
        if size > PASSED_OVER_BYTES or (
                "Expect" in headers and isinstance(self._verdict, Problem)):
            self._begin()
        return self._task

    def data_received(self, chunk: bytes) -> None:
        """Take some of the body."""
        if isinstance(self._verdict, Problem):
            return
        self._body += chunk
        if len(self._body) > BODY_BYTES:
            self._refuse_body()

    def finish(self) -> None:
        """Answer: the request is there as a whole."""
        self._begin()

    def on_connection_close(self) -> None:
        """Give up: nobody reads the answer."""
        self.closed = True
        if self._task is not None:
            self._task.cancel()

    def _refuse_body(self) -> None:
        if not isinstance(self._verdict, Problem):  # who brings no token is told that alone
            self._verdict = TOO_LARGE
        self._body.clear()

    def _begin(self) -> None:
        if self._task is None:
            self._connection.set_close_callback(self.on_connection_close)
            self._task = self._application.spawn(self._answer())

    async def _answer(self) -> None:
        try:
            await self._application.answer(self, self._verdict, bytes(self._body))
        except StreamClosedError:
            self.closed = True
        except Exception:  # whoever waits for the answer is to be told that none comes
            logger.exception("%s %s could not be answered", self.method, self.path)
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection in the middle of an answer."""
        self.closed = True
        self._connection.close()

    async def send_json(self, status: int, value: Any,
                        headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        await self.send(status, json.dumps(value, allow_nan=False).encode(), "application/json",
                        headers)

    async def send_problem(self, problem: Problem) -> None:
        """Answer that a request was not done."""
        where = f"{self.method} {self.path}"[:500]
        await self.send_json(problem.status, problem.to_json(where), problem.headers)

    async def send(self, status: int, body: bytes, media: str,
                   headers: Mapping[str, str] | None = None) -> None:
        """Answer with bytes; HEAD gets their length alone."""
        self._head(status, {"Content-Type": media, "Content-Length": str(len(body)),
                            **(headers or {})}, b"" if self.method == "HEAD" else body)
        self._connection.finish()

    def begin_stream(self, media: str) -> None:
        """Begin an answer that goes on."""
        self._head(200, {"Content-Type": media, "X-Accel-Buffering": "no"}, b"")

    async def stream(self, chunk: bytes) -> None:
        """Send some of an answer that goes on. Raises StreamClosedError."""
        if self.closed:
            raise StreamClosedError
        await self._connection.write(chunk)

    def end_stream(self) -> None:
        """End an answer that went on."""
        if not self.closed:
            self._connection.finish()

    def _head(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self._connection.write_headers(
            ResponseStartLine("HTTP/1.1", status, responses.get(status, "")),
            HTTPHeaders({**_ALWAYS, **headers}), body or None)
