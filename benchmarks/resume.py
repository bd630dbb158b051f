"""A driver is killed half-way through a map; another goes on: how soon, how large, what again.

    python -m benchmarks.resume [--elements 1000000]

Scheduler and workers are processes of their own and outlive the driver. An element writes a line
of 16 bytes into a ledger when it runs, so what ran, when, and how often is known without asking
the records. The driver is killed by SIGKILL when half of the lines are there; a new process calls
``flow.resume("last")`` when nothing of the old one runs any more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    PROJECT,
    PeakMemory,
    Report,
    arguments,
    cluster_apart,
    home,
    recorded,
)
from benchmarks.work import enter

FIRST_S, DRIVER_MB = 10.0, 300.0
LINE = 16  # bytes of the ledger
QUIET_S = 1.0
TRIES = 3  # so few elements may be that the driver ends before it is killed


def main() -> int:
    """Measure; return the exit code."""
    options = arguments(__doc__, elements=1_000_000).parse_args()
    n = options.elements
    report = Report("resume", f"{n:,} persisted elements, driver killed half-way, resumed")
    with home(), cluster_apart() as cluster, tempfile.TemporaryDirectory() as folder:
        story = kill_and_resume(cluster.address, Path(folder), n)
        states = recorded()
    assert sum(states.values()) == n and set(states) <= {"Completed", "Cached"}, states
    add_rows(report, story, n)
    return report.finish(strict=options.strict)


@dataclass
class Story:
    """What happened."""

    killed_after_s: float
    killed: Ledger
    ended: Ledger
    said: dict[str, Any]  # by the process that resumed


@dataclass
class Ledger:
    """Which elements ran, and when."""

    elements: Any  # NumPy
    times: Any

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Return what stands in all files of a folder."""
        import numpy as np

        data = b"".join(file.read_bytes() for file in folder.iterdir())
        lines = np.frombuffer(data, dtype=[("element", "<i8"), ("time", "<f8")])
        return cls(lines["element"], lines["time"])


def kill_and_resume(address: str, folder: Path, n: int) -> Story:
    """Start a driver, kill it half-way, and have another one go on."""
    for number in range(TRIES):
        ledger = folder / str(number)
        ledger.mkdir()
        killed_after_s = killed_half_way(address, ledger, n)
        wait_until_quiet(ledger)
        killed = Ledger.read(ledger)
        if len(killed.elements) < n:
            break
    else:
        raise RuntimeError(f"{n:,} elements are too few: all had run when the driver was killed")
    driver = start("go_on", address, ledger, n)
    out, _ = driver.communicate()
    if driver.returncode:
        raise RuntimeError("the resumed run failed")
    return Story(killed_after_s, killed, Ledger.read(ledger), json.loads(out.splitlines()[-1]))


def killed_half_way(address: str, ledger: Path, n: int) -> float:
    """Start a driver and kill it when half of the elements ran; return after how many seconds."""
    began = time.perf_counter()
    driver = start("begin", address, ledger, n)
    try:
        while lines(ledger) < n // 2 and driver.poll() is None:
            time.sleep(0.01)
    finally:
        driver.kill()
        driver.wait()
    return time.perf_counter() - began


def start(role: str, address: str, folder: Path, n: int) -> subprocess.Popen[str]:
    """Start a driver: a process that calls one of the two functions below."""
    call = f"from benchmarks.resume import {role}; {role}({address!r}, {str(folder)!r}, {n})"
    return subprocess.Popen([sys.executable, "-c", call], cwd=PROJECT, text=True,
                            stdout=subprocess.PIPE)


def lines(folder: Path) -> int:
    """Return how many elements have begun so far."""
    return sum(file.stat().st_size for file in folder.iterdir()) // LINE


def wait_until_quiet(folder: Path) -> None:
    """Wait until workers have ended what the killed driver gave them."""
    before, since = lines(folder), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        time.sleep(0.05)
        now = lines(folder)
        if now != before:
            before, since = now, time.monotonic()


# ------------------------------------------------------------------ the drivers' side


def begin(address: str, folder: str, n: int) -> None:
    """Run the flow; it will be killed."""
    driver_flow(address)(folder, n)


def go_on(address: str, folder: str, n: int) -> None:
    """Resume the last run, and print what was seen of it."""
    import psutil

    ours = driver_flow(address)
    began = time.time()
    with PeakMemory(every_s=0.05, driver=psutil.Process()) as memory:
        ours.resume("last")
        seconds = time.time() - began
    print(json.dumps({"began": began, "seconds": seconds, "peak_mb": memory.peak_mb["driver"]}))


def driver_flow(address: str) -> Any:
    """Return the flow: one map whose results are kept."""
    from dataflow import flow, task, unmapped
    from runners import DaskTaskRunner

    work = task(enter, name="work", persist_result=True)

    @flow(name="resumed", task_runner=DaskTaskRunner(address=address))
    def resumed(folder: str, count: int) -> None:
        work.map(unmapped(folder), range(count)).wait()

    return resumed


# ------------------------------------------------------------------ the figures


def add_rows(report: Report, story: Story, n: int) -> None:
    """Say how it went."""
    import numpy as np

    began = story.said["began"]
    ran = np.bincount(story.ended.elements, minlength=n)
    before = np.bincount(story.killed.elements, minlength=n) > 0
    assert (ran > 0).all(), f"{(ran == 0).sum()} elements never ran"
    after = story.ended.times > began
    new = after & ~before[story.ended.elements]
    first_s = float(story.ended.times[new].min()) - began
    again = int((ran > 1).sum())
    peak_mb = story.said["peak_mb"]
    report.add("first new element runs", first_s, "s", must=f"≤ {FIRST_S:.0f} s",
               passed=first_s <= FIRST_S, note="after the call of flow.resume; the process and "
               "its imports are not counted")
    report.add("driver's memory, at most", peak_mb, "MB", must=f"< {DRIVER_MB:.0f} MB",
               passed=peak_mb < DRIVER_MB)
    report.add("executed again", again, "elements",
               note=f"of {before.sum():,} that had run, {again / n:.2%} of all; "
               f"{int(after.sum()):,} ran after the resume")
    report.add("until killed", story.killed_after_s, "s")
    report.add("from the resume to the end", story.said["seconds"], "s")


if __name__ == "__main__":
    sys.exit(main())
