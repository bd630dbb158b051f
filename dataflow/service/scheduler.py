"""The scheduler: makes the runs of schedules when they are due, and looks after lost ones.

Lives here: the loop. Does not live here: what becomes of a slot (``slots.py``),
that it does so once (the agenda), what becomes of lost runs (``lost_runs.py``).

Any number of schedulers may run on one store: each slot is handled by one of
them. Workers bring one along, so that none needs to be started.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from dataflow.agenda import Decision, DeploymentRow, ScheduleRow
from dataflow.exceptions import StoreError
from dataflow.said_lately import SaidLately
from dataflow.service.lost_runs import look_after
from dataflow.service.silence import Silence
from dataflow.service.slots import decide
from dataflow.service.worker import CLAIM_S
from dataflow.store import Store

LATE_S = 15.0
"""A run that waits so long past its time is Late, in seconds."""

GLANCE_S = 1.0
"""Schedules that others put are seen within so long, in seconds."""

AGAIN_S = 60.0
"""A schedule that cannot be decided on is looked at again after so long, in seconds."""

_CARE_S = 5.0
_RECOVERY_S = 15.0  # so long runs may take to renew their leases after the store was away
_MOST = 1000  # schedules in one transaction: others may want to write

logger = logging.getLogger("dataflow.scheduler")


class Scheduler:
    """Makes due runs until it is stopped.

    Parameters
    ----------
    store
        Where the agenda is.
    made
        Called with the ids of runs that were made, in the scheduler's thread.
    clock, monotonic
        Give epoch seconds, and seconds of a clock that nobody sets.
    patience_s
        A worker and a run that have not been heard of for so long are lost.
    """

    def __init__(self, store: Store, made: Callable[[list[str]], object] = lambda runs: None,
                 clock: Callable[[], float] = time.time,
                 monotonic: Callable[[], float] = time.monotonic,
                 patience_s: float = CLAIM_S) -> None:
        self._store = store
        self._agenda = store.agenda()
        self._made = made
        self._clock, self._monotonic = clock, monotonic
        self._silence = Silence(patience_s)
        self._stop = threading.Event()
        self._said = SaidLately(monotonic)
        self._thread: threading.Thread | None = None
        self._care_at = 0.0

    def turn(self) -> int:
        """Handle what is due now; return how many runs were made."""
        now_s, total = self._clock(), 0
        while True:
            made = self._agenda.turn(now_s, partial(_decided, now_s=now_s), _MOST)
            if made:
                logger.info("%d run(s) made", len(made))
                self._made(made)
            total += len(made)
            if len(made) < _MOST:
                break
        if self._care_at > now_s + _RECOVERY_S:  # the clock was set back
            self._care_at = now_s
        if now_s >= self._care_at:
            self._care_at = now_s + _CARE_S
            self._agenda.mark_late(now_s, LATE_S)
            lost = self._silence.lost(self._agenda.claims(), self._monotonic())
            if lost and look_after(self._store, lost, now_s):
                self._made([])
        return total

    def run(self) -> None:
        """Take turns until :meth:`stop`; a store that fails for a while is waited for."""
        while not self._stop.is_set():
            try:
                self.turn()
                next_s = self._agenda.next_slot_s()
            except StoreError as error:
                if self._said.is_new(str(error)):
                    logger.warning("%s", error)
                self._care_at = self._clock() + _RECOVERY_S
                self._silence.forget()
                next_s = None
            except Exception:  # whatever it is, it must not end the thread: nothing would be due
                logger.exception("A turn of the scheduler failed; the next one follows")
                next_s = None
            left = GLANCE_S if next_s is None else next_s - self._clock()
            self._stop.wait(min(max(left, 0.001), GLANCE_S))

    def start(self) -> None:
        """Run in a thread."""
        self._thread = threading.Thread(target=self.run, daemon=True, name="dataflow-scheduler")
        self._thread.start()

    def stop(self) -> None:
        """End the loop, and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


def _decided(row: ScheduleRow, deployment: DeploymentRow, active: int, *,
             now_s: float) -> Decision:
    """Decide on a schedule; one that cannot be decided on here holds up no other."""
    try:
        return decide(row, deployment, active, now_s=now_s)
    except Exception as error:  # a zone that this host lacks, what a newer version wrote
        logger.error("Schedule %s of %s makes no runs: %s: %s", row.slug, row.deployment,
                     type(error).__name__, error)
        return Decision(handled_s=row.handled_s, next_s=now_s + AGAIN_S)
