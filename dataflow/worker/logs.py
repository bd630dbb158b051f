"""Log lines, bounded.

Lives here: the buffer of one batch that travels home in the report, and the
bound of what the flow's own process logs. Does not live here: how user code
logs (``dataflow.logging``) or where lines are kept (``stores/``).
"""

from __future__ import annotations

import logging
import time
from typing import Any

from dataflow.context import LogSink
from dataflow.outcomes import EVENTS, LogLine

_MESSAGE_LIMIT = 32 * 1024  # characters of one line kept
_EVENTS_LIMIT = 10_000  # events of one batch; of a flow and of each direct call


class BatchLog(LogSink):
    """Keeps the first lines of a batch up to a limit, counts the rest and says so."""

    __slots__ = ("_dropped", "_events", "_last", "_limit", "lines")

    def __init__(self, limit: int) -> None:
        self.lines: list[LogLine] = []
        self._limit = limit
        self._dropped = self._events = 0
        self._last: tuple[int, int, int] = (-1, 0, 1)

    def add(self, call: int, index: int, attempt: int, time_s: float, level: int,
            logger: str, message: str, extra: tuple[tuple[str, Any], ...] = ()) -> None:
        """Take one line; past the limit only count it."""
        self._last = (call, index, attempt)
        if logger == EVENTS and self._events < _EVENTS_LIMIT:  # no line of a log: kept whole
            self._events += 1
            self.lines.append(LogLine(call, index, attempt, time_s, level, logger, message))
            return
        if len(self.lines) - self._events >= self._limit or logger == EVENTS:
            self._dropped += 1
            return
        self.lines.append(
            LogLine(call, index, attempt, time_s, level, logger, _shortened(message), extra))

    def close(self) -> list[LogLine]:
        """Return the lines, with a last one that counts what was dropped."""
        if self._dropped:
            self.lines.append(LogLine(
                *self._last, time.time(), logging.WARNING, "dataflow",
                f"{self._dropped} log lines dropped: a batch keeps {self._limit} lines, and "
                f"{_EVENTS_LIMIT} events",
            ))
            self._dropped = 0
        return self.lines


class LogBound:
    """Lets the first lines of the flow and of each direct call through, and counts the rest.

    Parameters
    ----------
    limit
        Lines of a direct call; the flow itself may write ten times as many.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[int, int] = {}
        self._events: dict[int, int] = {}
        self._last: dict[int, LogLine] = {}

    def admit(self, line: LogLine) -> LogLine | None:
        """Return the line as it is to be kept, None where there were too many."""
        if line.logger == EVENTS:
            self._events[line.call] = self._events.get(line.call, 0) + 1
            if self._events[line.call] <= _EVENTS_LIMIT:
                return line
        count = self._counts[line.call] = self._counts.get(line.call, 0) + 1
        if count > self._limit_of(line.call):
            self._last[line.call] = line
            return None
        if len(line.message) <= _MESSAGE_LIMIT:
            return line
        return line._replace(message=_shortened(line.message))

    def close(self) -> list[LogLine]:
        """Return a line per call that says how many of its lines were dropped."""
        return [
            line._replace(level=logging.WARNING, logger="dataflow", message=(
                f"{self._counts[call] - self._limit_of(call)} log lines dropped: a "
                f"{'flow' if call < 0 else 'task'} run keeps {self._limit_of(call)} lines"))
            for call, line in self._last.items()
        ]

    def _limit_of(self, call: int) -> int:
        return 10 * self._limit if call < 0 else self._limit


def _shortened(message: str) -> str:
    cut = len(message) - _MESSAGE_LIMIT
    return message if cut <= 0 else f"{message[:_MESSAGE_LIMIT]}... ({cut} characters cut)"
