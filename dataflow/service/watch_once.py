"""A watcher for the time after a run that nobody watches.

It is a process: ``python -m dataflow.service.watch_once OWNER SINCE``.

Lives here: watching until nothing is left to tell, then the end. Does not live here: who
starts it (``watch_alone.py``), what follows from events (``watcher.py``).
"""

from __future__ import annotations

import logging
import sys
import time

from dataflow.event_log import EventLog
from dataflow.exceptions import StoreError
from dataflow.service.alert_delivery import AlertDelivery
from dataflow.service.alert_memory import NAME, memory_of
from dataflow.service.judges import judges_of
from dataflow.service.watcher import Watcher
from dataflow.stores import open_store

LONGEST_S = 330.0
"""It ends so long after the last event, whatever still waits: what a channel does not take, or is
throttled for longer, is told when somebody watches again."""

PAUSE_S = 0.1

logger = logging.getLogger("dataflow.watcher")


def main(owner: str, since_s: float) -> int:
    """Watch until nothing is left to tell.

    Parameters
    ----------
    owner
        As which the lead was taken for this process.
    since_s
        Where nobody has watched before: events from then on count.
    """
    logging.basicConfig(level=logging.INFO,
                        format="%(asctime)s | %(levelname)-7s | %(name)s - %(message)s")
    store = open_store(None)
    try:
        watcher = Watcher(store, judges_of(store), owner=owner, since_s=since_s)
        delivery = AlertDelivery(store)
        try:
            _watch(watcher, delivery, store.events())
        finally:
            watcher.give_up()
            delivery.drain()
    except StoreError as error:
        logger.error("%s", error)
        return 1
    finally:
        store.close()
    return 0


def _watch(watcher: Watcher, delivery: AlertDelivery, log: EventLog) -> None:
    last_s = time.monotonic()
    while time.monotonic() - last_s < LONGEST_S:
        if watcher.turn():
            last_s = time.monotonic()
        if not watcher.leads:
            logger.info("Somebody else watches")
            return
        delivery.step()
        if is_done(log):
            watcher.give_up()
            if not log.pending(1).events:  # a run that ended meanwhile left it to this process
                return
        time.sleep(PAUSE_S)
    logger.info("Something still waits; it is told when somebody watches again")


def is_done(log: EventLog) -> bool:
    """Tell whether nothing is left to tell: no event, no message that waits."""
    pending = log.pending(1)
    return (not pending.events and not log.parcels("waiting", limit=1)
            and memory_of(pending.memory.get(NAME)).groups.next_s is None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
