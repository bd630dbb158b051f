"""Lines on the console, prints, and levels."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import dataflow.logging as ours
from dataflow.outcomes import LogLine


@contextmanager
def nothing_configured() -> Iterator[None]:
    """Take pytest's handlers off the root logger."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers
        ours.show_on_console(logging.INFO)


LINE = LogLine(3, 0, 1, 1_700_000_000.25, logging.WARNING, ours.TASK_RUNS, "careful")
WHO = {"task_run_id": "i", "task_run_name": "load-3fa", "flow_run_id": "f",
       "flow_run_name": "swift-heron"}


def test_lines_show_on_the_console_where_nothing_is_configured(
        capsys: pytest.CaptureFixture[str]) -> None:
    with nothing_configured():
        ours.show_on_console(logging.INFO)
        ours.relay(LINE, **WHO)
    shown = capsys.readouterr().err
    assert re.fullmatch(
        r"\d\d:\d\d:20\.250 \| WARNING \| Task run 'load-3fa' - careful\n", shown)


def test_lines_below_the_level_do_not_show(
        capsys: pytest.CaptureFixture[str]) -> None:
    with nothing_configured():
        ours.show_on_console(logging.ERROR)
        ours.relay(LINE, **WHO)
    assert capsys.readouterr().err == ""


def test_handlers_of_the_application_are_used_alone(
        capsys: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture) -> None:
    with nothing_configured():
        ours.show_on_console(logging.INFO)
        logging.getLogger().addHandler(caplog.handler)
        ours.show_on_console(logging.INFO)
        ours.relay(LINE, **WHO)
    assert capsys.readouterr().err == ""
    assert [r.getMessage() for r in caplog.records] == ["careful"]


def test_print_outside_of_runs_stays_print(capsys: pytest.CaptureFixture[str]) -> None:
    def fn() -> None: ...

    assert ours.prints_to_log(fn) is fn
    print("a", "b", sep="-", end="!\n")
    assert capsys.readouterr().out == "a-b!\n"
