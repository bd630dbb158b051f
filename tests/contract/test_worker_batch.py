"""What every runner relies on: a batch on a worker, whoever calls it."""

from __future__ import annotations

import contextvars
import gc
import os
import resource
import signal
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dataflow.batch import (
    Aligned,
    Batch,
    Block,
    CallCode,
    Const,
    Group,
    Items,
    One,
    Part,
    RunInfo,
    TaskCode,
)
from dataflow.exceptions import TaskRunTimeoutError
from dataflow.outcomes import Code, Report
from dataflow.retry import RetryPolicy
from dataflow.worker.batch import _Walk, run_batch
from dataflow.worker.control import Control
from dataflow.worker.isolate import end_idle_children
from dataflow.worker.step import Step

pytestmark = pytest.mark.contract

RUN = RunInfo("cb83fe37-b343-4a0b-a575-5bc9aa6d0eef", "run", "flow", None, {}, (), 0.0)
DONE, FAILED, LEFT = int(Code.COMPLETED), int(Code.FAILED), int(Code.LEFT)


def mapped(call: int, fn: Callable[..., Any], items: Sequence[Any] | None = None,
           over: int | None = None, keep: bool = True, **options: Any) -> Part:
    """Return a map's part: over items, or over another call of the batch."""
    task = TaskCode(f"t{call}", fn, fn.__name__, **options)
    source = Items() if items is not None else Aligned(over or 0)
    code = CallCode(call, task, (source,), {}, ("x",), True)
    return Part(code, {0: items} if items is not None else {}, {}, keep)


def run(*groups: Group, budget_s: float | None = None, control: Control | None = None,
        inputs: Sequence[Block] = (), number: int = 1, **more: Any) -> tuple[Report, Block | None]:
    batch = Batch(number, "test", list(groups), [], budget_s=budget_s, **more)
    return run_batch(batch, inputs, RUN, worker="w", control=control or Control(), remote=True)


def codes(report: Report) -> list[list[int]]:
    return [list(span.codes) for span in report.spans]


def test_chain_runs_depth_first_and_keeps_only_what_is_asked_for() -> None:
    order: list[str] = []
    first = mapped(0, lambda x: order.append(f"a{x}") or x, [0, 1], keep=False)
    second = mapped(1, lambda x: order.append(f"b{x}") or x * 10, over=0)
    report, block = run(Group([first, second], range(2)))
    assert order == ["a0", "b0", "a1", "b1"]
    assert codes(report) == [[DONE, DONE], [DONE, DONE]]
    assert block is not None
    assert list(block.columns) == [1]
    assert block.columns[1].values == [0, 10]


def test_values_between_the_steps_of_a_chain_do_not_pile_up() -> None:
    class Big:
        pass

    alive: list[weakref.ref[Big]] = []
    most = 0

    def make(x: int) -> Big:
        nonlocal most
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
        big = Big()
        alive.append(weakref.ref(big))
        return big

    chain = [mapped(0, make, range(5), keep=False), mapped(1, lambda b: 1, over=0)]
    run(Group(chain, range(5)))
    assert most <= 1


def test_failure_in_a_chain_stops_its_element_alone() -> None:
    def odd(x: int) -> int:
        if x % 2 == 0:
            raise ValueError(x)
        return x

    report, _ = run(Group([mapped(0, odd, range(4)), mapped(1, lambda x: x, over=0)], range(4)))
    assert codes(report) == [[FAILED, DONE] * 2, [int(Code.NOT_READY), DONE] * 2]
    assert report.spans[0].details[2].error is not None
    assert report.spans[0].details[2].error.message == "2"


def test_retry_without_delay_happens_in_place_and_with_delay_is_handed_back() -> None:
    tries: dict[str, int] = {"now": 0, "later": 0}

    def flaky(name: str) -> str:
        tries[name] += 1
        if tries[name] == 1:
            raise OSError(name)
        return name

    at_once = mapped(0, flaky, ["now"], retries=1)
    later = mapped(1, flaky, ["later"], retries=1, retry_delay=RetryPolicy((5.0,)))
    report, _ = run(Group([at_once], range(1)), Group([later], range(1)))
    assert codes(report) == [[DONE], [int(Code.AWAITING_RETRY)]]
    assert report.spans[0].details[0].attempts == 2
    assert report.spans[1].details[0].retry_in_s == 5.0
    assert [(a.call, a.attempt) for a in report.attempts] == [(0, 1), (1, 1)]


