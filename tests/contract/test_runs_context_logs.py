"""Logs of runs on every runner: kept with the run, handed to the standard loggers once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import dataflow.logging as ours
from dataflow import flow, get_run_logger, runtime, task
from dataflow.context import get_run_context
from dataflow.exceptions import MissingContextError
from dataflow.logging import disable_run_logger, get_logger
from dataflow.settings import temporary_settings
from tests.run_support import script_of, started
from tests.runner_support import Play


class Heard(logging.Handler):
    """A handler as an application sets it up."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self, front: str) -> list[str]:
        return [r.getMessage() for r in self.records if r.getMessage().startswith(front)]


@pytest.fixture
def heard() -> Any:
    """Return a handler on the root logger."""
    handler, root = Heard(), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def test_lines_of_an_element_stay_in_order_and_are_handed_on_once(
    play: Play, heard: Heard
) -> None:
    @task
    def talk(x: int) -> None:
        for step in range(3):
            get_run_logger().warning("element %d step %d", x, step)

    play(lambda: talk.map(range(20)).wait())
    records = play.records
    for index in range(20):
        lines = records.store.logs(records.run.id, call=records.calls[0].call, index=index)
        assert [line.message for line in lines] == [
            f"element {index} step {step}" for step in range(3)]
        assert heard.texts(f"element {index} ") == [line.message for line in lines]


def test_every_level_and_an_exception_reach_the_log(play: Play) -> None:
    @task
    def talk() -> None:
        logger = get_run_logger()
        logger.debug("at debug")
        logger.info("at info")
        logger.warning("at warning")
        logger.error("at error")
        logger.critical("at critical")
        try:
            raise ValueError("inside")
        except ValueError:
            logger.exception("and %s", "failed")

    with temporary_settings(log_level="DEBUG"):
        play(lambda: talk.submit().wait())
    lines = [(line.level, line.message.split("\n")[0]) for line in play.records.store.logs(
        play.records.run.id, call=0)]
    assert lines == [(10, "at debug"), (20, "at info"), (30, "at warning"), (40, "at error"),
                     (50, "at critical"), (40, "and failed")]
    assert any("ValueError: inside" in m for m in play.records.messages())


def test_level_of_the_settings_holds_on_workers_too(play: Play) -> None:
    @task
    def talk() -> bool:
        get_run_logger().info("too quiet")
        get_run_logger().error("loud enough")
        return get_run_logger().isEnabledFor(logging.INFO)

    with temporary_settings(log_level="ERROR"):
        play(lambda: talk.submit().wait())
    said = play.records.messages()
    assert "loud enough" in said and "too quiet" not in said


def test_extra_fields_reach_handlers_where_the_process_is_the_same(heard: Heard) -> None:
    @flow(task_runner="threads")
    def body() -> None:
        get_run_logger(customer="acme").warning("line %s", 1, extra={"order": 7})
        get_run_logger(get_run_context()).getChild("part", {"part": 2}).warning("line 2")

    body()
    one, two = (r for r in heard.records if r.getMessage().startswith("line"))
    assert (one.customer, one.order, one.flow_name) == (  # type: ignore[attr-defined]
        "acme", 7, "body")
    assert one.funcName == "body" and one.name == ours.FLOW_RUNS
    assert (two.part, two.name) == (2, f"{ours.FLOW_RUNS}.part")  # type: ignore[attr-defined]


def test_no_handler_is_put_on_the_root_logger_and_its_level_stays(play: Play) -> None:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    play(lambda: get_run_logger().info("x"))
    assert (list(root.handlers), root.level) == before


def test_prints_are_logged_as_the_flow_says_in_tasks_and_flows_it_calls(play: Play) -> None:
    @task
    def talk(x: int) -> int:
        print("printed", x)
        return x

    @task(log_prints=False)
    def quiet() -> None:
        print("not logged")

    def body() -> None:
        @flow
        def inner() -> None:
            print("inner flow")
            talk.submit(3).wait()
            ids.append(runtime.flow_run.id)

        print("flow", "says", sep="-")
        talk.map([1]).wait()
        talk(2)
        quiet.submit().wait()
        inner()
        ids.append(runtime.flow_run.id)

    ids: list[Any] = []
    play(body, log_prints=True)
    of_inner, of_outer = ({line.message for line in play.records.store.logs(id)} for id in ids)
    assert {"flow-says", "printed 1", "printed 2"} <= of_outer and "not logged" not in of_outer
    assert {"inner flow", "printed 3"} <= of_inner and "printed 1" not in of_inner


