"""Something is stopped in the middle: workers, schedulers, drivers. Nothing hangs or stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster

from dataflow.batch import Const, Placement
from dataflow.exceptions import BlockLost
from dataflow.runner import BatchDone, BatchLost, RunnerLost, RunnerSession
from runners.dask import DaskTaskRunner
from tests.dask_support import (
    Inbox,
    aligned_batch,
    items_batch,
    open_gate,
    opened,
    pass_gate,
    wait_at_gate,
    wait_until,
)

OWN = {"n_workers": 2, "threads_per_worker": 1, "silence_logs": 50}

pytestmark = pytest.mark.dask


@pytest.fixture
def own() -> Iterator[tuple[RunnerSession, Inbox]]:
    with opened(DaskTaskRunner(cluster_kwargs=OWN)) as pair:
        yield pair


def increment(x: int) -> int:
    return x + 1


def outlives_nobody(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"
                   for pid in pids)


def worker_pids(session: RunnerSession) -> list[int]:
    return list(session.link.client.run(os.getpid).values())  # type: ignore[attr-defined]


def test_worker_killed_in_a_batch_is_reported_with_its_signal(
    own: tuple[RunnerSession, Inbox], tmp_path: Path
) -> None:
    port, inbox = own

    def gated(x: int) -> int:
        pass_gate(str(tmp_path), "gate")
        return x

    port.submit(items_batch(1, gated, [1]), [])
    pid = wait_at_gate(tmp_path, "gate")
    before = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    event = inbox.next()
    assert isinstance(event, BatchLost)
    assert time.monotonic() - before < 3
    assert event.blame
    assert f"process {pid} was killed by signal 9 (SIGKILL)" in event.reason
    assert inbox.is_empty()
    port.submit(items_batch(2, increment, [1]), [])
    assert isinstance(inbox.next(), BatchDone)


def test_batch_that_waited_at_a_killed_worker_is_not_blamed(
    own: tuple[RunnerSession, Inbox], tmp_path: Path
) -> None:
    port, inbox = own

    def gated(x: int) -> int:
        pass_gate(str(tmp_path), f"gate{x}")
        return x

    [victim, *_] = port.link.threads  # type: ignore[attr-defined]
    here = Placement(workers=(victim,))
    port.submit(items_batch(1, gated, [1], placement=here), [])
    pid = wait_at_gate(tmp_path, "gate1")
    port.submit(items_batch(2, gated, [2], placement=here), [])
    scheduler = port.link.cluster.scheduler  # type: ignore[attr-defined]
    wait_until(lambda: len(scheduler.workers[victim].processing) == 2, "both are assigned")
    wait_until(lambda: any(f.worker for f in port.flights()), "a start is known")  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    lost = {event.batch: event for event in inbox.many(2) if isinstance(event, BatchLost)}
    assert {batch: event.blame for batch, event in lost.items()} == {1: True, 2: False}


def test_user_code_that_ends_its_process_is_reported(own: tuple[RunnerSession, Inbox]) -> None:
    port, inbox = own
    port.submit(items_batch(1, os._exit, [3]), [])
    event = inbox.next()
    assert isinstance(event, BatchLost)
    assert event.blame
    assert "exited with status 3" in event.reason


def test_death_on_a_users_cluster_is_reported_at_the_first_time(tmp_path: Path) -> None:
    """Dask's own patience of three deaths would kill three more workers."""
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", silence_logs=50,
                      dashboard_address="127.0.0.1:0") as cluster:
        with opened(DaskTaskRunner(cluster=cluster)) as (port, inbox):
            def die(x: int) -> None:
                with open(tmp_path / "log", "a") as log:
                    log.write("died\n")
                os.kill(os.getpid(), signal.SIGKILL)

            port.submit(items_batch(1, die, [1]), [])
            event = inbox.next()
            assert isinstance(event, BatchLost)
            assert "SIGKILL" in event.reason
            assert inbox.is_empty(1.0)
    # the batch may have been given to the second worker before the news of the first came
    assert (tmp_path / "log").read_text().count("died") <= 2


def test_values_of_a_killed_worker_are_had_again_or_reported_lost(
    own: tuple[RunnerSession, Inbox]
) -> None:
    port, inbox = own
    port.submit(items_batch(1, increment, [1]), [])
    event = inbox.next()
    assert isinstance(event, BatchDone)
    pids = port.link.client.run(os.getpid)  # type: ignore[attr-defined]
    os.kill(pids[event.report.worker], signal.SIGKILL)
    try:
        [block] = port.fetch([event.handle], 20)
    except BlockLost:
        return
    assert block.columns[1].values == [2]
    assert inbox.is_empty()  # computed again, but not reported twice


