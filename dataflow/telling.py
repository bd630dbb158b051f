"""After a run: whether somebody may be to be told, which costs next to nothing where nobody is.

Lives here: the quick look, and that whatever goes wrong neither delays nor fails the run.
Does not live here: what is told and by whom (``service/watch_alone.py``).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from dataflow.claims import owner_alive
from dataflow.exceptions import StoreError
from dataflow.settings import get_settings
from dataflow.store import Store

if TYPE_CHECKING:
    from dataflow.batch import RunInfo

logger = logging.getLogger("dataflow.alerts")


def tell_after(run: RunInfo, alerts: Any, store: object) -> None:
    """See to it that somebody watches, where a run that has ended may concern an alert.

    Parameters
    ----------
    run
        The run; it is recorded.
    alerts
        Those that its flow brings.
    store
        Where it is recorded; nothing follows where that keeps no events.
    """
    if not isinstance(store, Store):
        return
    try:
        settings = get_settings()
        if settings.alerts_send == "off":
            return
        from dataflow.settings_tables import has_alerts  # with the settings' other files: tomllib

        if not alerts and run.deployed is None and not has_alerts(settings.file):
            return
        from dataflow.event_log import WATCHING

        leader = store.events().leader(WATCHING, time.time())
        if leader is not None and owner_alive(leader) is not False:
            return  # a worker, as a rule: what follows here takes 40 ms to import
        from dataflow.service.watch_alone import watch_if_needed

        watch_if_needed(store, run.flow_run_id, run.started_s)
    except Exception as error:  # whatever it is, the run has ended as it has
        if isinstance(error, StoreError) and error.__dict__.get("reason") == "no events":
            return
        logger.warning("Nobody could be told of flow run %r: %s", run.flow_run_name, error)
