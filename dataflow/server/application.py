"""What comes of a request: the gate, its route, a view in a thread, an answer.

Lives here: the order of these, and how much goes on at once. Does not live here: HTTP
(``exchange.py``), listening (``running.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import BaseModel
from tornado.iostream import StreamClosedError

from dataflow.server.event_streams import ALIVE
from dataflow.server.exchange import Exchange
from dataflow.server.gate import Asked, Gate
from dataflow.server.problems import BUSY, FAILED, Problem, problem_of
from dataflow.server.reading import body_of, query_of
from dataflow.server.routes import Call, Found, Guard, Router, Site, Tail, Text

THREADS = 8
WAITING = 64
"""So many requests may wait for a thread; one more is refused."""

STREAMS = 32
STEP_S = 0.5
"""How often a stream looks for what is new."""

ALIVE_S = 15.0
"""A stream that has nothing to say says so after this time."""

SLOW_READER_S = 30.0
LEFT = 499
"""Counted where who asked went away before the answer began; it is no fault of ours."""

_Given = TypeVar("_Given")

logger = logging.getLogger("dataflow.server")


class Application:
    """Answers requests.

    Parameters
    ----------
    gate
        Every request passes it first.
    router
        The routes.
    site
        What views work with.
    """

    def __init__(self, gate: Gate, router: Router, site: Site) -> None:
        self._gate = gate
        self._router = router
        self._site = site
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dataflow-api")
        self._going_on: set[asyncio.Task[None]] = set()
        self._working = 0
        self._streams = 0
        self._stopping = asyncio.Event()

    def judge(self, asked: Asked) -> Found | Problem:
        """Return the route of a request that is let through; else why it is not done."""
        return self._gate.refusal(asked) or self._router.find(asked.method, asked.path)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let something go on beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)
        return task

    async def stop(self, patience_s: float) -> None:
        """Let answers come to their end, for a while; streams end at once."""
        self._stopping.set()
        if self._going_on:
            await asyncio.wait(self._going_on, timeout=patience_s)
        for task in list(self._going_on):
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, exchange: Exchange, verdict: Found | Problem, body: bytes) -> None:
        """Answer a request. Raises StreamClosedError where nobody reads."""
        started_s = asyncio.get_running_loop().time()
        status = 500
        try:
            status = await self._answered(exchange, verdict, body)
        except (asyncio.CancelledError, StreamClosedError):
            status = exchange.status or LEFT
            raise
        finally:
            self._count(exchange, verdict, status, started_s)

    async def _answered(self, exchange: Exchange, verdict: Found | Problem, body: bytes) -> int:
        if isinstance(verdict, Problem):
            await exchange.send_problem(verdict)
            return verdict.status
        try:
            found = await self._asked(exchange, verdict, body)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                logger.exception("%s %s failed", exchange.method, exchange.path)
                problem = FAILED
            await exchange.send_problem(problem)
            return problem.status
        if isinstance(found, Problem):
            await exchange.send_problem(found)
            return found.status
        return await self._send(exchange, verdict, found)

    async def _asked(self, exchange: Exchange, found: Found, body: bytes) -> Any:
        route = found.route
        call = Call(
            site=self._site, route=route, path=found.path, query=query_of(route, exchange.query),
            body=body_of(route, body, exchange.headers.get("content-type")), raw=body,
            headers=exchange.headers if route.guard is Guard.SIGNATURE else {})
        if route.quick:
            return _plain(route.view(call))
        if self._working >= THREADS + WAITING:
            return BUSY
        return await self._in_thread(lambda: _plain(route.view(call)))

    async def _in_thread(self, work: Callable[[], _Given]) -> _Given:
        self._working += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._working -= 1

    async def _send(self, exchange: Exchange, found: Found, given: Any) -> int:
        route = found.route
        if isinstance(given, Text):
            await exchange.send(route.status, given.body, given.media)
        elif isinstance(given, Mapping):
            made = {} if route.makes is None else {"Location": route.makes.format(id=given["id"])}
            await exchange.send_json(route.status, given, made)
        elif self._streams >= STREAMS:
            await exchange.send_problem(BUSY)
            return BUSY.status
        else:
            self._streams += 1
            self._site.metrics.streams.inc()
            try:
                await self._follow(exchange, route.media, given)
            finally:
                self._streams -= 1
                self._site.metrics.streams.dec()
        return route.status

    async def _follow(self, exchange: Exchange, media: str, tail: Tail) -> None:
        """Send what a tail shows until it ends, or the service does."""
        exchange.begin_stream(media)
        silent_s = 0.0
        while not self._stopping.is_set():
            try:
                events = await self._in_thread(tail.step)
            except Exception as error:
                if problem_of(error) is None:
                    logger.exception("The stream %s failed", exchange.path)
                break  # who reads connects again, and sees what is wrong
            if events or silent_s >= ALIVE_S:
                try:
                    async with asyncio.timeout(SLOW_READER_S):
                        await exchange.stream(b"".join(events) or ALIVE)
                except TimeoutError:
                    logger.info("Nobody reads the stream %s: it is ended", exchange.path)
                    exchange.hang_up()
                    break
                silent_s = 0.0
            if tail.ended:
                break
            if not events:
                silent_s += STEP_S
                await _first_of(self._stopping, STEP_S)
        exchange.end_stream()

    def _count(self, exchange: Exchange, verdict: Found | Problem, status: int,
               started_s: float) -> None:
        metrics = self._site.metrics
        found = verdict.route if isinstance(verdict, Found) else None
        name = "none" if found is None else found.name
        method = "other" if found is None else found.method
        metrics.requests.labels(route=name, method=method, status=str(status)).inc()
        took_s = asyncio.get_running_loop().time() - started_s
        if found is not None and not found.streams:
            metrics.request_seconds.labels(route=name).observe(took_s)
        logger.log(logging.WARNING if status >= 500 else logging.DEBUG, "%s %s: %d in %.0f ms",
                   exchange.method, exchange.path, status, took_s * 1000)


def _plain(given: Any) -> Any:
    """Return a model as values of JSON; it is done where the view was, in its thread."""
    return given.model_dump(mode="json") if isinstance(given, BaseModel) else given


async def _first_of(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
