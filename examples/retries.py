"""A flaky step: retried where that helps, given up where it does not, and nothing else stops.

Each order is priced by a service that is busy at first and refuses one of the orders for good.

    python examples/retries.py
"""

from __future__ import annotations

import sys
from typing import Any

from dataflow import flow, runtime, task
from runners import ThreadPoolTaskRunner


class Busy(Exception):
    """The service wants to be asked again later."""


class Refused(Exception):
    """The service will never price this order."""


def is_busy(_task: Any, _run: Any, state: Any) -> bool:
    """Tell whether asking again may help."""
    return isinstance(state.result(raise_on_failure=False), Busy)


@task(retries=3, retry_delay_seconds=[0.05, 0.1, 0.2], retry_condition_fn=is_busy)
def price(order: int) -> float:
    """Ask the service, which answers the third time it is asked."""
    if order == 4:
        raise Refused(f"order {order} has no price")
    if runtime.task_run.run_count < 3:
        raise Busy(f"order {order}: try again later")
    return order * 9.99


@task
def total(prices: list[float | None]) -> float:
    """Add up what was priced."""
    return round(sum(p for p in prices if p is not None), 2)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def price_orders(count: int) -> tuple[float, dict[str, int], list[str]]:
    """Price all orders; nine in ten are enough for a total."""
    prices = price.with_options(min_success_ratio=0.9).map(range(count))
    revenue = total.submit(prices).result()   # failed orders arrive as None
    refused = [str(f.state.message) for f in prices if f.state.is_failed()]
    return revenue, dict(prices.counts()), refused


if __name__ == "__main__":
    revenue, counts, refused = price_orders(20)
    print(f"total {revenue}, {counts}")
    print(*refused, sep="\n")
    expected = round(sum(order * 9.99 for order in range(20) if order != 4), 2)
    right = revenue == expected and counts == {"Completed": 19, "Failed": 1} and len(refused) == 1
    sys.exit(0 if right else 1)
