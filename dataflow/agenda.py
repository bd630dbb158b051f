"""The port to what is to run: deployments, their schedules, queued runs, who works on them.

Lives here: the contract. The adapter is in ``stores/agenda/``; a store gives its own
by :meth:`.Store.agenda`. Does not live here: its values (``agenda_values.py``), what a
deployment says (``deployments/``), when a schedule is due (``schedules/``), the
loops that act on it (``service/``).

A run stands in the queue from the moment it is made until its process has
ended: waiting, taken, ended. Its row among the flow runs is made with it, so
that it is seen as Scheduled, and is the process's from its first word on.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping
from typing import Any

from dataflow.agenda_values import (
    DEFAULT_POOL,
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    Collision,
    Decide,
    Decision,
    DeploymentRow,
    LimitKind,
    LimitRow,
    NewDeployment,
    NewRun,
    NewSchedule,
    OnCrash,
    Phase,
    PoolRow,
    QueuedRun,
    QueueLength,
    QueueRow,
    RunClaim,
    ScheduleRow,
    SlotRun,
    VersionRow,
    WorkerRow,
)

__all__ = [
    "DEFAULT_POOL",
    "DEFAULT_PRIORITY",
    "DEFAULT_QUEUE",
    "Agenda",
    "Collision",
    "Decide",
    "Decision",
    "DeploymentRow",
    "LimitKind",
    "LimitRow",
    "NewDeployment",
    "NewRun",
    "NewSchedule",
    "OnCrash",
    "Phase",
    "PoolRow",
    "QueueLength",
    "QueueRow",
    "QueuedRun",
    "RunClaim",
    "ScheduleRow",
    "SlotRun",
    "VersionRow",
    "WorkerRow",
]


class Agenda(abc.ABC):
    """What is to run. Any number of processes use one at the same time.

    Every method is one transaction and raises StoreError where the store fails:
    nothing was changed then. Times are epoch seconds, and passed in.
    """

    # deployments

    @abc.abstractmethod
    def put(self, deployment: NewDeployment, now_s: float) -> tuple[DeploymentRow, bool]:
        """Put a deployment in the place of the one of that name; tell whether it is another.

        Schedules keep what they have handled where slug and spec are the same. A pause that
        somebody made by hand stays: only a ``paused`` that is put otherwise than before counts.
        """

    @abc.abstractmethod
    def deployments(self, *, limit: int | None = None,
                    after: str | None = None) -> list[DeploymentRow]:
        """Return them by name; ``after``: name of the last of the page before."""

    @abc.abstractmethod
    def with_triggers(self) -> list[DeploymentRow]:
        """Return all that carry triggers, or name another in ``after``; perhaps some more."""

    @abc.abstractmethod
    def with_deadlines(self) -> list[DeploymentRow]:
        """Return all that carry alerts with a deadline; perhaps some more."""

    @abc.abstractmethod
    def deployment(self, name: str) -> DeploymentRow:
        """Find by name, by the deployment's part of it where that is unique, or by id.

        Raises
        ------
        DeploymentNotFound
            None answers to that, or several do; the text names the nearest.
        """

    @abc.abstractmethod
    def versions(self, name: str) -> list[VersionRow]:
        """Return the versions of a deployment, the newest first."""

    @abc.abstractmethod
    def pause(self, name: str, paused: bool, now_s: float) -> None:
        """Let a deployment's schedules rest, or go on. Raises DeploymentNotFound.

        Slots that come while they rest are not missed.
        """

    @abc.abstractmethod
    def delete(self, name: str, now_s: float) -> int:
        """Take a deployment away; its runs stay. Return how many waiting ones were cancelled."""

    # schedules

    @abc.abstractmethod
    def schedules(self, deployment: str | None = None, *, limit: int | None = None,
                  after: tuple[str, str] | None = None) -> list[ScheduleRow]:
        """Return schedules in the order of their deployments' names, and of their own.

        ``after``: deployment and slug of the last of the page before.
        """

    @abc.abstractmethod
    def pause_schedule(self, deployment: str, slug: str, paused: bool, now_s: float) -> None:
        """Let one schedule rest, or go on, as :meth:`pause` does. Raises DeploymentNotFound."""

    @abc.abstractmethod
    def turn(self, now_s: float, decide: Decide, limit: int = 1000) -> list[str]:
        """Handle schedules whose slot has come; return the ids of the runs made.

        Each slot is decided on once, whoever calls at the same time; one for which another run
        stands already makes none.
        """

    @abc.abstractmethod
    def next_slot_s(self) -> float | None:
        """Return when the next slot of an active schedule comes."""

    # the queue

    @abc.abstractmethod
    def queue(self, run: NewRun, now_s: float) -> str:
        """Queue a run; return its id, or that of the run with the same idempotency key."""

    @abc.abstractmethod
    def queued(self, flow_run_id: str) -> QueuedRun | None:
        """Return a run that is or was in the queue."""

    @abc.abstractmethod
    def queue_of(self, deployment: str, phase: Phase | None = None,
                 limit: int = 50, before: str | None = None) -> list[QueuedRun]:
        """Return runs of a deployment, the latest due first.

        ``before``: id of the last of the page before, of this deployment.
        """

    @abc.abstractmethod
    def in_queue(self, *, pool: str | None = None, phase: Phase | None = None, limit: int = 50,
                 after: tuple[float, str] | None = None) -> list[QueuedRun]:
        """Return runs that wait or were taken, the first due first.

        ``after``: due time and id of the last of the page before.
        """

    @abc.abstractmethod
    def queue_lengths(self, now_s: float) -> list[QueueLength]:
        """Count what waits and what was taken, by pool and queue; cost grows with it."""

    @abc.abstractmethod
    def slots(self, deployment: str, from_s: float, to_s: float) -> list[SlotRun]:
        """Return the runs of the slots from ``from_s`` on and before ``to_s``.

        In the order of the slots; several of one slot in the order in which they were queued.
        """

    @abc.abstractmethod
    def take(self, pool: str, worker: str, room: int, *, now_s: float, until_s: float,
             queues: Collection[str] | None = None) -> list[QueuedRun]:
        """Take due runs, at most ``room``, by priority of the queue, of the run, and by time.

        Within the limits of tags, deployment, queue and pool; a run of a schedule whose runs
        follow each other waits for the one before. Each run is taken by one caller. Runs that a
        deployment with CANCEL_NEW has no room for are cancelled.
        """

    @abc.abstractmethod
    def hold(self, worker: str, runs: Collection[str], *, now_s: float,
             until_s: float) -> dict[str, bool]:
        """Say that a worker lives and has these runs still; return run → asked to cancel.

        A run that is not its any more is not among them.
        """

    @abc.abstractmethod
    def end(self, flow_run_id: str, worker: str | None = None) -> bool:
        """Take a run out of the queue: its process has ended. False: it is not this worker's."""

    @abc.abstractmethod
    def give_back(self, flow_run_id: str, worker: str, due_s: float,
                  gone: str | None = None) -> bool:
        """Let a run wait again that did not begin, or is to go on.

        ``gone`` is the owner who is known to be dead: its lease is over then. False, and
        nothing changed: it is not this worker's, or somebody asked to cancel it.
        """

    @abc.abstractmethod
    def again(self, flow_run_id: str, now_s: float, *, retry: bool) -> bool:
        """Let a run that has ended wait once more, with its parameters and its version.

        It goes on under its id; with ``retry`` what failed in it runs again. False, and nothing
        changed: it is not in the queue, or has not ended.
        """

    @abc.abstractmethod
    def ask_to_cancel(self, flow_run_id: str, now_s: float, *, only_waiting: bool = False) -> bool:
        """Cancel a run that waits; ask the worker of one that was taken. False: it has ended.

        With ``only_waiting`` one that was taken is left alone: False.
        """

    @abc.abstractmethod
    def claims(self) -> list[RunClaim]:
        """Return who has the runs that were taken, in the order in which they were queued."""

    @abc.abstractmethod
    def crash(self, flow_run_id: str, message: str, now_s: float,
              gone: str | None = None, *, cancelled: bool = False) -> bool:
        """Record a run as Crashed whose process is gone; what it still writes is refused.

        As Cancelled where that is what it was ended for.

        False, and nothing changed: it has ended, or a process has the lease of it that is not
        ``gone``, the owner who is known to be dead.
        """

    @abc.abstractmethod
    def mark_late(self, now_s: float, after_s: float) -> int:
        """Name runs Late that wait for more than ``after_s`` past their time; return how many.

        Not those that stand for the slot of a schedule: their time was long ago.
        """

    # workers and pools

    @abc.abstractmethod
    def put_worker(self, worker: WorkerRow) -> None:
        """Put a worker in the place of the one of that name."""

    @abc.abstractmethod
    def workers(self) -> list[WorkerRow]:
        """Return the workers, the last one seen first."""

    @abc.abstractmethod
    def put_pool(self, name: str, *, limit: int | None = None, paused: bool = False,
                 kind: str = "process", template: Mapping[str, Any] | None = None) -> None:
        """Make a pool, or put this one in its place."""

    @abc.abstractmethod
    def pools(self) -> list[PoolRow]:
        """Return the pools by name."""

    @abc.abstractmethod
    def delete_pool(self, name: str) -> bool:
        """Take away what is said of a pool and its queues; False: nothing was.

        Runs that wait in it stay, and are taken by who takes runs of that name.
        """

    # limits

    @abc.abstractmethod
    def put_queue(self, pool: str, name: str, *, priority: int = 0,
                  limit: int | None = None) -> None:
        """Say how a queue of a pool stands among the others, in the place of what was said."""

    @abc.abstractmethod
    def queues(self, pool: str | None = None) -> list[QueueRow]:
        """Return the queues of which something is said, by pool and name."""

    @abc.abstractmethod
    def set_limit(self, kind: LimitKind, name: str, limit: int | None) -> bool:
        """Say how many runs may go on at the same time; None: any number, False: it was so.

        What goes on goes on. A deployment keeps the limit until another one is put with it.
        Raises DeploymentNotFound.
        """

    @abc.abstractmethod
    def limits(self) -> list[LimitRow]:
        """Return all limits by kind and name."""