def test_constant_whose_worker_died_is_sent_again(own: tuple[RunnerSession, Inbox]) -> None:
    port, inbox = own
    big = Const(bytes(200_000))

    def length(x: int, data: bytes) -> int:
        return len(data)

    port.submit(items_batch(1, length, [1], big), [])
    assert isinstance(inbox.next(), BatchDone)
    before = set(port.link.threads)  # type: ignore[attr-defined]
    for pid in worker_pids(port):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(port.link.threads) - before) == 2, "two new workers")  # type: ignore[attr-defined]
    port.submit(items_batch(2, length, [1], big), [])
    done = inbox.next()
    assert isinstance(done, BatchDone)
    assert port.fetch([done.handle], 20)[0].columns[2].values == [200_000]


def test_somebody_elses_cancel_is_a_loss_without_blame(
    own: tuple[RunnerSession, Inbox], tmp_path: Path
) -> None:
    port, inbox = own

    def gated(x: int) -> int:
        pass_gate(str(tmp_path), "gate")
        return x

    port.submit(items_batch(1, gated, [1]), [])
    wait_at_gate(tmp_path, "gate")
    [flight] = port.flights()  # type: ignore[attr-defined]
    port.link.client.cancel([flight.future])  # type: ignore[attr-defined]
    event = inbox.next()
    assert isinstance(event, BatchLost)
    assert not event.blame
    open_gate(tmp_path, "gate")


