"""Pools by command: a stand-in for docker takes runs elsewhere, and dies now and then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataflow.service.command_template import CommandTemplate
from dataflow.service.deploying import order_of
from tests.run_support import ROOT, ledger, wait_until
from tests.unattended_support import Site

FLOWS = """
    import os
    import time
    from pathlib import Path

    from dataflow import flow, task
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"

    @task
    def add(x, y):
        return x + y

    @flow
    def adding(n: int, y: int = 1):
        note(BOOK, f"adding {n} {y} {os.environ.get('COLOUR', '')} "
                   f"{os.environ.get('SECRET', '-')} {os.environ.get('DATAFLOW_ORDER', '-')}")
        return sum(add.map(range(n), y).result())

    @flow
    def sleeping(nap: float = 60.0):
        note(BOOK, "sleeping")
        time.sleep(nap)
        note(BOOK, "woken")

    @flow
    def measuring(text: str):
        note(BOOK, str(len(text)))
"""

DOCKER = [sys.executable, str(ROOT / "tests" / "stand_in_docker.py")]
INNER = ["{python}", "-m", "dataflow.service.performing"]
RUN = [*DOCKER, "run", "--rm", "--name", "{name}", "-e", "DATAFLOW_ORDER", "-e", "DATAFLOW_STORE",
       "-e", "DATAFLOW_HOME", "{image}", *INNER]


class Yard(Site):
    """A site whose pool is a stand-in for docker."""

    def pool(self, command: list[str] | None = None, cancel: list[str] | None = None,
             image: str = "flows:7", **more: Any) -> None:
        template = CommandTemplate.made(
            command or RUN, cancel, variables={"image": image}, **more)
        with self.store() as store:
            store.agenda().put_pool("docker", kind="command", template=template.to_json())

    def container(self, flow_run_id: str, attempt: int = 1) -> int:
        """Return the process id of a run's container."""
        path = self.folder / f"dataflow-{flow_run_id}-{attempt}.pid"
        wait_until(lambda: path.is_file() and path.read_text() != "", "the container runs", 40)
        return int(path.read_text())

    def close(self) -> None:
        super().close()
        for path in self.folder.glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.killpg(int(path.read_text()), signal.SIGKILL)


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setenv("STAND_IN_FOLDER", str(tmp_path))
    monkeypatch.setenv("SECRET", "of the worker")
    made = Yard(tmp_path, FLOWS)
    yield made
    made.close()


def test_a_run_goes_into_a_container_and_comes_to_its_end(yard: Yard) -> None:
    yard.pool()
    yard.deploy("adding", work_pool="docker", environment={"COLOUR": "red"}, parameters={"y": 3})
    flow_run_id = yard.ask("adding/d", {"n": 4})
    yard.worker("--pool", "docker")
    row = yard.ended(flow_run_id)
    assert (row.state_name, row.parameters) == ("Completed", '{"n": 4, "y": 3}')
    assert ledger(yard.folder / "book") == Counter(["adding 4 3 red - -"])
    wait_until(lambda: yard.queued(flow_run_id).phase == "ended", "the worker knows")
    assert yard.container(flow_run_id) == row.pid
    assert list(Path(os.environ["DATAFLOW_HOME"], "orders").iterdir()) == []
    with yard.store() as store:
        assert [each.kind for each in store.agenda().workers()] == ["command"]


@pytest.mark.parametrize(("image", "code", "said"), [
    ("missing", 125, "pull access denied"), ("quiet", 0, ""), ("broken", 127, "not found in"),
])
def test_a_command_that_ends_before_the_run_began_is_a_crash_that_says_why(
        yard: Yard, image: str, code: int, said: str) -> None:
    yard.pool(image=image)
    yard.deploy("adding", work_pool="docker")
    flow_run_id = yard.ask("adding/d", {"n": 1})
    yard.worker("--pool", "docker")
    row = yard.ended(flow_run_id)
    assert row.state_name == "Crashed"
    assert f"never began: its command ended with exit code {code}" in str(row.message)
    assert said in str(row.message)
    assert ledger(yard.folder / "book") == Counter()


