"""Large values from task to task, against futures of raw Dask.

    python -m benchmarks.locality [--megabytes 200] [--pieces 20]

Both sides run inside one flow run, in turn, so that values and their way are compared and not the
start of a run; what that start adds is a row of its own.
"""

from __future__ import annotations

import statistics
import sys
import time

from benchmarks.harness import Report, alternate, arguments, home, local_client
from benchmarks.work import consume_block, make_block


def main() -> int:
    """Measure; return the exit code."""
    from dataflow import flow, task
    from runners import DaskTaskRunner

    parser = arguments(__doc__, megabytes=200, pieces=20)
    parser.set_defaults(repeats=15)  # each takes some 30 ms
    options = parser.parse_args()
    whole, pieces = options.megabytes, options.pieces
    piece = whole // pieces
    report = Report("locality", f"{whole} MB from task to task, whole time")
    make, consume = task(make_block), task(consume_block)

    with home(), local_client() as client:
        runner = DaskTaskRunner(client=client)

        def ours_single() -> None:
            assert consume.submit(make.submit(whole)).result() == whole * 1_000_000

        def ours_mapped() -> None:
            sizes = consume.map(make.map([piece] * pieces)).result()
            assert sizes == [piece * 1_000_000] * pieces

        def raw_single() -> None:
            block = client.submit(make_block, whole, pure=False)
            assert client.submit(consume_block, block, pure=False).result() == whole * 1_000_000

        def raw_mapped() -> None:
            blocks = client.map(make_block, [piece] * pieces, pure=False)
            sizes = client.gather(client.map(consume_block, blocks, pure=False))
            assert sizes == [piece * 1_000_000] * pieces

        @flow(task_runner=runner)
        def both() -> None:
            for what, ours, raw in (
                (f"one value of {whole} MB", ours_single, raw_single),
                (f"a map of {pieces} × {piece} MB", ours_mapped, raw_mapped),
            ):
                ours(), raw()
                seconds = alternate({what: ours, f"{what}, raw": raw},
                                    options.repeats, report)
                mine, theirs = seconds.values()
                report.add(what, mine * 1e3, "ms", other=theirs * 1e3,
                           against="futures of raw Dask", must="≤ 1.2 times",
                           passed=mine <= 1.2 * theirs)

        @flow(task_runner=runner)
        def run_of_its_own() -> None:
            ours_single()

        both()
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            run_of_its_own()
            taken.append(time.perf_counter() - began)
    report.add("one value, flow run included", statistics.median(taken) * 1e3, "ms")
    return report.finish(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
