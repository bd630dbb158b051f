"""A simulated week of schedules while schedulers, workers, watchers and the database are killed.

``DATAFLOW_CHAOS=1`` (``make chaos``) has ten times the schedules and kills for ten times as long.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataflow.agenda import NewDeployment, NewSchedule
from dataflow.deployments import DeploymentSpec
from dataflow.schedules import Cron, Interval, Schedule
from dataflow.service.deploying import register
from dataflow.service.slots import first_slot_s
from dataflow.service.watcher import Watcher
from dataflow.store import Store
from dataflow.stores import open_store
from tests.postgres_support import Server
from tests.run_support import ROOT, ledger, script_of, wait_until

CHAOS = bool(os.environ.get("DATAFLOW_CHAOS"))
SCHEDULES = 200 if CHAOS else 20
REAL_S = 200.0 if CHAOS else 20.0
WEEK_S = 7 * 86400.0
BEGIN_S = datetime(2026, 10, 21, tzinfo=UTC).timestamp()  # the clock changes in it

FIRST, FOLLOWER = "flow/d0", "flow/after"

PROCESS = """
    import os, sys, time
    from dataflow.exceptions import DataflowError, StoreError
    from dataflow.records import FlowRunRecord, Gulp
    from dataflow.service.judges import judges_of
    from dataflow.service.scheduler import Scheduler
    from dataflow.service.watcher import Watcher
    from dataflow.stores import open_store
    from tests.run_support import note

    role, place, book, real_s, sim_s, speed = *sys.argv[1:4], *map(float, sys.argv[4:])

    def clock():
        return sim_s + (time.time() - real_s) * speed

    def opened():
        while True:
            try:
                return open_store(place)
            except StoreError:
                time.sleep(0.1)

    store = opened()
    agenda = store.agenda()

    def work(run):
        note(book, run.flow_run_id)
        row = store.find_flow_run(run.flow_run_id)
        if row.state_type != "COMPLETED":
            fence = store.lease(row.id, f"far:{os.getpid()}:0", now_s=clock(), until_s=clock() + 1)
            store.write(row.id, Gulp(fence=fence, flow_run=FlowRunRecord(
                id=row.id, name=row.name, flow_name=row.flow_name, state_type="COMPLETED",
                state_name="Completed", created_s=row.created.timestamp(), end_time_s=clock())))
        agenda.end(run.flow_run_id, name)

    scheduler, name = Scheduler(store, clock=clock, patience_s=5.0), f"w{os.getpid()}"
    watcher = Watcher(store, judges_of(store), clock=clock)
    held = []
    while True:
        try:
            if role == "scheduler":
                scheduler.turn()
            elif role == "watcher":
                watcher.turn()
                time.sleep(0.2)  # its lead is over at once in this time: each turn is a commit
            else:
                held += agenda.take("default", name, 20, now_s=clock(),
                                    until_s=clock() + 5 * speed)
                while held:
                    work(held[0])
                    held.pop(0)
        except DataflowError:  # the database is away: what is held here is given to others
            held = []
        time.sleep(0.02)
