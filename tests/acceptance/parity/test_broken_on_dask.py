"""What Prefect breaks on Dask; each works here, and on every runner alike."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from tests.acceptance.parity.face import (
    PREFECT,
    DaskTaskRunner,
    allow_failure,
    flow,
    get_dask_client,
    quote,
    task,
)
from tests.acceptance.parity.support import await_notes, note, notes

ON_DASK = "dask-processes"


@dataclass
class Box:
    """A dataclass."""

    value: Any


class Model(BaseModel):
    """A pydantic model."""

    value: Any


@task
def inc(x: int) -> int:
    return x + 1


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@task
def told(x: Any) -> str:
    return repr(x)


@task
def noted(path: str, x: int) -> int:
    note(path, x)
    return x


def found_by(runner: Any, body: Any) -> Any:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": body()}

    return run()["found"]


@pytest.mark.differs("lost", on=ON_DASK)
def test_annotations_arrive(runner: Any) -> None:
    def body() -> Any:
        return [told.submit(allow_failure(boom.submit(1))).result(),
                told.submit(allow_failure(inc.submit(1))).result(),
                told.submit(quote([1])).result()]

    assert found_by(runner, body) == ["ValueError('boom 1')", "2", "[1]"]


@pytest.mark.differs("the task gets a raw Dask future, or never ends", on=ON_DASK,
                     run=False)
def test_futures_in_dataclass_model_and_dict_keys_are_resolved(runner: Any) -> None:
    def body() -> Any:
        one = inc.submit(1)
        return told.map([Box(one), Model(value=one), {one: one}]).result()

    assert found_by(runner, body) == ["Box(value=2)", "Model(value=2)", "{2: 2}"]


@pytest.mark.differs("lost in silence", on=ON_DASK, sometimes=True)
def test_nothing_submitted_is_lost_at_the_end(runner: Any, ledger: str) -> None:
    @task
    def slow(path: str, x: int) -> None:
        time.sleep(0.05)
        note(path, x)

    @flow(task_runner=runner)
    def run() -> Any:
        slow.map(ledger, range(8))
        return {"a": 1}

    run()
    assert sorted(notes(ledger)) == list("01234567")


@pytest.mark.differs("deadlock", on=ON_DASK, run=False)
def test_as_many_parents_as_slots_do_not_deadlock(runner: Any) -> None:
    @task
    def parent(x: int) -> int:
        return int(inc.submit(x).result())

    assert found_by(runner, lambda: parent.map(range(4)).result()) == [1, 2, 3, 4]


@pytest.mark.differs("not enforced in workers and threads")
def test_timeouts_are_said_in_time(runner: Any) -> None:
    @task(timeout_seconds=0.3)
    def sleeps() -> None:
        time.sleep(6)

    def body() -> Any:
        began = time.monotonic()
        state = sleeps.submit(return_state=True)
        return state.name, time.monotonic() - began < 5

    assert found_by(runner, body) == ("TimedOut", True)


@pytest.mark.differs("it holds a slot", on=ON_DASK)
def test_a_delay_before_a_retry_holds_no_slot(pooled: Any, ledger: str) -> None:
    @task(retries=1, retry_delay_seconds=2.5)
    def fails(path: str) -> None:
        note(path, "failed")
        raise ValueError("later")

    def body() -> Any:
        waiting = fails.map([ledger] * 4)
        await_notes(ledger, 4)
        inc.submit(1).result()
        found = len(notes(ledger))
        waiting.wait()
        return found

    assert found_by(pooled, body) == 4


@pytest.mark.differs("the state stays Pending and a raw TypeError comes", on=ON_DASK)
def test_a_result_that_cannot_be_pickled_fails_its_task(runner: Any, request: Any) -> None:
    @task
    def lock(x: int) -> Any:
        return threading.Lock() if x else 0

    def body() -> Any:
        futures = lock.map([0, 1])
        futures.wait()
        return [f.state.name for f in futures]

    processes = "processes" in request.node.name
    assert found_by(runner, body) == ["Completed", "Failed" if processes else "Completed"]


@pytest.mark.differs("modules beside the script are not on workers", on=ON_DASK)
def test_modules_beside_the_script_need_not_be_on_workers(
    runner: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    import importlib

    name = f"beside_{os.getpid()}_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    beside = importlib.import_module(name)

    @task
    def uses(x: int) -> int:
        return int(beside.twice(x))

    assert found_by(runner, lambda: uses.submit(4).result()) == 8


@pytest.mark.differs("a collection from a task is not resolved", on=ON_DASK,
                     sometimes=True)
def test_a_dask_collection_goes_from_task_to_task(runner: Any) -> None:
    delayed = pytest.importorskip("dask").delayed

    @task
    def lazy() -> Any:
        return delayed(sum)([1, 2])

    @task
    def computed(x: Any) -> Any:
        return x.compute(scheduler="synchronous") if hasattr(x, "compute") else x

    assert found_by(runner, lambda: computed.submit(lazy.submit()).result()) == 3


def test_default_client_of_the_process_does_not_win_over_the_runner(dask_cluster: Any) -> None:
    if PREFECT:
        pytest.skip("any default client wins over the runner's own address")
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False,
                      dashboard_address="127.0.0.1:0", silence_logs=50) as other, Client(other):
        runner = DaskTaskRunner(address=dask_cluster.scheduler_address)

        @task
        def pid() -> int:
            return os.getpid()

        assert found_by(runner, lambda: pid.submit().result()) != os.getpid()


@pytest.mark.parametrize("options", [
    {"address": "tcp://127.0.0.1:1", "cluster_kwargs": {"n_workers": 1}},
    {"address": "tcp://127.0.0.1:1", "adapt_kwargs": {"maximum": 1}},
    {"address": "tcp://127.0.0.1:1", "cluster_class": "distributed.LocalCluster"},
    {"cluster_kwargs": {"asynchronous": True}},
], ids=str)
def test_options_of_the_runner_that_exclude_each_other_are_refused(options: Any) -> None:
    with pytest.raises(ValueError):
        DaskTaskRunner(**options)


def test_large_constant_is_sent_once(dask: Any) -> None:
    big = b"x" * 5_000_000

    @task
    def size(x: int, data: bytes) -> int:
        return len(data) + x

    assert found_by(dask, lambda: [size.submit(x, big).result() for x in range(3)]) == [
        5_000_000, 5_000_001, 5_000_002]


def test_get_dask_client_inside_a_task_spreads_over_the_cluster(dask: Any) -> None:
    @task
    def spreads(n: int) -> int:
        with get_dask_client() as client:
            return int(sum(client.gather(client.map(int, range(n)))))

    assert found_by(dask, lambda: spreads.submit(4).result()) == 6


def test_as_many_users_of_the_client_as_slots_do_not_deadlock(dask: Any) -> None:
    if PREFECT:
        pytest.skip("the client occupies the slot: it would not end")

    @task
    def spreads(n: int) -> int:
        with get_dask_client() as client:
            return int(sum(client.gather(client.map(lambda x, n=n: x + n, range(3), pure=False))))

    assert found_by(dask, lambda: spreads.map(range(4)).result()) == [3, 6, 9, 12]


def test_get_dask_client_inside_a_flow_asks_the_runners_cluster(dask: Any) -> None:
    def body() -> Any:
        inc.submit(1).wait()
        with get_dask_client() as client:
            return client.submit(sum, [1, 2, 3]).result()

    assert found_by(dask, body) == 6
