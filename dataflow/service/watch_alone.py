"""After a run that nobody watches: a small process that does, where somebody is to be told.

Lives here: whether there may be something to tell, taking the lead for that process,
starting it. Does not live here: what it does (``watch_once.py``), the quick look whether
there are alerts at all (``dataflow/telling.py``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from dataflow.alerts.alert import Alert
from dataflow.alerts.events import RunEvent
from dataflow.alerts.rules import concerns, judge
from dataflow.claims import owner_alive
from dataflow.event_log import STATE_EVENTS, EventLog
from dataflow.ids import new_run_id
from dataflow.service.alert_kinds import about_tasks
from dataflow.service.alert_memory import NAME, memory_of
from dataflow.service.alert_sources import AlertSources
from dataflow.service.alerting import is_news
from dataflow.service.run_events import bare_event
from dataflow.service.watcher import LOOP
from dataflow.settings import Settings, get_settings, variable
from dataflow.store import Store

HANDED_OVER_S = 20.0
"""So long the process may take to begin."""

LOG = "alerts.log"
"""In ``DATAFLOW_HOME``: what such processes say."""

_LOG_BYTES = 1 << 20
_LOOKED_AT = 200
_EARLIER_S = 1.0  # a run is made a little before it begins
_begun: list[subprocess.Popen[bytes]] = []


def watch_if_needed(store: Store, flow_run_id: str, since_s: float) -> bool:
    """Start a process that watches, where nobody does and somebody may be to be told.

    Parameters
    ----------
    store
        Of the run, which has ended.
    flow_run_id
        The run.
    since_s
        When it began.
    """
    log, now_s = store.events(), time.time()
    _begun[:] = [each for each in _begun if each.poll() is None]
    if _is_watched(log, now_s) or not _may_tell(log, since_s, now_s):
        return False
    owner = f"after run {flow_run_id} {new_run_id()}"
    if not log.lead(LOOP, owner, now_s, now_s + HANDED_OVER_S):
        return False
    _begun.append(_started(owner, since_s, get_settings()))
    return True


def _is_watched(log: EventLog, now_s: float) -> bool:
    """Tell whether somebody watches; one that was killed just now leads no more from here on."""
    leader = log.leader(LOOP, now_s)
    if leader is None or owner_alive(leader) is not False:
        return leader is not None
    log.lead(LOOP, leader, now_s, 0.0)
    return False


def _may_tell(log: EventLog, since_s: float, now_s: float) -> bool:
    """Tell whether something that happened since a moment may concern an alert."""
    memory = memory_of(log.pending(1).memory.get(NAME))
    if memory.groups.next_s is not None:
        return True
    events = [each for each in log.events(name=f"{STATE_EVENTS}*", since_s=since_s - _EARLIER_S,
                                          limit=_LOOKED_AT) if is_news(each, now_s)]
    facts = log.facts(list({each.flow_run_id or "" for each in events}))
    sources = AlertSources()
    sources.refresh(now_s)
    return any(
        concerned(sources.of_run(known.alerts, f"flow {each.flow_name!r}"),
                  bare_event(each, known), open_groups=bool(memory.groups.by_key))
        for each in events if (known := facts.get(each.flow_run_id or "")) is not None)


def concerned(alerts: Iterable[Alert], event: RunEvent, *, open_groups: bool) -> bool:
    """Tell whether one of the alerts may have to do with a change of state.

    Parameters
    ----------
    open_groups
        Somebody was told of something that is not over yet.
    """
    for alert in alerts:
        if not concerns(alert, event, whose_task=False):
            continue
        if event.is_final and (
                alert.failed_share is not None or alert.longer_than is not None
                or alert.late_by_seconds is not None or "recovered" in alert.on
                or about_tasks(alert)):
            return True
        found = judge(alert, event)
        if found is not None and (open_groups or not found.resolved):
            return True
    return False


def _started(owner: str, since_s: float, settings: Settings) -> subprocess.Popen[bytes]:
    """Start the process, in a session of its own: it outlives this one and its terminal."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with _opened(settings.home / LOG) as output:
        return subprocess.Popen(
            [sys.executable, "-m", "dataflow.service.watch_once", owner, repr(since_s)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, **_environment(settings)})


def _opened(path: Path) -> IO[bytes]:
    """Open the log to add to it; one that has grown large begins anew."""
    large = path.exists() and path.stat().st_size > _LOG_BYTES
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | (
        os.O_TRUNC if large else 0), 0o600), "ab")


def _environment(settings: Settings) -> dict[str, str]:
    """Return the settings that the process is to have too, where this one has them otherwise
    than from environment and files."""
    found = {variable("home"): str(settings.home), variable("store"): settings.store_location}
    if settings.sources.get("alerts_allow_private") == "temporary_settings":
        allowed = settings.alerts_allow_private
        found[variable("alerts_allow_private")] = (
            str(allowed).lower() if isinstance(allowed, bool) else ",".join(allowed))
    return found
