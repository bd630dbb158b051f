"""The loops that need no worker and no service, in a process of their own.

Lives here: running them until a signal says that it is enough. Does not live here: the
loops (``scheduler.py``).
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from dataflow.service.scheduler import Scheduler
from dataflow.store import Store


def schedule(store: Store) -> None:
    """Make the runs of schedules until SIGTERM or Ctrl-C. Raises StoreError at once."""
    scheduler = Scheduler(store)
    enough = threading.Event()

    def end(number: int, frame: Any) -> None:
        enough.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    scheduler.start()
    try:
        enough.wait()
    finally:
        scheduler.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
