"""What type checkers are to see of tasks; read by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, assert_type

from dataflow import Task, allow_failure, flow, task, unmapped
from dataflow.futures import Future, FutureList
from dataflow.states import State


@task
def load(path: str, limit: int = 10) -> list[int]:
    return [len(path)] * limit


@task(name="store", retries=3, tags=["io"])
def store(rows: list[int], *, table: str) -> int:
    return len(rows)


@task
async def fetch(url: str) -> bytes:
    return url.encode()


@task
def count(upto: int) -> Generator[int, None, None]:
    yield from range(upto)


@task
async def ticks(upto: int) -> AsyncGenerator[float, None]:
    for n in range(upto):
        yield float(n)


class Shop:
    @task
    def price(self, item: str, amount: int = 1) -> float:
        return float(amount)

    @task(retries=1)
    async def order(self, item: str) -> int:
        return 1

    @staticmethod
    @task
    def plain(x: int) -> str:
        return str(x)


square = task(lambda x: x * x)
made = Task(len)


# calls keep the signature of the function
assert_type(load("a"), list[int])
assert_type(load("a", limit=3), list[int])
assert_type(store([1], table="t"), int)
load(1)  # type: ignore[call-overload]
load("a", "b")  # type: ignore[call-overload]
load()  # type: ignore[call-overload]
load("a", unknown=1)  # type: ignore[call-overload]
store([1])  # type: ignore[call-overload]

# states and wait_for
assert_type(load("a", return_state=True), State)
assert_type(load("a", wait_for=[load.submit("b")]), list[int])

# submit and map
assert_type(load.submit("a"), Future[list[int]])
assert_type(load.submit("a").result(), list[int])
assert_type(load.submit("a", return_state=True), State)
assert_type(load.map(["a", "b"], limit=unmapped(2)), FutureList[list[int]])
assert_type(load.map(["a", "b"]).result(), list[list[int]])
assert_type(load.map(["a"], return_state=True), list[State])
assert_type(store.submit(load.submit("a"), table="t"), Future[int])
assert_type(store.map(allow_failure(load.map(["a"])), table=unmapped("t")), FutureList[int])

# async functions and generators
assert_type(fetch.submit("u"), Future[bytes])
assert_type(fetch.map(["u", "v"]), FutureList[bytes])
assert_type(count(3), Generator[int, None, None])
assert_type(count.submit(3), Future[list[int]])
assert_type(count.map([3]), FutureList[list[int]])
assert_type(ticks(3), AsyncGenerator[float, None])
assert_type(ticks.submit(3), Future[list[float]])
fetch(1)  # type: ignore[call-overload]

# options
assert_type(load.with_options(retries=0)("a"), list[int])
assert_type(load.with_options(name="n", on_failure=[]).submit("a"), Future[list[int]])
load.with_options(retries="many")  # type: ignore[arg-type]
load.with_options(retry=1)  # type: ignore[call-arg]
load.with_options()(1)  # type: ignore[call-overload]
task(len, timeout_seconds="1")  # type: ignore[call-overload]

# methods
shop = Shop()
assert_type(shop.price("tea"), float)
assert_type(shop.price("tea", amount=2), float)
assert_type(shop.price.submit("tea"), Future[float])
assert_type(shop.price.map(["tea"]), FutureList[float])
assert_type(shop.price.with_options(retries=1)("tea"), float)
assert_type(shop.order.submit("tea"), Future[int])
assert_type(Shop.plain.submit(1), Future[str])
shop.price(3)  # type: ignore[call-overload]
shop.price("tea", "two")  # type: ignore[call-overload]


# hooks
@load.on_failure
def failed(task: Any, task_run: Any, state: State) -> None: ...


@load.on_completion
async def done(task: Any, task_run: Any, state: State) -> None: ...


assert_type(failed(None, None, load("a", return_state=True)), None)
assert_type(load.fn("a"), list[int])
assert_type(load.name, str)
assert_type(load.tags, set[str])


# flows
@flow
def pipeline(paths: list[str], table: str = "t") -> int:
    rows = load.map(paths)
    assert_type(rows[0], Future[list[int]])
    return store(rows[0].result(), table=table)


@flow(name="later", retries=1)
async def later(n: int) -> str:
    return str(n)


assert_type(pipeline(["a"]), int)
assert_type(pipeline(["a"], return_state=True), State)
pipeline("a")  # type: ignore[call-overload]
pipeline(["a"], table=1)  # type: ignore[call-overload]


async def awaits() -> None:
    assert_type(await fetch("u"), bytes)
    assert_type(await fetch("u", return_state=True), State)
    assert_type(await shop.order("tea"), int)
    assert_type(await later(1), str)
    async for tick in ticks(2):
        assert_type(tick, float)
