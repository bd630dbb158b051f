"""Routes on the log lines of a flow run: pages of them, and a stream that goes along.

Lives here: where a page begins, which lines are new. Does not live here: sending a
stream (``exchange.py``), its form (``event_streams.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from dataflow.flow_moves import ENDS
from dataflow.outcomes import LogLine
from dataflow.server.cursors import cursor_of, parts_of
from dataflow.server.event_streams import event
from dataflow.server.routes import PREFIX, Call, Route
from dataflow.server.shapes import runs
from dataflow.server.shapes.pages import PageQuery
from dataflow.server.views.flow_runs import flow_run_of
from dataflow.store import Store

LATER_S = 10.0
"""Lines that come so much later than others of their time are in a stream all the same."""

_AT_ONCE = 500
Line = tuple[str, LogLine]


def logs(call: Call) -> runs.LogLines:
    """List log lines."""
    asked = call.asked(PageQuery)
    row = flow_run_of(call)
    since_s, skip = (None, 0) if asked.cursor is None else parts_of(asked.cursor, float, int)
    lines = list(islice(call.store.nested_logs(
        row.id, since_s=since_s, limit=skip + asked.limit + 1), skip, None))
    page = lines[:asked.limit]
    calls = _calls_of(call.store, row.id, page)
    more = len(lines) > len(page)
    return runs.LogLines(
        items=[runs.log_line_shape(row.id, calls, *each) for each in page],
        next=cursor_of(*_place(page, since_s, skip)) if more else None)


def _place(page: Sequence[Line], since_s: float | None, skip: int) -> tuple[float, int]:
    """Return the time of a page's last line, and how many of that time were given out."""
    last_s = float(page[-1][1].time_s)
    same = sum(line.time_s == last_s for _, line in page)
    return last_s, same + (skip if last_s == since_s else 0)


def _calls_of(store: Store, flow_run_id: str, lines: Sequence[Line]) -> runs.Calls:
    if all(line.call < 0 for _, line in lines):
        return {}
    return {(each.run_id, each.call): each for each in store.calls(flow_run_id, nested=True)}


class LogTail:
    """The log lines of a run as they come, until it has ended.

    Each step reads again what is younger than the newest line less :data:`LATER_S`, since
    lines of several workers come in the order in which they are written down.
    """

    def __init__(self, store: Store, flow_run_id: str) -> None:
        self._store = store
        self._run = flow_run_id
        self._sent: dict[Line, None] = {}
        self._newest_s: float | None = None
        self._behind = False  # there is more than one step reads
        self._calls: runs.Calls = {}
        self.ended = False

    def step(self) -> Sequence[bytes]:
        """Return events for the lines that are new, and one for the end."""
        row = self._store.find_flow_run(self._run)  # first: what it wrote at its end comes along
        fresh = self._fresh()
        found = [event("line", runs.log_line_shape(self._run, self._calls, *line))
                 for line in fresh]
        if row.state_type in ENDS and not fresh:
            self.ended = True
            found.append(event("end", runs.flow_run_shape(row)))
        return found

    def _fresh(self) -> list[Line]:
        """Return lines that were not sent yet, and note that they are."""
        since_s = self._newest_s
        if since_s is not None and not self._behind:
            since_s -= LATER_S
        known = sum(since_s is None or line.time_s >= since_s for _, line in self._sent)
        fresh = [each for each in self._store.nested_logs(
            self._run, since_s=since_s, limit=known + _AT_ONCE) if each not in self._sent]
        self._behind = len(fresh) == _AT_ONCE
        if fresh:
            self._sent.update(dict.fromkeys(fresh))
            self._newest_s = max(fresh[-1][1].time_s, self._newest_s or 0.0)
            kept_s = self._newest_s - LATER_S
            self._sent = {each: None for each in self._sent if each[1].time_s >= kept_s}
        if any(line.call >= 0 and (run_id, line.call) not in self._calls
               for run_id, line in fresh):
            self._calls = _calls_of(self._store, self._run, fresh)
        return fresh


def stream(call: Call) -> LogTail:
    """Stream log lines."""
    return LogTail(call.store, flow_run_of(call).id)


ROUTES = (
    Route(method="GET", path=f"{PREFIX}/flow-runs/{{id}}/logs", name="logs", view=logs,
          gives=runs.LogLines, query=PageQuery,
          about="Log lines of a flow run and its task runs, by time."),
    Route(method="GET", path=f"{PREFIX}/flow-runs/{{id}}/logs/stream", name="logs_stream",
          view=stream, media="text/event-stream", errors=(503,),
          about="Log lines as they come (server-sent events `line`), until the run has ended "
                "(`end`)."),
)
