"""The agenda of a store in a database: each method one transaction.

Lives here: transactions around the statements. Does not live here: the
statements (the modules beside this one), connections and errors (``stores/sql.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection

from dataflow.agenda import (
    Agenda,
    Decide,
    DeploymentRow,
    LimitKind,
    LimitRow,
    NewDeployment,
    NewRun,
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
from dataflow.exceptions import DeploymentNotFound
from dataflow.parameters import to_json
from dataflow.store import FlowRunRecord
from dataflow.stores.agenda import (
    deployments,
    limits,
    queue,
    schedules,
    slots,
    taking,
    workers,
)
from dataflow.stores.agenda.queue import Addition
from dataflow.stores.events import log

_Answer = TypeVar("_Answer")
Change = Callable[[Callable[[Connection], Any]], Any]
Reading = Callable[[], AbstractContextManager[Connection]]
WriteRuns = Callable[[Connection, Sequence[FlowRunRecord]], None]


class SqlAgenda(Agenda):
    """The agenda in the database of a store.

    Parameters
    ----------
    change
        Runs a function in a transaction that writes.
    reading
        Gives a connection to read with.
    write_runs
        Writes rows of flow runs in the caller's transaction.
    """

    def __init__(self, change: Change, reading: Reading, write_runs: WriteRuns) -> None:
        self._change = change
        self._reading = reading
        self._write_runs = write_runs
        self._with_triggers: tuple[list[Any], list[DeploymentRow]] = [], []

    # deployments

    def put(self, deployment: NewDeployment, now_s: float) -> tuple[DeploymentRow, bool]:
        def put(connection: Connection) -> tuple[DeploymentRow, bool]:
            key, changed = deployments.put(connection, deployment, now_s)
            return deployments.by_key(connection, [key])[key], changed

        answer: tuple[DeploymentRow, bool] = self._change(put)
        return answer

    def deployments(self, *, limit: int | None = None,
                    after: str | None = None) -> list[DeploymentRow]:
        with self._reading() as connection:
            return deployments.every(connection, limit, after)

    def with_triggers(self) -> list[DeploymentRow]:
        with self._reading() as connection:
            told = deployments.with_triggers(connection)
        known = self._with_triggers
        if known[0] != told:  # to read the JSON of 200 takes 40 ms, and it is asked each second
            known = self._with_triggers = told, [deployments.row_of(each) for each in told]
        return list(known[1])

    def with_deadlines(self) -> list[DeploymentRow]:
        with self._reading() as connection:
            return deployments.with_deadlines(connection)

    def deployment(self, name: str) -> DeploymentRow:
        with self._reading() as connection:
            key = deployments.key_of(connection, name)
            return deployments.by_key(connection, [key])[key]

    def versions(self, name: str) -> list[VersionRow]:
        with self._reading() as connection:
            return deployments.history(connection, deployments.key_of(connection, name))

    def pause(self, name: str, paused: bool, now_s: float) -> None:
        self._change(lambda connection: deployments.pause(
            connection, deployments.key_of(connection, name), paused, now_s))

    def delete(self, name: str, now_s: float) -> int:
        def delete(connection: Connection) -> int:
            key = deployments.key_of(connection, name)
            log.forget_watches(connection, deployments.by_key(connection, [key])[key].id)
            deployments.delete(connection, key, now_s)  # first: then nobody queues another one
            waiting = queue.waiting_of(connection, key)
            for flow_run_id in waiting:
                queue.ask_to_cancel(connection, flow_run_id, now_s, "Its deployment was deleted")
            return len(waiting)

        answer: int = self._change(delete)
        return answer

    # schedules

    def schedules(self, deployment: str | None = None, *, limit: int | None = None,
                  after: tuple[str, str] | None = None) -> list[ScheduleRow]:
        with self._reading() as connection:
            key = None if deployment is None else deployments.key_of(connection, deployment)
            return schedules.every(connection, key, limit, after)

    def pause_schedule(self, deployment: str, slug: str, paused: bool,
                       now_s: float) -> None:
        self._change(lambda connection: schedules.pause(
            connection, deployments.key_of(connection, deployment), slug, paused, now_s))

    def turn(self, now_s: float, decide: Decide, limit: int = 1000) -> list[str]:
        def turn(connection: Connection) -> list[str]:
            made = schedules.turn(
                connection, now_s, decide, limit,
                lambda run: queue.ask_to_cancel(
                    connection, run, now_s, "Cancelled for the next run of its schedule"))
            return self._add(connection, made, now_s)

        ids: list[str] = self._change(turn)
        return ids

    def next_slot_s(self) -> float | None:
        with self._reading() as connection:
            return schedules.next_slot_s(connection)

    # the queue

    def queue(self, run: NewRun, now_s: float) -> str:
        answer: str = self._change(lambda connection: self._queue(connection, run, now_s))
        return answer

    def _queue(self, connection: Connection, run: NewRun, now_s: float) -> str:
        key = deployments.kept_key_of(connection, run.deployment)
        there = queue.same_key(connection, key, run.idempotency_key)
        if there is not None:
            return there
        deployment = deployments.by_key(connection, [key])[key]
        return self._add(connection, [Addition(run, key, deployment)], now_s)[0]

    def follow(self, connection: Connection, runs: Sequence[NewRun], cancel: Sequence[str],
               pause: Sequence[tuple[str, bool]], now_s: float) -> None:
        """Do what follows from events, in the caller's transaction.

        A deployment that is gone by now is left alone.
        """
        self._add(connection, self._additions(connection, runs), now_s)
        for flow_run_id in cancel:
            queue.ask_to_cancel(connection, flow_run_id, now_s)
        for name, paused in pause:
            with suppress(DeploymentNotFound):
                deployments.pause(
                    connection, deployments.key_of(connection, name), paused, now_s)

    @staticmethod
    def _additions(connection: Connection, runs: Sequence[NewRun]) -> list[Addition]:
        """Return what is to be queued of many runs: the deployment is there, the run is not yet."""
        keys: dict[str, int] = {}
        for name in dict.fromkeys(run.deployment for run in runs):
            with suppress(DeploymentNotFound):
                keys[name] = deployments.kept_key_of(connection, name)
        rows = deployments.by_key(connection, sorted(set(keys.values())))
        there = queue.known_keys(connection, [
            (keys[run.deployment], run.idempotency_key) for run in runs
            if run.deployment in keys and run.idempotency_key is not None])
        found: list[Addition] = []
        for run in runs:
            key = keys.get(run.deployment)
            if key is None or (key, run.idempotency_key) in there:
                continue
            if run.idempotency_key is not None:
                there.add((key, run.idempotency_key))
            found.append(Addition(run, key, rows[key]))
        return found

    def _add(self, connection: Connection, additions: Sequence[Addition],
             now_s: float) -> list[str]:
        """Queue runs, each with its row among the flow runs; return their ids."""
        queue.add(connection, additions)
        self._write_runs(connection, [_record(each, now_s) for each in additions])
        return [each.run.flow_run_id for each in additions]

    def queued(self, flow_run_id: str) -> QueuedRun | None:
        with self._reading() as connection:
            return queue.one(connection, flow_run_id)

    def queue_of(self, deployment: str, phase: Phase | None = None,
                 limit: int = 50, before: str | None = None) -> list[QueuedRun]:
        with self._reading() as connection:
            key = deployments.key_of(connection, deployment)
            return queue.of_deployment(connection, key, phase, limit, before)

    def in_queue(self, *, pool: str | None = None, phase: Phase | None = None, limit: int = 50,
                 after: tuple[float, str] | None = None) -> list[QueuedRun]:
        with self._reading() as connection:
            return queue.in_queue(connection, pool, phase, limit, after)

    def queue_lengths(self, now_s: float) -> list[QueueLength]:
        with self._reading() as connection:
            return queue.lengths(connection, now_s)

    def slots(self, deployment: str, from_s: float, to_s: float) -> list[SlotRun]:
        with self._reading() as connection:
            return slots.runs_of(
                connection, deployments.key_of(connection, deployment), from_s, to_s)

    def take(self, pool: str, worker: str, room: int, *, now_s: float, until_s: float,
             queues: Collection[str] | None = None) -> list[QueuedRun]:
        if room <= 0:
            return []
        with self._reading() as connection:
            if not taking.any_free(connection, pool, queues, now_s):
                return []
        taken: list[QueuedRun] = self._change(lambda connection: taking.take(
            connection, pool, worker, room, now_s=now_s, until_s=until_s, queues=queues))
        return taken

    def hold(self, worker: str, runs: Collection[str], *, now_s: float,
             until_s: float) -> dict[str, bool]:
        def hold(connection: Connection) -> dict[str, bool]:
            workers.seen(connection, worker, now_s)
            return queue.hold(connection, worker, runs, until_s)

        held: dict[str, bool] = self._change(hold)
        return held

    def end(self, flow_run_id: str, worker: str | None = None) -> bool:
        return bool(self._change(lambda connection: queue.end(connection, flow_run_id, worker)))

    def give_back(self, flow_run_id: str, worker: str, due_s: float,
                  gone: str | None = None) -> bool:
        return bool(self._change(lambda connection: queue.give_back(
            connection, flow_run_id, worker, due_s, gone)))

    def again(self, flow_run_id: str, now_s: float, *, retry: bool) -> bool:
        return bool(self._change(lambda connection: queue.again(
            connection, flow_run_id, now_s, retry)))

    def ask_to_cancel(self, flow_run_id: str, now_s: float, *, only_waiting: bool = False) -> bool:
        return bool(self._change(lambda connection: queue.ask_to_cancel(
            connection, flow_run_id, now_s, only_waiting=only_waiting)))

    def claims(self) -> list[RunClaim]:
        with self._reading() as connection:
            return queue.claims(connection)

    def crash(self, flow_run_id: str, message: str, now_s: float,
              gone: str | None = None, *, cancelled: bool = False) -> bool:
        state = ("CANCELLED", "Cancelled") if cancelled else ("CRASHED", "Crashed")
        return bool(self._change(lambda connection: queue.end_undriven(
            connection, [flow_run_id], *state, message, now_s, gone)))

    def mark_late(self, now_s: float, after_s: float) -> int:
        with self._reading() as connection:  # 100,000 that wait take 0.3 s: nobody is kept waiting
            if not queue.any_late(connection, now_s - after_s):
                return 0
        late: int = self._change(lambda connection: queue.mark_late(
            connection, now_s - after_s))
        return late

    # workers and pools

    def put_worker(self, worker: WorkerRow) -> None:
        self._change(lambda connection: workers.put_worker(connection, worker))

    def workers(self) -> list[WorkerRow]:
        with self._reading() as connection:
            return workers.every_worker(connection)

    def put_pool(self, name: str, *, limit: int | None = None, paused: bool = False,
                 kind: str = "process", template: Mapping[str, Any] | None = None) -> None:
        self._change(lambda connection: workers.put_pool(connection, PoolRow(
            name=name, limit=limit, paused=paused, kind=kind,
            template=None if template is None else dict(template))))

    def pools(self) -> list[PoolRow]:
        with self._reading() as connection:
            return workers.every_pool(connection)

    def delete_pool(self, name: str) -> bool:
        return bool(self._change(lambda connection: workers.delete_pool(connection, name)))

    # limits

    def put_queue(self, pool: str, name: str, *, priority: int = 0,
                  limit: int | None = None) -> None:
        self._change(lambda connection: workers.put_queue(connection, QueueRow(
            pool=pool, name=name, priority=priority, limit=limit)))

    def queues(self, pool: str | None = None) -> list[QueueRow]:
        with self._reading() as connection:
            return workers.every_queue(connection, pool)

    def set_limit(self, kind: LimitKind, name: str, limit: int | None) -> bool:
        return bool(self._change(lambda connection: limits.put(connection, kind, name, limit)))

    def limits(self) -> list[LimitRow]:
        with self._reading() as connection:
            return limits.every(connection)


def _record(addition: Addition, now_s: float) -> FlowRunRecord:
    """Return the row among the flow runs of a run that is queued."""
    run, deployment = addition.run, addition.deployment
    return FlowRunRecord(
        id=run.flow_run_id, name=run.name, flow_name=deployment.flow_name,
        flow_version=deployment.label, state_type="SCHEDULED", state_name="Scheduled",
        parameters=to_json(run.parameters),
        tags=tuple(sorted({*deployment.spec.get("tags", ()), *run.tags})), created_s=now_s,
        parent_flow_run_id=run.parent_flow_run_id, parent_task_run_id=run.parent_task_run_id)
