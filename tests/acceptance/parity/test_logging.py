"""Logs of runs: through standard ``logging``, from wherever a task runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    PACKAGE,
    disable_run_logger,
    flow,
    get_run_logger,
    runtime,
    task,
)

ON_WORKERS = pytest.mark.differs("lines of workers go to a server only", on="dask-processes")


class Heard(logging.Handler):
    """A handler of the user's."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self, text: str = "") -> list[str]:
        return [r.getMessage() for r in self.records if text in r.getMessage()]


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    loggers = [logging.getLogger(f"{PACKAGE}.{kind}") for kind in ("flow_runs", "task_runs")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield handler
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@task
def logs(x: Any) -> Any:
    logger = get_run_logger()
    logger.info("first of %s", x)
    logger.warning("second of %s", x)
    return x


@task
def prints(x: Any) -> Any:
    print("printed", x)
    return x


@ON_WORKERS
def test_lines_of_tasks_reach_handlers_of_the_flows_process(runner: Any, heard: Heard) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        logs.submit(1).wait()
        return {"a": 1}

    run()
    assert heard.lines("of 1") == ["first of 1", "second of 1"]
    levels = {r.getMessage(): r.levelname for r in heard.records}
    assert (levels["first of 1"], levels["second of 1"]) == ("INFO", "WARNING")


@ON_WORKERS
def test_lines_of_one_element_keep_their_order(runner: Any, heard: Heard) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        logs.map(range(4)).wait()
        return {"a": 1}

    run()
    for x in range(4):
        assert heard.lines(f"of {x}") == [f"first of {x}", f"second of {x}"]


def test_lines_of_the_flow_are_logged_with_its_names(runner: Any, heard: Heard) -> None:
    @flow(task_runner=runner, name="Logger", flow_run_name="lr")
    def run() -> Any:
        get_run_logger().info("hello from the flow")
        return {"id": str(runtime.flow_run.id)}

    id = run()["id"]
    (record,) = [r for r in heard.records if r.getMessage() == "hello from the flow"]
    assert record.name == f"{PACKAGE}.flow_runs"
    assert (record.flow_name, record.flow_run_name, str(record.flow_run_id)) == (
        "Logger", "lr", id)


@ON_WORKERS
@pytest.mark.parametrize("of_flow, of_task, expected", [
    (True, None, True), (None, True, True), (True, False, False), (None, None, False)], ids=str)
def test_log_prints_is_inherited_from_the_flow(
    runner: Any, heard: Heard, of_flow: Any, of_task: Any, expected: bool
) -> None:
    chosen = prints.with_options(log_prints=of_task)

    @flow(task_runner=runner, log_prints=of_flow)
    def run() -> Any:
        chosen.submit("here").wait()
        return {"a": 1}

    run()
    if not expected and of_flow is None:
        assert heard.lines("printed") == []
    else:
        assert (heard.lines("printed here") == ["printed here"]) is expected


def test_prints_of_the_flow_itself_are_logged(runner: Any, heard: Heard) -> None:
    @flow(task_runner=runner, log_prints=True)
    def run() -> Any:
        print("in the flow")
        prints("called")
        return {"a": 1}

    run()
    assert heard.lines("in the flow") == ["in the flow"]
    assert heard.lines("printed called") == ["printed called"]


def test_prints_are_prints_where_they_are_not_logged(capfd: Any) -> None:
    @flow
    def run() -> Any:
        print("plainly", "said")
        return {"a": 1}

    run()
    assert "plainly said\n" in capfd.readouterr().out


def test_print_to_a_file_stays_there(heard: Heard, tmp_path: Any) -> None:
    @flow(log_prints=True)
    def run() -> Any:
        with (tmp_path / "out").open("w") as out:
            print("to a file", file=out)
        return {"a": 1}

    run()
    assert (tmp_path / "out").read_text() == "to a file\n"
    assert heard.lines("to a file") == []


@ON_WORKERS
def test_exceptions_are_logged_with_their_traceback(runner: Any, heard: Heard) -> None:
    @task
    def catches() -> None:
        try:
            raise ValueError("inside")
        except ValueError:
            get_run_logger().exception("caught it")

    @flow(task_runner=runner)
    def run() -> Any:
        catches.submit().wait()
        return {"a": 1}

    run()
    (record,) = [r for r in heard.records if "caught it" in r.getMessage()]
    told = record.getMessage() + str(record.exc_text or record.exc_info)
    assert record.levelname == "ERROR" and "inside" in told


def test_disable_run_logger_lets_functions_be_tested_alone() -> None:
    def uses() -> str:
        get_run_logger().info("nobody hears")
        return "fine"

    with disable_run_logger():
        assert task(uses).fn() == "fine"


def test_the_end_of_a_flow_is_logged(runner: Any, heard: Heard) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"a": 1}

    run()
    assert heard.lines("Finished in state Completed()") == ["Finished in state Completed()"]


@ON_WORKERS
def test_a_failing_task_is_heard_of(runner: Any, heard: Heard) -> None:
    @task
    def boom() -> None:
        raise ValueError("logged")

    @flow(task_runner=runner)
    def run() -> Any:
        boom.submit().wait()
        return {"a": 1}

    run()
    assert any(r.levelno >= logging.WARNING and "logged" in r.getMessage()
               for r in heard.records)


@ON_WORKERS
def test_lines_of_tasks_carry_their_run(runner: Any, heard: Heard) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = logs.with_options(task_run_name="t-{x}").submit(3)
        future.wait()
        return {"id": str(future.task_run_id)}

    id = run()["id"]
    (record,) = [r for r in heard.records if r.getMessage() == "first of 3"]
    assert record.name == f"{PACKAGE}.task_runs"
    assert (record.task_name, record.task_run_name, str(record.task_run_id)) == ("logs", "t-3", id)


@ON_WORKERS
def test_extra_fields_travel_along(runner: Any, heard: Heard) -> None:
    @task
    def with_extra() -> None:
        get_run_logger(customer="c1").info("extra line")

    @flow(task_runner=runner)
    def run() -> Any:
        with_extra.submit().wait()
        return {"a": 1}

    run()
    (record,) = [r for r in heard.records if r.getMessage() == "extra line"]
    assert record.customer == "c1"
