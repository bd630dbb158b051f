"""Events among the lines of a log."""

from __future__ import annotations

import pytest

from dataflow.event_log import NewEvent
from dataflow.events import line_of
from dataflow.outcomes import EVENTS, LogLine
from dataflow.stores.events import emitted


def line(message: str, logger: str = EVENTS) -> LogLine:
    return LogLine(-1, 0, 1, 5.0, 20, logger, message)


@pytest.mark.parametrize("message", ["", "{", "cut {", "5", "[]", "null", "{}", '{"resource": 1}'])
def test_a_line_of_that_logger_that_is_no_event_holds_up_no_other(message: str) -> None:
    event = line(line_of(NewEvent(id="i", name="n", occurred_s=5.0)))
    assert emitted.rows([line(message), event, line("{}", "mine")]) == [
        ("i", "n", None, 5.0, None, None, 1)]
