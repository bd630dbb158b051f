"""A run that is killed twice, hard, and goes on: every photo is developed once.

The run is a process of its own, which writes down what it really does. It is killed in the middle
with SIGKILL, resumed, killed again, and resumed to its end.

    python examples/killed.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from dataflow import flow, task

PHOTOS = 120
LEDGER = Path(os.environ.get("LEDGER", "ledger"))


@task(persist_result=True)
def develop(photo: int) -> int:
    """Take a moment, and note that it was done."""
    time.sleep(0.02)
    with LEDGER.open("a") as ledger:
        ledger.write(f"{photo}\n")
    return photo * photo


@task
def total(prints: list[int]) -> int:
    """Add up."""
    return sum(prints)


@flow(task_runner="inline")
def album() -> int:
    """Develop all photos, one after another."""
    return total.submit(develop.map(range(PHOTOS))).result()


def developed() -> list[str]:
    """Return what was really done so far."""
    return LEDGER.read_text().split() if LEDGER.exists() else []


def run_and_kill(what: str, after: int) -> None:
    """Run a process until it has developed some photos more, then kill it."""
    goal = len(developed()) + after
    process = subprocess.Popen([sys.executable, __file__, what], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(developed()) < goal and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"killed with {len(developed())} photos developed")


def main() -> int:
    """Kill it, kill it again, let it end."""
    run_and_kill("begin", after=30)
    run_and_kill("resume", after=30)
    result = subprocess.run([sys.executable, __file__, "resume"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, check=True, timeout=90)
    times = Counter(developed())
    again = sum(times.values()) - len(times)
    print(f"total {result.stdout.strip()}: {len(times)} of {PHOTOS} photos, {again} of them twice")
    right = int(result.stdout) == sum(n * n for n in range(PHOTOS)) and len(times) == PHOTOS
    print(f"Right: {'yes' if right and again < PHOTOS / 2 else 'NO'}")
    return 0 if right and again < PHOTOS / 2 else 1


if __name__ == "__main__":
    if sys.argv[1:]:
        print(album() if sys.argv[1] == "begin" else album.resume("last"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LEDGER"], os.environ["DATAFLOW_HOME"] = f"{folder}/ledger", folder
            LEDGER = Path(os.environ["LEDGER"])
            sys.exit(main())
