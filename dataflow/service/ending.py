"""The end of a process that was told to end, also where something holds it up.

Lives here: how long its loops and threads may take, and the end without them. Does not
live here: what tells it to end (``scheduling.py``, ``server/running.py``).
"""

from __future__ import annotations

import logging
import os
import threading

PATIENCE_S = 10.0
HELD_UP = 1
"""Exit code of a process that did not end by itself."""

logger = logging.getLogger("dataflow.scheduler")


def end_soon() -> None:
    """Let this process end within ``PATIENCE_S`` from now, whatever it waits for.

    A database that is there and does not answer holds up each thread that asks it. What was
    being written then is there as a whole or not at all: each change is one transaction.
    """
    timer = threading.Timer(PATIENCE_S, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    logger.warning("The run store holds up the end of this process, which ends without it. "
                   "What was being written is there as a whole, or not at all")
    logging.shutdown()
    os._exit(HELD_UP)
