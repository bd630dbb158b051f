"""A folder that is watched: each file that is put there makes one run, which takes it in.

A file is taken when it has stopped growing; those with the names of unfinished ones (``.part``,
``.tmp``, hidden ones) are left alone until they are renamed. Each file makes one run, also where
the worker is started anew.

    python examples/inbox.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflow import flow, task
from dataflow.stores import open_store
from dataflow.triggers import OnFile


@task
def price(line: str) -> float:
    """Return what a line of an order comes to."""
    _, count, each = line.split(",")
    return int(count) * float(each)


@flow
def take_in(path: str) -> float:
    """Add up an order, and write the sum beside the ledger of all."""
    total = sum(price.map(Path(path).read_text().splitlines()).result())
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(f"{Path(path).name} {total:.2f}\n")
    return total


# ------------------------------------------------------------------ somebody puts files there


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


def taken_in(ledger: Path, count: int) -> list[str]:
    """Wait until so many orders were taken in; return the ledger."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.1)
    sys.exit(f"only {lines} after a minute")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        inbox, ledger = Path(folder, "inbox"), Path(folder, "ledger")
        inbox.mkdir()
        os.environ |= {"DATAFLOW_HOME": folder, "LEDGER": str(ledger)}
        take_in.deploy("orders", triggers=[
            OnFile(f"{inbox}/*.csv", every=0.2, settle=0.4, existing="run",
                   parameters={"path": "{{ event.payload.path }}"})])
        with worker():
            (inbox / "monday.csv").write_text("tea,3,1.50\nmilk,1,0.90\n")
            slow = inbox / "tuesday.csv.part"
            slow.write_text("bread,2,")
            taken_in(ledger, 1)
            slow.write_text("bread,2,2.25\n")
            slow.rename(inbox / "tuesday.csv")
            taken_in(ledger, 2)
        with worker():  # another one, later: what was taken in is not taken in again
            (inbox / "wednesday.csv").write_text("rice,1,1.80\n")
            lines = taken_in(ledger, 3)
        store = open_store()
        runs = len(store.flow_runs(flow="take-in"))
        store.close()
        print(*lines, sep="\n")
        print(f"{runs} runs for {len(lines)} files")
    return 0 if lines == ["monday.csv 5.40", "tuesday.csv 4.50", "wednesday.csv 1.80"] and (
        runs == 3) else 1


if __name__ == "__main__":
    sys.exit(main())
