"""A worker: takes due runs of a pool, has them begun, and looks after them.

Lives here: the loop, what becomes of a run whose process has ended, cancelling,
draining. Does not live here: which run is next (the agenda), how one is begun
(``starters.py``), when runs are made (``scheduler.py``).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from dataflow.agenda import Agenda, QueuedRun, WorkerRow
from dataflow.claims import owner_alive, owner_of_this_process
from dataflow.exceptions import StoreError, WorkPoolError
from dataflow.said_lately import SaidLately
from dataflow.service.lost_runs import elsewhere, process_gone
from dataflow.service.orders import NOT_OURS, Order
from dataflow.service.processes import Processes
from dataflow.service.starters import Begun, Starter
from dataflow.store import Store

CLAIM_S = 30.0
"""A run whose worker has not been heard of for so long is looked after by others, in seconds."""

BEAT_S = 5.0
POLL_S = 0.1
_LOOK_S = 1.0
AT_ONCE = 10
"""Runs begun between two looks: each is a process."""

TWIN_S = 15.0
"""A worker that was heard of within so many seconds is taken to live."""

CANCEL_PATIENCE_S = 30.0
"""A cancelled flow has so long to end before its process is killed."""

logger = logging.getLogger("dataflow.worker")


@dataclass(slots=True)
class _Going:
    run: QueuedRun
    begun: Begun
    cancelled: bool = False
    # of one whose command has ended while a process elsewhere may drive it still
    lease: tuple[str, float] | None = None
    since_s: float = 0.0
    looked_s: float | None = None
    ended_s: float = 0.0
    given_up: bool = False


class Worker:
    """Takes runs of a pool while it lives.

    Parameters
    ----------
    store
        Where the agenda is.
    pool
        The work pool; runs of others are not taken.
    limit
        Runs at the same time, None: no limit.
    queues
        Only runs of these queues.
    name
        Shown to people; made from host and pid by default.
    order_of
        What a run's process is told.
    starter, kind
        How runs are begun, and what that is called; by default each has a process of its own.
    monotonic
        Gives seconds of a clock that nobody sets.
    """

    def __init__(self, store: Store, pool: str, *, order_of: Callable[[QueuedRun], Order],
                 limit: int | None = None, queues: Collection[str] | None = None,
                 name: str | None = None, poll_s: float = POLL_S,
                 starter: Starter | None = None, kind: str = "process",
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._agenda: Agenda = store.agenda()
        self._order_of = order_of
        self._queues = queues
        self._poll_s = poll_s
        self._monotonic = monotonic
        self.claim_s = CLAIM_S
        self._poked = threading.Event()
        self._said = SaidLately()
        self._starter: Starter = Processes() if starter is None else starter
        self._going: dict[str, _Going] = {}
        self._draining = self._cancelling = False
        self._beat_at = 0.0
        now = time.time()
        self.row = WorkerRow(
            name=name or owner_of_this_process(), pool=pool, kind=kind, limit=limit,
            host=socket.gethostname(), pid=os.getpid(), started_s=now, seen_s=now,
            status="online")

    def poke(self) -> None:
        """Look at once: a run was queued, or a process has ended. From any thread."""
        self._poked.set()

    def drain(self) -> None:
        """Take nothing more, and end when what goes on has ended; a second call cancels that.

        It takes no lock, since it is called by handlers of signals: the next look sees it.
        """
        self._cancelling = self._draining
        self._draining = True

    def run(self) -> None:
        """Take and run until :meth:`drain` was called and nothing goes on any more.

        Raises
        ------
        WorkPoolError
            Another worker of this name lives: each would hold the runs of the other.
        """
        self._refuse_twin(time.time())
        self._agenda.put_worker(self.row)
        logger.info("Worker %s takes runs of pool %r", self.row.name, self.row.pool)
        try:
            while not self._draining or self._going:
                try:
                    self._turn(time.time())
                except StoreError as error:  # it may be back in a moment: runs go on meanwhile
                    if self._said.is_new(str(error)):
                        logger.warning("%s", error)
                self._poked.wait(self._poll_s)
                self._poked.clear()
        finally:
            self._starter.close()
            self._say("gone")

    def _refuse_twin(self, now_s: float) -> None:
        for row in self._agenda.workers():
            if row.name != self.row.name or row.status == "gone" or (
                    not 0 <= now_s - row.seen_s < TWIN_S):
                continue
            import psutil

            here = row.host == self.row.host
            if here and (row.pid == self.row.pid or not psutil.pid_exists(row.pid)):
                continue
            gone = "" if here else f" Where it is gone, start again in {TWIN_S:.0f} s."
            raise WorkPoolError(
                f"A worker named {row.name!r} runs already: process {row.pid} on {row.host}, heard "
                f"of {now_s - row.seen_s:.0f} s ago. Nothing was begun. Give this one another "
                f"name, or none.{gone}")

    def _turn(self, now_s: float) -> None:
        for flow_run_id, going in list(self._going.items()):
            code = going.begun.exit_code()
            if code is not None:
                self._ended(flow_run_id, going, code, now_s)
        if now_s >= self._beat_at or self._beat_at > now_s + BEAT_S:  # or the clock was set back
            self._beat(now_s)
        for flow_run_id, going in self._going.items():
            if self._cancelling and not going.cancelled:
                going.cancelled = True
                with suppress(StoreError):  # a process elsewhere asks before it ends for a signal
                    self._agenda.ask_to_cancel(flow_run_id, now_s)
            if going.cancelled:
                going.begun.cancel(self._monotonic(), CANCEL_PATIENCE_S)
        if not self._draining:
            self._take(now_s)
            self._starter.prepare()

    def _beat(self, now_s: float) -> None:
        """Say that this worker lives; hear which runs are to be cancelled, or are not its own."""
        held = self._agenda.hold(self.row.name, list(self._going), now_s=now_s,
                                 until_s=now_s + self.claim_s)
        for flow_run_id, going in list(self._going.items()):
            if flow_run_id not in held:
                logger.warning("Run %s was given to another worker: its process here is ended.",
                               flow_run_id)
                going.begun.kill()
                del self._going[flow_run_id]
            else:
                going.cancelled |= held[flow_run_id]
                if going.begun.kills is not None and going.begun.exit_code() is None:
                    going.begun.kills.look()
        self._beat_at = now_s + (min(BEAT_S, 1.0) if self._going else BEAT_S)

    def _take(self, now_s: float) -> None:
        limit = self.row.limit
        room = AT_ONCE if limit is None else min(AT_ONCE, limit - len(self._going))
        for run in self._agenda.take(self.row.pool, self.row.name, room, now_s=now_s,
                                     until_s=now_s + self.claim_s, queues=self._queues):
            logger.info("Run %s of %s begins, due %.3f s ago", run.flow_run_id, run.deployment,
                        now_s - run.due_s)
            try:
                begun = self._starter.begin(run, self._order_of(run), self.poke)
            except (OSError, RuntimeError) as error:  # no process, or no thread, could be started
                logger.error("No process for run %s: %s", run.flow_run_id, error)
                continue  # nobody holds it: it is looked after when its claim is over
            self._going[run.flow_run_id] = _Going(run, begun)

    def _ended(self, flow_run_id: str, going: _Going, code: int, now_s: float) -> None:
        """Take a run out of the queue, or let it wait again where its process was killed.

        One that another process drives is looked after when that one is gone.
        """
        if going.begun.words() is not None and self._goes_on_elsewhere(going):
            return
        if code < 0:
            going.begun.end_children()
        if going.given_up:
            logger.warning("Run %s goes on where it cannot be reached.", flow_run_id)
        elif code != NOT_OURS:
            process_gone(self._store, going.run, code, going.begun.pid, self.row.name, now_s,
                         cancelled=going.begun.told_to_end, words=going.begun.words(),
                         kills=going.begun.kills)
        del self._going[flow_run_id]

    def _goes_on_elsewhere(self, going: _Going) -> bool:
        """Tell whether a process elsewhere drives a run whose command has ended.

        While it moves its lease on, whatever its clock, and for as long as a claim lasts after
        that. One that was cancelled and goes on all the same is given up after a while.
        """
        now_s = self._monotonic()
        if going.looked_s is not None and 0 <= now_s - going.looked_s < _LOOK_S:
            return True
        lease = elsewhere(self._store.find_flow_run(going.run.flow_run_id))
        if lease is None:
            return False
        if going.looked_s is None:
            going.ended_s = now_s
            logger.warning("The command of run %s has ended, and the run may go on.",
                           going.run.flow_run_id)
        going.looked_s = now_s
        if lease != going.lease:
            going.lease, going.since_s = lease, now_s
        if now_s - going.since_s >= self.claim_s and not owner_alive(lease[0]):
            return False
        going.given_up = (going.begun.told_to_end
                          and now_s - going.ended_s >= CANCEL_PATIENCE_S)
        return not going.given_up

    def _say(self, status: str) -> None:
        try:
            self._agenda.put_worker(replace(self.row, status=status, seen_s=time.time()))  # type: ignore[arg-type]  # one of the three
        except StoreError as error:
            logger.debug("it is not recorded that worker %s is %s: %s", self.row.name, status,
                         error)
