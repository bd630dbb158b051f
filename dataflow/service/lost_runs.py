"""What becomes of a run whose process, or whose worker, is gone.

Lives here: the rule, for a process that a worker saw end, and for workers that
have not been heard of. Does not live here: watching processes (``worker.py``),
the loop that looks (``scheduler.py``), when a worker is not heard of (``silence.py``).

A run that recorded its end has ended. One that did not is Crashed, or goes on in
another process where its deployment says ``on_crash="resume"``, a few times. A run
whose process still has its lease is left alone, whatever became of the worker. One that
was to be cancelled is Cancelled. One that no process had begun waits again, where
its worker is lost.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable

from dataflow.agenda import Agenda, QueuedRun
from dataflow.claims import owner_alive
from dataflow.flow_moves import ENDS
from dataflow.memory_kills import MemoryKills, why_killed
from dataflow.service.orders import NO_STORE
from dataflow.store import FlowRunRow, Store

TRIES = 5
"""Times that a run is begun or resumed before it is given up as Crashed."""

PAUSE_S = 2.0
"""Before a run is resumed whose process was killed, times the tries so far."""

logger = logging.getLogger("dataflow.worker")


def process_gone(store: Store, run: QueuedRun, code: int, pid: int, worker: str,
                 now_s: float, *, cancelled: bool = False, words: str | None = None,
                 kills: MemoryKills | None = None) -> None:
    """Settle a run whose process has ended, as its worker saw.

    Parameters
    ----------
    code
        Exit code of the process, or the negative number of a signal.
    pid
        Of the process.
    worker
        Name of the worker.
    cancelled
        The worker told it to end.
    words
        What it said last, of a command; a process that drove the run elsewhere is silent, see
        :func:`elsewhere`.
    kills
        Says whether the kernel killed the process for its memory; None: nobody asked it.
    """
    agenda, row = store.agenda(), store.find_flow_run(run.flow_run_id)
    if row.state_type in ENDS:
        agenda.end(run.flow_run_id, worker)
        return
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    if words is not None:
        _command_gone(agenda, run, row, how, words, worker, now_s, cancelled=cancelled,
                      again=code == NO_STORE)
        return
    now = agenda.queued(run.flow_run_id)
    if cancelled or (now is not None and now.cancel):
        _end(agenda, run, _gone(row), f"Cancelled; its process {pid} {how}", worker, now_s, True)
    else:
        why = why_killed(code, pid, kills)
        hint = "" if why is None else f" ({why})"
        _settle(agenda, run, _gone(row), f"The run's process {pid} {how}{hint}", worker, now_s,
                begun=code != NO_STORE or _begun(row))


def elsewhere(row: FlowRunRow) -> tuple[str, float] | None:
    """Return owner and lease of a run that a process may drive though its command has ended.

    The lease is renewed while it does. None: nobody does, or who did is dead.
    """
    if row.state_type in ENDS or row.owner is None or row.lease_until_s is None:
        return None
    return None if owner_alive(row.owner) is False else (row.owner, row.lease_until_s)


def _command_gone(agenda: Agenda, run: QueuedRun, row: FlowRunRow, how: str, words: str,
                  worker: str, now_s: float, *, cancelled: bool, again: bool) -> None:
    """Settle a run whose command has ended, and that no process elsewhere drives."""
    now = agenda.queued(run.flow_run_id)
    if now is None or (now.worker, now.tries) != (worker, run.tries):
        return  # it was taken again meanwhile
    said = f" Its last words:\n{words}" if words else ""
    if cancelled or now.cancel:
        _end(agenda, run, row.owner, f"Cancelled; its command {how}", worker, now_s, True)
    elif _begun(row):
        _settle(agenda, run, row.owner, f"The run's command {how}.{said}", worker, now_s)
    else:
        _settle(agenda, run, row.owner, f"The run never began: its command {how}.{said}", worker,
                now_s, begun=not again)


def look_after(store: Store, lost: Iterable[str], now_s: float) -> int:
    """Settle runs whose worker and process have not been heard of; return how many.

    Parameters
    ----------
    lost
        Flow run ids, see :class:`dataflow.service.silence.Silence`.
    """
    agenda, settled = store.agenda(), 0
    for flow_run_id in lost:
        run, row = agenda.queued(flow_run_id), store.find_flow_run(flow_run_id)
        if run is None or run.phase != "taken":
            continue
        if row.state_type in ENDS:
            settled += agenda.end(run.flow_run_id, run.worker)
            continue
        if row.owner is not None and owner_alive(row.owner):
            continue  # of this host: the store keeps it from renewing its lease in time, perhaps
        why = f"Worker {run.worker} has not been heard of, nor has the run"
        worker = run.worker or ""
        if run.cancel:
            settled += _end(agenda, run, row.owner, why, worker, now_s, True)
        else:
            settled += _settle(agenda, run, row.owner, why, worker, now_s, begun=_begun(row))
    return settled


def _settle(agenda: Agenda, run: QueuedRun, gone: str | None, why: str, worker: str,
            now_s: float, *, begun: bool = True) -> bool:
    if (run.on_crash == "resume" or not begun) and run.tries < TRIES:
        logger.warning("%s: it goes on in another process.", why)
        return agenda.give_back(run.flow_run_id, worker, now_s + PAUSE_S * run.tries, gone)
    return _end(agenda, run, gone, why, worker, now_s, False)


def _end(agenda: Agenda, run: QueuedRun, gone: str | None, why: str, worker: str, now_s: float,
         cancelled: bool) -> bool:
    if not agenda.crash(run.flow_run_id, why, now_s, gone, cancelled=cancelled):
        return False
    logger.error("%s: flow run %s is %s.", why, run.flow_run_id,
                 "Cancelled" if cancelled else "Crashed")
    return agenda.end(run.flow_run_id, worker)


def _gone(row: FlowRunRow) -> str | None:
    """Return the owner of a run who is known to be dead."""
    return row.owner if row.owner is not None and owner_alive(row.owner) is False else None


def _begun(row: FlowRunRow) -> bool:
    """Tell whether a process may have called the flow: it takes the lease before."""
    return row.owner is not None or row.state_type != "SCHEDULED" or row.run_count > 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
