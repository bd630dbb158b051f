"""Backfills whose runs a worker does in processes of its own; some of them are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataflow.deployments import backfill
from dataflow.schedules import Cron
from tests.run_support import ROOT, end_all, ledger, recorded, wait_until
from tests.unattended_support import Site

FLOWS = """
    import time
    from pathlib import Path

    from dataflow import flow, runtime
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"

    @flow(task_runner="inline")
    def daily(nap: float = 0.0, bad: str = "", mark: str = ""):
        day = runtime.flow_run.scheduled_start_time.date().isoformat()
        note(BOOK, f"begin {day} {mark}".strip())
        until = time.monotonic() + nap
        while time.monotonic() < until or (nap < 0 and not (BOOK.parent / "go").exists()):
            time.sleep(0.02)
        note(BOOK, f"end {day}")
        if day in bad.split():
            raise ValueError("it is a bad day")
"""
DAILY = Cron("0 0 * * *", slug="daily")


class BackfillSite(Site):
    """A site with commands in processes of their own."""

    commands: list[subprocess.Popen[str]]

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command of the command line."""
        out = (self.folder / f"command-{len(self.commands)}.err").open("w")
        with out:
            self.commands.append(subprocess.Popen(
                [sys.executable, "-m", "dataflow", *arguments], cwd=self.folder, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out,
                start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)}))
        return self.commands[-1]

    def told(self) -> str:
        """Return what the last command wrote on stderr."""
        return (self.folder / f"command-{len(self.commands) - 1}.err").read_text()

    def done(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; return its stdout."""
        out, _ = self.command(*arguments).communicate(timeout=60)
        assert self.commands[-1].returncode == code, self.told()
        return out

    def lines(self, front: str) -> list[str]:
        """Return what the runs noted, in order."""
        book = self.folder / "book"
        text = book.read_text() if book.exists() else ""
        return [line.removeprefix(front).strip() for line in text.splitlines()
                if line.startswith(front)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[BackfillSite]:
    made = BackfillSite(tmp_path, FLOWS)
    made.commands = []
    made.deploy("daily", schedules=[DAILY.to_json()])
    yield made
    import psutil

    end_all([psutil.Process(each.pid) for each in made.commands if each.poll() is None])
    for each in made.commands:
        each.wait()
        assert each.stdout is not None
        each.stdout.close()
    made.close()


def days(count: int, first: str = "2026-01-01") -> list[str]:
    begin = datetime.fromisoformat(first)
    return [(begin + timedelta(days=at)).date().isoformat() for at in range(count)]


def most_at_once(site: BackfillSite) -> int:
    most = now = 0
    for line in (site.folder / "book").read_text().splitlines():
        now += 1 if line.startswith("begin") else -1
        most = max(most, now)
    return most


def slots_of(site: BackfillSite) -> list[tuple[str, str]]:
    """Return the runs that are recorded of slots: day and state."""
    with site.store() as store:
        return [(datetime.fromtimestamp(run.slot_s).astimezone(DAILY.zone).date().isoformat(),
                 run.state_name) for run in store.agenda().slots("daily/d", 0.0, 1e11)]


def test_a_backfill_runs_each_slot_once_within_its_width_the_newest_first(
        site: BackfillSite) -> None:
    site.worker("--limit", "8")
    answer = json.loads(site.done(
        "deployment", "backfill", "d", "--from", "2026-01-01", "--to", "2026-01-21",
        "--max-active", "3", "--newest-first", "-p", "nap=0.3", "-p", "mark=x",
        "--output", "json"))
    assert (answer["run"]["state_name"], answer["run"]["flow_name"]) == ("Completed", "backfill")
    begun = site.lines("begin ")
    assert Counter(begun) == Counter(f"{day} x" for day in days(20))
    assert 2 <= most_at_once(site) <= 3
    order = [begun.index(f"{day} x") for day in reversed(days(20))]
    assert all(abs(at - place) < 3 for place, at in enumerate(order)), begun
    whole = recorded(answer["run"]["id"])
    assert whole.counts == {"slot": {"Completed": 20}}
    assert slots_of(site) == [(day, "Completed") for day in days(20)]
    with site.store() as store:
        element = whole.task_runs[0]
        (run,) = store.flow_runs(parent=element.id)
        assert run.parent_flow_run_id == whole.run.id and run.id in str(element.message)
    again = json.loads(site.done(
        "deployment", "backfill", "d", "--from", "2026-01-01", "--to", "2026-01-21",
        "--output", "json"))
    assert again["run"] is None and not any(slot["runs"] for slot in again["slots"])


def test_a_killed_backfill_goes_on_and_no_slot_is_run_twice(site: BackfillSite) -> None:
    site.worker("--limit", "3")
    process = site.command(
        "deployment", "backfill", "d", "--from", "2026-01-01", "--to", "2026-01-13",
        "--max-active", "3", "-p", "nap=0.4")
    wait_until(lambda: len(site.lines("end ")) >= 4, "four slots are done", 40)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with site.store() as store:
        (parent,) = store.flow_runs(flow="backfill")
    assert (parent.state_name, parent.entrypoint) == (
        "Running", "dataflow.service.backfill_flow:backfill_flow")
    assert len(site.lines("begin ")) < 12
    site.done("flow-run", "resume", parent.id)
    assert Counter(site.lines("begin ")) == Counter(days(12))
    assert slots_of(site) == [(day, "Completed") for day in days(12)]
    whole = recorded(parent.id)
    assert (whole.run.state_name, whole.counts) == ("Completed", {"slot": {"Completed": 12}})


def test_a_slot_ends_as_its_run_does_and_a_retry_runs_the_failed_ones_alone(
        site: BackfillSite) -> None:
    site.worker("--limit", "4")
    made = backfill("d", "2026-01-01", "2026-01-05", parameters={"bad": "2026-01-02 2026-01-03"})
    assert made.run is not None and made.run.state_name == "Failed"
    assert made.run.message == "4 slots: 2 Completed, 2 Failed"
    whole = recorded(made.run.id)
    assert whole.states() == {0: "Completed", 1: "Failed", 2: "Failed", 3: "Completed"}
    assert "it is a bad day" in str(whole.task_runs[1].message)
    assert not [line for line in whole.logs if "neither took" in line.message]
    site.done("flow-run", "resume", made.run.id, code=1)  # what failed stands
    assert Counter(site.lines("begin ")) == Counter(days(4))
    site.done("flow-run", "retry", made.run.id, code=1)
    assert Counter(site.lines("begin ")) == Counter(days(4) + days(2, "2026-01-02"))
    assert [slot.at.day for slot in backfill(
        "d", "2026-01-01", "2026-01-05", reprocess="failed", dry_run=True).chosen] == [2, 3]
    mended = backfill("d", "2026-01-01", "2026-01-05", reprocess="failed")
    assert mended.run is not None and mended.run.message == "2 slots: 2 Completed"
    assert not backfill("d", "2026-01-01", "2026-01-05", reprocess="failed", dry_run=True).chosen


def test_ctrl_c_cancels_the_runs_that_wait_leaves_the_others_and_resume_makes_up_for_them(
        site: BackfillSite) -> None:
    site.worker("--limit", "2")
    process = site.command("deployment", "backfill", "d", "--from", "2026-01-01", "--to",
                           "2026-01-09", "--max-active", "4", "-p", "nap=-1")
    wait_until(lambda: len(site.lines("begin ")) == 2, "two go on", 40)
    wait_until(lambda: len(slots_of(site)) == 4, "two wait", 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    said = site.told()
    assert "2 waiting run(s) of the backfill were cancelled" in said
    assert "2 run(s) of the backfill go on: " in said and "flow-run cancel RUN" in said
    (site.folder / "go").touch()
    wait_until(lambda: len(site.lines("end ")) == 2, "the two end", 20)
    with site.store() as store:
        (parent,) = store.flow_runs(flow="backfill")
    assert parent.state_name == "Cancelled"
    site.done("flow-run", "resume", parent.id)
    assert Counter(site.lines("begin ")) == Counter(days(8))
    assert recorded(parent.id).counts == {"slot": {"Completed": 8}}
    assert Counter(slots_of(site)) == Counter(
        [(day, "Completed") for day in days(8)]
        + [(day, "Cancelled") for day in days(2, "2026-01-03")])


def test_where_nobody_runs_a_worker_that_is_said_and_what_to_do(site: BackfillSite) -> None:
    process = site.command("deployment", "backfill", "d", "--from", "2026-01-01", "--to",
                           "2026-01-03")
    wait_until(lambda: "dataflow worker start --pool default" in site.told(), "it is said", 40)
    site.worker()
    assert process.wait(40) == 0, site.told()
    with site.store() as store:  # they waited for longer than a run may that is not Late
        assert store.flow_runs(state="Late") == []
    assert Counter(site.lines("begin ")) == Counter(days(2))


def test_slots_of_a_deleted_deployment_fail_and_say_so_and_a_paused_one_is_run(
        site: BackfillSite) -> None:
    with site.store() as store:
        store.agenda().pause("d", True, 1.0)
    site.worker("--limit", "1")
    process = site.command("deployment", "backfill", "d", "--from", "2026-01-01", "--to",
                           "2026-01-05", "--max-active", "1", "-p", "nap=-1")
    wait_until(lambda: len(site.lines("begin ")) == 1, "one goes on", 40)
    site.done("deployment", "delete", "d")
    (site.folder / "go").touch()
    assert process.wait(40) == 1
    with site.store() as store:
        (parent,) = store.flow_runs(flow="backfill")
    whole = recorded(parent.id)
    assert whole.counts == {"slot": {"Completed": 1, "Failed": 3}}
    assert "There is no deployment 'daily/d'" in str(whole.task_runs[1].error_message)
    assert site.lines("begin ") == days(1)


def test_a_detached_backfill_outlives_its_command(site: BackfillSite) -> None:
    site.worker("--limit", "2")
    answer: dict[str, Any] = json.loads(site.done(
        "deployment", "backfill", "d", "--from", "2026-01-01", "--to", "2026-01-04", "--detach",
        "--output", "json"))
    assert site.ended(answer["run"]["id"]).state_name == "Completed"
    assert ledger(site.folder / "book") == Counter(
        [f"{what} {day}" for what in ("begin", "end") for day in days(3)])


def test_a_slot_for_which_its_schedule_made_a_run_meanwhile_is_left_to_that(
        site: BackfillSite, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataflow.agenda import Decision, NewRun
    from dataflow.ids import new_run_id
    from dataflow.service import backfill as module

    slot_s = datetime.fromisoformat("2026-01-02T00:00:00+00:00").timestamp()
    performed = module.performed

    def late(asked: Any) -> str:
        """Have the scheduler make the run between the plan and the backfill."""
        with site.store() as store:
            store.agenda().turn(2e9, lambda row, owner, active: Decision(
                runs=[NewRun(flow_run_id=new_run_id(), name="own", deployment="daily/d",
                             parameters={"mark": "own"}, due_s=slot_s, slot_s=slot_s)],
                handled_s=2e9, next_s=None))
        return performed(asked)

    monkeypatch.setattr(module, "performed", late)
    site.worker("--no-scheduler")
    made = backfill("d", "2026-01-01", "2026-01-04")
    assert made.run is not None and made.run.state_name == "Completed"
    assert Counter(site.lines("begin ")) == Counter(
        ["2026-01-01", "2026-01-02 own", "2026-01-03"])
