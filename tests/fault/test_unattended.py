"""Deployments run by workers in processes of their own, some of which are killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataflow import flow
from dataflow.context import current_flow
from dataflow.deployments import run_deployment
from tests.run_support import alive, ledger, recorded, wait_until
from tests.unattended_support import Site

FLOWS = """
    import os
    import sys
    import time
    from pathlib import Path

    from dataflow import flow, task
    from runners import ThreadPoolTaskRunner
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"

    @task
    def add(x, y):
        return x + y

    @flow
    def adding(n: int, y: int = 1):
        note(BOOK, f"adding {n} {y} {os.environ.get('COLOUR', '')}")
        return sum(add.map(range(n), y).result())

    @flow
    def measuring(text: str):
        note(BOOK, str(len(text)))

    @flow
    def failing():
        raise ValueError("it fails")

    @flow
    def sleeping(nap: float = 60.0):
        note(BOOK, "sleeping")
        time.sleep(nap)
        note(BOOK, "woken")

    @task
    def told():
        from dataflow.runtime import deployment
        return deployment.name

    @task
    def marked(x):
        return f"MARKED {x} " * 1000

    @task
    def joined(texts):
        return len("".join(texts))

    @flow
    def secretive():
        assert joined.submit(marked.map([1, 2, 3])).result() == 27_000

    @flow
    def telling(n: int = 0):
        from dataflow.runtime import deployment, flow_run
        note(BOOK, f"{deployment.name} {deployment.version} {deployment.parameters} "
                   f"{told()} {flow_run.scheduled_start_time.isoformat()}")
        assert deployment.flow_run_id == flow_run.id and deployment.id

    @task(persist_result=True)
    def step(x):
        note(BOOK, f"step {x}")
        if x == 5 and not (BOOK.parent / "died").exists():
            (BOOK.parent / "died").touch()
            os.kill(os.getpid(), 9)
        return x

    @flow(task_runner="inline")
    def stepping(n: int):
        return sum(step.submit(x).result() for x in range(n))
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, FLOWS)
    yield made
    made.close()


def test_a_queued_run_is_run_with_its_parameters_and_environment(site: Site) -> None:
    site.deploy("adding", environment={"COLOUR": "red"}, parameters={"y": 3})
    flow_run_id = site.ask("adding/d", {"n": 4})
    site.worker()
    row = site.ended(flow_run_id)
    assert (row.state_name, row.parameters) == ("Completed", '{"n": 4, "y": 3}')
    assert ledger(site.folder / "book") == Counter(["adding 4 3 red"])
    assert recorded(flow_run_id).counts == {"add": {"Completed": 4}}
    wait_until(lambda: site.queued(flow_run_id).phase == "ended", "the worker knows")


def test_a_flow_that_fails_is_failed_and_the_worker_goes_on(site: Site) -> None:
    site.deploy("failing")
    site.deploy("adding")
    bad, good = site.ask("failing/d"), site.ask("adding/d", {"n": 2})
    site.worker()
    assert site.ended(bad).state_name == "Failed"
    assert site.ended(good).state_name == "Completed"


@pytest.mark.parametrize(("entrypoint", "said"), [
    ("flows.py:nothing", "nothing"),
    ("missing.py:adding", "missing.py"),
    ("broken.py:adding", "SyntaxError"),
    ("no_such_module:adding", "no_such_module"),
])
def test_a_flow_that_cannot_be_loaded_is_crashed_and_says_why(
        site: Site, entrypoint: str, said: str) -> None:
    (site.folder / "broken.py").write_text("def (\n")
    site.deploy("adding", entrypoint=entrypoint)
    flow_run_id = site.ask("adding/d", {"n": 1})
    site.worker()
    row = site.ended(flow_run_id)
    assert row.state_name == "Crashed"
    assert said in str(row.message), row.message
    assert ledger(site.folder / "book") == Counter()


