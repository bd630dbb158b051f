"""A batch of async elements on a worker, whoever calls it: what is told when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from dataflow.batch import Aligned, Batch, Block, CallCode, Group, Items, Part, RunInfo, TaskCode
from dataflow.outcomes import Code, Report
from dataflow.retry import RetryPolicy
from dataflow.worker import async_splitting
from dataflow.worker.async_batch import AsyncWalk
from dataflow.worker.batch import run_batch
from dataflow.worker.control import Control
from tests.dask_support import wait_until

pytestmark = pytest.mark.contract

RUN = RunInfo("cb83fe37-b343-4a0b-a575-5bc9aa6d0eef", "run", "flow", None, {}, (), 0.0)
DONE, FAILED, LEFT, RUNNING = (
    int(Code.COMPLETED), int(Code.FAILED), int(Code.LEFT), int(Code.RUNNING))


def mapped(call: int, fn: Callable[..., Any], items: Sequence[Any] | None = None,
           keep: bool = True, concurrency: int = 100, **options: Any) -> Part:
    """Return a map's part: over items, or over call 0 of the batch."""
    task = TaskCode(f"t{call}", fn, f"t{call}", kind="async", concurrency=concurrency, **options)
    source = Items() if items is not None else Aligned(0)
    code = CallCode(call, task, (source,), {}, ("x",), True)
    return Part(code, {0: items} if items is not None else {}, {}, keep)


def run(*groups: Group, budget_s: float = 20, number: int = 1, at_once: int = 100,
        control: Control | None = None, **more: Any) -> tuple[Report, Block | None]:
    batch = Batch(number, "test", list(groups), [], budget_s=budget_s, at_once=at_once, **more)
    return run_batch(batch, (), RUN, worker="w", control=control or Control(), remote=True)


def codes(report: Report) -> list[list[int]]:
    return [list(span.codes) for span in report.spans]


