"""The words of a message: its title, its text, and the same as data for webhooks.

Lives here: the values that templates can name, cleaned and without secrets.
Does not live here: the templates (``templates.py``), cleaning (``cleaning.py``),
how a channel wants it (``webhooks.py``, ``apprise_channels.py``).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dataflow.alerts.cleaning import cleaned, cleaned_line
from dataflow.alerts.events import ErrorGroup
from dataflow.alerts.index_ranges import ranges_text
from dataflow.alerts.messages import Message
from dataflow.alerts.templates import DEFAULT_TEXT, DEFAULT_TITLE, TemplateFailed, filled

TITLE = 200
"""Characters of a title."""
_NAME = 120
_ERROR = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A message in words.

    Parameters
    ----------
    title, body
        One line, and several.
    severity
        ``failure``, ``warning``, ``success`` or ``info``.
    data
        The same as JSON, for programs.
    """

    title: str
    body: str
    severity: str
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON object, for an outbox that keeps it."""
        return {"title": self.title, "body": self.body, "severity": self.severity,
                "data": self.data}


def text_of(message: Message) -> Text:
    """Return a message in words, by the alert's templates or the default ones.

    Never raises: where a template of the alert fails, the default text goes out and says why.

    Notes
    -----
    A template can name: ``alert``, ``subject``, ``flow``, ``deployment``, ``tags``, ``run_id``,
    ``run_name``, ``runs`` (each with ``id`` and ``name``), ``run_count``, ``state``, ``why``,
    ``message``, ``resolved``, ``over``, ``since``, ``until``, ``occurred``, ``duration``,
    ``ended``, ``failed``, ``elements`` (numbers), ``task_runs``, ``errors`` (each with ``type``,
    ``message``, ``count``, ``task``, ``elements``), ``next_retry``, ``command``, ``link``,
    ``number``. Times are texts in UTC; what does not apply is empty.
    """
    values = _values(message)
    alert = message.notice.alert
    said: list[str] = []
    title = _written("title", alert.title, DEFAULT_TITLE, values, said)
    body = _written("text", alert.text, DEFAULT_TEXT, values, said)
    return Text(title=cleaned_line(title, TITLE), body=cleaned("\n".join((body, *said))),
                severity=message.severity, data=_data(message, values))


def _written(option: str, own: str | None, default: str, values: dict[str, Any],
             said: list[str]) -> str:
    if own is not None:
        try:
            return filled(own, values)
        except TemplateFailed as error:
            said.append(f"(This is the default {option}: the alert's own template failed: "
                        f"{cleaned_line(str(error))})")
    return filled(default, values)


def _values(message: Message) -> dict[str, Any]:
    """Return what templates can name: texts, numbers, and lists of them."""
    notice, event = message.notice, message.notice.event
    run_id = cleaned_line(event.flow_run_id, 64)
    many = message.run_count > 1
    return {
        "alert": cleaned_line(notice.alert.label, _NAME),
        "subject": cleaned_line(event.subject, 2 * _NAME),
        "flow": cleaned_line(event.flow_name, _NAME),
        "deployment": cleaned_line(event.deployment_name or "", _NAME),
        "tags": [cleaned_line(tag, _NAME) for tag in event.tags[:20]],
        "run_id": run_id, "run_name": cleaned_line(event.flow_run_name, _NAME),
        "runs": [{"id": cleaned_line(one, 64), "name": cleaned_line(name, _NAME)}
                 for one, name in message.runs],
        "run_count": message.run_count, "state": _state(message),
        "why": cleaned_line(notice.why), "resolved": message.resolved,
        "message": "" if many or event.task_name else cleaned(event.message or "", lines=10),
        "over": _time(message.over_s), "since": _time(message.since_s),
        "until": _time(message.until_s), "occurred": _time(event.occurred_s),
        "ended": bool(run_id) and event.is_final and event.task_name is None,
        "duration": _duration(event.duration_s if event.is_final else None),
        "failed": event.failed_elements or message.element_count, "elements": event.elements,
        "task_runs": message.element_count,
        "errors": [_error(each, many) for each in message.errors],
        "next_retry": _time(event.next_retry_s),
        "command": f"dataflow flow-run inspect {shlex.quote(run_id)}" if run_id else "",
        "link": cleaned_line(event.link or ""), "number": message.number,
    }


def _error(group: ErrorGroup, many: bool) -> dict[str, Any]:
    return {"type": cleaned_line(group.error_type, _NAME),
            "message": cleaned_line(group.message, _ERROR), "count": group.count,
            "task": cleaned_line(group.task_name or "", _NAME),
            "elements": ranges_text(group.indexes, count=0 if many else group.count)}


def _data(message: Message, values: dict[str, Any]) -> dict[str, Any]:
    event = message.notice.event
    names = ("alert", "flow", "deployment", "tags", "run_id", "run_name", "runs", "run_count",
             "why", "resolved", "errors", "link")
    return {name: values[name] for name in names} | {
        "id": message.id, "state_type": event.state_type,
        "state_name": cleaned_line(event.state_name, _NAME),
        "occurred_at": _iso(event.occurred_s), "since": _iso(message.since_s),
        "next_retry_at": _iso(event.next_retry_s), "over_at": _iso(message.over_s),
        "failed_elements": values["failed"], "elements": values["elements"],
    }


def _state(message: Message) -> str:
    state = message.notice.state
    return "alert" if state == "CONDITION" else state.lower().replace("_", " ")


def _iso(moment_s: float | None) -> str | None:
    return None if moment_s is None else datetime.fromtimestamp(moment_s, UTC).isoformat()


def _time(moment_s: float | None) -> str:
    if moment_s is None:
        return ""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
