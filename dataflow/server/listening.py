"""The connections of the service: how many there may be, and what is written down of them.

Lives here: the bound, by the files that this process may have open; tornado's own log.
Does not live here: addresses (``addresses.py``), requests (``exchange.py``).
"""

from __future__ import annotations

import logging
import resource
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

CONNECTIONS = 500
"""One more is closed at once."""

logger = logging.getLogger("dataflow.server")

logging.getLogger("tornado.general").setLevel(logging.WARNING)
"""Below, tornado logs the headers of requests that it cannot read, a token in them too."""


def most_connections() -> int:
    """Return how many connections there may be: the store needs files as well."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS if files == resource.RLIM_INFINITY else min(CONNECTIONS, files // 2)


class Listener(HTTPServer):
    """A server that closes connections which are too many.

    Where a process has no file left for a connection, it is offered again and again, and
    each time that is logged: a client that opens many would fill the disk.
    """

    def initialize(self, *arguments: Any, **options: Any) -> None:
        """Take what tornado's server takes."""
        super().initialize(*arguments, **options)
        self._most = most_connections()
        self._open = 0
        self._said = False

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection, or close it."""
        if self._open < self._most:
            self._open += 1
            super().handle_stream(stream, address)
            return
        if not self._said:
            self._said = True
            logger.warning("%d connections are open: more are closed at once", self._open)
        stream.close()

    def on_close(self, server_conn: object) -> None:
        """Count a connection that is over."""
        self._open -= 1
        if self._open < self._most // 2:
            self._said = False
        super().on_close(server_conn)
