"""Log lines of other processes, shown where the flow's own lines are shown.

Lives here: the lines of a report, handed to the standard loggers of this
process with the names of their runs. Does not live here: the loggers
(``logging.py``), keeping lines (``recorder.py``).
"""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.batch import RunInfo
from dataflow.graph import CallView
from dataflow.ids import task_run_id
from dataflow.logging import relay
from dataflow.names import element_name, name_in
from dataflow.outcomes import EVENTS, LogLine, Report
from dataflow.store import FlowRunRecord, Gulp


def relay_lines(report: Report, run: RunInfo, views: Mapping[int, CallView]) -> None:
    """Show the lines of a report that was made in another process."""
    chosen = _chosen_names(report) if report.logs else {}
    for line in report.logs:
        if line.logger == EVENTS:
            continue
        view = views[line.call]
        name = chosen.get((line.call, line.index)) or name_in(view, run.flow_run_id, line.index)
        _show(line, run, run.flow_run_id, name, view.task_name)
    for run_id, gulp in report.nested:
        if gulp.logs:
            _relay_nested(gulp, run_id, run)


def _chosen_names(report: Report) -> dict[tuple[int, int], str]:
    """Return the names that tasks gave to runs of a report that nobody has read yet."""
    return {(span.call, index): detail.name for span in report.spans
            for index, detail in span.details.items() if detail.name is not None}


def _relay_nested(gulp: Gulp, run_id: str, run: RunInfo) -> None:
    """Show the lines of what a task run ran itself."""
    calls = {call.call: call for call in gulp.calls}
    chosen = {(row.call, row.index): row.name for row in gulp.elements}
    for line in gulp.logs:
        if line.logger == EVENTS:
            continue
        call, name = calls.get(line.call), chosen.get((line.call, line.index))
        if name is None and call is not None:
            name = element_name(run_id, line.call, line.index, call.task_name, call.kind == "map")
        _show(line, run, run_id, name, None if call is None else call.task_name, gulp.flow_run)


def _show(line: LogLine, run: RunInfo, run_id: str, name: str | None,
          task_name: str | None, record: FlowRunRecord | None = None) -> None:
    called = record is not None and record.kind == "flow"  # a flow that a task run called
    relay(
        line, task_run_id=None if line.call < 0 else task_run_id(run_id, line.call, line.index),
        task_run_name=name, task_name=task_name,
        flow_run_id=run_id if called else run.shown_flow_run_id,
        flow_run_name=record.name if called and record is not None else run.flow_run_name,
        flow_name=record.flow_name if called and record is not None else run.flow_name,
    )
