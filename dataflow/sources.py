"""Generators that are mapped over, consumed a bounded way ahead.

Lives here: one thread per mapped generator that takes items when the engine
asks for them. Does not live here: how many (``engine/cut.py``).
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from dataflow.engine.messages import Pulled
from dataflow.failures import record_of
from dataflow.graph import Mapped

_LINGER_S = 0.02
"""A slow generator's items are handed on after so long, though fewer than asked for."""


class Source:
    """The generators of one map."""

    def __init__(self, call: int, mapped: list[Mapped], post: Callable[[Pulled], None]) -> None:
        self._call = call
        self._iterators: dict[int | str, Iterator[Any]] = {
            m.key: m.iterator for m in mapped if m.iterator is not None
        }
        self._post = post
        self._context = contextvars.copy_context()
        self._asked: SimpleQueue[int] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def pull(self, count: int) -> None:
        """Ask for up to ``count`` items of each generator, in the background."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, name=f"dataflow-source-{self._call}", daemon=True
            )
            self._thread.start()
        self._asked.put(count)

    def pull_now(self, count: int) -> None:
        """Take items in the calling thread."""
        self._post(self._context.run(self._take, count))

    def stop(self) -> None:
        """End the thread after what it is at."""
        if self._thread is not None:
            self._asked.put(0)

    def _serve(self) -> None:
        while count := self._asked.get():
            pulled = self._context.run(self._take, count)
            self._post(pulled)
            if pulled.exhausted or pulled.uneven or pulled.error is not None:
                return

    def _take(self, count: int) -> Pulled:
        items: dict[int | str, list[Any]] = {key: [] for key in self._iterators}
        began = time.monotonic()
        for _ in range(count):
            row: dict[int | str, Any] = {}
            for key, iterator in self._iterators.items():
                try:
                    row[key] = next(iterator)
                except StopIteration:
                    continue
                except BaseException as error:  # user code: the generator raised
                    record = record_of(error, remote=True)  # what follows may be anywhere
                    record.exception = error
                    return Pulled(self._call, items, error=record)
            if len(row) < len(items):
                return Pulled(self._call, items, exhausted=not row, uneven=bool(row))
            for key, item in row.items():
                items[key].append(item)
            if time.monotonic() - began > _LINGER_S:
                break
        return Pulled(self._call, items)