def test_parameters_that_do_not_fit_the_flow_fail_the_run(site: Site) -> None:
    site.deploy("adding")  # without a schema: nothing is known before
    flow_run_id = site.ask("adding/d", {"n": "many"})
    site.worker()
    row = site.ended(flow_run_id)
    assert row.state_name == "Failed" and "n" in str(row.message)


def test_a_run_whose_process_is_killed_is_crashed_at_once_and_says_how(site: Site) -> None:
    site.deploy("sleeping")
    flow_run_id = site.ask("sleeping/d")
    site.worker()
    os.kill(site.process_of(flow_run_id), signal.SIGKILL)
    row = site.ended(flow_run_id, 10)
    assert row.state_name == "Crashed" and "killed by SIGKILL" in str(row.message)


def test_a_run_whose_process_is_killed_goes_on_where_its_deployment_says_so(site: Site) -> None:
    site.deploy("stepping", on_crash="resume")
    flow_run_id = site.ask("stepping/d", {"n": 10})
    site.worker()
    row = site.ended(flow_run_id)
    assert (row.state_name, row.resumed) == ("Completed", 1)
    assert ledger(site.folder / "book") == Counter(
        [f"step {x}" for x in range(10)] + ["step 5"])  # what was in flight
    assert site.queued(flow_run_id).tries == 2


def test_a_run_that_is_cancelled_while_it_goes_on_is_cancelled(site: Site) -> None:
    site.deploy("sleeping")
    flow_run_id = site.ask("sleeping/d")
    site.worker()
    pid = site.process_of(flow_run_id)
    with site.store() as store:
        assert store.agenda().ask_to_cancel(flow_run_id, time.time())
    assert site.ended(flow_run_id, 20).state_name == "Cancelled"
    wait_until(lambda: not psutil.pid_exists(pid), "its process has ended")
    assert ledger(site.folder / "book")["woken"] == 0


def test_a_worker_that_is_told_to_end_lets_its_runs_end(site: Site) -> None:
    site.deploy("sleeping")
    mine = site.ask("sleeping/d", {"nap": 3.0})
    worker = site.worker()
    site.process_of(mine)
    worker.send_signal(signal.SIGTERM)
    later = site.ask("sleeping/d", {"nap": 0.0})
    assert worker.wait(30) == 0
    assert site.row(mine).state_name == "Completed"
    assert site.row(later).state_name == "Scheduled"
    with site.store() as store:
        (row,) = store.agenda().workers()
        assert row.status == "gone"


def test_a_second_signal_cancels_what_goes_on(site: Site) -> None:
    site.deploy("sleeping")
    mine = site.ask("sleeping/d")
    worker = site.worker()
    site.process_of(mine)
    worker.send_signal(signal.SIGINT)
    time.sleep(0.5)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(30) == 0
    assert site.row(mine).state_name == "Cancelled"


def test_a_run_outlives_its_worker_and_is_not_run_twice(site: Site) -> None:
    site.deploy("sleeping", on_crash="resume")
    mine = site.ask("sleeping/d", {"nap": 6.0})
    worker = site.worker(claim_s=2.0)
    site.process_of(mine)
    worker.kill()
    worker.wait()
    site.worker(claim_s=2.0)
    assert site.ended(mine).state_name == "Completed"
    wait_until(lambda: site.queued(mine).phase == "ended", "somebody looked after it", 30)
    assert ledger(site.folder / "book") == Counter(["sleeping", "woken"])


@pytest.mark.parametrize("on_crash", ["crash", "resume"])
def test_runs_of_a_host_that_went_down_are_crashed_or_go_on_elsewhere(
        site: Site, on_crash: Any) -> None:
    site.deploy("sleeping", on_crash=on_crash, parameters={"nap": 4.0})
    mine = site.ask("sleeping/d")
    worker = site.worker(claim_s=2.0)
    site.process_of(mine)
    site.kill_all_of(worker)
    site.worker(claim_s=2.0)
    row = site.ended(mine)
    if on_crash == "crash":
        assert row.state_name == "Crashed" and "has not been heard of" in str(row.message)
        assert ledger(site.folder / "book") == Counter(["sleeping"])
    else:
        assert (row.state_name, row.resumed) == ("Completed", 1)
        assert ledger(site.folder / "book") == Counter({"sleeping": 2, "woken": 1})


