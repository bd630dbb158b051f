"""Crashes: what is neither a value nor an error of the user's."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.acceptance.parity.face import allow_failure, flow, task
from tests.acceptance.parity.support import note, notes


@task
def inc(x: int) -> int:
    return x + 1


@task
def leaves(kind: str, path: str = "") -> None:
    if path:
        note(path, "ran")
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[kind](3)


@pytest.mark.differs("Dask loses its worker, which takes 12 s", on="dask-processes",
                     run=False)
@pytest.mark.differs("re-raised to whoever waits", on="threads", run=False)
@pytest.mark.parametrize("kind", ["exit", "interrupt"])
def test_exit_and_interrupt_in_a_task_crash_it_and_nothing_else(runner: Any, kind: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        began = time.monotonic()
        bad, good = leaves.submit(kind), inc.submit(1)
        bad.wait()
        after = inc.submit(bad)
        after.wait()
        return {"found": (bad.state.type.value, bad.state.name, good.result(), after.state.name,
                          time.monotonic() - began < 10)}

    assert run() == {"found": ("CRASHED", "Crashed", 2, "NotReady", True)}


@pytest.mark.differs("Dask loses its worker", on="dask-processes", run=False)
@pytest.mark.differs("an interrupt in a thread ends the program", on="threads", run=False)
@pytest.mark.parametrize("kind, raised", [("exit", SystemExit), ("interrupt", KeyboardInterrupt)])
def test_result_of_a_crash_raises_what_left(runner: Any, kind: str, raised: type) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(raised):
            leaves.submit(kind).result()
        return 1

    assert run() == 1


@pytest.mark.differs("Dask loses its worker", on="dask-processes", run=False)
def test_a_crash_is_not_tried_again_as_a_failure_is(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = leaves.with_options(retries=3).submit("exit", ledger)
        try:
            future.wait()
        except SystemExit:
            pass
        return len(notes(ledger))

    assert run() == 1


@pytest.mark.parametrize("kind, raised", [("exit", SystemExit), ("interrupt", KeyboardInterrupt)])
def test_exit_and_interrupt_in_the_flow_itself_reach_the_caller(
    runner: Any, kind: str, raised: type
) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        inc.submit(1).wait()
        raise raised("left")

    with pytest.raises(raised):
        run()


@pytest.mark.differs("a worker that dies takes the flow along", run=False)
def test_a_task_that_kills_its_worker_crashes_alone(dask: Any, request: Any) -> None:
    if "dask-threads" in request.node.name:
        pytest.skip("the worker is this process")

    @task
    def dies(x: int) -> int:
        if x == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    from distributed import LocalCluster

    from tests.acceptance.parity.face import DaskTaskRunner

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
                      dashboard_address="127.0.0.1:0", silence_logs=50) as cluster:
        @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
        def run() -> Any:
            futures = dies.map(range(3))
            after = inc.map(allow_failure(futures[:1]))
            futures.wait()
            told = inc.submit(futures[1])
            told.wait()
            return {"found": ([f.state.name for f in futures], after.result(), told.state.name)}

        assert run() == {"found": (["Completed", "Crashed", "Completed"], [1], "NotReady")}
