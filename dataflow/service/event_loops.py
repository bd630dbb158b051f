"""The loops that act on events, for each process that runs them: worker, serve, scheduler, server.

Lives here: which ones there are. Does not live here: the loops (``watcher.py``,
``alert_delivery.py``).
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.service.alert_delivery import AlertDelivery
from dataflow.service.judges import judges_of
from dataflow.service.watcher import Watcher
from dataflow.store import Store


def event_loops(store: Store, made: Callable[[], object] = lambda: None,
                ) -> list[Watcher | AlertDelivery]:
    """Return a watcher of events and what delivers messages; each has ``start`` and ``stop``.

    Parameters
    ----------
    store
        Where the events are.
    made
        Called where runs were queued, in the watcher's thread.
    """
    return [Watcher(store, judges_of(store), made=made), AlertDelivery(store)]