def test_a_program_that_is_not_there_is_told(yard: Yard) -> None:
    yard.pool(command=["no-such-docker", "run", "{name}", "{image}"])
    yard.deploy("adding", work_pool="docker")
    flow_run_id = yard.ask("adding/d", {"n": 1})
    yard.worker("--pool", "docker")
    row = yard.ended(flow_run_id)
    assert row.state_name == "Crashed" and "no-such-docker" in str(row.message)


@pytest.mark.parametrize("cancel", [None, [*DOCKER, "stop", "{name}"]], ids=["signal", "command"])
def test_a_run_in_a_container_that_is_cancelled_is_cancelled(
        yard: Yard, cancel: list[str] | None) -> None:
    yard.pool(cancel=cancel)
    yard.deploy("sleeping", work_pool="docker", on_crash="resume")
    flow_run_id = yard.ask("sleeping/d")
    yard.worker("--pool", "docker")
    yard.process_of(flow_run_id)
    with yard.store() as store:
        assert store.agenda().ask_to_cancel(flow_run_id, time.time())
    assert yard.ended(flow_run_id, 30).state_name == "Cancelled"
    wait_until(lambda: yard.queued(flow_run_id).phase == "ended", "the worker knows")
    assert ledger(yard.folder / "book") == Counter(["sleeping"])
    assert (yard.folder / "stopped").exists() == (cancel is not None)


def test_a_second_signal_to_the_worker_cancels_by_the_command_too(yard: Yard) -> None:
    yard.pool(cancel=[*DOCKER, "stop", "{name}"])
    yard.deploy("sleeping", work_pool="docker", on_crash="resume")
    flow_run_id = yard.ask("sleeping/d")
    worker = yard.worker("--pool", "docker")
    yard.process_of(flow_run_id)
    for _ in range(2):
        worker.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert worker.wait(30) == 0
    assert yard.row(flow_run_id).state_name == "Cancelled"


def test_a_container_goes_on_when_its_worker_is_killed_and_its_end_is_recorded(
        yard: Yard) -> None:
    yard.pool()
    yard.deploy("sleeping", work_pool="docker", on_crash="resume", parameters={"nap": 6.0})
    flow_run_id = yard.ask("sleeping/d")
    worker = yard.worker("--pool", "docker", claim_s=2.0)
    yard.process_of(flow_run_id)
    worker.kill()
    worker.wait()
    yard.worker("--pool", "docker", claim_s=2.0)
    assert yard.ended(flow_run_id).state_name == "Completed"
    wait_until(lambda: yard.queued(flow_run_id).phase == "ended", "somebody looked after it", 30)
    assert ledger(yard.folder / "book") == Counter(["sleeping", "woken"])
    assert yard.queued(flow_run_id).tries == 1


def test_a_run_whose_command_is_killed_goes_on_in_its_container(yard: Yard) -> None:
    yard.pool()
    yard.deploy("sleeping", work_pool="docker", on_crash="resume", parameters={"nap": 5.0})
    flow_run_id = yard.ask("sleeping/d")
    worker = yard.worker("--pool", "docker", claim_s=2.0)
    container = yard.process_of(flow_run_id)
    (command,) = [child for child in psutil.Process(worker.pid).children()
                  if child.pid != container]
    command.kill()
    assert yard.ended(flow_run_id).state_name == "Completed"
    assert ledger(yard.folder / "book") == Counter(["sleeping", "woken"])
    wait_until(lambda: yard.queued(flow_run_id).phase == "ended", "somebody looked after it", 30)


@pytest.mark.parametrize("on_crash", ["crash", "resume"])
def test_a_container_that_is_killed_is_a_crash_or_goes_on_in_another_one(
        yard: Yard, on_crash: Any) -> None:
    yard.pool()
    yard.deploy("sleeping", work_pool="docker", on_crash=on_crash, parameters={"nap": 4.0})
    flow_run_id = yard.ask("sleeping/d")
    yard.worker("--pool", "docker", claim_s=2.0)
    os.kill(yard.process_of(flow_run_id), signal.SIGKILL)
    row = yard.ended(flow_run_id)
    if on_crash == "crash":
        assert row.state_name == "Crashed"
        assert "The run's command ended with exit code 137" in str(row.message)
    else:
        assert (row.state_name, yard.queued(flow_run_id).tries) == ("Completed", 2)


