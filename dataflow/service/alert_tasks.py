"""What alerts on task runs are told: how many of a task came to something since the last look.

Lives here: a notice for each task and state, whatever the width of the map. Does not
live here: when it is looked (``alert_looks.py``, ``alerting.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dataflow.alerts.alert import Alert
from dataflow.alerts.events import RunEvent
from dataflow.alerts.notices import Notice
from dataflow.alerts.rules import matches
from dataflow.service.alert_kinds import about_tasks
from dataflow.service.run_events import element_events
from dataflow.service.run_failures import FAILING, Elements, elements_of, failed_rows, grouped
from dataflow.store import Store

Told = dict[str, dict[str, int]]
"""Task → name of a state → elements."""


def task_notices(store: Store, event: RunEvent, alerts: Sequence[Alert],
                 told: Mapping[str, Mapping[str, int]],
                 elements: Elements | None = None) -> tuple[list[Notice], Told]:
    """Return notices of task runs, and what somebody was told of then.

    Parameters
    ----------
    event
        Of the flow run.
    told
        What somebody was told of before.
    elements
        Where they were read already.
    """
    alerts = [each for each in alerts if about_tasks(each)]
    if not alerts:
        return [], {}
    if elements is None:
        elements = elements_of(store, event.flow_run_id)
    notices: list[Notice] = []
    for one in element_events(event, elements, told):
        found = [notice for each in alerts if (notice := matches(each, one)) is not None]
        if found and one.state_type in FAILING:
            one = _with_errors(store, one, elements)
        notices += [replace(each, event=one) for each in found]
    return notices, {task: dict(counts) for task, counts in elements.by_task.items()}


def _with_errors(store: Store, event: RunEvent, elements: Elements) -> RunEvent:
    """Return an event of task runs with what the latest of them ended with."""
    assert event.task_name is not None
    count = sum(each.count for each in event.errors)
    rows = [row for row in failed_rows(store, event.flow_run_id, elements, (event.state_type,))
            if row.task_name == event.task_name and row.state_name == event.state_name]
    rows.sort(key=lambda row: (row.end_time is not None, row.end_time))
    return replace(event, errors=grouped(rows[-count:], Counter({event.task_name: count})))
