"""Processes of runs: handing an order over, and the spare one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping

import pytest

from dataflow.service import processes
from dataflow.service.orders import Order, counts_at_start
from dataflow.service.processes import Processes, RunProcess


def started(code: str) -> RunProcess:
    return RunProcess(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                       text=True, process_group=0))


def order(size: int = 5_000_000) -> Order:
    return Order(flow_run_id="r", entrypoint="f.py:f", parameters={"x": "x" * size})


@pytest.mark.timeout(30)
def test_an_order_that_is_not_read_yet_keeps_nobody_waiting() -> None:
    ended = threading.Event()
    process = started("import time; time.sleep(600)")
    process.begin(order(), ended.set)
    process.kill()
    assert ended.wait(20) and process.exit_code() == -9


@pytest.mark.timeout(30)
def test_a_process_that_dies_in_the_midst_of_its_order_has_ended() -> None:
    ended = threading.Event()
    process = started("import sys; sys.stdin.read(10); sys.exit(7)")
    process.begin(order(), ended.set)
    assert ended.wait(20) and process.exit_code() == 7


def test_spare_processes_that_die_are_not_started_one_after_another(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_COMMAND", (sys.executable, "-c", ""))
    begun: list[RunProcess] = []
    start = Processes._start

    def counted(made: Processes) -> RunProcess:
        begun.append(start(made))
        begun[-1].discard()
        return begun[-1]

    monkeypatch.setattr(Processes, "_start", counted)
    made = Processes()
    for _ in range(10):
        made.prepare()
    made.close()
    assert len(begun) == 1


def test_a_run_whose_environment_counts_at_the_start_gets_no_spare_process(
        monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, str] | None] = []
    start = Processes._start

    def noted(made: Processes, environment: Mapping[str, str] | None = None) -> RunProcess:
        given.append(None if environment is None else dict(environment))
        return start(made, environment)

    monkeypatch.setattr(processes, "_COMMAND", (sys.executable, "-c", "input()"))
    monkeypatch.setattr(Processes, "_start", noted)
    made = Processes()
    made.prepare()
    ended = threading.Event()
    begun = [made.begin(None, Order(flow_run_id="r", entrypoint="f.py:f", environment=each),  # type: ignore[arg-type]  # the run is not looked at
                        ended.set)
             for each in ({"TZ": "Asia/Tokyo", "A": "1"}, {"A": "1"})]
    made.close()
    for each in begun:
        each.kill()
        each._process.wait()
    assert given == [None, {"TZ": "Asia/Tokyo", "A": "1"}]


@pytest.mark.parametrize(("name", "early"), [
    ("PYTHONPATH", True), ("PYTHONHASHSEED", True), ("TZ", True), ("LC_ALL", True),
    ("LD_PRELOAD", True), ("COLOUR", False), ("DATAFLOW_LOG_LEVEL", False),
])
def test_which_variables_count_at_the_start(name: str, early: bool) -> None:
    assert counts_at_start(name) == early
