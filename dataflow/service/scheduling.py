"""The loops that need no worker: what makes runs of schedules, and of what happened.

Lives here: which loops there are, starting and ending them together, a process that
runs nothing else. Does not live here: the loops (``scheduler.py``, ``event_loops.py``).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from dataflow.service.ending import end_soon
from dataflow.service.event_loops import Loop, event_loops
from dataflow.service.scheduler import Scheduler
from dataflow.store import Store


@contextmanager
def looping(loops: Sequence[Loop]) -> Iterator[None]:
    """Run loops meanwhile; at the end each has ended."""
    with ExitStack() as ends:
        for loop in loops:
            loop.start()
            ends.callback(loop.stop)
        yield


def loops_of(
    store: Store, scheduler: Callable[[Store], Scheduler] = Scheduler
) -> list[Loop]:
    """Return the loops of a store. Raises StoreError where it keeps no agenda or no events."""
    return [scheduler(store), *event_loops(store)]


def schedule(store: Store) -> None:
    """Run the loops until SIGTERM or Ctrl-C. Raises StoreError at once."""
    enough = threading.Event()

    def end(number: int, frame: Any) -> None:
        enough.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with looping(loops_of(store)):
            enough.wait()
            end_soon()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
