"""The worker's looks, without processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow.agenda import NewDeployment, QueuedRun
from dataflow.exceptions import WorkPoolError
from dataflow.service.asking import ask
from dataflow.service.deploying import order_of
from dataflow.service.orders import Order
from dataflow.service.processes import Processes
from dataflow.service.worker import Worker
from dataflow.store import Store
from dataflow.stores import open_store

NOW = 1_000_000.0


def test_a_clock_that_is_set_back_does_not_keep_a_worker_silent(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "prepare", lambda processes: None)
    store = open_store(str(tmp_path / "dataflow.db"))
    try:
        worker = Worker(store, "default", order_of=order_of)
        store.agenda().put_worker(worker.row)
        for now_s in (NOW, NOW - 3600):
            worker._turn(now_s)
            (row,) = store.agenda().workers()
            assert row.seen_s == now_s
    finally:
        store.close()


class Ended:
    """A command that has ended, and what it was told meanwhile."""

    pid, kills, told_to_end = 77, None, False

    def __init__(self, code: int) -> None:
        self.code = code

    def exit_code(self) -> int:
        return self.code

    def words(self) -> str:
        return "lost the daemon"

    def cancel(self, now_s: float, patience_s: float) -> None:
        self.told_to_end = True

    def kill(self) -> None:
        pass

    def end_children(self) -> None:
        pass


class Ending:
    """Begins runs whose commands end at once."""

    def begin(self, run: QueuedRun, order: Order, ended: Callable[[], object]) -> Ended:
        return Ended(1)

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def commanding(tmp_path: Path) -> Iterator[tuple[Worker, Store, str, list[float]]]:
    """Return a worker whose command has ended while a far process has the run's lease."""
    store, clock = open_store(str(tmp_path / "dataflow.db")), [100.0]
    store.agenda().put(NewDeployment(name="f/d", flow_name="f", digest="d",
                                     spec={"entrypoint": "f.py:f"}), NOW)
    flow_run_id = ask(store, "f/d", {}, NOW)
    worker = Worker(store, "default", order_of=order_of, starter=Ending(), kind="command",
                    monotonic=lambda: clock[0])
    store.agenda().put_worker(worker.row)
    worker._take(NOW)
    store.lease(flow_run_id, "far:1:2", now_s=NOW, until_s=NOW - 500)  # by a clock that is behind
    yield worker, store, flow_run_id, clock
    store.close()


def looked(worker: Worker, clock: list[float], seconds: float) -> None:
    clock[0] += seconds
    worker._turn(NOW + clock[0])


def test_a_run_whose_command_has_ended_is_its_process_s_while_that_renews_its_lease(
        commanding: tuple[Worker, Store, str, list[float]]) -> None:
    worker, store, flow_run_id, clock = commanding
    for step in range(6):
        looked(worker, clock, 20)
        store.renew(flow_run_id, 1, NOW - 490 + step)
        assert store.find_flow_run(flow_run_id).state_name == "Scheduled"
    looked(worker, clock, 20)
    looked(worker, clock, 29)
    assert list(worker._going) == [flow_run_id]
    looked(worker, clock, 2)
    row = store.find_flow_run(flow_run_id)
    assert (row.state_name, list(worker._going)) == ("Crashed", [])
    assert "command ended with exit code 1. Its last words:\nlost the daemon" in str(row.message)


def test_a_run_that_cannot_be_reached_to_cancel_it_is_given_up_after_a_while(
        commanding: tuple[Worker, Store, str, list[float]]) -> None:
    worker, store, flow_run_id, clock = commanding
    assert store.agenda().ask_to_cancel(flow_run_id, NOW)
    for step in range(4):
        looked(worker, clock, 10)
        store.renew(flow_run_id, 1, NOW - 490 + step)
    assert (store.find_flow_run(flow_run_id).state_name, list(worker._going)) == ("Scheduled", [])


@pytest.mark.parametrize(("changes", "refused"), [
    ({}, False),  # this very process
    ({"pid": 1}, True),
    ({"pid": 2**22 + 5}, False),  # it is gone
    ({"host": "elsewhere", "pid": 1}, True),
    ({"host": "elsewhere", "seen_s": -60.0}, False),
    ({"pid": 1, "status": "gone"}, False),
    ({"pid": 1, "name": "other"}, False),
])
def test_a_name_that_a_living_worker_has_is_refused(
        tmp_path: Path, changes: dict[str, Any], refused: bool) -> None:
    store = open_store(str(tmp_path / "dataflow.db"))
    try:
        worker = Worker(store, "default", order_of=order_of, name="nightly")
        seen_s = worker.row.seen_s + changes.pop("seen_s", 0.0)
        store.agenda().put_worker(replace(worker.row, seen_s=seen_s, **changes))
        worker.drain()
        if refused:
            with pytest.raises(WorkPoolError, match="nightly"):
                worker.run()
            assert store.agenda().workers()[0].status == "online"
        else:
            worker.run()
    finally:
        store.close()
