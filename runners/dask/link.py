"""The line to a scheduler: one client of our own, its news, its watch.

Lives here: what all flow runs of a started runner share: the client, the
subscription by which workers tell their news, the thread that looks after
everything that no news tells. Does not live here: batches (``session.py``),
who owns the cluster (``cluster.py``).

The client is always our own, also where the user has one: topics, keys and
handlers of ours then never meet those of the user, and are gone with it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

from distributed import Client

from dataflow.runner import Capacity
from runners.dask import compat
from runners.dask.deaths import Deaths

logger = logging.getLogger("dataflow.runners.dask")

_CLUSTER_TOPICS = ("all", "worker-restart-memory")
_TICK_S = 0.1
_RECOUNT_S = 5.0
_PURGE_BYTES = 8_000_000
_PURGE_EVENTS = 400
_CALL_TIMEOUT_S = 30.0
_LOOK_S = 0.5


class Listener(Protocol):
    """What a session looks like from here."""

    token: str

    def hear(self, kind: str, number: int, worker: str, *content: Any) -> None:
        """Take news of a worker; called on the client's loop, must not block."""

    def worker_died(self, address: str, keys: frozenset[Any], threads: int) -> None:
        """Take news of a death: which tasks were assigned, how many could run."""

    def worker_came(self, address: str) -> None:
        """Take news of a worker, which may have the address of one that died."""

    def capacity_changed(self, capacity: Capacity) -> None:
        """Take a new capacity."""

    def tick(self, now_s: float) -> None:
        """Look after what no news tells; called some ten times a second."""


