"""Stores that report failures, go away and come back, are read for long, are written by many."""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, get_run_logger, task
from dataflow.exceptions import StoreError
from dataflow.ids import new_run_id
from dataflow.outcomes import Code, Span
from dataflow.store import CallRecord, FlowRunRecord, Gulp, SpanRecord, Store
from dataflow.stores import open_store
from runners import InlineTaskRunner, ThreadPoolTaskRunner
from tests.flaky_store import FlakyStore, let_stores_fail
from tests.postgres_support import Server
from tests.run_support import ledger, note, wait_until

_tried: Counter[int] = Counter()


@task(retries=1)
def sometimes(n: int) -> int:
    _tried[n] += 1
    if n % 7 == 0 and _tried[n] == 1:
        raise ValueError(f"{n} at first")
    if n % 31 == 5:
        raise RuntimeError(f"{n} for good")
    return n


@task
def after(n: int) -> int:
    get_run_logger().info("after %d", n)
    return -n


@task
def outer(n: int) -> int:
    return sum(after.map(range(n)).result())


@flow(log_prints=False)
def mixed() -> str:
    found = sometimes.map(range(400))
    ends = after.map(found)
    single = [after.submit(n) for n in range(20)]
    nested = outer.map([3, 4])
    direct = after(1)
    for each in (ends, single, nested):
        for future in each:
            future.wait()
    return f"{direct}"


def story(store: Store) -> dict[str, Any]:
    """Return what is recorded, without what differs from run to run."""
    run = store.find_flow_run("last")
    rows = store.task_runs(run.id, limit=None)
    return {
        "run": run.state_name,
        "calls": sorted((call.task_name, call.width, tuple(sorted(call.counts.items())))
                        for call in store.calls(run.id, nested=True)),
        "rows": Counter((row.task_name, row.call, row.map_index, row.state_name, row.run_count,
                         row.error_message, row.run_id == run.id) for row in rows),
        "lines": Counter(line.message for _, line in store.nested_logs(run.id)
                         if line.message.startswith("after")),
        "attempts": len(store.attempts(run.id, 0, 7)),
    }


def played(runner: Any) -> dict[str, Any]:
    _tried.clear()
    mixed.with_options(task_runner=runner)(return_state=True)
    store = open_store()
    try:
        return story(store)
    finally:
        store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_writes_that_are_done_and_reported_as_failed_change_no_record(
    rate: float, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "postgres":
        monkeypatch.setenv("DATAFLOW_STORE", request.getfixturevalue("postgres_url"))
    runner = InlineTaskRunner() if rate == 0.05 else ThreadPoolTaskRunner()
    expected = played(runner)
    stores: list[FlakyStore] = []
    with monkeypatch.context() as patch:
        stores += let_stores_fail(patch, rate, seed=round(1000 * rate))
        _tried.clear()
        mixed.with_options(task_runner=runner)(return_state=True)
    store = open_store()
    assert story(store) == expected
    store.close()


def test_a_store_that_fails_half_of_the_time_does_so_in_these_tests(tmp_path: Path) -> None:
    flaky = FlakyStore(open_store(tmp_path / "a.db"), 0.5, seed=1)
    told = 0
    for n in range(100):
        id = new_run_id()
        try:
            flaky.write(id, Gulp(flow_run=FlowRunRecord(id=id, name=str(n), flow_name="f")))
        except StoreError:
            told += 1
    assert 30 < told == flaky.failed["write"] < 70
    flaky.close()
    store = open_store(tmp_path / "a.db")
    assert len(store.flow_runs(limit=None)) == 100
    store.close()


# PostgreSQL restarted under load


@task
def noted(n: int, path: str) -> int:
    note(path, n)
    time.sleep(0.002)  # the load goes on while the server is down
    return n


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_restarted_under_load_loses_no_record(
    own_postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "ledger"
    elements, restarts = 5_000, 3

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def loaded() -> None:
        noted.map(range(elements), path=str(path)).wait()

    def restart() -> None:
        for n in range(restarts):
            due = elements * (n + 1) // (restarts + 2)
            wait_until(lambda due=due: ledger(path).total() > due, f"{due} elements")
            own_postgres.stop(mode)
            wait_until(lambda n=n: caplog.text.count("cannot be written") > n, "a failed write")
            own_postgres.start()
            wait_until(lambda n=n: caplog.text.count("are written again") > n, "a write")

    with own_postgres.database() as url:
        monkeypatch.setenv("DATAFLOW_STORE", url)
        restarting = threading.Thread(target=restart)
        restarting.start()
        loaded()
        restarting.join()
        store = open_store()
        run = store.find_flow_run("last")
        rows = store.task_runs(run.id, limit=None)
        assert run.state_name == "Completed"
        assert Counter((row.map_index, row.state_name) for row in rows) == Counter(
            (n, "Completed") for n in range(elements))
        assert ledger(path) == Counter(str(n) for n in range(elements))
        store.close()


# a long reader


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_reader_that_never_ends_holds_no_writer_up(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = _place(kind, tmp_path, request)
    writer, reader = open_store(place), open_store(place)
    run = new_run_id()
    writer.write(run, _opening(run, 3))
    held = reader.recorded(run)
    first = next(held)
    began = time.monotonic()
    for n in range(200):
        writer.write(run, _span(n))
    assert time.monotonic() - began < 20
    assert (first.codes, [each.record.call for each in held]) == (bytearray(), [1, 2])
    writer.write(run, _span(200))
    assert next(writer.recorded(run)).codes.count(Code.COMPLETED) == 201 * 100
    writer.close()
    reader.close()


# many writers


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_200_writers_at_once_all_write_within_bounds(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = _place(kind, tmp_path, request)
    open_store(place).close()
    runs = [new_run_id() for _ in range(200)]
    gate, troubles = threading.Barrier(200), []
    slowest = [0.0]

    def write(run: str) -> None:
        store = open_store(place)
        try:
            gate.wait(60)
            for gulp in (_opening(run, 1), *(_span(n) for n in range(5))):
                began = time.monotonic()
                store.write(run, gulp)
                slowest[0] = max(slowest[0], time.monotonic() - began)
        except Exception as trouble:  # shown by the assertion below
            troubles.append(trouble)
        finally:
            store.close()

    _all_at_once(write, runs)
    assert troubles == []
    assert slowest[0] < 20
    store = open_store(place)
    assert {next(store.recorded(run)).codes.count(Code.COMPLETED) for run in runs} == {500}
    store.close()


def _all_at_once(work: Callable[[str], None], runs: list[str]) -> None:
    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _place(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return str(folder / "dataflow.db")


def _opening(run: str, calls: int) -> Gulp:
    return Gulp(
        flow_run=FlowRunRecord(id=run, name=run[:8], flow_name="f"),
        calls=[CallRecord(call=n, task_name="t", task_key="t", kind="map", width=None)
               for n in range(calls)])


def _span(number: int) -> Gulp:
    zeros = array("f", bytes(400))
    first = number * 100
    return Gulp(spans=[SpanRecord(
        Span(0, range(first, first + 100), bytearray([Code.COMPLETED]) * 100, zeros, zeros),
        float(number), "w")])
