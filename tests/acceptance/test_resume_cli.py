"""Kill it and go on: a script dies in the middle, one command finishes its run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.run_support import ledger

SCRIPT = """
    import os
    import sys
    import time
    from pathlib import Path

    from dataflow import flow, task
    from dataflow.cache_policies import INPUTS

    HERE = Path(__file__).parent

    def note(what):
        with open(HERE / "ledger", "a") as file:
            file.write(f"{what}\\n")

    @task(cache_policy=INPUTS, batch_size=5)
    def load(x):
        if x == 17 and not (HERE / "died").exists():
            (HERE / "died").touch()
            time.sleep(1.0)  # what ended before is recorded
            os._exit(9)
        note(f"load {x}")
        return 2 * x

    @task(retries=0)
    def check(x):
        if (HERE / "bad").exists():
            raise ValueError("bad")
        note("check")
        return x

    @task(cache_policy=INPUTS)
    def total(xs, factor):
        note("total")
        return factor * sum(xs)

    @flow(task_runner="threads")
    def crunch(n: int, factor: int = 1):
        return total(load.map(range(n)), check.submit(factor))
"""
GUARD = """
    if __name__ == "__main__":
        print("result", crunch(int(sys.argv[1])))
"""


class Session:
    """A script in a folder, and commands typed beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.script = folder / "job.py"

    def write(self, *parts: str) -> None:
        self.script.write_text("".join(textwrap.dedent(part) for part in parts))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(self.script), *arguments], text=True,
                              capture_output=True, env=os.environ, timeout=60, check=False)

    def type(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "dataflow", *arguments], text=True,
                              capture_output=True, env=os.environ, timeout=60, check=False,
                              cwd=self.elsewhere)

    def json(self, *arguments: str) -> Any:
        done = self.type(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ledger(self) -> dict[str, int]:
        return dict(ledger(self.folder / "ledger"))


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_a_killed_script_is_finished_by_one_command_and_says_why(session: Session) -> None:
    session.write(SCRIPT, GUARD)
    assert session.run("30").returncode == 9
    before = session.json("flow-run", "inspect")
    assert before["state_name"] == "Running" and before["owner"] is not None
    assert before["entrypoint"] == f"{session.script}:crunch"

    done = session.type("flow-run", "resume", "last")
    assert done.returncode == 0, done.stderr
    assert "is Completed" in done.stdout

    after = session.json("flow-run", "inspect")
    assert (after["id"], after["state_name"], after["resumed"]) == (
        before["id"], "Completed", 1)
    counts = session.ledger()
    assert {name for name in counts if name.startswith("load")} == {
        f"load {x}" for x in range(30)}
    assert max(counts.values()) <= 2  # what was in flight at most, and once more

    why = session.type("task-run", "why", "last", "--map-index", "17")
    assert why.returncode == 0 and " ran because: no entry" in why.stdout
    assert "the flow run went on" in why.stdout
    assert "Completed" in session.type("task-run", "inspect", "--map-index", "17").stdout

    again = session.run("30")  # a new run takes all of it from what is kept
    assert again.stdout.split() == ["result", str(2 * sum(range(30)))]
    told = session.json("task-run", "why", "last", "--map-index", "17")
    assert told["verdict"] == "cached"
    assert told["nearest"]["flow_run_id"] == before["id"]


def test_a_completed_run_is_not_resumed_and_nothing_runs(session: Session) -> None:
    session.write(SCRIPT, GUARD)
    (session.folder / "died").touch()
    assert session.run("3").returncode == 0
    before = session.ledger()
    done = session.type("flow-run", "resume")
    assert done.returncode == 1 and "nothing to resume" in done.stderr
    assert session.ledger() == before


def test_retry_runs_what_failed_with_its_downstream(session: Session) -> None:
    session.write(SCRIPT, GUARD)
    (session.folder / "died").touch()
    (session.folder / "bad").touch()
    assert session.run("3").returncode == 1
    assert session.type("flow-run", "retry").returncode == 1  # still bad
    (session.folder / "bad").unlink()
    done = session.type("flow-run", "retry", "last", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state_name"] == "Completed"
    assert session.ledger() == {"load 0": 1, "load 1": 1, "load 2": 1, "check": 1, "total": 1}


def test_a_script_without_a_guard_does_not_start_a_second_run(session: Session) -> None:
    session.write(SCRIPT, "\ncrunch(30)\n")
    assert session.run().returncode == 9
    before = session.ledger()
    done = session.type("flow-run", "resume")
    assert done.returncode == 1
    assert "as it is imported" in done.stderr and "__name__" in done.stderr
    assert session.ledger() == before
    assert len(session.json("flow-run", "ls")) == 1
    session.write(SCRIPT, GUARD)  # mended
    assert session.type("flow-run", "resume").returncode == 0


def test_a_plan_from_the_command_line_runs_nothing(session: Session) -> None:
    session.write(SCRIPT, GUARD)
    (session.folder / "died").touch()
    assert session.run("3").returncode == 0
    before = session.ledger()
    plan = session.json("flow", "plan", f"{session.script}:crunch", "-p", "n=5")
    by_task = {row["task_name"]: row for row in plan["tasks"]}
    assert (by_task["load"]["cached"], by_task["load"]["would_run"]) == (3, 2)
    assert by_task["check"]["would_run"] == 1 and by_task["total"]["unknown"] == 1
    assert session.ledger() == before
    assert len(session.json("flow-run", "ls")) == 1
    shown = session.type("flow", "plan", f"{session.script}:crunch", "-p", "n=5").stdout
    assert "3 cached, 2 would run" in shown


@pytest.mark.parametrize(("arguments", "text"), [
    (("flow-run", "resume"), "no flow runs"),
    (("flow-run", "resume", "abcd"), "abcd"),
    (("flow", "plan", "gone.py:main"), "no file gone.py"),
    (("flow", "plan", "gone.py"), "file.py:function"),
])
def test_what_is_not_there_is_one_line_and_exit_code_1(
    session: Session, arguments: tuple[str, ...], text: str
) -> None:
    done = session.type(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") and text in done.stderr


def test_a_file_that_breaks_as_it_is_imported_is_told(session: Session) -> None:
    session.write("raise ValueError('broken file')\n")
    done = session.type("flow", "plan", f"{session.script}:main")
    assert done.returncode == 1
    assert "cannot be imported: ValueError: broken file" in done.stderr
    session.write("import sys\nsys.exit(0)\n")
    done = session.type("flow", "plan", f"{session.script}:main")
    assert done.returncode == 1 and "SystemExit" in done.stderr
