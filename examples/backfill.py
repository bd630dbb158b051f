"""A backfill: the days that a deployment did not run for, made up for as one flow run.

A report is deployed to run once a day. For a week that lies behind nobody ran it; on one day it
fails, since that day's figures are not there yet. The backfill runs it for each day, two at a time;
when the figures are there, what failed is run again, and nothing else.

    python examples/backfill.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflow import flow, runtime
from dataflow.deployments import backfill

WEEK = [f"2026-03-{day:02d}" for day in range(2, 9)]


@flow
def report() -> int:
    """Write down the sales of the day that the run is of."""
    day = runtime.flow_run.scheduled_start_time.date().isoformat()
    sales = int(Path(os.environ["SHOP"], f"{day}.sales").read_text())
    with Path(os.environ["SHOP"], "reports").open("a") as reports:
        reports.write(f"{day} {sales}\n")
    return sales


# ------------------------------------------------------------------ the days behind


@contextmanager
def worker() -> Iterator[None]:
    """Run a worker, as ``dataflow worker start`` does, and let it end its runs."""
    process = subprocess.Popen([sys.executable, "-m", "dataflow", "worker", "start"],
                               stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DATAFLOW_HOME": folder, "SHOP": folder}
        report.deploy("daily", cron="0 6 * * *", paused=True)
        for number, day in enumerate(WEEK):
            if day != "2026-03-05":
                Path(folder, f"{day}.sales").write_text(str(100 + number))
        with worker():
            first = backfill("report/daily", "2026-03-02", "2026-03-09", max_active=2)
            Path(folder, "2026-03-05.sales").write_text("103")
            second = backfill("report/daily", "2026-03-02", "2026-03-09", reprocess="failed")
        for each in (first, second):
            assert each.run is not None
            print(f"{len(each.chosen)} of {len(each.slots)} days: {each.run.state_name}, "
                  f"{each.run.message or 'all of them'}")
        lines = sorted(Path(folder, "reports").read_text().splitlines())
        print(*lines, sep="\n")
    return 0 if lines == [f"{day} {100 + number}" for number, day in enumerate(WEEK)] and (
        [len(first.chosen), len(second.chosen)] == [7, 1]) else 1


if __name__ == "__main__":
    sys.exit(main())
