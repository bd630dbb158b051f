"""Results that are kept: what a serializer refuses, runs at the same time, many that are found."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dataflow import flow, runtime, task
from dataflow.cache_policies import FLOW_PARAMETERS, INPUTS
from dataflow.stores import open_store


@pytest.mark.parametrize("name", ["inline", "threads"])
@pytest.mark.parametrize(("serializer", "made"), [
    ("parquet", lambda x: "text"), ("json", lambda x: {x}), ("json", lambda x: b"bytes"),
    ("pickle", lambda x: threading.Lock()),
])
def test_what_a_serializer_refuses_costs_the_keeping_alone(
    caplog: pytest.LogCaptureFixture, name: str, serializer: str, made: Any,
) -> None:
    @task(persist_result=True, result_serializer=serializer)
    def value(x: int) -> Any:
        return made(x)

    @flow(task_runner=name)
    def work() -> list[Any]:
        return [value(1), value.submit(2).result(), *value.map([3, 4]).result()]

    assert [type(each) for each in work()] == [type(made(1))] * 4
    assert caplog.text.count("The result is not kept in") == 4


@pytest.mark.parametrize("how", ["direct", "submit", "map", "nested"])
@pytest.mark.parametrize("name", ["inline", "threads"])
def test_runs_at_the_same_time_have_keys_of_their_own(name: str, how: str) -> None:
    @task(cache_policy=INPUTS + FLOW_PARAMETERS, persist_result=True)
    def rate_of(x: int) -> int:
        rate: int = runtime.flow_run.parameters["rate"]
        return rate

    @task
    def outer(x: int) -> int:
        return rate_of(x)

    @flow(task_runner=name)
    def work(rate: int) -> list[int]:
        if how == "direct":
            return [rate_of(i) for i in range(4)]
        if how == "submit":
            return [rate_of.submit(i).result() for i in range(4)]
        return (rate_of if how == "map" else outer).map(range(4)).result()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(24)))
    assert found == [[rate] * 4 for rate in range(24)]
    store = open_store()
    kept = {call.partition for run in store.flow_runs(limit=None)
            for call in store.calls(run.id, nested=True) if call.task_name == "rate_of"}
    store.close()
    assert None not in kept and len(kept) == 1


def test_many_that_are_found_on_threads_do_not_start_a_thread_each() -> None:
    most = 0

    @task(cache_policy=INPUTS, persist_result=True)
    def one(x: int) -> int:
        return x + 1

    @flow(task_runner="threads")
    def work() -> int:
        nonlocal most
        futures = one.map(range(20_000))
        ended = threading.Event()

        def watch() -> None:
            nonlocal most
            while not ended.wait(0.01):
                most = max(most, threading.active_count())

        watcher = threading.Thread(target=watch)
        watcher.start()
        total = sum(futures.result())
        ended.set()
        watcher.join()
        return total

    assert work() == work() == 200_010_000
    assert most < 200
