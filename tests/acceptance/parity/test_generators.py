"""Generator tasks and flows: streamed where they are called, lists where they are submitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.acceptance.parity.face import flow, runtime, task
from tests.acceptance.parity.support import note, notes


@task
def count(n: int, path: str = "") -> Iterator[int]:
    for x in range(n):
        if path:
            note(path, f"made {x}")
        yield x


@task
async def acount(n: int) -> AsyncIterator[int]:
    for x in range(n):
        await asyncio.sleep(0)
        yield x


@task
def inc(x: int) -> int:
    return x + 1


@task
def total(xs: list[int]) -> int:
    return sum(xs)


def test_a_generator_task_streams_where_it_is_called(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        seen = []
        for x in count(3, ledger):
            seen.append((x, len(notes(ledger))))
        return {"found": seen}

    assert run() == {"found": [(0, 1), (1, 2), (2, 3)]}


def test_a_generator_task_streams_outside_a_flow() -> None:
    assert list(count(3)) == [0, 1, 2]


def test_a_generator_task_that_fails_raises_where_it_is_consumed(runner: Any) -> None:
    @task
    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("after one")

    @flow(task_runner=runner)
    def run() -> Any:
        stream = breaks()
        first = next(iter(stream))
        with pytest.raises(ValueError, match="after one"):
            list(stream)
        return {"found": first}

    assert run() == {"found": 1}


def test_a_generator_task_may_be_left_early(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        for x in count(1000, ledger):
            if x == 2:
                break
        return {"found": x}

    assert run() == {"found": 2}
    assert len(notes(ledger)) < 10


def test_a_submitted_generator_task_gives_the_list(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (list(count.submit(3).result()), total.submit(count.submit(4)).result())}

    assert run() == {"found": ([0, 1, 2], 6)}


def test_a_mapped_generator_task_gives_a_list_each(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": [list(x) for x in count.map([1, 2]).result()]}

    assert run() == {"found": [[0], [0, 1]]}


def test_what_a_generator_task_gave_is_mapped_over(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (inc.map(count.submit(3)).result(), inc.map(count(2)).result())}

    assert run() == {"found": ([1, 2, 3], [1, 2])}


def test_futures_are_resolved_before_a_generator_task_begins(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": list(count(inc.submit(1)))}

    assert run() == {"found": [0, 1]}


def test_a_generator_task_is_tried_again_while_nothing_came_from_it(
    runner: Any, ledger: str
) -> None:
    @task(retries=1)
    def second(path: str) -> Iterator[int]:
        if note(path, "began") == 1:
            raise ValueError("at once")
        yield 7

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (list(second(ledger)))}

    assert run() == {"found": [7]}
    assert len(notes(ledger)) == 2


def test_the_context_holds_between_the_values(runner: Any) -> None:
    @task
    def told() -> Iterator[Any]:
        for _ in range(2):
            yield (runtime.task_run.task_name, runtime.task_run.id)

    @flow(task_runner=runner)
    def run() -> Any:
        (one, first), (two, second) = told()
        return {"found": (one, two, first == second, first is not None)}

    assert run() == {"found": ("told", "told", True, True)}


# async

def test_an_async_generator_task_streams_where_it_is_iterated(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        return {"found": [x async for x in acount(3)]}

    assert asyncio.run(run()) == {"found": [0, 1, 2]}


@pytest.mark.differs("a submitted async generator fails: it is awaited as a coroutine")
def test_a_submitted_async_generator_task_gives_the_list(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (list(acount.submit(3).result()), total.submit(acount.submit(3)).result())}

    assert run() == {"found": ([0, 1, 2], 3)}


# flows

def test_a_generator_flow_streams_its_values(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run(n: int) -> Iterator[int]:
        for x in range(n):
            note(ledger, x)
            yield inc.submit(x).result()

    stream = iter(run(3))
    assert next(stream) == 1 and len(notes(ledger)) == 1
    assert list(stream) == [2, 3]


@pytest.mark.differs("the generator comes back, no state")
def test_a_generator_flow_with_return_state_gives_the_list(runner: Any) -> None:
    @flow(task_runner=runner)
    def run(n: int) -> Iterator[int]:
        yield from range(n)

    state = run(3, return_state=True)
    assert state.is_completed() and list(state.result()) == [0, 1, 2]


def test_a_generator_flow_that_fails_raises_where_it_is_consumed(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Iterator[int]:
        yield 1
        raise ValueError("after one")

    seen = []
    with pytest.raises(ValueError, match="after one"):
        for x in run():
            seen.append(x)
    assert seen == [1]


def test_an_async_generator_flow_streams_its_values(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run(n: int) -> AsyncIterator[int]:
        for x in range(n):
            yield inc.submit(x).result()

    async def collected() -> list[int]:
        return [x async for x in run(3)]

    assert asyncio.run(collected()) == [1, 2, 3]


def test_a_generator_flow_that_is_left_early_is_closed(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Iterator[int]:
        try:
            for x in range(100):
                yield inc.submit(x).result()
        finally:
            note(ledger, "closed")

    stream = run()
    assert next(iter(stream)) == 1
    stream.close()
    assert notes(ledger) == ["closed"]
