"""What type checkers are to see of flows; read by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, assert_type

from dataflow import Flow, flow
from dataflow.states import State


@flow
def total(year: int, table: str = "t") -> list[int]:
    return [year]


@flow(name="named", retries=3, timeout_seconds=5, strict=True)
def named(x: float) -> str:
    return str(x)


@flow
async def fetched(url: str) -> bytes:
    return url.encode()


@flow
def counted(upto: int) -> Generator[int, None, None]:
    yield from range(upto)


@flow
async def ticks(upto: int) -> AsyncGenerator[float, None]:
    yield 1.0


class Shop:
    @flow
    def price(self, item: str) -> float:
        return 1.0


# calls keep the signature of the function
assert_type(total(2013), list[int])
assert_type(total(year=2013, table="u"), list[int])
assert_type(named(1.5), str)
assert_type(counted(3), Generator[int, None, None])
assert_type(ticks(3), AsyncGenerator[float, None])
assert_type(Shop().price("a"), float)
total("2013")  # type: ignore[call-overload]
named()  # type: ignore[call-overload]
Shop().price(1)  # type: ignore[call-overload]

# a state instead
assert_type(total(2013, return_state=True), State)
assert_type(total(2013, wait_for=[1]), list[int])

# options
assert_type(total.with_options(name="other")(1), list[int])
assert_type(total.retries, int)
flow(retrys=3)  # type: ignore[call-overload]


async def main() -> None:
    assert_type(await fetched("u"), bytes)
    assert_type(await fetched("u", return_state=True), State)


@total.on_failure
def hook(flow: Flow[..., Any], flow_run: object, state: State) -> None: ...


assert_type(hook(total, object(), State("FAILED")), None)