class Link:
    """A client, and the thread that watches it.

    Parameters
    ----------
    client
        Our own.
    cluster
        The cluster object, where there is one in this process.
    owned
        The cluster is ours too.
    """

    def __init__(self, client: Client, cluster: Any | None, owned: bool) -> None:
        self.client = client
        self.cluster = cluster
        self.owned = owned
        self.topic: str = client.id
        self.deaths = Deaths(cluster)
        self.threads: dict[str, int] = {}
        self._sessions: dict[str, Listener] = {}
        self._news: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._heard_bytes = 0
        self._heard_events = 0
        self._closing = threading.Event()
        self._counted_s = 0.0
        compat.quicken_client(client)
        client.subscribe_topic(self.topic, self._on_news)
        for topic, handler in zip(_CLUSTER_TOPICS, (self._on_cluster_news, self._on_memory_kill),
                                  strict=True):
            client.subscribe_topic(topic, handler)
        self._count_workers()
        self._watch = threading.Thread(target=self._run, name="dataflow-dask-watch", daemon=True)
        self._watch.start()

    def add(self, session: Listener) -> None:
        """Let a session hear its news."""
        self._sessions[session.token] = session
        self.wake()

    def remove(self, session: Listener) -> None:
        """Let a session hear no more."""
        self._sessions.pop(session.token, None)

    def capacity(self) -> Capacity:
        """Return the threads of all workers; 1 where there are none yet.

        An adaptive cluster starts its first worker when it sees a first task.
        """
        total = max(sum(self.threads.values()), 1)
        return Capacity(slots=total, ceiling=total)

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return str(getattr(self.client.scheduler, "address", "?"))

    @property
    def lost(self) -> str | None:
        """Why nothing will come back any more, None while the scheduler is there."""
        status = str(self.client.status)
        return None if status == "running" or self._closing.is_set() else (
            f"the connection to the Dask scheduler is lost (client {status})")

    def call(self, work: Coroutine[Any, Any, Any], timeout_s: float | None) -> Any:
        """Run a coroutine on the client's loop.

        Raises
        ------
        TimeoutError
            It did not end in time.
        ConnectionError
            The scheduler is lost; Dask itself would wait for it to come back.
        """
        loop: Any = self.client.loop
        future = asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until_s - time.monotonic())
            try:
                return future.result(min(_LOOK_S, left_s))
            except TimeoutError:
                if future.done():
                    raise  # the work's own
                lost = self.lost
                if lost is not None or left_s <= _LOOK_S:
                    future.cancel()
                if lost is not None:
                    raise ConnectionError(lost) from None
                if left_s <= _LOOK_S:
                    raise

    def send(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine on the client's loop; nobody waits for it."""
        loop: Any = self.client.loop
        asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)

    def wake(self) -> None:
        """Let the watch look now."""
        self._news.put(("wake",))

    def close(self, timeout_s: float = 5.0) -> None:
        """End the watch and the client; what is on the scheduler of ours is gone."""
        if self._closing.is_set():
            return
        alive = self.lost is None
        self._closing.set()
        self._news.put(None)
        if alive:
            for topic in (self.topic, *_CLUSTER_TOPICS):
                self.client.unsubscribe_topic(topic)
            if not self.owned:
                self._purge(forget=True)
        with suppress(OSError, TimeoutError, RuntimeError):
            self.client.close(timeout=timeout_s)
        if threading.current_thread() is not self._watch:
            self._watch.join(timeout_s)

    # news, on the client's loop: nothing here may block

    def _on_news(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if not isinstance(message, tuple | list) or len(message) < 4:
            return  # Dask logs events of its own under a client's name
        kind, token, number, worker, *content = message
        self._heard_events += 1
        if content and isinstance(content[0], bytes):
            self._heard_bytes += len(content[0])
        session = self._sessions.get(token)
        if session is not None:
            session.hear(kind, number, worker, *content)

    def _on_cluster_news(self, event: tuple[float, Any]) -> None:
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action in ("add-worker", "remove-worker"):
            self._news.put((action, message))

    def _on_memory_kill(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if isinstance(message, dict) and "worker" in message:
            self.deaths.memory_kill(message["worker"], message.get("pid", 0),
                                    message.get("rss", 0))

    # the watch

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                news = self._news.get(timeout=_TICK_S if self._sessions else 10 * _TICK_S)
            except queue.Empty:
                news = ("tick",)
            if news is None:
                return
            try:
                self._handle(news)
            except Exception:  # a client that is closing raises many things; the watch goes on
                if not self._closing.is_set() and self.lost is None:
                    logger.exception("Error while watching Dask")

    def _handle(self, news: tuple[Any, ...]) -> None:
        if news[0] == "remove-worker":
            self._worker_left(news[1])
        elif news[0] == "add-worker":
            self._worker_came(news[1].get("worker", ""))
        self.deaths.refresh()
        now = time.monotonic()
        if self.lost is None and (
            news[0] in ("add-worker", "remove-worker") or now - self._counted_s > _RECOUNT_S
        ):
            self._recount(now)
        for session in list(self._sessions.values()):
            session.tick(now)
        if self._heard_bytes > _PURGE_BYTES or self._heard_events > _PURGE_EVENTS:
            self._purge()

    def _worker_left(self, message: dict[str, Any]) -> None:
        address = message.get("worker", "")
        threads = self.threads.get(address, 0)
        if message.get("expected"):
            return  # retired: Dask moves its tasks
        keys = frozenset(message.get("processing-tasks") or ())
        for session in list(self._sessions.values()):
            session.worker_died(address, keys, threads)

    def _worker_came(self, address: str) -> None:
        for session in list(self._sessions.values()):
            session.worker_came(address)
        self.deaths.forget(address)

    def _recount(self, now: float) -> None:
        before = dict(self.threads)
        self._counted_s = now
        self._count_workers()
        if before != self.threads:
            for session in list(self._sessions.values()):
                session.capacity_changed(self.capacity())

    def _count_workers(self) -> None:
        self.threads = dict(self.client.nthreads())
        if not self.deaths.knows_limits_of(self.threads):
            with suppress(Exception):  # a courtesy: an error of a worker's death names its limit
                there = self.client.scheduler_info(n_workers=-1)["workers"]
                self.deaths.limits({
                    address: worker.get("memory_limit") for address, worker in there.items()})
        if self.owned:
            compat.quicken_scheduler(self.cluster)

    def _purge(self, forget: bool = False) -> None:
        """Drop what the scheduler remembers of our news."""
        self._heard_bytes = self._heard_events = 0
        with suppress(Exception):  # a courtesy: whatever the scheduler says, the run goes on
            self.call(self.client.run_on_scheduler(
                compat.purge_topic, self.topic, forget, asynchronous=True), _CALL_TIMEOUT_S)