def test_stop_hands_back_what_has_not_started() -> None:
    control = Control()

    def work(x: int) -> int:
        if x == 1:
            control.stop()
        return x

    report, block = run(Group([mapped(0, work, range(4))], range(4)), control=control)
    assert codes(report) == [[DONE, DONE, LEFT, LEFT]]
    assert block is not None
    assert block.columns[0].values == [0, 1]


def test_more_failures_than_allowed_end_the_batch() -> None:
    part = mapped(0, lambda x: 1 / 0, range(5))
    part.max_failures = 1
    report, _ = run(Group([part], range(5)))
    assert codes(report) == [[FAILED, FAILED, LEFT, LEFT, LEFT]]


def test_element_that_outlasts_its_batch_is_split_off_and_collected() -> None:
    gate = threading.Event()

    def work(x: int) -> int:
        if x == 2:
            gate.wait(30)
        return x

    chain = [mapped(0, work, range(5)), mapped(1, lambda x: x * 10, over=0)]
    report, block = run(Group(chain, range(5)), budget_s=0.05, number=7)
    running = int(Code.RUNNING)
    assert codes(report) == [[DONE, DONE, running, LEFT, LEFT]] * 2
    assert block is not None
    assert block.columns[1].values == [0, 10]
    gate.set()
    report, block = run(number=8, collect=7)
    assert (report.batch, codes(report)) == (8, [[DONE], [DONE]])
    assert [list(s.indexes) for s in report.spans] == [[2], [2]]
    assert block is not None
    assert block.get(1, 2) == 20