def test_schedules_are_kept_by_several_workers_without_a_run_lost_or_doubled(
        site: Site) -> None:
    for number in range(3):
        site.deploy("adding", f"d{number}", parameters={"n": number},
                    schedules=[{"interval": 2.0, "overlap": "allow", "catch_up": "all"}])
    workers = [site.worker("--limit", "3") for _ in range(2)]

    def many() -> bool:
        with site.store() as store:
            return len(store.flow_runs(limit=None, state="COMPLETED")) >= 12

    wait_until(many, "12 runs", 90)
    with site.store() as store:
        for row in store.agenda().deployments():
            store.agenda().pause(row.name, True, time.time())
    wait_until(lambda: _open(site) == 0, "all have ended", 60)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    with site.store() as store:
        runs = [run for number in range(3)
                for run in store.agenda().queue_of(f"d{number}", limit=1000)]
        states = Counter(row.state_name for row in store.flow_runs(limit=None))
    assert states == {"Completed": len(runs)}
    done = ledger(site.folder / "book")
    assert sum(done.values()) == len(runs)
    slots = Counter((run.deployment, run.slot_s) for run in runs)
    assert max(slots.values()) == 1
    for number in range(3):
        mine = sorted(run.slot_s or 0.0 for run in runs if run.deployment == f"adding/d{number}")
        assert [b - a for a, b in pairwise(mine)] == [2.0] * (len(mine) - 1)


def _open(site: Site) -> int:
    with site.store() as store:
        return sum(row.state_type not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
                   for row in store.flow_runs(limit=None))


def test_a_run_that_is_asked_for_is_waited_for(site: Site) -> None:
    site.deploy("adding")
    site.worker()
    row = run_deployment("adding/d", {"n": 3})
    assert row.state_name == "Completed"
    again = run_deployment("adding/d", {"n": 3}, idempotency_key="k")
    same = run_deployment("adding/d", {"n": 3}, idempotency_key="k", timeout=0)
    assert same.id == again.id != row.id
    assert sum(ledger(site.folder / "book").values()) == 2


def test_a_run_may_ask_which_deployment_made_it(site: Site) -> None:
    site.deploy("telling", version="v3", parameters={"n": 5})
    due = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)
    flow_run_id = site.ask("telling/d", due=due)
    site.worker()
    assert site.ended(flow_run_id).state_name == "Completed"
    assert ledger(site.folder / "book") == Counter(
        ["d v3 {'n': 5} d 2026-11-01T04:00:00+00:00"])


def test_no_data_of_a_run_goes_to_the_store(site: Site) -> None:
    """States, timings and logs do; what tasks take and give stays where they run."""
    site.deploy("secretive")
    flow_run_id = site.ask("secretive/d")
    site.worker()
    assert site.ended(flow_run_id).state_name == "Completed"
    assert recorded(flow_run_id).counts == {"marked": {"Completed": 3}, "joined": {"Completed": 1}}
    kept = b"".join(path.read_bytes() for path in Path(os.environ["DATAFLOW_HOME"]).rglob("*")
                    if path.is_file() and path.name.startswith(("dataflow.db", "claims.db")))
    assert b"secretive" in kept
    for marked in (b"MARKED", b"4d41524b4544", b"TUFSS0VE"):  # as text, hexadecimal, base64
        assert marked not in kept


def test_a_run_that_is_asked_for_in_a_flow_belongs_to_that_one(site: Site) -> None:
    site.deploy("adding")
    site.worker()

    @flow
    def asking() -> Any:
        return current_flow.get().run.flow_run_id, run_deployment("adding/d", {"n": 1})

    flow_run_id, row = asking()
    assert (row.state_name, row.parent_flow_run_id) == ("Completed", flow_run_id)


