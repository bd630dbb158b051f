"""A session on a real Dask cluster of two processes: what the port promises."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from dataflow.batch import Batch, Block, Const, Placement
from dataflow.exceptions import (
    BlockLost,
    MissingModule,
    UnpicklableArgument,
    UnpicklableResult,
    UnpicklableTask,
)
from dataflow.failures import exception_of
from dataflow.outcomes import Code
from dataflow.runner import BatchDone, BatchLost, BatchRefused, Capacity, RunnerSession
from runners.dask import DaskTaskRunner
from runners.dask.cluster import current_client
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

Opened = tuple[RunnerSession, Inbox]


@pytest.fixture
def session(dask_cluster: LocalCluster) -> Iterator[Opened]:
    with opened(DaskTaskRunner(cluster=dask_cluster)) as pair:
        yield pair


def increment(x: int) -> int:
    return x + 1


def fail_on_two(x: int) -> int:
    if x == 2:
        raise ValueError("two is not wanted")
    return x


def done(inbox: Inbox) -> BatchDone:
    event = inbox.next()
    assert isinstance(event, BatchDone), event
    return event


def values(session: RunnerSession, event: BatchDone, call: int) -> list[Any]:
    [block] = session.fetch([event.handle], 20)
    return block.columns[call].values


def test_submit_of_a_map_reports_each_element_and_keeps_the_values(session: Opened) -> None:
    port, inbox = session
    port.submit(items_batch(1, increment, [1, 2, 3]), [])
    event = done(inbox)
    [span] = event.report.spans
    assert (event.batch, span.call, span.indexes) == (1, 1, range(3))
    assert bytes(span.codes) == bytes([Code.COMPLETED] * 3)
    assert event.report.worker.startswith("tcp://127.0.0.1:")
    assert values(port, event, 1) == [2, 3, 4]
    assert inbox.is_empty()


def test_submit_where_nothing_is_kept_gives_no_handle_and_leaves_no_key(
    session: Opened, dask_cluster: LocalCluster
) -> None:
    port, inbox = session
    port.submit(items_batch(1, increment, [1], keep=False), [])
    assert done(inbox).handle is None
    wait_until(lambda: not dask_cluster.scheduler.tasks, "the key is gone")


def test_failing_element_is_a_record_and_its_siblings_complete(session: Opened) -> None:
    port, inbox = session
    port.submit(items_batch(1, fail_on_two, [1, 2, 3]), [])
    [span] = done(inbox).report.spans
    assert bytes(span.codes) == bytes([Code.COMPLETED, Code.FAILED, Code.COMPLETED])
    record = span.details[1].error
    assert record is not None
    error = exception_of(record)
    assert (type(error), str(error)) == (ValueError, "two is not wanted")


def test_chain_of_batches_moves_values_from_worker_to_worker(
    session: Opened, dask_cluster: LocalCluster
) -> None:
    port, inbox = session
    first = items_batch(1, np.zeros, [200_000])
    port.submit(first, [])
    event = done(inbox)
    port.submit(aligned_batch(2, increment, first), [event.handle])
    second = done(inbox)
    [value] = values(port, second, 2)
    assert (value == 1).all()
    # the value lies on a worker under the handle's key, and is known to Dask by its size
    assert dask_cluster.scheduler.tasks[event.handle.key].nbytes >= 1_600_000


def test_released_handle_is_forgotten_by_dask(session: Opened, dask_cluster: LocalCluster) -> None:
    port, inbox = session
    port.submit(items_batch(1, increment, [1]), [])
    handle = done(inbox).handle
    key = handle.key
    assert key in dask_cluster.scheduler.tasks
    port.release([handle])
    wait_until(lambda: key not in dask_cluster.scheduler.tasks, "the key is gone")
    with pytest.raises(BlockLost):
        port.fetch([handle], 5)


def test_input_that_is_gone_is_reported_missing(session: Opened) -> None:
    port, inbox = session
    first = items_batch(1, increment, [1, 2])
    port.submit(first, [])
    handle = done(inbox).handle
    handle.cancel()
    port.submit(aligned_batch(2, increment, first), [handle])
    report = done(inbox).report
    assert report.missing == [(1, 0), (1, 1)]
    assert bytes(report.spans[0].codes) == bytes([Code.LEFT] * 2)


def test_fetch_in_vain_raises_timeout_and_changes_nothing(
    session: Opened, tmp_path: Path
) -> None:
    port, inbox = session
    port.submit(items_batch(1, increment, [1]), [])
    event = done(inbox)
    with pytest.raises(TimeoutError):
        port.fetch([event.handle], 0.0)
    assert values(port, event, 1) == [2]


def test_cancel_stops_a_running_batch_before_its_next_element(
    session: Opened, tmp_path: Path
) -> None:
    port, inbox = session

    def gated(x: int) -> int:
        pass_gate(str(tmp_path), f"gate{x}")
        return x

    port.submit(items_batch(1, gated, [0, 1, 2]), [])
    wait_at_gate(tmp_path, "gate0")
    wait_until(lambda: all(f.worker for f in port.flights()), "its start is known")  # type: ignore[attr-defined]
    port.cancel([1])
    wait_until(lambda: _is_stopped(port), "the wish has arrived")
    open_gate(tmp_path, "gate0")
    [span] = done(inbox).report.spans
    assert bytes(span.codes) == bytes([Code.COMPLETED, Code.LEFT, Code.LEFT])


def _is_stopped(port: Any) -> bool:
    from runners.dask import worker_side

    def look() -> bool:
        return any(control.stopped for control in worker_side._running.values())

    return any(port.link.client.run(look).values())


def test_cancel_of_a_waiting_batch_reports_it_lost_without_blame(
    session: Opened, tmp_path: Path
) -> None:
    port, inbox = session

    def gated(x: int) -> int:
        pass_gate(str(tmp_path), f"gate{x}")
        return x

    for number in range(2):
        port.submit(items_batch(number, gated, [number]), [])
    for number in range(2):
        wait_at_gate(tmp_path, f"gate{number}")
    waiting = [7, 8, 9]
    for number in waiting:
        port.submit(items_batch(number, increment, [1]), [])
    port.cancel(waiting)
    lost = inbox.many(3)
    assert all(isinstance(event, BatchLost) and not event.blame for event in lost)
    for number in range(2):
        open_gate(tmp_path, f"gate{number}")
    assert {done(inbox).batch, done(inbox).batch} == {0, 1}
    assert inbox.is_empty()


def test_unpicklable_argument_is_refused_naming_task_argument_and_type(session: Opened) -> None:
    port, inbox = session
    port.submit(items_batch(1, increment, [1, 2], Const(threading.Lock())), [])
    event = inbox.next()
    assert isinstance(event, BatchRefused)
    error = event.errors[1].exception
    assert isinstance(error, UnpicklableArgument)
    assert (error.task, error.argument, error.type) == ("increment", "x1", "_thread.lock")
    port.submit(items_batch(2, increment, [1, threading.Lock()]), [])
    event = inbox.next()
    assert isinstance(event, BatchRefused)
    error = event.errors[2].exception
    assert isinstance(error, UnpicklableArgument)
    assert (error.argument, error.index) == ("x0", 1)


def test_unpicklable_function_is_refused_naming_the_task(session: Opened) -> None:
    port, inbox = session
    lock = threading.Lock()

    def locked(x: int) -> int:
        with lock:
            return x

    port.submit(items_batch(1, locked, [1]), [])
    event = inbox.next()
    assert isinstance(event, BatchRefused)
    error = event.errors[1].exception
    assert isinstance(error, UnpicklableTask)
    assert error.task == "locked"


def test_unpicklable_result_fails_its_element_alone(session: Opened) -> None:
    port, inbox = session

    def locks_one(x: int) -> Any:
        return threading.Lock() if x == 1 else x

    port.submit(items_batch(1, locks_one, [0, 1, 2]), [])
    event = done(inbox)
    [span] = event.report.spans
    assert bytes(span.codes) == bytes([Code.COMPLETED, Code.FAILED, Code.COMPLETED])
    record = span.details[1].error
    assert record is not None
    error = exception_of(record)
    assert isinstance(error, UnpicklableResult)
    assert (error.task, error.type) == ("locks_one", "_thread.lock")
    [block] = port.fetch([event.handle], 20)
    assert (block.columns[1].indexes, block.columns[1].values) == ([0, 2], [0, 2])


def test_result_that_only_cloudpickle_can_send_comes_home(session: Opened) -> None:
    port, inbox = session
    port.submit(items_batch(1, lambda x: lambda: x, [5]), [])
    [value] = values(port, done(inbox), 1)
    assert value() == 5


@pytest.fixture
def local_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "hangar_helpers.py").write_text(
        "import dataclasses\n"
        "OFFSET = 10\n"
        "@dataclasses.dataclass\n"
        "class Plane:\n    seats: int\n"
        "def board(x):\n    return Plane(x + OFFSET)\n"
    )
    sys.path.insert(0, str(tmp_path))
    module = importlib.import_module("hangar_helpers")
    sys.path.remove(str(tmp_path))
    yield module
    del sys.modules["hangar_helpers"]


def test_local_module_that_workers_lack_travels_by_value(
    session: Opened, local_module: Any
) -> None:
    port, inbox = session
    port.submit(items_batch(1, local_module.board, [1, 2]), [])
    event = done(inbox)
    assert values(port, event, 1) == [local_module.Plane(11), local_module.Plane(12)]
    import cloudpickle

    assert "hangar_helpers" not in cloudpickle.list_registry_pickle_by_value()


def test_module_missing_on_the_worker_crashes_the_elements_and_names_it(session: Opened) -> None:
    port, inbox = session
    port.submit(items_batch(1, increment, [_NeedsModule(), _NeedsModule()]), [])
    [span] = done(inbox).report.spans
    assert bytes(span.codes) == bytes([Code.CRASHED] * 2)
    record = span.details[0].error
    assert record is not None
    error = exception_of(record)
    assert isinstance(error, MissingModule)
    assert (error.task, error.module) == ("increment", "module_that_is_nowhere")


class _NeedsModule:
    def __reduce__(self) -> Any:
        return importlib.import_module, ("module_that_is_nowhere",)


class _OpensAt(list[int]):
    """A list that can be unpickled in one process alone."""

    def __reduce__(self) -> Any:
        return _open_at, (os.getpid(), list(self))


def _open_at(pid: int, items: list[int]) -> list[int]:
    if os.getpid() != pid:
        raise OSError("not in this process")
    return _OpensAt(items)


def _make_rooted(x: int) -> list[int]:
    return _OpensAt([x, x])


def test_lengths_that_cannot_be_told_end_the_question_and_the_log_says_why(
    session: Opened, dask_cluster: LocalCluster
) -> None:
    port, inbox = session
    here, there = list(dask_cluster.scheduler.workers)
    port.submit(items_batch(1, _make_rooted, [1, 2], placement=Placement(workers=(here,))), [])
    made = done(inbox)
    port.submit(Batch(2, "plan", [], [1], lengths_of=((1, 0, 1), (1, 1, 1), (1, 0, 2)),
                      placement=Placement(workers=(there,))), [made.handle])
    report = done(inbox).report
    assert report.lengths == {(1, 0, 1): -1, (1, 1, 1): -1, (1, 0, 2): -1}
    assert report.missing == [] and report.unread is not None and there in report.unread
    [line] = report.logs
    assert (line.call, line.index, report.remote) == (1, 0, True)
    assert "OSError: not in this process" in line.message and there in line.message


def test_large_constant_travels_once_per_run(session: Opened, dask_cluster: LocalCluster) -> None:
    port, inbox = session
    table = Const(np.arange(100_000))

    def look_up(x: int, table: Any) -> int:
        return int(table[x])

    for number in range(4):
        port.submit(items_batch(number, look_up, [number, 99_999], table), [])
    found = sorted(values(port, event, event.batch)
                   for event in [done(inbox) for _ in range(4)])
    assert found == [[n, 99_999] for n in range(4)]
    constants = [key for key in dask_cluster.scheduler.tasks if str(key).startswith("constant-")]
    assert len(constants) == 1


def test_constant_changed_in_place_between_two_calls_is_sent_again(session: Opened) -> None:
    port, inbox = session
    array = np.zeros(100_000)
    for number in range(2):
        array[0] = number
        port.submit(items_batch(number, _first, [0], Const(array)), [])
        assert values(port, done(inbox), number) == [number]


def _first(x: int, array: Any) -> float:
    return float(array[x])


def test_large_items_arrive(session: Opened) -> None:
    port, inbox = session
    port.submit(items_batch(1, np.sum, [np.ones(500_000)]), [])
    assert values(port, done(inbox), 1) == [500_000]


def test_large_report_arrives(session: Opened) -> None:
    port, inbox = session

    def fail_wordily(x: int) -> None:
        raise ValueError(str(x) + "." * 60_000)

    port.submit(items_batch(1, fail_wordily, range(30)), [])
    [span] = done(inbox).report.spans
    assert bytes(span.codes) == bytes([Code.FAILED] * 30)


def test_run_parameters_that_cannot_be_pickled_become_text(dask_cluster: LocalCluster) -> None:
    with opened(DaskTaskRunner(cluster=dask_cluster), lock=threading.Lock()) as (port, inbox):
        port.submit(items_batch(1, increment, [1]), [])
        assert values(port, done(inbox), 1) == [2]


def test_placement_sends_a_batch_to_its_worker(
    session: Opened, dask_cluster: LocalCluster
) -> None:
    port, inbox = session
    for address in list(dask_cluster.scheduler.workers):
        batch = items_batch(1, increment, [1], placement=Placement(workers=(address,)))
        port.submit(batch, [])
        assert done(inbox).report.worker == address


def test_capacity_is_the_threads_of_all_workers(session: Opened) -> None:
    assert session[0].capacity() == Capacity(2, 2)


def test_users_client_is_left_as_it_was(dask_client: Client, dask_cluster: LocalCluster) -> None:
    scheduler = dask_cluster.scheduler
    before = (set(scheduler.plugins), set(scheduler.clients), set(scheduler.tasks))
    default = current_client()
    with opened(DaskTaskRunner(client=dask_client)) as (port, inbox):
        topic = port.link.topic  # type: ignore[attr-defined]
        port.submit(items_batch(1, increment, [1], Const(np.zeros(50_000))), [])
        inbox.next()
        port.submit(items_batch(2, _first, [1], Const(np.zeros(50_000))), [])
        done(inbox)
    wait_until(lambda: set(scheduler.clients) == before[1], "our client is gone")
    wait_until(lambda: set(scheduler.tasks) == before[2], "our keys are gone")
    assert set(scheduler.plugins) == before[0]
    assert not any(isinstance(event[1], tuple | list) for event in scheduler.get_events(topic))
    assert current_client() is default is not dask_client
    assert dask_client.submit(increment, 1).result() == 2


def test_active_client_is_used_and_that_is_logged(
    dask_cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(dask_cluster, set_as_default=True) as client:
        with caplog.at_level(logging.INFO, "dataflow.runners.dask"):
            with opened(DaskTaskRunner()) as (port, inbox):
                port.submit(items_batch(1, increment, [1]), [])
                assert done(inbox).report.worker in client.nthreads()
    assert "Using the Dask client that is active" in caplog.text


def test_empty_block_pickles_as_one_object_with_its_arrays_beside_it() -> None:
    from dataflow.batch import Column
    from runners.dask.parcel import Result

    result = Result.of(b"", Block({1: Column(range(1), [np.zeros(100_000)])}, 800_000))
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(result, protocol=5, buffer_callback=buffers.append)
    assert (len(data) < 1_000, len(buffers)) == (True, 1)
    back = pickle.loads(data, buffers=buffers)
    assert back.block().columns[1].values[0].shape == (100_000,)
