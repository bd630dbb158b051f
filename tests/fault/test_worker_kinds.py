"""Workers of type inline and dask, as processes that are told to end, cancelled, killed."""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from tests.run_support import ledger, recorded, wait_until
from tests.unattended_support import Site

FLOWS = """
    import asyncio
    import os
    import sys
    import threading
    import time
    from pathlib import Path

    from dataflow import flow, task
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"
    LOADED = time.time()

    @task
    def add(x, y):
        return x + y

    @flow
    def adding(n: int, y: int = 1):
        assert threading.current_thread() is threading.main_thread()
        note(BOOK, f"adding {n} {y} {os.environ.get('COLOUR', '-')} {Path.cwd().name} "
                   f"{os.getpid()}")
        return sum(add.map(range(n), y).result())

    @flow
    def sleeping(nap: float = 60.0):
        note(BOOK, "sleeping")
        time.sleep(nap)
        note(BOOK, "woken")

    @flow
    async def dozing(nap: float = 60.0):
        note(BOOK, "sleeping")
        await asyncio.sleep(nap)
        note(BOOK, "woken")

    @flow
    def stubborn():
        note(BOOK, "sleeping")
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            note(BOOK, "no")
        time.sleep(60)

    @flow
    def leaving():
        sys.exit(3)

    @flow
    def telling():
        note(BOOK, f"loaded {LOADED}")

    @task
    def where(x):
        time.sleep(0.05)
        return os.getpid()

    @flow
    def spread(n: int = 20):
        pids = where.map(range(n)).result()
        note(BOOK, f"{os.getpid()} " + " ".join(map(str, sorted(set(pids)))))
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, FLOWS)
    yield made
    made.close()


# inline


def test_a_worker_of_type_inline_runs_in_its_own_process_and_leaves_it_as_it_was(
        site: Site) -> None:
    site.deploy("adding", environment={"COLOUR": "red"})
    (site.folder / "other").mkdir()
    (site.folder / "other" / "flows.py").write_text((site.folder / "flows.py").read_text())
    site.deploy("adding", "plain", source=str(site.folder / "other"))
    first, second = site.ask("adding/d", {"n": 4}), site.ask("adding/plain", {"n": 2})
    worker = site.worker("--type", "inline")
    assert site.ended(first).state_name == site.ended(second).state_name == "Completed"
    assert ledger(site.folder / "book") == Counter(
        [f"adding 4 1 red {site.folder.name} {worker.pid}"])
    assert ledger(site.folder / "other" / "book") == Counter(
        [f"adding 2 1 - other {worker.pid}"])
    with site.store() as store:
        (row,) = store.agenda().workers()
        assert (row.kind, row.limit) == ("inline", 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


@pytest.mark.parametrize("flow", ["sleeping", "dozing"])
def test_a_run_of_an_inline_worker_is_cancelled_and_the_worker_goes_on(
        site: Site, flow: str) -> None:
    site.deploy(flow)
    site.deploy("adding")
    mine = site.ask(f"{flow}/d")
    site.worker("--type", "inline")
    site.process_of(mine)
    with site.store() as store:
        assert store.agenda().ask_to_cancel(mine, time.time())
    assert site.ended(mine, 20).state_name == "Cancelled"
    after = site.ask("adding/d", {"n": 1})
    assert site.ended(after, 20).state_name == "Completed"
    assert ledger(site.folder / "book")["woken"] == 0


@pytest.mark.parametrize("signals", [1, 2])
def test_signals_to_an_inline_worker_let_its_run_end_or_cancel_it(
        site: Site, signals: int) -> None:
    site.deploy("sleeping", parameters={"nap": 4.0})
    mine = site.ask("sleeping/d")
    worker = site.worker("--type", "inline")
    site.process_of(mine)
    for _ in range(signals):
        worker.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert worker.wait(30) == 0
    assert site.row(mine).state_name == ("Completed" if signals == 1 else "Cancelled")


def test_a_flow_that_ends_the_process_does_not_end_an_inline_worker(site: Site) -> None:
    site.deploy("leaving")
    site.deploy("telling")
    site.worker("--type", "inline")
    assert site.ended(site.ask("leaving/d")).state_name in ("Crashed", "Failed")
    for _ in range(2):
        assert site.ended(site.ask("telling/d")).state_name == "Completed"
    loaded = ledger(site.folder / "book")
    assert len(loaded) == 2  # the code's module is loaded anew for each run


def test_a_worker_of_type_inline_that_is_killed_leaves_a_crash(site: Site) -> None:
    site.deploy("sleeping")
    mine = site.ask("sleeping/d")
    worker = site.worker("--type", "inline", claim_s=1.0)
    site.process_of(mine)
    worker.kill()
    worker.wait()
    site.worker("--type", "inline", claim_s=1.0)
    assert site.ended(mine, 30).state_name == "Crashed"


def test_heartbeats_go_on_while_an_inline_run_does_not_let_go(site: Site) -> None:
    site.deploy("sleeping", parameters={"nap": 6.0})
    mine = site.ask("sleeping/d")
    site.worker("--type", "inline", claim_s=1.5)
    site.process_of(mine)
    until = site.queued(mine).taken_until_s
    assert until is not None
    wait_until(lambda: (site.queued(mine).taken_until_s or 0) > until + 1, "it is held", 10)
    assert site.ended(mine).state_name == "Completed"


@pytest.mark.parametrize(("options", "said"), [
    (["--type", "inline", "--limit", "2"], "one at a time"),
    (["--type", "dask"], "needs the address"),
    (["--type", "command"], "has no command"),
    (["--type", "process", "--dask-address", "tcp://127.0.0.1:1"], "goes with --type dask"),
])
def test_what_does_not_go_together_is_refused_at_the_start(
        site: Site, options: list[str], said: str) -> None:
    worker = site.worker(*options)
    assert worker.wait(30) == 1
    assert said in site.said() and "Traceback" not in site.said()


# dask


@pytest.mark.dask
def test_flows_of_dask_workers_share_one_cluster(
        site: Site, dask_cluster: LocalCluster) -> None:
    site.deploy("spread", task_runner={"name": "inline", "options": {}})
    site.deploy("spread", "other")
    worker = site.worker("--type", "dask", "--dask-address", dask_cluster.scheduler_address)
    runs = [site.ask("spread/d"), site.ask("spread/other")]
    assert [site.ended(run).state_name for run in runs] == ["Completed"] * 2, site.said()
    with_pids = [line.split() for line in ledger(site.folder / "book")]
    drivers = {line[0] for line in with_pids}
    computed = {pid for line in with_pids for pid in line[1:]}
    ours = {str(each.process.pid) for each in dask_cluster.workers.values()}
    assert len(drivers) == 2 and computed and computed <= ours
    assert [recorded(run).counts for run in runs] == [{"where": {"Completed": 20}}] * 2
    assert len(dask_cluster.scheduler_info["workers"]) == 2  # it stays
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


@pytest.mark.dask
def test_a_flow_may_start_a_cluster_of_its_own_in_its_process(site: Site) -> None:
    site.deploy("spread", task_runner={"name": "dask", "options": {"cluster_kwargs": {
        "n_workers": 2, "threads_per_worker": 1}}})
    site.worker()
    run = site.ask("spread/d")
    assert site.ended(run).state_name == "Completed", site.said()
    (line,) = ledger(site.folder / "book")
    driver, *computed = line.split()
    assert computed and driver not in computed


@pytest.mark.dask
def test_the_pool_may_name_the_cluster(site: Site, dask_cluster: LocalCluster) -> None:
    with site.store() as store:
        store.agenda().put_pool("shared", kind="dask", template={
            "dask_address": dask_cluster.scheduler_address})
    site.deploy("spread", work_pool="shared")
    site.worker("--pool", "shared")
    assert site.ended(site.ask("spread/d")).state_name == "Completed"


def test_a_cluster_that_does_not_answer_is_refused_at_the_start(site: Site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "tcp://{}:{}".format(*free.getsockname())
    worker = site.worker("--type", "dask", "--dask-address", address)
    assert worker.wait(60) == 1
    said = site.said()
    assert f"No Dask scheduler answers at {address}" in said
    assert "Traceback" not in said
    with site.store() as store:
        assert store.agenda().workers() == []
