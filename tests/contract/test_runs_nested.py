"""Task runs that run tasks and flows themselves, on every runner.

Each test has a bound in time: what it guards against is a deadlock.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import as_completed, flow, get_run_logger, nested_runner, runtime, tags, task, wait
from dataflow.exceptions import CancelledRun, TaskRunTimeoutError
from dataflow.nested_runner import NESTED_THREADS
from dataflow.store import TaskRunRow
from runners import DaskTaskRunner, ThreadPoolTaskRunner
from tests.runner_support import Play, Records, note, noted

PATIENCE_S = 60.0


def in_time(fn: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """Call ``fn`` in a thread and return its value; fail where it does not return in time."""
    ended: list[tuple[Any, BaseException | None]] = []

    def call() -> None:
        try:
            ended.append((fn(), None))
        except BaseException as error:  # raised again below
            ended.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(timeout_s)
    assert ended, f"no end after {timeout_s} s: a deadlock"
    value, error = ended[0]
    if error is not None:
        raise error
    return value


def wait_until(true: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def tree(records: Records) -> Counter[tuple[str, ...]]:
    """Return the recorded paths of task names from the flow down, and how often each stands."""
    by_id = {row.id: row for row in records.rows}

    def path(row: TaskRunRow) -> tuple[str, ...]:
        if row.parent_task_run_id is None:
            return (row.task_name,)
        return (*path(by_id[row.parent_task_run_id]), row.task_name)

    return Counter(path(row) for row in records.rows)


@task
def double(x: int) -> int:
    return 2 * x


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def mapping(n: int) -> int:
    return sum(double.map(range(n)).result())


@task
def calling(n: int) -> int:
    return sum(double(x) for x in range(n))


@task
def submitting(n: int) -> int:
    futures = [double.submit(x) for x in range(n)]
    return add.submit(futures[0], futures[-1]).result()


@task
def deep(levels: int) -> int:
    if levels == 0:
        return 1
    return deep(levels - 1) + sum(deep.map([levels - 1]).result()) + deep.submit(
        levels - 1).result()


def test_more_parents_than_slots_map_and_wait_without_a_deadlock(play: Play) -> None:
    assert in_time(lambda: play(lambda: mapping.map([10] * 6).result())) == [90] * 6
    assert tree(play.records) == {("mapping",): 6, ("mapping", "double"): 60}
    parents = {row.id for row in play.records.of("mapping")}
    children = play.records.of("double")
    assert Counter(row.parent_task_run_id for row in children) == dict.fromkeys(parents, 10)
    assert {row.flow_run_id for row in children} == {play.records.run.id}
    assert len({row.id for row in children}) == 60


def test_tasks_inside_of_tasks_are_called_submitted_and_mapped(play: Play) -> None:
    def body() -> Any:
        futures = [t.submit(4) for t in (mapping, calling, submitting)]
        return [future.result() for future in futures]

    assert in_time(lambda: play(body)) == [12, 12, 6]
    assert tree(play.records) == {
        ("mapping",): 1, ("mapping", "double"): 4, ("calling",): 1, ("calling", "double"): 4,
        ("submitting",): 1, ("submitting", "double"): 4, ("submitting", "add"): 1,
    }


def test_tasks_nest_four_levels_deep_in_every_way(play: Play) -> None:
    assert in_time(lambda: play(lambda: deep.submit(3).result())) == 27
    assert tree(play.records) == {("deep",) * n: 3 ** (n - 1) for n in range(1, 5)}


def test_children_of_a_direct_call_join_the_graph_of_the_flow(play: Play) -> None:
    @task
    def outer(n: int) -> int:
        return mapping(n) + add.submit(n, 1).result()

    assert in_time(lambda: play(lambda: outer(3))) == 10
    assert tree(play.records) == {
        ("outer",): 1, ("outer", "mapping"): 1, ("outer", "mapping", "double"): 3,
        ("outer", "add"): 1,
    }
    assert {row.run_id for row in play.records.rows} == {play.records.run.id}


def test_what_a_task_submits_and_never_awaits_is_run_and_recorded(play: Play,
                                                                  tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def forgotten(x: int) -> None:
        note(folder)

    @task
    def hasty() -> str:
        forgotten.submit(0)
        forgotten.map(range(5))
        return "done"

    assert in_time(lambda: play(lambda: hasty.submit().result())) == "done"
    assert noted(folder) == 6
    assert play.records.states("forgotten") == ["Completed"] * 6


def test_futures_that_a_task_returns_arrive_as_results(play: Play) -> None:
    @task
    def returning(n: int) -> Any:
        return {"one": double.submit(n), "all": double.map(range(n))}

    @task
    def called(n: int) -> Any:
        return double.submit(n)

    @task
    def broken() -> Any:
        raise KeyError("inside")

    @task
    def returns_broken() -> Any:
        return broken.submit()

    def body() -> Any:
        state = returns_broken.submit(return_state=True)
        return returning.submit(3).result(), called(4), state.result(raise_on_failure=False)

    value, direct, error = in_time(lambda: play(body))
    assert (value, direct) == ({"one": 6, "all": [0, 2, 4]}, 8)
    assert isinstance(error, KeyError)


def test_each_attempt_has_children_of_its_own(play: Play) -> None:
    @task(retries=2)
    def flaky(n: int) -> int:
        total = sum(double.map(range(n)).result())
        if runtime.task_run.run_count < 3:
            raise ValueError("again")
        return total

    assert in_time(lambda: play(lambda: flaky.map([2, 3]).result())) == [2, 6]
    assert tree(play.records) == {("flaky",): 2, ("flaky", "double"): 15}
    assert play.records.run_counts("flaky") == [3, 3]


def test_failure_of_a_child_says_where_in_the_tree_it_was(play: Play) -> None:
    @task
    def leaf(x: int) -> None:
        raise ValueError(f"no {x}")

    @task
    def middle() -> None:
        leaf.map([7, 7]).result()

    @task
    def top() -> None:
        middle.submit().result()

    def body() -> Any:
        return top.submit().result()

    with pytest.raises(ValueError, match="no 7") as caught:
        in_time(lambda: play(body))
    records = play.records
    notes = [n for n in caught.value.__notes__ if n.startswith("in task run ")]
    assert str(caught.value) == "no 7"
    names = {name: records.of(name)[0].name for name in ("leaf", "middle", "top")}
    where = f" of task run {names['middle']!r} of task run {names['top']!r}"
    end = f" of flow run {records.run.name!r}"
    assert notes[0] in {f"in task run {row.name!r}{where}{end}" for row in records.of("leaf")}
    assert notes[1:] == [
        f"in task run {names['middle']!r} of task run {names['top']!r}{end}",
        f"in task run {names['top']!r}{end}",
    ]
    top_row = records.of("top")[0]
    assert top_row.error_message == "no 7"
    assert top_row.traceback is not None and all(note in top_row.traceback for note in notes)
    assert records.run.message == "Flow run encountered an exception: ValueError: no 7"


def test_exception_of_a_task_without_children_has_no_notes_of_places(play: Play) -> None:
    @task
    def alone() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        in_time(lambda: play(lambda: alone.submit().result()))
    assert [n for n in getattr(caught.value, "__notes__", ()) if n.startswith("in task")] == []


def test_failure_that_a_task_did_not_look_at_is_logged_and_fails_nothing(play: Play) -> None:
    @task
    def bad() -> None:
        raise ValueError("unseen")

    @task
    def careless() -> str:
        bad.submit()
        return "fine"

    assert in_time(lambda: play(lambda: careless.submit().result())) == "fine"
    assert play.records.states("bad") == ["Failed"]
    row = play.records.of("careless")[0]
    lines = [line.message for line in play.records.store.logs(row.run_id, call=row.call)]
    assert any("the task neither took nor returned" in line for line in lines)


def test_code_inside_sees_the_flow_run_of_the_user(play: Play) -> None:
    @task
    def inner() -> tuple[Any, ...]:
        get_run_logger().info("heard")
        return runtime.flow_run.id, runtime.flow_run.name, runtime.task_run.id

    @task
    def outer() -> tuple[Any, ...]:
        state = inner.submit(return_state=True)
        return inner.submit().result(), inner(), (
            state.state_details.flow_run_id, None, state.state_details.task_run_id)

    seen = in_time(lambda: play(lambda: outer.submit().result()))
    records = play.records
    assert {run_id for run_id, _, _ in seen} == {records.run.id}
    ids = {row.id for row in records.of("inner")}
    assert {task_run_id for _, _, task_run_id in seen} == ids
    heard = [line for _, line in records.store.nested_logs(records.run.id)
             if line.message == "heard"]
    assert len(heard) == 3


def test_tags_around_a_call_reach_its_children_and_those_of_a_task_do_not(play: Play) -> None:
    @task(tags={"own"})
    def inner() -> list[str]:
        return runtime.task_run.tags

    @task(tags={"mine"})
    def outer() -> list[str]:
        with tags("here"):
            return inner.submit().result()

    def body() -> Any:
        with tags("around"):
            return outer.submit().result()

    assert in_time(lambda: play(body)) == ["around", "here", "own"]


def test_flow_called_in_a_task_is_recorded_with_its_parents(play: Play) -> None:
    @flow
    def inner(n: int) -> int:
        return sum(double.map(range(n)).result())

    @task
    def outer(n: int) -> int:
        return inner(n) + mapping.submit(n).result()

    assert in_time(lambda: play(lambda: outer.map([3, 4]).result(), name="around")) == [12, 24]
    store = play.records.store
    run = next(row for row in store.flow_runs() if row.flow_name == "around")
    inner_runs = [row for row in store.flow_runs() if row.flow_name == "inner"]
    assert [row.state_name for row in inner_runs] == ["Completed", "Completed"]
    assert {row.parent_flow_run_id for row in inner_runs} == {run.id}
    stand_ins = {row.parent_task_run_id for row in inner_runs}
    rows = {row.id: row for row in store.task_runs(run.id, limit=None)}
    outer_ids = {row.id for row in rows.values() if row.task_name == "outer"}
    assert {rows[str(id)].parent_task_run_id for id in stand_ins} == outer_ids
    for row in inner_runs:
        assert [r.task_name for r in store.task_runs(row.id, limit=None)] in (
            ["double"] * 3, ["double"] * 4)


def test_flow_that_fails_in_a_task_fails_the_task(play: Play) -> None:
    @task
    def bad() -> None:
        raise ValueError("deep down")

    @flow
    def inner() -> None:
        bad.submit().result()

    @task
    def outer() -> None:
        inner()

    with pytest.raises(ValueError, match="deep down") as caught:
        in_time(lambda: play(lambda: outer.submit().result(), name="around"))
    notes = [n for n in caught.value.__notes__ if n.startswith("in task run ")]
    assert len(notes) == 2 and " of task run 'outer-" in notes[0] and "of flow run" in notes[0]


def test_isolated_task_sends_records_of_its_children_home(play: Play) -> None:
    @task(isolation="process")
    def isolated(n: int) -> int:
        return calling(n) + mapping(n)

    assert in_time(lambda: play(lambda: (isolated.submit(3).result(), isolated(2)))) == (12, 4)
    assert tree(play.records) == {
        ("isolated",): 2, ("isolated", "calling"): 2, ("isolated", "mapping"): 2,
        ("isolated", "calling", "double"): 5, ("isolated", "mapping", "double"): 5,
    }


def test_async_tasks_await_and_submit_tasks(play: Play) -> None:
    @task
    async def leaf(x: int) -> int:
        return x + 1

    @task
    async def parent(x: int) -> int:
        return await leaf(x) + leaf.submit(x).result() + sum(double.map([x, x]).result())

    assert in_time(lambda: play(lambda: parent.map([1, 2]).result())) == [8, 14]
    assert tree(play.records) == {
        ("parent",): 2, ("parent", "leaf"): 4, ("parent", "double"): 4}


def test_recursion_ten_levels_deep_ends_with_few_threads(play: Play) -> None:
    @task
    def fib(n: int) -> int:
        if n < 2:
            return n
        one, other = fib.submit(n - 1), fib.submit(n - 2)
        return one.result() + other.result()

    before = threading.active_count()
    assert in_time(lambda: play(lambda: fib.submit(10).result())) == 55
    assert len(play.records.rows) == 177
    wait_until(lambda: threading.active_count() < before + 40, "the threads end")


def test_wide_and_deep_trees_stay_within_the_bound_of_threads(play: Play) -> None:
    most = [0]

    @task
    def leaf(x: int) -> int:
        most[0] = max(most[0], threading.active_count())
        time.sleep(0.002)
        return x

    @task
    def branch(n: int) -> int:
        return sum(leaf.map(range(n)).result())

    @task
    def root(n: int) -> int:
        return sum(branch.map([n] * n).result())

    before = threading.active_count()
    assert in_time(lambda: play(lambda: root.submit(20).result())) == 20 * 190
    assert most[0] < before + 2 * NESTED_THREADS
    assert len(play.records.rows) == 1 + 20 + 400


def test_cancelling_a_parent_stops_what_it_runs(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def slow(x: int) -> None:
        note(folder, "child")
        time.sleep(0.05)

    @task
    def parent() -> None:
        note(folder, "begun")
        try:
            slow.map(range(2000)).result()
        except CancelledRun:
            note(folder, "stopped")
            raise

    def body() -> Any:
        future = parent.submit()
        wait_until(lambda: noted(folder, "child"), "a child begins")
        assert future.cancel()
        wait_until(lambda: noted(folder, "stopped"), "the parent is told")
        double.submit(1).result()
        return future.state.name

    assert in_time(lambda: play_along(body, name="around")) == "Cancelled"
    assert noted(folder, "child") < 2000


def test_task_past_its_time_cancels_its_children_and_what_goes_on_is_refused(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def slow(x: int) -> None:
        note(folder, "child")
        time.sleep(0.05)

    @task(timeout_seconds=0.5)
    def late() -> None:
        try:
            slow.map(range(20_000)).result()
        except BaseException:  # whatever the framework raises in here: it goes on all the same
            time.sleep(0.6)
            try:
                slow.submit(1)
            except BaseException as error:
                note(folder, type(error).__name__)

    def body() -> Any:
        return late.submit(return_state=True)

    with pytest.raises(TaskRunTimeoutError):
        in_time(lambda: play_along(body))
    assert play_along.records.states("late") == ["TimedOut"]
    wait_until(lambda: noted(folder, "MissingContextError"), "what goes on is refused")
    assert noted(folder, "child") < 20_000
    assert set(play_along.records.states("slow")) <= {"Completed", "Cancelled"}


def test_parent_that_fails_leaves_nothing_running(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def slow(x: int) -> None:
        note(folder, "child")
        time.sleep(0.05)

    @task
    def failing() -> None:
        slow.map(range(2000))
        wait_until(lambda: noted(folder, "child"), "a child begins")
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        in_time(lambda: play_along(lambda: failing.submit().result()))
    assert "Cancelled" in play_along.records.states("slow")
    assert noted(folder, "child") < 2000


def test_cancelling_a_parent_kills_what_it_runs_in_a_process_of_its_own(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(isolation="process")
    def sleeper() -> None:
        note(folder, "begun")
        time.sleep(30)
        note(folder, "ended")

    @task
    def parent() -> None:
        try:
            sleeper.submit().result()
        except CancelledRun:
            note(folder, "stopped")
            raise

    def body() -> Any:
        future = parent.submit()
        wait_until(lambda: noted(folder, "begun"), "the process works")
        future.cancel()
        wait_until(lambda: noted(folder, "stopped"), "the parent is told")

    began = time.monotonic()
    in_time(lambda: play_along(body, name="around"))
    assert time.monotonic() - began < 25
    assert noted(folder, "ended") == 0


def test_cancelling_a_parent_stops_the_flow_that_it_called(play_along: Play,
                                                           tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def slow(x: int) -> None:
        note(folder, "child")
        time.sleep(0.05)

    @flow
    def inner() -> None:
        slow.map(range(2000)).result()

    @task
    def parent() -> None:
        try:
            inner()
        finally:
            note(folder, "left")

    def body() -> Any:
        future = parent.submit()
        wait_until(lambda: noted(folder, "child"), "a child begins")
        future.cancel()
        wait_until(lambda: noted(folder, "left"), "the flow ends")

    in_time(lambda: play_along(body, name="around"))
    assert noted(folder, "child") < 2000


def test_flow_in_a_task_has_its_own_runner_where_it_names_one(play: Play) -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def inner() -> list[str]:
        return [name.submit().result() for _ in range(2)]

    @task
    def name() -> str:
        return threading.current_thread().name

    @task
    def parent() -> list[str]:
        return inner()

    names = in_time(lambda: play(lambda: parent.submit().result(), name="around"))
    assert len(set(names)) == 1 and names[0].startswith("dataflow-thread")
    inner_run = next(run for run in play.records.store.flow_runs() if run.flow_name == "inner")
    assert inner_run.runner == "threads"


def test_futures_inside_a_task_are_waited_for_in_every_way(play: Play) -> None:
    @task
    def parent(n: int) -> Any:
        futures = [double.submit(x) for x in range(n)]
        first = double.submit(futures[-1])
        done = sorted(future.result() for future in as_completed(futures))
        wait([first])
        return done, first.result(), double.map(futures).result(), add(futures[1], first)

    assert in_time(lambda: play(lambda: parent.submit(3).result())) == (
        [0, 2, 4], 8, [0, 4, 8], 10)


def test_threads_of_a_task_call_tasks_with_its_context(play: Play) -> None:
    @task
    def parent() -> list[int]:
        values: list[int] = []

        def work(x: int) -> None:
            values.append(double(x))

        threads = [threading.Thread(target=contextvars.copy_context().run, args=(work, x))
                   for x in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(values)

    assert in_time(lambda: play(lambda: parent.submit().result())) == [2 * x for x in range(8)]
    assert tree(play.records) == {("parent",): 1, ("parent", "double"): 8}


def test_direct_call_past_its_time_cancels_what_it_submitted(play_along: Play,
                                                             tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def slow(x: int) -> None:
        note(folder, "child")
        time.sleep(0.05)

    @task(timeout_seconds=0.5)
    def late() -> None:
        slow.map(range(many)).result()

    many = 20_000  # more than a thousand threads can begin until then
    with pytest.raises(TaskRunTimeoutError):
        in_time(lambda: play_along(late))
    assert "Cancelled" in play_along.records.states("slow")
    assert noted(folder, "child") < many


def test_generators_called_in_a_task_give_their_items_and_are_recorded(play: Play) -> None:
    @task
    def numbers(n: int) -> Iterator[int]:
        for x in range(n):
            yield double(x)

    @task
    def parent() -> list[int]:
        return list(numbers(2)) + numbers.submit(1).result()

    assert in_time(lambda: play(lambda: parent.submit().result())) == [0, 2, 0]
    assert tree(play.records) == {
        ("parent",): 1, ("parent", "numbers"): 2, ("parent", "numbers", "double"): 3}


@pytest.mark.dask
def test_children_on_a_cluster_name_the_worker_that_ran_them(dask_cluster: Any) -> None:
    play = Play(DaskTaskRunner(address=dask_cluster.scheduler_address))
    in_time(lambda: play(lambda: (mapping.submit(3).result(), deep.submit(2).result())))
    addresses = {row.worker for row in play.records.rows if row.parent_task_run_id is None}
    assert all(address and address.startswith("tcp://") for address in addresses)
    for row in play.records.rows:
        assert row.worker is not None and row.worker.split()[0] in addresses, row.worker


def test_async_parents_gather_children_and_await_flows(play: Play) -> None:
    @task
    async def leaf(x: int) -> int:
        await asyncio.sleep(0.001)
        return x

    @flow
    async def inner(n: int) -> int:
        return sum(await asyncio.gather(*(leaf(x) for x in range(n))))

    @task
    async def parent(n: int) -> int:
        return await inner(n) + sum(await asyncio.gather(*(leaf(x) for x in range(n))))

    assert in_time(lambda: play(lambda: parent.map([3, 4]).result(), name="around")) == [6, 12]
    store = play.records.store
    runs = {run.flow_name: run for run in store.flow_runs()}
    assert runs["inner"].state_name == "Completed"
    rows = store.task_runs(runs["around"].id, limit=None)
    assert Counter(row.task_name for row in rows) == {"parent": 2, "inner": 2, "leaf": 7}


def test_cancelling_an_async_parent_cancels_its_children(play_along: Play,
                                                         tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    async def leaf(x: int) -> None:
        note(folder, "child")
        await asyncio.sleep(0.05)

    @task
    async def parent() -> None:
        try:
            for future in leaf.map(range(2000)):
                await future
        finally:
            note(folder, "left")

    def body() -> Any:
        future = parent.submit()
        wait_until(lambda: noted(folder, "child"), "a child begins")
        future.cancel()
        wait_until(lambda: noted(folder, "left"), "the parent ends")

    in_time(lambda: play_along(body, name="around"))
    assert noted(folder, "child") < 2000


def test_without_threads_left_a_task_runs_what_it_submits_itself(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested_runner, "_budget", nested_runner.Budget(0))
    play = Play(ThreadPoolTaskRunner(max_workers=2))

    @task
    def name() -> str:
        return threading.current_thread().name

    @task
    def parent() -> bool:
        here = threading.current_thread().name
        return {here} == {name.submit().result(), *(f.result() for f in
                                                    [name.submit() for _ in range(3)])}

    assert in_time(lambda: play(lambda: [parent.submit().result(), mapping.submit(5).result(),
                                         deep.submit(3).result()])) == [True, 20, 27]
    assert play.records.states("name") == ["Completed"] * 4


def test_cancelling_reaches_a_task_that_runs_what_it_submits_itself(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nested_runner, "_budget", nested_runner.Budget(0))
    play, folder = Play(ThreadPoolTaskRunner(max_workers=2)), str(tmp_path)

    @task
    def slow(x: int) -> None:
        note(folder, "child")
        time.sleep(0.01)

    @task
    def parent() -> None:
        try:
            for x in range(2000):
                slow.submit(x).result()
        finally:
            note(folder, "left")

    def body() -> Any:
        future = parent.submit()
        wait_until(lambda: noted(folder, "child"), "a child begins")
        future.cancel()
        wait_until(lambda: noted(folder, "left"), "the parent is told")

    in_time(lambda: play(body, name="around"))
    assert noted(folder, "child") < 2000