def test_lines_of_extra_loggers_are_kept_with_the_run_they_belong_to(play: Play) -> None:
    @task
    def talk(x: int) -> None:
        logging.getLogger("vendor.http").info("vendor says %d", x)
        logging.getLogger("other").warning("other says")

    def body() -> None:
        talk.map([1, 2]).wait()
        talk(3)
        logging.getLogger("vendor").error("vendor in the flow")

    try:
        with temporary_settings(logging_extra_loggers=["vendor"]):
            play(body)
    finally:
        logging.getLogger("vendor").setLevel(logging.NOTSET)
    records = play.records
    said = [(line.logger, line.level, line.message) for line in records.store.logs(records.run.id)
            if line.logger.startswith(("vendor", "other"))]
    assert sorted(said) == [
        ("vendor", 40, "vendor in the flow"), ("vendor.http", 20, "vendor says 1"),
        ("vendor.http", 20, "vendor says 2"), ("vendor.http", 20, "vendor says 3")]
    play(body)
    assert not [m for m in play.records.messages() if "says" in m or "vendor" in m]


def test_lines_of_an_isolated_task_are_handed_on_once(play: Play, heard: Heard) -> None:
    @task(isolation="process")
    def talk() -> None:
        get_run_logger().warning("from a process of its own")

    play(lambda: talk.submit().wait())
    assert play.records.messages().count("from a process of its own") == 1
    assert heard.texts("from a process") == ["from a process of its own"]


def test_outside_of_runs_there_is_no_logger_but_while_they_are_disabled(heard: Heard) -> None:
    with pytest.raises(MissingContextError, match="disable_run_logger"):
        get_run_logger()

    @task
    def talk() -> int:
        get_run_logger().error("unheard")
        return 3

    with disable_run_logger():
        assert talk.fn() == 3
        assert talk() == 3
        with disable_run_logger():
            pass
        assert talk.fn() == 3
    assert not heard.texts("unheard")
    with pytest.raises(MissingContextError):
        talk.fn()
    assert disable_run_logger()(talk.fn)() == 3  # as a decorator


def test_a_run_keeps_nothing_while_its_loggers_are_disabled() -> None:
    @flow
    def body() -> None:
        get_run_logger().error("unheard")

    with disable_run_logger():
        body()
    assert "unheard" not in Play(None).records.messages()


def test_a_task_outside_of_flows_logs_to_the_standard_loggers(heard: Heard) -> None:
    @task
    def talk() -> None:
        get_run_logger().warning("alone")

    talk()
    record, = (r for r in heard.records if r.getMessage() == "alone")
    assert record.task_name == "talk"  # type: ignore[attr-defined]


def test_get_logger_gives_a_logger_below_the_packages() -> None:
    assert get_logger().name == "dataflow"
    assert get_logger("dataflow").name == "dataflow"
    assert get_logger("mine").name == get_logger("dataflow.mine").name == "dataflow.mine"


@pytest.mark.parametrize("runner", [
    "InlineTaskRunner()", "ThreadPoolTaskRunner()",
    pytest.param("DaskTaskRunner(cluster_kwargs={'n_workers': 1, 'threads_per_worker': 1})",
                 marks=pytest.mark.dask),
])
@pytest.mark.timeout(90)
def test_lines_show_once_on_the_console_of_a_plain_script(runner: str, tmp_path: Path) -> None:
    script = script_of(tmp_path, f"""
        import logging
        from dataflow import flow, get_run_logger, task
        from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner

        @task
        def inner(x):
            get_run_logger().warning("inner %d", x)

        @task(log_prints=True)
        def talk(x):
            get_run_logger().info("element %d", x)
            get_run_logger().debug("unseen")
            print("printed", x)
            inner(x)

        @flow(task_runner={runner})
        def body():
            get_run_logger().info("flow says")
            talk.map(range(3)).wait()

        if __name__ == "__main__":
            body()
            logging.getLogger("dataflow").info("still set up")
        """)
    shown = tmp_path / "shown"
    assert started(script, out=shown).wait(80) == 0
    lines = shown.read_text().splitlines()
    for text in ("flow says", *(f"{front} {x}" for front in ("element", "printed", "inner")
                                for x in range(3))):
        assert sum(line.endswith(f" - {text}") for line in lines) == 1, (text, lines)
    assert not any("unseen" in line for line in lines)
    assert any("| INFO    | Task run 'talk-" in line for line in lines)
    assert any("| WARNING | Task run " in line for line in lines)