def test_report_that_was_not_heard_is_asked_for(
    own: tuple[RunnerSession, Inbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, inbox = own
    monkeypatch.setattr(type(port), "hear", lambda *news: None)
    for keep in (True, False):
        port.submit(items_batch(1, increment, [1, 2], keep=keep), [])
        event = inbox.next()
        assert isinstance(event, BatchDone)
        assert bytes(event.report.spans[0].codes) == b"\x08\x08"
        assert (event.handle is not None) == keep


def test_restart_by_somebody_is_a_loss_without_blame(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", silence_logs=50,
                      dashboard_address="127.0.0.1:0") as cluster:
        with Client(cluster, set_as_default=False) as client:
            with opened(DaskTaskRunner(client=client)) as (port, inbox):
                port.submit(items_batch(1, lambda x: pass_gate(str(tmp_path), "gate"), [1]), [])
                wait_at_gate(tmp_path, "gate")
                client.restart()
                event = inbox.next()
                assert isinstance(event, BatchLost)
                assert not event.blame
                assert "scheduler-restart" in event.reason
                port.submit(items_batch(2, increment, [1]), [])
                assert isinstance(inbox.next(), BatchDone)


# the scheduler

@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a scheduler in a process of its own, with one worker; ``address`` is an attribute."""
    contact = tmp_path / "scheduler.json"
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    python = [sys.executable, "-m"]
    head = subprocess.Popen(
        [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", str(contact)], **common)  # type: ignore[call-overload]
    wait_until(contact.exists, "the scheduler has started")
    worker = subprocess.Popen(
        [*python, "distributed.cli.dask_worker", "--scheduler-file", str(contact),
         "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--no-nanny",
         "--death-timeout", "5", "--local-directory", str(tmp_path)], **common)  # type: ignore[call-overload]
    import json

    head.address = json.loads(contact.read_text())["address"]  # type: ignore[attr-defined]
    yield head
    for process in (head, worker):
        process.kill()
        process.wait()


def test_killed_scheduler_loses_the_runner_within_seconds(
    scheduler: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with opened(DaskTaskRunner(address=scheduler.address)) as (port, inbox):  # type: ignore[attr-defined]
        def gated(x: int) -> int:
            pass_gate(str(tmp_path), "gate")
            return x

        port.submit(items_batch(0, increment, [1]), [])
        kept = inbox.next()
        assert isinstance(kept, BatchDone)
        port.submit(items_batch(1, gated, [1]), [])
        wait_at_gate(tmp_path, "gate")
        before = time.monotonic()
        scheduler.kill()
        event = inbox.next()
        assert isinstance(event, RunnerLost)
        assert time.monotonic() - before < 3
        assert "scheduler" in event.reason
        port.submit(aligned_batch(2, increment, items_batch(0, increment, [1])), [kept.handle])
        assert isinstance(inbox.next(), RunnerLost)
        with pytest.raises(BlockLost):
            port.fetch([kept.handle], 5)
        before = time.monotonic()
    assert time.monotonic() - before < 6


# the end

def test_close_when_cancelled_ends_within_5_s_and_leaves_no_process(tmp_path: Path) -> None:
    runner = DaskTaskRunner(cluster_kwargs=OWN)
    inbox = Inbox()
    runner.start()
    port = runner.session(_run(), inbox)
    pids = worker_pids(port)
    children = [p.pid for p in psutil.Process().children(recursive=True)]

    def sleeper(x: int) -> None:
        pass_gate(str(tmp_path), f"gate{x}")

    for number in range(2):
        port.submit(items_batch(number, sleeper, [number]), [])
    for number in range(2):
        wait_at_gate(tmp_path, f"gate{number}")
    before = time.monotonic()
    port.close(cancelled=True)
    runner.close(cancelled=True)
    assert time.monotonic() - before < 5
    assert outlives_nobody(pids)
    wait_until(lambda: outlives_nobody([p for p in children if p in pids]), "all are gone")


def test_close_without_cancel_ends_workers_that_sleep_in_user_code(tmp_path: Path) -> None:
    runner = DaskTaskRunner(cluster_kwargs=OWN)
    inbox = Inbox()
    runner.start()
    port = runner.session(_run(), inbox)
    pids = worker_pids(port)
    port.submit(items_batch(1, lambda x: pass_gate(str(tmp_path), "gate"), [1]), [])
    wait_at_gate(tmp_path, "gate")
    before = time.monotonic()
    port.close()
    runner.close()
    assert time.monotonic() - before < 8
    assert outlives_nobody(pids)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(0)"])
def test_no_worker_outlives_its_driver(tmp_path: Path, end: str) -> None:
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(f"""
        import os, signal, sys, time
        from runners.dask import DaskTaskRunner
        from tests.dask_support import Inbox, items_batch, run_info, wait_at_gate, pass_gate
        from pathlib import Path

        def sleep(x):
            pass_gate({str(tmp_path)!r}, "gate")

        if __name__ == "__main__":
            runner = DaskTaskRunner(cluster_kwargs={OWN!r})
            runner.start()
            port = runner.session(run_info(), Inbox())
            pids = port.link.client.run(os.getpid).values()
            port.submit(items_batch(1, sleep, [1]), [])
            wait_at_gate(Path({str(tmp_path)!r}), "gate")
            print(*pids, flush=True)
            {end}
    """))
    root = Path(__file__).parents[2]
    driver = subprocess.run(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        timeout=60, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    pids = [int(pid) for pid in driver.stdout.split()]
    assert len(pids) == 2
    wait_until(lambda: outlives_nobody(pids), "the workers have ended")


def test_capacity_follows_the_cluster(own: tuple[RunnerSession, Inbox]) -> None:
    port, inbox = own
    port.link.cluster.scale(3)  # type: ignore[attr-defined]
    wait_until(lambda: port.capacity().slots == 3, "the third worker is counted")
    inbox.is_empty()
    assert [event.capacity.slots for event in inbox.capacities] == [3]


def test_batch_that_fits_nowhere_is_warned_of_once(
    own: tuple[RunnerSession, Inbox], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runners.dask.trouble._NOWHERE_S", 0.3)
    port, inbox = own
    gpu = Placement(resources=(("GPU", 2.0),))
    with caplog.at_level("WARNING", "dataflow.runners.dask"):
        port.submit(items_batch(1, increment, [1], placement=gpu), [])
        wait_until(lambda: "GPU=2" in caplog.text, "the warning")
        assert inbox.is_empty(0.6)
    assert caplog.text.count("GPU=2") == 1
    port.cancel([1])
    event = inbox.next()
    assert isinstance(event, BatchLost)


def _run() -> object:
    from tests.dask_support import run_info

    return run_info()


def test_client_of_a_closed_cluster_says_so() -> None:
    client = Client(n_workers=1, threads_per_worker=1, host="127.0.0.1", silence_logs=50,
                    dashboard_address="127.0.0.1:0", set_as_default=False)
    client.cluster.close()
    client.close()
    with pytest.raises((OSError, ValueError)):
        DaskTaskRunner(client=client).start()