class Gates:
    """Lets elements wait until they are let go, one by one."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.began: set[int] = set()

    async def wait(self, x: int) -> int:
        self.began.add(x)
        for _ in range(4000):
            if x in self.open:
                break
            await asyncio.sleep(0.005)
        return x


@pytest.fixture
def gates() -> Iterator[Gates]:
    made = Gates()
    yield made
    made.open.update(range(1000))


def test_batch_that_ends_in_time_is_told_as_a_whole_in_order_of_its_elements() -> None:
    async def last_first(x: int) -> int:
        await asyncio.sleep(0.02 * (3 - x))
        return x * 10

    report, block = run(Group([mapped(0, last_first, range(4))], range(4)))
    assert codes(report) == [[DONE] * 4]
    assert block is not None and block.columns[0].values == [0, 10, 20, 30]
    assert report.wall_s > 0


def test_chain_keeps_only_what_is_asked_for() -> None:
    async def plus(x: int) -> int:
        return x + 1

    chain = [mapped(0, plus, range(3), keep=False), mapped(1, plus)]
    report, block = run(Group(chain, range(3)))
    assert codes(report) == [[DONE] * 3] * 2
    assert block is not None
    assert {call: column.values for call, column in block.columns.items()} == {1: [2, 3, 4]}


def test_what_outlasts_the_batch_is_running_and_collected_piece_by_piece(gates: Gates) -> None:
    gates.open.update({0, 2})
    report, block = run(Group([mapped(0, gates.wait, range(5))], range(5)), budget_s=0.4,
                        number=7)
    assert codes(report) == [[DONE, RUNNING, DONE, RUNNING, RUNNING]]
    assert block is not None
    assert (list(block.columns[0].indexes), block.columns[0].values) == ([0, 2], [0, 2])
    gates.open.add(3)
    report, block = run(number=8, collect=7)
    assert [(list(s.indexes), list(s.codes)) for s in report.spans] == [
        ([1, 3, 4], [RUNNING, DONE, RUNNING])]
    assert report.batch == 8 and block is not None and block.get(0, 3) == 3
    gates.open.update({1, 4})
    report, block = run(number=9, collect=7)
    assert [(list(s.indexes), list(s.codes)) for s in report.spans] == [([1, 4], [DONE, DONE])]
    assert block is not None and block.columns[0].values == [1, 4]
    assert run(number=10, collect=7)[0].spans == [], "nothing is told twice"


def test_what_had_no_room_to_begin_in_time_is_handed_back(gates: Gates) -> None:
    report, _ = run(Group([mapped(0, gates.wait, range(4))], range(4)), budget_s=0.4, at_once=2,
                    number=11)
    assert codes(report) == [[RUNNING, RUNNING, LEFT, LEFT]]
    gates.open.update(range(4))
    report, _ = run(number=12, collect=11)
    assert codes(report) == [[DONE, DONE]]
    assert gates.began == {0, 1}


def test_limits_are_those_of_each_function() -> None:
    now: dict[str, int] = {}
    most: dict[str, int] = {}

    def counted(name: str) -> Callable[[int], Any]:
        async def count(x: int) -> None:
            now[name] = now.get(name, 0) + 1
            most[name] = max(most.get(name, 0), now[name])
            await asyncio.sleep(0.01)
            now[name] -= 1

        return count

    run(Group([mapped(0, counted("one"), range(4), concurrency=1)], range(4)),
        Group([mapped(1, counted("many"), range(4))], range(4)))
    assert most == {"one": 1, "many": 4}


def test_blocked_loop_does_not_keep_what_ended_from_being_told() -> None:
    gate = threading.Event()

    async def block(x: int) -> int:
        if x == 1:
            gate.wait(20)
        return x

    report, _ = run(Group([mapped(0, block, range(3))], range(3)), budget_s=0.4, number=21)
    assert codes(report) == [[DONE, RUNNING, LEFT]]
    gate.set()
    report, _ = run(number=22, collect=21)
    assert codes(report) == [[DONE]]


def test_stop_cancels_what_runs_and_hands_back_what_has_not_begun(gates: Gates) -> None:
    control = Control()
    told: list[tuple[Report, Block | None]] = []
    thread = threading.Thread(target=lambda: told.append(run(
        Group([mapped(0, gates.wait, range(4))], range(4)), at_once=2, control=control)))
    thread.start()
    wait_until(lambda: len(gates.began) == 2, "two are under way")
    control.stop()
    thread.join(10)
    assert codes(told[0][0]) == [[int(Code.CANCELLED)] * 2 + [LEFT] * 2]


def test_stop_reaches_what_outlasted_its_batch_by_the_batch_that_collects_it(
    gates: Gates,
) -> None:
    run(Group([mapped(0, gates.wait, range(2))], range(2)), budget_s=0.05, number=31)
    control = Control()
    control.stop()
    report, _ = run(number=32, collect=31, control=control)
    assert codes(report) == [[int(Code.CANCELLED)] * 2]


def test_retry_with_a_delay_is_handed_back_and_without_one_happens_in_place() -> None:
    tries: dict[str, int] = {}

    async def flaky(name: str) -> str:
        tries[name] = tries.get(name, 0) + 1
        if tries[name] == 1:
            raise OSError(name)
        return name

    report, _ = run(
        Group([mapped(0, flaky, ["now"], retries=1)], range(1)),
        Group([mapped(1, flaky, ["later"], retries=1, retry_delay=RetryPolicy((5.0,)))],
              range(1)))
    assert codes(report) == [[DONE], [int(Code.AWAITING_RETRY)]]
    assert report.spans[0].details[0].attempts == 2
    assert report.spans[1].details[0].retry_in_s == 5.0
    assert sorted((a.call, a.attempt) for a in report.attempts) == [(0, 1), (1, 1)]


def test_context_of_one_element_is_not_that_of_the_next() -> None:
    from contextvars import ContextVar

    mine: ContextVar[int] = ContextVar("mine", default=-1)

    async def leave_a_mark(x: int) -> int:
        found = mine.get()
        mine.set(x)
        await asyncio.sleep(0)
        assert mine.get() == x
        return found

    _, block = run(Group([mapped(0, leave_a_mark, range(5))], range(5)), at_once=1)
    assert block is not None and block.columns[0].values == [-1] * 5


def test_loop_that_takes_its_time_to_close_holds_up_no_report() -> None:
    gate = threading.Event()

    async def leave_a_thread(x: int) -> int:
        asyncio.get_running_loop().run_in_executor(None, gate.wait, 20)
        await asyncio.sleep(0)
        return x

    report, _ = run(Group([mapped(0, leave_a_thread, [1])], range(1)))
    assert codes(report) == [[DONE]]
    assert not gate.is_set()
    gate.set()


def test_fault_of_the_framework_is_raised_and_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: Any, *args: Any) -> None:
        raise AssertionError("a fault of ours")

    monkeypatch.setattr(AsyncWalk, "_lanes", broken)
    with pytest.raises(AssertionError, match="a fault of ours"):
        run(Group([mapped(0, asyncio.sleep, [0])], range(1)))


def test_batches_that_nobody_collects_are_forgotten_in_the_end(
    gates: Gates, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(async_splitting, "_UNCOLLECTED_LIMIT", 2)
    before = len(async_splitting._going_on)
    for number in range(41, 47):
        run(Group([mapped(0, gates.wait, [number])], range(1)), budget_s=0.02, number=number)
    assert len(async_splitting._going_on) == before + 6, "all go on"
    gates.open.update(range(41, 47))
    wait_until(lambda: len(async_splitting._going_on) <= before + 3, "the oldest are forgotten")
