"""Every runner: hooks of tasks, and what a ``retry_condition_fn`` is given.

Hooks run where the element ran, so that what they saw is left in a folder.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dataflow import Task, exponential_backoff, get_run_logger, runtime, tags, task
from tests.runner_support import Play, note, noted

ALL = ("on_running", "on_completion", "on_failure")


class Spy:
    """A hook that leaves a line per call in a folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = str(folder), kind

    def __call__(self, task: Any, task_run: Any, state: Any) -> None:
        error = state.data if state.is_failed() else None
        told(self.folder, kind=self.kind, task=task.name, is_task=isinstance(task, Task),
             key=task_run.task_key == task.task_key, name=task_run.name, id=task_run.id,
             count=task_run.run_count, index=task_run.map_index, tags=task_run.tags,
             parameters=task_run.parameters, state=state.name, type=str(state.type),
             same=task_run.state is state, error=None if error is None else repr(error),
             value=state.data if state.is_completed() else None, pid=os.getpid(),
             around=runtime.task_run.id, flow=task_run.flow_run_id)


def told(folder: str | Path, **what: Any) -> None:
    """Append a line, from any process: one write."""
    fd = os.open(Path(folder, "told"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, (json.dumps(what) + "\n").encode())
    finally:
        os.close(fd)


def heard(folder: Path) -> list[dict[str, Any]]:
    path = folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def spied(fn: Any, folder: Path, **options: Any) -> Task[..., Any]:
    """Return a task with a hook of each kind."""
    return task(fn, **{kind: [Spy(folder, kind)] for kind in ALL}, **options)


def steps(folder: Path, index: int | None = None) -> list[tuple[str, str, int]]:
    return [(told["kind"], told["state"], told["count"]) for told in heard(folder)
            if told["index"] == index]


def same(x: Any, y: int = 7) -> Any:
    return x


def boom(x: Any) -> None:
    raise ValueError(f"boom {x}")


def test_hooks_are_given_task_run_and_state_in_the_process_of_the_element(
        play: Play, tmp_path: Path) -> None:
    @task
    def who(x: str) -> int:
        return os.getpid()

    work = spied(who, tmp_path, name="work", tags=["own"], retries=1)

    def body() -> Any:
        with tags("around"):
            future = work.submit("a")
        return future.result(), future.task_run_id, future.name

    pid, run_id, name = play(body)
    running, completed = heard(tmp_path)
    assert (running["kind"], running["state"], running["type"]) == (
        "on_running", "Running", "RUNNING")
    assert (completed["kind"], completed["state"], completed["value"]) == (
        "on_completion", "Completed", pid)
    for told in (running, completed):
        assert (told["task"], told["is_task"], told["key"], told["same"]) == (
            "work", True, True, True)
        assert (told["id"], told["around"], told["name"]) == (run_id, run_id, name)
        assert (told["tags"], told["parameters"]) == (["around", "own"], {"x": "a"})
        assert (told["count"], told["index"], told["pid"]) == (1, None, pid)
        assert told["flow"] == str(play.records.run.id)


def test_hooks_of_a_map_are_called_for_each_element(play: Play, tmp_path: Path) -> None:
    work = spied(same, tmp_path)
    assert play(lambda: work.map(range(20)).result()) == list(range(20))
    seen = heard(tmp_path)
    assert len(seen) == 40
    for index in range(20):
        assert steps(tmp_path, index) == [
            ("on_running", "Running", 1), ("on_completion", "Completed", 1)]
    assert {told["parameters"]["y"] for told in seen} == {7}


def test_hooks_of_a_direct_call_are_called_inside_and_outside_of_a_flow(
        play: Play, tmp_path: Path) -> None:
    work = spied(same, tmp_path)
    assert work(1) == 1
    assert [told["id"] for told in heard(tmp_path)] == [None, None]
    assert play(lambda: work(2)) == 2
    assert [told["value"] for told in heard(tmp_path)] == [None, 1, None, 2]
    assert heard(tmp_path)[3]["id"] is not None


def test_running_is_told_at_each_attempt_and_failure_when_retries_are_spent(
        play: Play, tmp_path: Path) -> None:
    work = spied(boom, tmp_path, retries=2, retry_delay_seconds=[0, 0.02])
    expected = [("on_running", "Running", 1), ("on_running", "Retrying", 2),
                ("on_running", "Retrying", 3), ("on_failure", "Failed", 3)]

    def body() -> None:
        many = work.map([5])
        many.wait()
        with pytest.raises(ValueError):
            work("d")

    play(body)
    assert steps(tmp_path, 0) == expected
    assert steps(tmp_path, None) == expected
    assert {told["error"] for told in heard(tmp_path)} == {
        None, "ValueError('boom 5')", "ValueError('boom d')"}


def test_failure_is_not_told_where_a_retry_completes(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def second(x: int) -> int:
        if note(folder) == 1:
            raise ValueError("first")
        return x

    work = spied(second, tmp_path, retries=1)
    assert play(lambda: work.submit(3).result()) == 3
    assert steps(tmp_path) == [("on_running", "Running", 1), ("on_running", "Retrying", 2),
                               ("on_completion", "Completed", 2)]


def test_a_run_that_timed_out_has_failed(play: Play, tmp_path: Path) -> None:
    import time

    work = spied(lambda: time.sleep(0.4), tmp_path, timeout_seconds=0.05)

    def body() -> None:
        work.submit().wait()

    play(body)
    assert steps(tmp_path) == [("on_running", "Running", 1), ("on_failure", "TimedOut", 1)]
    assert "TaskRunTimeoutError" in heard(tmp_path)[1]["error"]


def test_a_chain_of_maps_calls_the_hooks_of_each_of_its_tasks(
        play: Play, tmp_path: Path) -> None:
    first, second = spied(same, tmp_path, name="first"), spied(boom, tmp_path, name="second")

    def body() -> None:
        second.map(first.map([1, 2, 3])).wait()

    play(body)
    kinds = sorted((told["task"], told["kind"]) for told in heard(tmp_path))
    assert kinds == sorted(
        [("first", "on_running"), ("first", "on_completion"), ("second", "on_running"),
         ("second", "on_failure")] * 3)


def test_isolated_tasks_call_their_hooks_too(play: Play, tmp_path: Path) -> None:
    work = spied(same, tmp_path, isolation="process")
    assert play(lambda: work.submit(4).result()) == 4
    assert steps(tmp_path) == [("on_running", "Running", 1), ("on_completion", "Completed", 1)]


def test_a_failing_hook_is_logged_and_changes_nothing(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def breaks(task: Any, run: Any, state: Any) -> None:
        raise LookupError("no such channel")

    def leaves(task: Any, run: Any, state: Any) -> None:
        raise SystemExit(3)

    def after(task: Any, run: Any, state: Any) -> None:
        note(folder, state.name)

    work = task(same, on_running=[breaks, after], on_completion=[leaves, breaks, after])
    fails = task(boom, on_failure=[breaks, after])

    def body() -> Any:
        fails.submit(1).wait()
        return work.submit(1).result(), work.map([2, 3]).result(), work(4)

    assert play(body) == (1, [2, 3], 4)
    assert (noted(tmp_path, "Running"), noted(tmp_path, "Completed")) == (4, 4)
    assert noted(tmp_path, "Failed") == 1
    messages = [m for m in play.records.messages() if "Hook" in m]
    assert len(messages) == 4 + 8 + 1
    assert sum("'breaks'" in m and "no such channel" in m for m in messages) == 9
    assert sum("'leaves'" in m and "SystemExit" in m for m in messages) == 4
    assert all("Traceback" in message for message in messages)


def test_async_hooks_of_every_kind_run_to_their_end(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    async def slow(task: Any, run: Any, state: Any) -> None:
        await asyncio.sleep(0.01)
        note(folder, f"{state.name}-{run.map_index}")

    class Late:
        async def __call__(self, task: Any, run: Any, state: Any) -> None:
            await slow(task, run, state)

    async def broken(task: Any, run: Any, state: Any) -> None:
        await asyncio.sleep(0)
        raise LookupError("async no")

    work = task(same, on_running=[slow], on_completion=[
        broken, Late(), functools.partial(slow), lambda *rest: slow(*rest)])
    assert play(lambda: work.map([1, 2]).result()) == [1, 2]
    assert [noted(tmp_path, f"Running-{n}") for n in range(2)] == [1, 1]
    assert [noted(tmp_path, f"Completed-{n}") for n in range(2)] == [3, 3]
    assert sum("async no" in m for m in play.records.messages()) == 2


def test_hooks_are_called_in_order_and_log_into_the_run(play: Play, tmp_path: Path) -> None:
    work = task(same)
    order: list[str] = ["c", "a", "b"]
    for name in order:
        def hook(task: Any, run: Any, state: Any, name: str = name) -> None:
            get_run_logger().info("hook %s", name)

        assert work.on_completion(hook) is hook
    play(lambda: work.submit(1).wait())
    said = [m for m in play.records.messages() if m.startswith("hook")]
    assert said == ["hook c", "hook a", "hook b"]


def test_hooks_added_by_decorator_act_from_then_on(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)
    work, fails = task(same), task(boom)

    def body() -> None:
        work.submit(1).wait()  # its code has gone to a worker without any hook

        @work.on_running
        def begins(task: Any, run: Any, state: Any) -> None:
            note(folder, "begins")

        @work.on_completion
        async def ends(task: Any, run: Any, state: Any) -> None:
            note(folder, "ends")

        @fails.on_failure
        def failed(task: Any, run: Any, state: Any) -> None:
            note(folder, "failed")

        work.map([1, 2]).wait()
        fails.submit(1).wait()

    play(body)
    assert [noted(tmp_path, name) for name in ("begins", "ends", "failed")] == [2, 2, 1]


def test_what_the_engine_ends_itself_calls_no_hook(play_along: Play, tmp_path: Path) -> None:
    work = spied(same, tmp_path, name="downstream")

    def body() -> Any:
        future = work.submit(task(boom).submit(1))
        future.wait()
        return future.state.name

    assert play_along(body) == "NotReady"
    assert heard(tmp_path) == []


def test_a_crash_calls_no_failure_hook(play: Play, tmp_path: Path) -> None:
    def leaves() -> None:
        raise SystemExit(4)

    work = spied(leaves, tmp_path, retries=2)

    def body() -> str:
        future = work.submit()
        future.wait()
        return future.state.name

    assert play(body) == "Crashed"
    assert steps(tmp_path) == [("on_running", "Running", 1)]


def test_methods_have_hooks_and_share_the_task_of_their_class(
        play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def told_of(task: Any, run: Any, state: Any) -> None:
        told(folder, task=task.name, value=state.data, rate=run.parameters["self"].rate,
             bound=hasattr(task.fn, "__self__"))

    class Shop:
        def __init__(self, rate: int) -> None:
            self.rate = rate

        @task(on_completion=[told_of])
        def price(self, x: int) -> int:
            return x * self.rate

    def body() -> Any:
        return Shop(2).price.map([1, 2]).result(), Shop(3).price.submit(1).result()

    assert play(body) == ([2, 4], 3)
    seen = heard(tmp_path)
    assert sorted((told["value"], told["rate"]) for told in seen) == [(2, 2), (3, 3), (4, 2)]
    assert {(told["task"], told["bound"]) for told in seen} == {("price", False)}


def test_tasks_inside_of_tasks_call_their_hooks(play: Play, tmp_path: Path) -> None:
    child = spied(same, tmp_path, name="child")

    @task
    def parent(x: int) -> Any:
        return child(x), child.submit(x + 1).result(), child.map([x + 2, x + 3]).result()

    assert play(lambda: parent.submit(1).result()) == (1, 2, [3, 4])
    seen = heard(tmp_path)
    assert sorted(told["value"] for told in seen if told["kind"] == "on_completion") == [
        1, 2, 3, 4]
    assert {told["flow"] for told in seen} == {str(play.records.run.id)}
    assert len(seen) == 8


async def async_same(x: Any, y: int = 7) -> Any:
    await asyncio.sleep(0.001)
    return x


async def async_boom(x: Any) -> None:
    await asyncio.sleep(0.001)
    raise ValueError(f"boom {x}")


def test_async_tasks_call_sync_and_async_hooks_at_each_attempt(
        play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    async def late(task: Any, run: Any, state: Any) -> None:
        await asyncio.sleep(0.001)
        note(folder, f"{run.map_index}-{state.name}")

    good = spied(async_same, tmp_path, name="good")
    bad = spied(async_boom, tmp_path, name="bad", retries=1)
    good.on_completion(late)
    bad.on_failure(late)

    def body() -> Any:
        fails = bad.map(range(3))
        fails.wait()
        return good.map(range(10)).result()

    assert play(body) == list(range(10))
    told = sorted((told["task"], told["index"], told["kind"], told["count"])
                  for told in heard(tmp_path))
    assert told == sorted(
        [("good", n, kind, 1) for n in range(10) for kind in ("on_running", "on_completion")]
        + [("bad", n, kind, count) for n in range(3) for kind, count in (
            ("on_running", 1), ("on_running", 2), ("on_failure", 2))])
    assert sum(noted(tmp_path, f"{n}-Completed") for n in range(10)) == 10
    assert sum(noted(tmp_path, f"{n}-Failed") for n in range(3)) == 3


def test_generator_tasks_call_hooks_submitted_and_consumed(play: Play, tmp_path: Path) -> None:
    def items(upto: int) -> Any:
        yield from range(upto)

    work = spied(items, tmp_path, name="items")
    assert play(lambda: (work.submit(3).result(), list(work(2)))) == ([0, 1, 2], [0, 1])
    assert sorted(told["kind"] for told in heard(tmp_path)) == [
        "on_completion", "on_completion", "on_running", "on_running"]


def test_async_condition_of_an_async_task_decides(play: Play, tmp_path: Path) -> None:
    async def asked(task: Any, run: Any, state: Any) -> bool:
        await asyncio.sleep(0)
        return bool(run.run_count < 2)

    work = task(async_boom, retries=5, retry_condition_fn=asked)
    play(lambda: work.map([1, 2]).wait())
    assert play.records.run_counts("async_boom") == [2, 2]


# conditions


def test_condition_is_given_task_run_and_failed_state(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    async def asked(task: Any, run: Any, state: Any) -> bool:
        await asyncio.sleep(0)
        told(folder, task=task.name, is_task=isinstance(task, Task), count=run.run_count,
             index=run.map_index, name=state.name, error=repr(state.data),
             message=state.message)
        return bool(run.run_count < 3)

    work = task(boom, retries=5, retry_condition_fn=asked)
    play(lambda: work.map([8]).wait())
    seen = heard(tmp_path)
    assert [told["count"] for told in seen] == [1, 2, 3]
    assert seen[0] == {
        "task": "boom", "is_task": True, "count": 1, "index": 0, "name": "Failed",
        "error": "ValueError('boom 8')",
        "message": "Task run encountered an exception ValueError: boom 8"}
    assert play.records.run_counts("boom") == [3]


def test_condition_that_raises_is_logged_and_means_no(play: Play) -> None:
    def broken(task: Any, run: Any, state: Any) -> bool:
        raise RuntimeError("no answer")

    work = task(boom, retries=3, retry_condition_fn=broken)
    play(lambda: work.submit(1).wait())
    assert play.records.run_counts("boom") == [1]
    (said,) = [m for m in play.records.messages() if "retry_condition_fn" in m]
    assert "no answer" in said and "Traceback" in said and "not retried" in said


# defaults of the settings


def test_retries_left_open_are_as_the_settings_say(
        play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    none, two = task(boom), task(boom, name="two", retries=0)
    back = task(boom, name="back", retry_delay_seconds=exponential_backoff(0.001))

    def body() -> None:
        for each in (none, two, back, two.with_options(retries=None, name="again")):
            each.map([1]).wait()

    play(body)
    assert play.records.run_counts("boom") == [1]
    monkeypatch.setenv("DATAFLOW_TASKS_DEFAULT_RETRIES", "2")
    monkeypatch.setenv("DATAFLOW_TASKS_DEFAULT_RETRY_DELAY_SECONDS", "0.01")
    assert (none.retries, two.retries, none.retry_delay_seconds) == (2, 0, 0.01)
    assert back.retry_delay_seconds == [0.001, 0.002]
    play(body)
    records = play.records
    assert [records.run_counts(name) for name in ("boom", "two", "back", "again")] == [
        [3], [1], [3], [3]]
