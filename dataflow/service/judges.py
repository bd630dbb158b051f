"""Who says what follows from events: the list that every watcher is given.

Lives here: the list. Does not live here: the judges themselves, the loop (``watcher.py``).
"""

from __future__ import annotations

from dataflow.service.alerting import AlertJudge
from dataflow.service.triggering import TriggerJudge
from dataflow.service.watcher import Judge
from dataflow.store import Store


def judges_of(store: Store) -> list[Judge]:
    """Return the judges of a store."""
    return [TriggerJudge(store), AlertJudge(store)]