def test_time_before_the_elements_run_is_not_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and look-ups that take longer than the elements may: nothing is handed back for it."""
    def prepare(step: Step, *, wanted: bool) -> None:
        time.sleep(0.2)

    monkeypatch.setattr(Step, "prepare", prepare)
    report, _ = run(Group([mapped(0, abs, range(5))], range(5)), budget_s=0.05)
    assert codes(report) == [[DONE] * 5]

    gate = threading.Event()

    def second_waits(x: int) -> int:
        if x == 1:
            gate.wait(30)
        return x

    report, _ = run(Group([mapped(0, second_waits, range(5))], range(5)), budget_s=0.05, number=8)
    assert codes(report) == [[DONE, int(Code.RUNNING), LEFT, LEFT, LEFT]]
    gate.set()
    rest, _ = run(number=9, collect=8)
    assert codes(rest) == [[DONE]]


def test_collecting_what_never_ran_here_reports_nothing() -> None:
    report, block = run(number=9, collect=12345)
    assert (report.spans, block) == ([], None)


def test_single_submits_of_a_batch_see_each_other() -> None:
    add = TaskCode("add", lambda a, b: a + b, "add")
    one = CallCode(0, add, (Const(1), Const(2)), {}, ("a", "b"), False)
    two = CallCode(1, add, (One(0), Const(10)), {}, ("a", "b"), False)
    groups = [Group([Part(code, {}, {}, True)], range(1)) for code in (one, two)]
    report, block = run(*groups)
    assert codes(report) == [[DONE], [DONE]]
    assert block is not None
    assert block.get(1, 0) == 13


def test_missing_input_is_named_and_its_element_handed_back() -> None:
    report, _ = run(Group([mapped(1, lambda x: x, over=0)], range(2)))
    assert codes(report) == [[LEFT, LEFT]]
    assert report.missing == [(0, 0), (0, 1)]


def test_soft_timeout_ends_the_element_on_time_and_drops_the_value() -> None:
    def slow(x: int) -> int:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(0.01)
        return x

    began = time.monotonic()
    report, block = run(Group([mapped(0, slow, [1], timeout_s=0.2)], range(1)))
    assert codes(report) == [[int(Code.TIMED_OUT)]]
    assert block is None
    assert time.monotonic() - began < 5
    error = report.spans[0].details[0].error
    assert error is not None
    assert error.message == "Task run exceeded timeout of 0.2 second(s)"


def test_attempt_before_a_retry_keeps_the_code_that_its_exception_means() -> None:
    class Slow(TaskRunTimeoutError):
        pass

    looks_so = type("TaskRunTimeoutError", (Exception,), {"__module__": "elsewhere"})

    def fail(kind: type[Exception]) -> None:
        raise kind("no")

    report, _ = run(Group([mapped(0, fail, [Slow, looks_so], retries=1)], range(2)))
    assert [a.code for a in report.attempts] == [Code.TIMED_OUT, Code.FAILED]
    assert codes(report) == [[Code.TIMED_OUT, Code.FAILED]]


def test_isolated_element_that_dies_is_crashed_and_says_how() -> None:
    def die(x: int) -> int:
        if x == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        return os.getpid()

    report, block = run(Group([mapped(0, die, range(3), isolation="process")], range(3)))
    assert codes(report) == [[DONE, int(Code.CRASHED), DONE]]
    error = report.spans[0].details[1].error
    assert error is not None
    assert "SIGSEGV" in error.message
    assert block is not None
    assert os.getpid() not in block.columns[0].values


def test_isolation_works_in_a_process_with_many_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("the system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    end_idle_children()
    files: list[int] = []
    try:
        while not files or files[-1] < 1024:
            files.append(os.open(os.devnull, os.O_RDONLY))
        part = mapped(0, lambda x: x + 1, [1], isolation="process", timeout_s=30.0)
        report, _ = run(Group([part], range(1)))
        end_idle_children()
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert codes(report) == [[DONE]]


def test_isolated_element_past_its_deadline_is_killed() -> None:
    def hang(x: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        time.sleep(60)

    part = mapped(0, hang, [1], isolation="process", timeout_s=1.0)
    began = time.monotonic()
    report, _ = run(Group([part], range(1)))
    assert codes(report) == [[int(Code.TIMED_OUT)]]
    assert time.monotonic() - began < 20


def steps_of(walk: _Walk, group: Group) -> list[Step]:
    return [Step(walk, part, group.indexes) for part in group.parts]


def test_batch_split_between_two_groups_reports_each_part_once() -> None:
    parts = [mapped(n, lambda x: x, [0, 1]) for n in range(3)]
    groups = [Group([part], range(2)) for part in parts]
    walk = _Walk(Batch(1, "test", groups, []), (), RUN, "w", Control(), True)

    def go() -> tuple[Report, Report]:
        for number in (0, 1):
            walk._group(number, groups[number], steps_of(walk, groups[number]))
        assert walk.split()
        return walk.first_part[0], walk.go()[0]

    first, second = contextvars.copy_context().run(go)  # as in the thread of its own
    running, left = int(Code.RUNNING), LEFT
    assert codes(first) == [[DONE, DONE], [DONE, running], [left, left]]
    assert [span.call for span in first.spans] == [0, 1, 2]
    assert [(span.call, list(span.indexes), list(span.codes)) for span in second.spans] == [
        (1, [1], [DONE])]


def test_batch_split_after_its_last_groups_were_handed_back_reports_each_part_once() -> None:
    parts = [mapped(n, lambda x: x, [0]) for n in range(4)]
    groups = [Group([part], range(1)) for part in parts]
    walk = _Walk(Batch(1, "test", groups, [], budget_s=60), (), RUN, "w", Control(), True)

    def go() -> Report:
        walk._group(0, groups[0], steps_of(walk, groups[0]))
        walk.batch.budget_s = -1.0  # from here on the time is up
        for number in (1, 2, 3):
            walk._group(number, groups[number], steps_of(walk, groups[number]))
        assert walk.split()
        return walk.first_part[0]

    first = contextvars.copy_context().run(go)
    assert [(span.call, list(span.codes)) for span in first.spans] == [
        (0, [int(Code.RUNNING)]), (1, [LEFT]), (2, [LEFT]), (3, [LEFT])]
