"""Whether an alert's conditions hold for an event of a run. Pure.

Lives here: :func:`matches` and :func:`judge`. Does not live here: deadlines,
which need no run (``deadlines.py``), what becomes of notices (``grouping.py``).
"""

from __future__ import annotations

from statistics import median

from dataflow.alerts import conditions
from dataflow.alerts.alert import Alert
from dataflow.alerts.events import History, RunEvent
from dataflow.alerts.notices import CONDITION, Notice
from dataflow.state import StateType

LEAST_RUNS = 3
"""So many earlier runs a median needs."""
_TYPES = {"failed": "FAILED", "crashed": "CRASHED", "cancelled": "CANCELLED",
          "completed": "COMPLETED", "paused": "PAUSED", "running": "RUNNING"}
_NAMES = {"late": ("Late",), "retrying": ("AwaitingRetry", "Retrying"), "timed_out": ("TimedOut",)}
_GOOD_NEWS = frozenset({"completed", "recovered"})
_NONE = History()


def matches(alert: Alert, event: RunEvent, history: History = _NONE) -> Notice | None:
    """Return the notice of an event where all conditions of an alert hold, else None.

    Parameters
    ----------
    alert
        One with ``not_completed_by`` never matches an event: see :func:`.missed`.
    event
        A change of state, or a look at a run that has not ended (``longer_than`` and
        ``late_by_seconds`` hold while it runs or waits).
    history
        Of the same flow or deployment, without the run at hand.
    """
    if alert.not_completed_by is not None or not concerns(alert, event):
        return None
    why: list[str] = []
    state = event.state_type
    if alert.on:
        named = next((one for one in alert.on if _is_in(one, event, history)), None)
        if named is None:
            return None
        state, said = _state_words(named, event, history)
        why.append(said)
    for text in (_too_long(alert, event, history), _share(alert, event), _too_late(alert, event)):
        if text is None:
            return None
        if text:
            why.append(text)
            state = state if alert.on else CONDITION
    return Notice(alert=alert, event=event, why=", ".join(why), state=state)


def judge(alert: Alert, event: RunEvent, history: History = _NONE) -> Notice | None:
    """Return the notice of an event; a resolved one where the event ends what was told of.

    That is a completed run of a flow for which the conditions do not hold, and for lateness
    the start of a run in time. A resolved notice is given whether or not there was something
    to resolve: :func:`.fold` knows.
    """
    found = matches(alert, event, history)
    if found is not None or not alert.resolved or set(alert.on) & _GOOD_NEWS:
        return found
    if event.task_name is not None or not concerns(alert, event, whose_task=False):
        return None
    if event.state_type == StateType.COMPLETED or (
            event.state_type == StateType.RUNNING and _is_about_lateness(alert)):
        done = "completed" if event.state_type == StateType.COMPLETED else "began"
        return Notice(alert=alert, event=event, why=done, state="resolved", resolved=True)
    return None


def concerns(alert: Alert, event: RunEvent, *, whose_task: bool = True) -> bool:
    """Tell whether a run is one of those that an alert is about.

    Parameters
    ----------
    whose_task
        Whether conditions on the task count; without them it is asked about the flow run.
    """
    alternatives = conditions.patterns(alert.match)
    if not alternatives:
        return not whose_task or event.task_name is None
    if whose_task:
        of_task = event.task_name is not None
        alternatives = tuple(parts for parts in alternatives
                             if of_task == any(part.kind == "task" for part in parts))
    names = {
        "tag": event.tags, "flow": (event.flow_name,), "name": (event.flow_run_name,),
        "deployment": (event.deployment_name, event.subject) if event.deployment_name else (),
        "task": (event.task_name,) if event.task_name is not None else (),
    }
    return any(all(part.holds(names) for part in parts if whose_task or part.kind != "task")
               for parts in alternatives)


def _is_in(state: str, event: RunEvent, history: History) -> bool:
    if state == "any":
        return event.is_final
    if state == "recovered":
        return event.state_type == StateType.COMPLETED and history.failures_in_a_row > 0
    if state in _NAMES:
        return event.state_name in _NAMES[state]
    return event.state_type == _TYPES[state]


def _state_words(named: str, event: RunEvent, history: History) -> tuple[str, str]:
    """Return the state that groups notices, and what is said of it."""
    if named == "recovered":
        count = history.failures_in_a_row
        return "RECOVERED", f"completed after {count} failure{'s' if count > 1 else ''}"
    if named in _NAMES:
        return named.upper(), {"late": "is late", "retrying": "failed and is tried again",
                               "timed_out": "timed out"}[named]
    verbs = {"PAUSED": "is paused", "RUNNING": "is running", "CANCELLED": "was cancelled"}
    return event.state_type, verbs.get(event.state_type, event.state_type.lower())


def _too_long(alert: Alert, event: RunEvent, history: History) -> str | None:
    """Return what is said where a run takes too long; empty: not asked, None: it does not."""
    if alert.longer_than is None:
        return ""
    limit, took = conditions.longer_than(alert.longer_than), event.duration_s
    if took is None or not (event.is_final or event.state_type == StateType.RUNNING):
        return None
    verb = "took" if event.is_final else "has been running for"
    if limit.seconds is not None:
        return (f"{verb} {took:,.0f} s, longer than {limit.seconds:g} s"
                if took > limit.seconds else None)
    if limit.medians is None or len(history.durations_s) < LEAST_RUNS:
        return None
    usual = median(history.durations_s)
    if took <= limit.medians * usual:
        return None
    return f"{verb} {took:,.4g} s, longer than {limit.medians:g} × its median of {usual:,.4g} s"


def _share(alert: Alert, event: RunEvent) -> str | None:
    """Return what is said where too many elements failed; empty: not asked, None: they did not."""
    if alert.failed_share is None:
        return ""
    failed, width = event.failed_elements, event.elements
    if width == 0 or failed < alert.failed_share * width:
        return None
    if not event.is_final:
        return None  # of a run that goes on, the share is not known yet
    return f"{failed:,} of {width:,} elements failed ({failed / width:.1%})"


def _too_late(alert: Alert, event: RunEvent) -> str | None:
    """Return what is said where a run is late; empty: not asked, None: it is not."""
    if alert.late_by_seconds is None:
        return ""
    if event.scheduled_s is None:
        return None
    if event.started_s is None and event.is_final:
        return None  # cancelled or refused before its time: nobody waits for it any more
    late = (event.occurred_s if event.started_s is None else event.started_s) - event.scheduled_s
    if late <= alert.late_by_seconds:
        return None
    verb = "has not begun" if event.started_s is None else "began"
    return f"{verb} {late:,.0f} s after its time"


def _is_about_lateness(alert: Alert) -> bool:
    return "late" in alert.on or alert.late_by_seconds is not None
