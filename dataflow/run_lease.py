"""Which flow runs this process drives: their leases, kept alive while they go on.

Lives here: taking a run, renewing its lease, giving it back, hearing that
another process took it over. Does not live here: the rule who may have a run
(``stores/owners.py``), the writes that are refused (``recorder.py``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from dataflow.claims import owner_alive, owner_of_this_process
from dataflow.exceptions import RunFenced, RunOwned, StoreError
from dataflow.store import FlowRunRecord, Store

LEASE_S = 30.0
"""A run whose process has gone without a word is somebody else's after so long, in seconds."""

RENEW_S = 10.0

APART_S = 3600.0
"""Clocks of two hosts are taken to be no further apart, in seconds."""

logger = logging.getLogger("dataflow.driver")


def begin(record: FlowRunRecord) -> int:
    """Put a lease of this process into the row of a run that is about to be written first."""
    record.epoch, record.owner = 1, owner_of_this_process()
    record.lease_until_s = time.time() + LEASE_S
    return record.epoch


def take(store: Store, flow_run_id: str, *, take_over: bool = False) -> int:
    """Take a run that is recorded; return its epoch.

    Raises
    ------
    RunOwned
        It is driven by another process, or by this one.
    RunNotFound
        There is no such run.
    """
    owner = owner_of_this_process()
    if not take_over:
        _wait_for_word(store, flow_run_id, owner)
    if _held.has(flow_run_id):
        raise RunOwned(
            f"Flow run {flow_run_id} goes on in this process ({owner}); nothing was begun.",
            flow_run_id=flow_run_id, owner=owner, until_s=None)
    now = time.time()
    return store.lease(flow_run_id, owner, now_s=now, until_s=now + LEASE_S, take_over=take_over)


def _wait_for_word(store: Store, flow_run_id: str, owner: str) -> None:
    """Let a process that may live renew a lease that is over.

    The clock may have been set, or that of another host may go otherwise. It renews each
    ``RENEW_S``; one that is stopped does not.
    """
    there = store.find_flow_run(flow_run_id)
    over_s = -1.0 if there.lease_until_s is None else time.time() - there.lease_until_s
    if over_s < 0 or there.owner is None or there.owner == owner:
        return
    alive = owner_alive(there.owner)
    if alive is False or (alive is None and over_s > APART_S):
        return
    logger.info("The lease of flow run %s is over, but %s %s: it has %.0f s to renew it.",
                flow_run_id, there.owner, "lives" if alive else "may live", 1.5 * RENEW_S)
    until = time.monotonic() + 1.5 * RENEW_S
    while time.monotonic() < until:
        time.sleep(min(0.2, RENEW_S / 5))
        now = store.find_flow_run(flow_run_id)
        if now.owner is None:
            return
        if (now.owner, now.lease_until_s) != (there.owner, there.lease_until_s):
            raise RunOwned(
                f"Flow run {flow_run_id} is driven by {now.owner} (host:pid:start), which has just "
                "renewed its lease. Nothing was begun. Wait until it has ended, or stop that "
                "process first.",
                flow_run_id=flow_run_id, owner=now.owner, until_s=now.lease_until_s)
        if owner_alive(there.owner) is False:
            return


class RunLease:
    """The lease of one run, renewed until it is given back.

    Parameters
    ----------
    store, flow_run_id, epoch
        The run.
    lost
        Called, on a thread of ours, when another process has taken it over.
    """

    def __init__(self, store: Store, flow_run_id: str, epoch: int,
                 lost: Callable[[RunFenced], None]) -> None:
        self.flow_run_id = flow_run_id
        self._store, self._epoch, self._lost = store, epoch, lost
        _held.put(self)

    def renew(self, until_s: float) -> None:
        """Move its end on."""
        try:
            self._store.renew(self.flow_run_id, self._epoch, until_s)
        except RunFenced as error:
            _held.drop(self)
            self._lost(error)
        except StoreError as error:  # the writes of the run tell of it
            logger.debug("the lease of flow run %s was not renewed: %s", self.flow_run_id, error)

    def give_back(self) -> None:
        """Let the next one have the run at once."""
        _held.drop(self)
        try:
            self._store.give_up_lease(self.flow_run_id, self._epoch)
        except StoreError as error:  # it runs out by itself
            logger.debug("the lease of flow run %s was not given back: %s",
                         self.flow_run_id, error)


class _Held:
    """The leases of this process and the one thread that renews them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: set[RunLease] = set()
        self._thread: threading.Thread | None = None
        self._never = threading.Event()

    def has(self, flow_run_id: str) -> bool:
        with self._lock:
            return any(lease.flow_run_id == flow_run_id for lease in self._leases)

    def put(self, lease: RunLease) -> None:
        with self._lock:
            self._leases.add(lease)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._renew, name="dataflow-leases",
                                                daemon=True)
                self._thread.start()

    def drop(self, lease: RunLease) -> None:
        with self._lock:
            self._leases.discard(lease)

    def _renew(self) -> None:
        while True:
            self._never.wait(RENEW_S)
            with self._lock:
                leases = list(self._leases)
                if not leases:
                    self._thread = None
                    return
            for lease in leases:
                lease.renew(time.time() + LEASE_S)


_held = _Held()