"""


class Week:
    """The processes of a simulated week."""

    def __init__(self, folder: Path, place: str) -> None:
        self.folder, self.place = folder, place
        self.script = script_of(folder, PROCESS, "process.py")
        self.book = folder / "book"
        self.real_s = time.time()
        self.speed = WEEK_S / REAL_S
        self.processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    @property
    def now_s(self) -> float:
        return BEGIN_S + (time.time() - self.real_s) * self.speed

    def start(self, role: str) -> None:
        """Start a process of a role."""
        with (self.folder / "out").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, str(self.script), role, self.place, str(self.book),
                 repr(self.real_s), repr(BEGIN_S), repr(self.speed)],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=out)
        self.processes.append((role, process))

    def kill_one(self, chance: random.Random) -> None:
        """Kill a process and start another of its role."""
        at = chance.randrange(len(self.processes))
        role, process = self.processes.pop(at)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.start(role)

    def end(self) -> None:
        """End all."""
        for _, process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def week(folder: Path, place: str) -> Iterator[Week]:
    """Run a week with two schedulers, two watchers and four workers."""
    made = Week(folder, place)
    try:
        for role in ["scheduler"] * 2 + ["watcher"] * 2 + ["worker"] * 4:
            made.start(role)
        yield made
    finally:
        made.end()


def made_schedules(agenda: Any) -> dict[str, Schedule]:
    """Put deployments with schedules of several kinds, all of which are caught up."""
    options: dict[str, Any] = {"catch_up": "all", "catch_up_limit": 10_000, "overlap": "allow",
                               "end": datetime.fromtimestamp(BEGIN_S + WEEK_S, UTC)}
    found: dict[str, Schedule] = {}
    for number in range(SCHEDULES):
        schedule: Schedule = (
            Cron(f"{number % 60} * * * *", timezone="Europe/Berlin", **options)
            if number % 2 else Interval(timedelta(minutes=60 + number), **options))
        name = f"flow/d{number}"
        found[name] = schedule
        agenda.put(NewDeployment(
            name=name, flow_name="flow", digest="d", spec={"entrypoint": "f.py:f"},
            on_crash="resume", schedules=[NewSchedule(
                slug="s", spec=schedule.to_json(), next_s=first_slot_s(schedule, BEGIN_S))],
        ), BEGIN_S)
    return found


def put_follower(store: Store) -> None:
    """Put a deployment that runs after each completed run of the first one."""
    spec = DeploymentSpec(name="after", flow_name="flow", entrypoint="f.py:f", after=FIRST,
                          on_crash="resume")
    register(store.agenda(), spec, BEGIN_S)
    Watcher(store, [], since_s=BEGIN_S, clock=lambda: BEGIN_S).turn()  # from then on events count


def expected(schedule: Schedule) -> list[float]:
    begin = datetime.fromtimestamp(BEGIN_S, UTC)
    return [slot.timestamp()
            for slot in schedule.times(after=begin, until=begin + timedelta(seconds=WEEK_S))]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_chaos_over_a_week_every_slot_has_one_run_and_each_ends(
        tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    chance = random.Random(7)
    server: Server | None = None
    place = str(tmp_path / "dataflow.db")
    if kind == "postgres":
        server = request.getfixturevalue("own_postgres")
        place = server.url
    store = open_store(place)
    schedules = made_schedules(store.agenda())
    put_follower(store)
    kills = restarts = 0
    with week(tmp_path, place) as running:
        while running.now_s < BEGIN_S + WEEK_S:
            time.sleep(chance.uniform(0.5, 1.5))
            running.kill_one(chance)
            kills += 1
            if server is not None and kills % 5 == 0:
                server.stop("immediate")
                time.sleep(chance.uniform(0.0, 0.5))
                server.start()
                restarts += 1
        wanted = {name: expected(schedule) for name, schedule in schedules.items()}
        followers = len(wanted[FIRST])
        total = sum(map(len, wanted.values())) + followers
        wait_until(lambda: _ended(place) == total, f"all {total} runs have ended", 120)
    agenda = open_store(place).agenda()
    for name, slots in wanted.items():
        runs = agenda.queue_of(name, limit=100_000)
        assert sorted(run.slot_s or 0.0 for run in runs) == slots, name
        assert {run.phase for run in runs} == {"ended"}
    after = agenda.queue_of(FOLLOWER, limit=100_000)
    causes = [each.trigger["flow_run_id"] for each in after if each.trigger is not None]
    assert sorted(causes) == sorted(
        run.flow_run_id for run in agenda.queue_of(FIRST, limit=100_000)), "one after each"
    rows = open_store(place).flow_runs(limit=None)
    assert Counter(row.state_name for row in rows) == {"Completed": total}
    done = ledger(running.book)
    assert set(done) == {row.id for row in rows}
    again = sum(times - 1 for times in done.values())
    assert again <= 20 * kills + 80 * restarts, "more ran again than was held when it was killed"
    assert "Traceback" not in (tmp_path / "out").read_text()


def _ended(place: str) -> int:
    store = open_store(place)
    try:
        return len(store.flow_runs(limit=None, state="COMPLETED"))
    finally:
        store.close()