@pytest.mark.parametrize("by", ["agenda", "signals"])
def test_a_run_that_is_cancelled_while_its_flow_is_loaded_is_cancelled(
        site: Site, by: str) -> None:
    (site.folder / "slow.py").write_text(
        "import time\nfrom pathlib import Path\nfrom dataflow import flow\n\n"
        "Path(__file__).with_name('loading').touch()\ntime.sleep(60)\n\n"
        "@flow\ndef slow():\n    pass\n")
    site.deploy("slow", entrypoint="slow.py:slow", on_crash="resume")
    flow_run_id = site.ask("slow/d")
    worker = site.worker()
    wait_until((site.folder / "loading").exists, "its file is imported", 30)
    if by == "agenda":
        with site.store() as store:
            assert store.agenda().ask_to_cancel(flow_run_id, time.time())
    else:
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        worker.send_signal(signal.SIGTERM)
    assert site.ended(flow_run_id, 20).state_name == "Cancelled"
    wait_until(lambda: site.queued(flow_run_id).phase == "ended", "the worker knows")


def test_a_run_with_a_large_order_begins(site: Site) -> None:
    site.deploy("measuring")
    flow_run_id = site.ask("measuring/d", {"text": "ä" * 5_000_000})
    site.worker()
    assert site.ended(flow_run_id).state_name == "Completed"
    assert ledger(site.folder / "book") == Counter(["5000000"])


def test_a_runner_that_cannot_be_made_is_told(site: Site) -> None:
    site.deploy("adding", task_runner={"name": "threads", "options": {"colour": "red"}},
                on_crash="resume")
    flow_run_id = site.ask("adding/d", {"n": 1})
    site.worker()
    row = site.ended(flow_run_id)
    assert row.state_name == "Crashed" and "colour" in str(row.message)


def test_a_run_that_another_process_drives_is_looked_after_when_that_one_is_gone(
        site: Site) -> None:
    site.deploy("adding", on_crash="resume")
    flow_run_id = site.ask("adding/d", {"n": 1})
    with site.store() as store:
        now = time.time()
        store.lease(flow_run_id, "there:1:2", now_s=now, until_s=now + 6)
    site.worker(claim_s=2.0)
    assert site.ended(flow_run_id).state_name == "Completed"


SERVED = """
    import time
    from dataflow import flow
    from tests.run_support import note
    from pathlib import Path

    BOOK = Path(__file__).parent / "book"

    @flow
    def beat(x: int = 1):
        note(BOOK, f"beat {x}")

    if __name__ == "__main__":
        beat.serve("heart", interval=1, parameters={"x": 2})
"""


def test_a_flow_that_is_served_runs_until_it_is_told_to_end(tmp_path: Path) -> None:
    from tests.run_support import script_of, started

    book = tmp_path / "book"
    server = started(script_of(tmp_path, SERVED), out=tmp_path / "out")
    family = [psutil.Process(server.pid)]
    try:
        wait_until(lambda: ledger(book)["beat 2"] >= 3, "three beats", 60)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
    assert not alive(family)
    said = (tmp_path / "out").read_text()
    assert "Serving beat/heart: every second, UTC" in said
    assert "Traceback" not in said


def test_a_run_asked_for_in_a_flow_says_so_after_its_end_too(site: Site) -> None:
    from dataflow import flow

    site.deploy("adding")
    site.worker()

    @flow(task_runner="inline")
    def around() -> tuple[str, str | None]:
        row = run_deployment("adding/d", {"n": 1}, timeout=40)
        return row.state_type, row.parent_flow_run_id

    state = around(return_state=True)
    with site.store() as store:
        outer = store.find_flow_run(store.flow_runs(flow="around", limit=1)[0].id)
    assert state.result() == ("COMPLETED", outer.id)
