"""Every runner: commands inside tasks, their lines on record, and that they end with their task."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, shell, task
from dataflow.exceptions import CancelledRun, ShellError, TaskRunTimeoutError
from tests.acceptance.test_shell import family, gone, pids_in
from tests.dask_support import wait_until
from tests.runner_support import Play


@task
def command(text: str, **options: Any) -> list[str]:
    return shell.run(text, **options).stdout


def test_lines_are_recorded_in_order_with_their_level(play: Play) -> None:
    def body() -> Any:
        return command.submit(
            "for n in 1 2 3; do echo line $n; done; sleep 0.1; echo aside >&2").result()

    assert play(body) == ["line 1", "line 2", "line 3"]
    lines = [(line.level, line.message) for line in play.records.store.logs(play.records.run.id)
             if line.call == 0]
    assert lines == [(logging.INFO, "line 1"), (logging.INFO, "line 2"),
                     (logging.INFO, "line 3"), (logging.WARNING, "aside")]


def test_exit_code_fails_the_element_alone_and_reaches_the_flow(play: Play) -> None:
    def body() -> Any:
        many = command.map([f"echo {n}; exit {n}" for n in range(3)])
        many.wait()
        error = many[2].result(raise_on_failure=False)
        return many[0].result(), [f.state.name for f in many], error

    value, names, error = play(body)
    assert (value, names) == (["0"], ["Completed", "Failed", "Failed"])
    assert isinstance(error, ShellError) and error.exit_code == 2 and error.lines == ["2"]


def test_retry_runs_the_command_again(play: Play, tmp_path: Path) -> None:
    flaky = command.with_options(retries=2)

    def body() -> Any:
        return flaky.submit(f"echo >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -eq 3 "
                            "&& echo at last").result()

    assert play(body) == ["at last"]


@pytest.mark.parametrize(("isolation", "timeout_s"), [("thread", 1.5), ("process", 5)])
def test_timeout_of_the_task_kills_its_command(
        play: Play, tmp_path: Path, isolation: str, timeout_s: float) -> None:
    book = tmp_path / "book"
    late = command.with_options(timeout_seconds=timeout_s, isolation=isolation)

    def body() -> Any:
        return late.submit(family(book)).result(raise_on_failure=False)

    assert isinstance(play(body), TaskRunTimeoutError)
    pids = pids_in(book)
    wait_until(lambda: gone(pids), "the command is killed")


def test_cancel_of_a_running_task_kills_its_command(play_along: Play, tmp_path: Path) -> None:
    book = tmp_path / "book"

    def body() -> Any:
        future = command.submit(family(book))
        pids = pids_in(book)
        future.cancel()
        wait_until(lambda: gone(pids), "the command is killed")
        return future.result(raise_on_failure=False)

    assert isinstance(play_along(body), CancelledRun)


def test_cancel_of_a_map_kills_the_commands_that_run_and_starts_no_more(
        play_along: Play, tmp_path: Path) -> None:
    def body() -> Any:
        many = command.map([family(tmp_path / str(n)) for n in range(8)])
        pids = pids_in(tmp_path / "0")
        many.cancel()
        wait_until(lambda: gone(pids), "the command is killed")
        return {f.state.name for f in many}

    assert play_along(body) == {"Cancelled"}
    begun = [pid for path in tmp_path.iterdir() for pid in pids_in(path)]
    wait_until(lambda: gone(begun), "all are killed")


@pytest.mark.parametrize("when", ["at once", "after its siblings"])
def test_cancel_of_one_element_that_outlasts_its_siblings_kills_its_command(
        play_along: Play, tmp_path: Path, when: str) -> None:
    book = tmp_path / "book"

    def body() -> Any:
        many = command.map([*["echo quick"] * 30, family(book), *["echo quick"] * 30])
        pids = pids_in(book)
        if when == "at once":
            many[30].cancel()
        others = [future for future in many if future != many[30]]
        assert [future.result() for future in others] == [["quick"]] * 60
        many[30].cancel()
        wait_until(lambda: gone(pids), "the command is killed")
        return many[30].state.name

    assert play_along(body) == "Cancelled"


def test_cancel_of_an_async_task_kills_its_command(play_along: Play, tmp_path: Path) -> None:
    book = tmp_path / "book"

    def body() -> Any:
        future = shell.shell_run_command.submit(family(book))
        pids = pids_in(book)
        future.cancel()
        wait_until(lambda: gone(pids), "the command is killed")
        return future.state.name

    assert play_along(body) == "Cancelled"


def test_flow_that_gives_up_kills_the_commands_of_its_tasks(
        play_along: Play, tmp_path: Path) -> None:
    book = tmp_path / "book"

    def body() -> Any:
        command.submit(family(book))
        pids_in(book)
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        play_along(body, on_exit="cancel")
    pids = pids_in(book)
    wait_until(lambda: gone(pids), "the command is killed")


def test_shell_run_command_is_a_task(play: Play) -> None:
    def body() -> Any:
        last = shell.shell_run_command.submit("echo a; echo b", helper_command="cd /; pwd")
        every = shell.shell_run_command.submit("echo a; echo b", return_all=True)
        none = shell.shell_run_command.submit("true")
        bad = shell.shell_run_command.submit("exit 9")
        return (last.result(), every.result(), none.result(),
                bad.result(raise_on_failure=False).exit_code)

    assert play(body) == ("b", ["a", "b"], "", 9)


def test_shell_run_command_is_awaited_in_async_flows(runner: Any) -> None:
    @flow(task_runner=runner)
    async def commands() -> Any:
        return await asyncio.gather(*(
            shell.shell_run_command(f"sleep 0.1; echo {n}") for n in range(3)))

    assert asyncio.run(commands()) == ["0", "1", "2"]


def test_timeout_of_an_async_task_kills_its_command(play: Play, tmp_path: Path) -> None:
    book = tmp_path / "book"
    late = shell.shell_run_command.with_options(timeout_seconds=1.5)

    def body() -> Any:
        return late.submit(family(book)).result(raise_on_failure=False)

    assert isinstance(play(body), TaskRunTimeoutError)
    pids = pids_in(book)
    wait_until(lambda: gone(pids), "the command is killed")