def test_a_stopped_container_that_nobody_cancelled_is_no_cancel(yard: Yard) -> None:
    """A pod that is evicted gets SIGTERM, too."""
    yard.pool()
    yard.deploy("sleeping", work_pool="docker")
    flow_run_id = yard.ask("sleeping/d")
    yard.worker("--pool", "docker", claim_s=2.0)
    os.kill(yard.process_of(flow_run_id), signal.SIGTERM)
    row = yard.ended(flow_run_id)
    assert row.state_name == "Crashed" and "exit code 143" in str(row.message)


def test_a_large_order_begins_all_the_same(yard: Yard) -> None:
    yard.pool()
    yard.deploy("measuring", work_pool="docker")
    flow_run_id = yard.ask("measuring/d", {"text": "ä" * 1_000_000})
    yard.worker("--pool", "docker")
    assert yard.ended(flow_run_id).state_name == "Completed"
    assert ledger(yard.folder / "book") == Counter(["1000000"])


@pytest.mark.parametrize("way", [["--order", "{order}"], ["--order-file", "{order_file}"],
                                 ["--run", "{flow_run_id}"]], ids=lambda way: str(way[0]))
def test_an_order_may_come_in_other_ways(yard: Yard, way: list[str]) -> None:
    yard.pool(command=[*INNER, *way])
    yard.deploy("adding", work_pool="docker", environment={"TZ": "Asia/Tokyo"})
    flow_run_id = yard.ask("adding/d", {"n": 2})
    yard.worker("--pool", "docker")
    row = yard.ended(flow_run_id)
    assert row.state_name == "Completed", (row.message, yard.said())


def test_an_order_that_waited_until_its_run_was_taken_again_is_void(yard: Yard) -> None:
    """A job that waited in the queue of a batch system while its worker was dead."""
    yard.pool(command=[sys.executable, "-c", "import time; time.sleep(600)"])
    yard.deploy("adding", work_pool="docker")
    flow_run_id = yard.ask("adding/d", {"n": 1})
    worker = yard.worker("--pool", "docker", claim_s=1.0)
    wait_until(lambda: yard.queued(flow_run_id).phase == "taken", "it is taken", 30)
    order = order_of(yard.queued(flow_run_id)).text()
    yard.kill_all_of(worker)
    yard.pool(command=[*INNER])
    yard.worker("--pool", "docker", claim_s=1.0)
    assert yard.ended(flow_run_id, 60).state_name == "Completed"
    late = subprocess.run([sys.executable, "-m", "dataflow.service.performing", "--order", order],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert (late.returncode, "nothing is done here" in late.stderr) == (4, True), late.stderr
    assert sum(ledger(yard.folder / "book").values()) == 1


def test_names_reach_the_command_as_they_are(yard: Yard) -> None:
    nasty = "a b; touch pwned $(touch pwned) `touch pwned` 'x' \"y\" | $HOME"
    show = "import sys; open(sys.argv[1], 'w').write(repr(sys.argv[2:]))"
    out = yard.folder / "argv"
    yard.pool(command=[sys.executable, "-c", show, str(out), "--d={deployment}", "{queue}"])
    yard.deploy("adding", nasty, work_pool="docker", work_queue=nasty)
    with yard.store() as store:
        (deployment,) = store.agenda().deployments()
    flow_run_id = yard.ask(deployment.name, {"n": 1})
    yard.worker("--pool", "docker")
    assert yard.ended(flow_run_id).state_name == "Crashed"  # it never began
    assert out.read_text() == repr([f"--d={deployment.name}", nasty])
    assert not list(yard.folder.rglob("pwned"))
