"""One process of the service: it listens, answers, and runs its loops until told to end.

Lives here: what is started and ended, in which order. Does not live here: the loops
(``service/``), what is answered (``application.py``), where one may listen
(``addresses.py``).
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from dataflow.server import addresses, notes
from dataflow.server.addresses import Place
from dataflow.server.application import Application
from dataflow.server.exchange import PASSED_OVER_BYTES, Exchanges
from dataflow.server.gate import Gate
from dataflow.server.listening import Listener
from dataflow.server.metrics import Metrics
from dataflow.server.openapi import document
from dataflow.server.routes import Route, Router, Site
from dataflow.server.table import ROUTES
from dataflow.server.tokens import token_of
from dataflow.service.ending import end_soon
from dataflow.service.scheduler import Scheduler
from dataflow.service.scheduling import looping, loops_of
from dataflow.settings_value import Settings
from dataflow.store import Store

END_S = 5.0
"""So long answers that go on may take when the service ends."""

_HEADER_BYTES = 32 * 1024
_IDLE_S = 75.0
_BODY_S = 30.0


class TimedScheduler(Scheduler):
    """A scheduler whose turns are measured."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        super().__init__(store)
        self._metrics = metrics

    def turn(self) -> int:
        """Handle what is due now."""
        with self._metrics.turn_seconds.time():
            return super().turn()


def run(store: Store, settings: Settings, place: Place, *, schedule: bool = True,
        say: Callable[[str], object] = print) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Parameters
    ----------
    schedule
        Make the runs of schedules, and what follows from events, too.
    say
        Is given one line with the address, once it is reached there.

    Raises
    ------
    ServerError
        It cannot be started so; the text says what to do.
    StoreError
        The store keeps no deployments and no queue.
    """
    store.agenda()
    addresses.checked(place)
    tls, token = addresses.tls_of(place), token_of(settings)
    sockets, port = addresses.bound(place)
    metrics = Metrics()
    loops = loops_of(store, partial(TimedScheduler, metrics=metrics)) if schedule else []
    url = place.url(port)
    try:
        notes.leave(settings.home, url, datetime.now(UTC).isoformat(timespec="seconds"),
                    place.certfile)
        with looping(loops):
            asyncio.run(_until_told(store, place, token, sockets, tls, metrics,
                                    lambda: say(f"Serving {url}")))
    finally:
        notes.remove(settings.home)
        for each in sockets:
            each.close()


async def _until_told(store: Store, place: Place, token: str, sockets: Sequence[socket.socket],
                      tls: ssl.SSLContext | None, metrics: Metrics,
                      began: Callable[[], object]) -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        if not told.is_set():
            end_soon()
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    await serve(store, place, token, sockets, told, tls=tls, metrics=metrics, began=began)


async def serve(store: Store, place: Place, token: str, sockets: Sequence[socket.socket],
                until: asyncio.Event, *, tls: ssl.SSLContext | None = None,
                metrics: Metrics | None = None, routes: Sequence[Route] = ROUTES,
                clock: Callable[[], float] = time.time,
                began: Callable[[], object] = lambda: None) -> None:
    """Answer requests on sockets until an event is set; what goes on may end."""
    router = Router(routes)
    site = Site(store=store, clock=clock, metrics=metrics or Metrics(),
                document=document(routes))
    gate = Gate(token=token, is_open=router.is_open, names=place.names, scheme=place.scheme,
                any_address=not place.is_loopback)
    application = Application(gate, router, site)
    server = Listener(
        Exchanges(application), ssl_options=tls, max_header_size=_HEADER_BYTES,
        max_body_size=PASSED_OVER_BYTES, idle_connection_timeout=_IDLE_S, body_timeout=_BODY_S)
    server.add_sockets(sockets)
    began()
    await until.wait()
    server.stop()
    await application.stop(END_S)
    await server.close_all_connections()
