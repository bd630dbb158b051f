"""Graphs made of single submits: a chain, and a binary tree reduction, against ``client.submit``.

    python -m benchmarks.graph_shapes [--links 1000] [--leaves 4096]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Report, alternate, arguments, home, local_client
from benchmarks.work import add, identity, increment

Submit = Callable[..., Any]


def chain(submit: Submit, links: int) -> Any:
    """Submit one after the other, each taking what the one before returns."""
    last = submit(increment, 0)
    for _ in range(links - 1):
        last = submit(increment, last)
    return last


def tree(submit: Submit, leaves: int) -> Any:
    """Submit leaves, then join them two by two."""
    level = [submit(identity, i) for i in range(leaves)]
    while len(level) > 1:
        joined = [submit(add, a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = joined + (level[-1:] if len(level) % 2 else [])
    return level[0]


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import DaskTaskRunner

    options = arguments(__doc__, links=1_000, leaves=4_096).parse_args()
    links, leaves = options.links, options.leaves
    report = Report("graph_shapes", "Graphs of single submits, no-op tasks, whole time")
    tasks = {fn: task(fn) for fn in (increment, identity, add)}

    def submit_ours(fn: Any, *args: Any) -> Any:
        return tasks[fn].submit(*args)

    with home(), local_client() as client:
        @flow(task_runner=DaskTaskRunner(client=client))
        def ours(shape: Callable[[Submit, int], Any], size: int) -> Any:
            return shape(submit_ours, size).result()

        def submit_raw(fn: Any, *args: Any) -> Any:
            return client.submit(fn, *args, pure=False)

        def check(got: int, expected: int) -> None:
            assert got == expected, (got, expected)

        ours(chain, 10)
        shapes = (
            (f"chain of {links:,}", chain, links, links, 10),
            (f"tree of {2 * leaves - 1:,}", tree, leaves, leaves * (leaves - 1) // 2, 5),
        )
        for what, shape, size, expected, must in shapes:
            seconds = alternate({
                what: lambda s=shape, n=size, e=expected: check(ours(s, n), e),
                f"{what}, client.submit":
                    lambda s=shape, n=size, e=expected: check(s(submit_raw, n).result(), e),
            }, options.repeats, report)
            mine, raw = seconds.values()
            report.add(what, mine, "s", other=raw, against="client.submit", must=f"≥ {must}",
                       passed=raw / mine >= must)
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
