"""The loops that act on events, for each process that runs them: worker, serve, scheduler, server.

Lives here: which ones there are. Does not live here: the loops (``watcher.py``,
``file_watcher.py``, ``alert_delivery.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dataflow.service.alert_delivery import AlertDelivery
from dataflow.service.file_watcher import FileWatcher
from dataflow.service.judges import judges_of
from dataflow.service.watcher import Watcher
from dataflow.store import Store


class Loop(Protocol):
    """What runs in a thread of its own until it is stopped."""

    def start(self) -> None:
        """Run in a thread."""

    def stop(self) -> None:
        """End the loop, and wait for it."""


def event_loops(store: Store, made: Callable[[], object] = lambda: None) -> list[Loop]:
    """Return watchers of events and of files, and what delivers messages.

    Parameters
    ----------
    store
        Where the events are.
    made
        Called where runs were queued, in the watcher's thread.
    """
    return [Watcher(store, judges_of(store), made=made), FileWatcher(store),
            AlertDelivery(store)]
