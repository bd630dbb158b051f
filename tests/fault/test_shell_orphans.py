"""The flow's process or a worker goes in the middle of a command: no process of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.test_shell import family, gone, pids_in
from tests.run_support import ROOT, end_all, script_of, started, wait_until

RUNNERS = {
    "inline": "InlineTaskRunner()",
    "threads": "ThreadPoolTaskRunner(4)",
    "dask": "DaskTaskRunner(cluster_kwargs=dict(n_workers=1, threads_per_worker=1, "
            "silence_logs=50))",
}

DRIVER = """
    import sys
    from dataflow import flow, shell, task
    from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner

    COMMAND, RUNNER = sys.argv[1:]

    @task
    def command():
        # what a process does in its first moment is not covered where this one is killed
        shell.run("sleep 0.2;" + COMMAND, grace_seconds=0.5)

    @flow(task_runner=eval(RUNNER))
    def commands():
        command.submit().wait()

    if __name__ == "__main__":
        commands()
"""

TRIGGERED = """
    import sys
    from dataflow import shell

    shell.ShellOperation(commands=[sys.argv[1]]).trigger()
    while not __import__("os").path.exists(sys.argv[2]):
        __import__("time").sleep(0.02)
"""

SIGNALS = {"ctrl-c": signal.SIGINT, "told-to-end": signal.SIGTERM, "killed": signal.SIGKILL}

Family = list[psutil.Process]


@pytest.fixture
def members() -> Iterator[Family]:
    """Return a list of processes that are dead after the test whatever happens."""
    found: Family = []
    yield found
    end_all(found)


CASES = [(runner, how, False) for runner in RUNNERS for how in SIGNALS]
CASES += [("inline", "ctrl-c", True), ("threads", "killed", True)]  # one orderly way, one not


@pytest.mark.parametrize(("runner", "how", "stubborn"), CASES)
def test_command_ends_with_the_process_of_its_flow(
        tmp_path: Path, members: Family, runner: str, how: str, stubborn: bool) -> None:
    book = tmp_path / "book"
    script = script_of(tmp_path, DRIVER)
    driver = started(script, family(book, stubborn=stubborn), RUNNERS[runner],
                     out=tmp_path / "out")
    members.append(psutil.Process(driver.pid))
    pids = pids_in(book)
    members += psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(SIGNALS[how])
    driver.wait(30)
    wait_until(lambda: gone(pids), "the command is gone")
    assert len(pids) == len(set(pids)) > 0, "there were processes to be gone"


def test_command_ends_with_its_dask_worker(tmp_path: Path, members: Family) -> None:
    book = tmp_path / "book"
    text = family(book).replace("echo $!", "echo $PPID $!")
    driver = started(script_of(tmp_path, DRIVER), text, RUNNERS["dask"])
    members.append(psutil.Process(driver.pid))
    worker, *pids = pids_in(book)
    members += psutil.Process(driver.pid).children(recursive=True)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: gone(pids), "the command is gone")
    assert len(pids) == len(set(pids)) > 0, "there were processes to be gone"


def test_triggered_command_ends_with_the_interpreter(tmp_path: Path) -> None:
    book = tmp_path / "book"
    script = script_of(tmp_path, TRIGGERED)
    done = subprocess.run(
        [sys.executable, str(script), family(book), str(book)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=30, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(pids_in(book))
