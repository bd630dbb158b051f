"""The watcher: draws the consequences of events, once each.

Lives here: the loop, who runs it of many, that consequences are written together. Does not
live here: what follows from an event (judges: ``alerting.py``, ``triggering.py``), the events
(the store's event log).

Any number of watchers may run on one store: one leads, another follows it within some
seconds when it is gone. Should two lead for a moment, because clocks differ, each event still
has its consequences once: the store takes them from one of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from dataflow.event_log import WATCHING, Findings, Pending
from dataflow.exceptions import StoreError
from dataflow.said_lately import SaidLately
from dataflow.service.leading import Lead
from dataflow.store import Store

LOOP = WATCHING
GLANCE_S = 0.2
"""Events are seen within so long, in seconds."""

BATCH = 500
SINCE = "watched since"
"""Name in the memory: events from before anybody watched have no consequences."""

_DAY_S = 86_400.0
_CARE_S = 3600.0  # between two looks for what is old enough to be forgotten
_SOON_S = 5.0  # ... and where more of it is there than is removed at once
_AT_ONCE = 5000

logger = logging.getLogger("dataflow.watcher")


class Judge(Protocol):
    """Says what follows from events, or from time that has passed."""

    def judge(self, pending: Pending, now_s: float) -> Findings:
        """Return what follows; ``handled`` is left to the watcher.

        Where it raises, each of the events is judged alone; the one at which it raises again is
        logged, and has no consequences of this kind.
        """


class Watcher:
    """Draws consequences until it is stopped.

    Parameters
    ----------
    store
        Where the events are.
    judges
        Who say what follows.
    made
        Called where runs were queued, in the watcher's thread.
    since_s
        Where nobody has watched before: events from then on count; default now.
    kept_days
        Events and messages are removed after so long.
    clock
        Gives epoch seconds.
    owner
        As which it leads; where somebody took the lead for it, that name.
    """

    def __init__(self, store: Store, judges: Sequence[Judge], *,
                 made: Callable[[], object] = lambda: None, since_s: float | None = None,
                 kept_days: float = 30.0, clock: Callable[[], float] = time.time,
                 owner: str | None = None) -> None:
        self._log = store.events()
        self._judges = tuple(judges)
        self._made = made
        self._clock = clock
        self._since_s = clock() if since_s is None else since_s
        self._kept_s = kept_days * _DAY_S
        self._lead = Lead(self._log, LOOP, owner)
        self._care_at_s = 0.0
        self._alone = 0  # so many of the next events are judged one by one
        self._stop = threading.Event()
        self._said = SaidLately()
        self._thread: threading.Thread | None = None

    @property
    def leads(self) -> bool:
        """Tell whether it is the one that draws consequences."""
        return self._lead.is_held(self._clock())

    def turn(self) -> int:
        """Draw the consequences of what has come; return how many events were handled."""
        now_s = self._clock()
        if not self._lead.ask(now_s):
            return 0
        if self._lead.is_new:
            logger.info("Watches events")
        handled = 0
        while True:
            at_once = 1 if self._alone else BATCH
            pending = self._log.pending(at_once)
            if SINCE not in pending.memory:
                self._begin(pending, now_s)
                continue
            findings = self._findings(pending, now_s)
            if findings is None:
                self._alone = len(pending.events)
                continue
            if findings.anything and not self._log.settle(pending.version, findings, now_s):
                continue  # somebody else was faster: it is looked at anew
            if findings.runs:
                self._made()
            handled += len(pending.events)
            self._alone = max(0, self._alone - 1)
            if len(pending.events) < at_once or self._stop.is_set() or (
                    not self._lead.ask(self._clock())):  # a long list takes longer than a lead
                break
        if not 0 <= self._care_at_s - now_s <= _CARE_S:
            gone = self._log.forget(now_s - self._kept_s, _AT_ONCE)
            self._care_at_s = now_s + (_CARE_S if gone < _AT_ONCE else _SOON_S)
        return handled

    def run(self) -> None:
        """Take turns until :meth:`stop`; a store that fails for a while is waited for."""
        while not self._stop.is_set():
            try:
                self.turn()
            except StoreError as error:
                if self._said.is_new(str(error)):
                    logger.warning("%s", error)
                self._stop.wait(1.0)
            except Exception:  # whatever it is, it must not end the thread: nobody would be told
                logger.exception("A turn of the watcher failed; the next one follows")
                self._stop.wait(1.0)
            self._stop.wait(GLANCE_S)
        self.give_up()

    def give_up(self) -> None:
        """Let another one lead at once; a turn asks for the lead again."""
        self._lead.give_up(self._clock())

    def start(self) -> None:
        """Run in a thread."""
        self._thread = threading.Thread(target=self.run, daemon=True, name="dataflow-watcher")
        self._thread.start()

    def stop(self) -> None:
        """End the loop, and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _begin(self, pending: Pending, now_s: float) -> None:
        """Let what happened before anybody watched have no consequences."""
        self._log.pass_over(self._since_s)
        self._log.settle(
            pending.version, Findings(memory={SINCE: repr(self._since_s)}), now_s)

    def _findings(self, pending: Pending, now_s: float) -> Findings | None:
        """Return what all judges say together; None where one fails on several events."""
        found: list[Findings] = []
        for judge in self._judges:
            try:
                found.append(judge.judge(pending, now_s))
            except StoreError:
                raise  # it is asked again when the store is back
            except Exception:  # whatever it is, it keeps nobody from the others' consequences
                if len(pending.events) > 1:
                    return None
                logger.exception("%s failed on %s", type(judge).__name__, ", ".join(
                    f"event {each.id} ({each.name})" for each in pending.events) or "the time")
        return Findings(
            handled=[each.key for each in pending.events],
            memory={name: value for each in found for name, value in each.memory.items()},
            runs=[run for each in found for run in each.runs],
            cancel=[run for each in found for run in each.cancel],
            pause=[one for each in found for one in each.pause],
            parcels=[parcel for each in found for parcel in each.parcels],
            events=[event for each in found for event in each.events])
