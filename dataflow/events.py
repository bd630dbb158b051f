"""Events: tell others that something happened, and let it start what is to follow.

Lives here: :func:`emit_event`. Does not live here: what follows from an event
(``dataflow.triggers``, ``dataflow.alerts``), where events are kept (``event_log.py``). ::

    from dataflow.events import emit_event

    emit_event("orders.loaded", resource="shop.eu", payload={"rows": 1204})

In a flow or task the event goes to the store with the records of the run: at most some 0.3 s
later, and from a task that runs elsewhere with the report of its batch. Elsewhere it is in the
store when the call returns. ``dataflow event ls`` shows events.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataflow.context import TaskRunContext, current_flow, current_task
from dataflow.deployments.json_values import checked_text, json_copy
from dataflow.event_log import NewEvent
from dataflow.exceptions import DefinitionTypeError
from dataflow.ids import new_run_id
from dataflow.outcomes import EVENTS

if TYPE_CHECKING:
    from dataflow.triggers.prefect_triggers import DeploymentEventTrigger

__all__ = ["DeploymentEventTrigger", "emit_event"]

NAME_LIMIT = 1024
"""Characters in the name, the resource or the id of an event."""

PAYLOAD_LIMIT = 256 * 1024
"""Characters of a payload as JSON."""

_OURS = "dataflow."
_SHOWN_ID = re.compile(r"s\d+")  # what changes of state are called where events are shown
_RESOURCE_IDS = ("dataflow.resource.id", "prefect.resource.id", "id")


def emit_event(
    name: str | None = None, resource: str | Mapping[str, str] | None = None,
    payload: Mapping[str, Any] | None = None, *, event: str | None = None,
    occurred: datetime | None = None, id: Any = None,
    related: Sequence[Mapping[str, str]] | None = None, follows: Any = None,
) -> NewEvent:
    """Put an event down.

    Parameters
    ----------
    name, event
        What happened, as ``"orders.loaded"``; ``event=`` is Prefect's word for it. Names that
        begin with ``dataflow.`` are those of changes of state and the like.
    resource
        What it happened to: an id, or labels with the id under ``"dataflow.resource.id"`` (or
        ``"prefect.resource.id"``); other labels are kept in the payload as ``resource_labels``.
    payload
        JSON: what triggers compare, and what runs that follow may take their parameters from.
    occurred
        When; default now. One without a zone is in UTC.
    id
        The same id again is the same event; made up by default.
    related, follows
        Kept in the payload under these names.

    Returns
    -------
    NewEvent
        As it is put down.

    Raises
    ------
    DefinitionTypeError
        Something is not of its type, is no JSON, or too large.
    StoreError
        Called outside of a run, and the store cannot be written.
    """
    around = current_task.get() or current_flow.get()
    flow = current_flow.get()
    if flow is not None and flow.dry is not None:  # values are not known, and nobody is told
        return NewEvent(id="", name=str(name or event), occurred_s=time.time())
    run = around.run if around is not None else None
    new = new_event(
        name, resource, payload, event=event, occurred=occurred, id=id, related=related,
        follows=follows, flow_run_id=None if run is None else run.shown_flow_run_id)
    if around is None or run is None or around.logs is None:
        _put(new)
        return new
    call, index, attempt = -1, 0, 1
    if isinstance(around, TaskRunContext):
        call, index, attempt = around.code.call, around.index, around.attempt
    around.logs.add(call, index, attempt, new.occurred_s, 0, EVENTS, line_of(new))
    return new


def new_event(
    name: str | None = None, resource: str | Mapping[str, str] | None = None,
    payload: Mapping[str, Any] | None = None, *, event: str | None = None,
    occurred: datetime | None = None, id: Any = None,
    related: Sequence[Mapping[str, str]] | None = None, follows: Any = None,
    flow_run_id: str | None = None,
) -> NewEvent:
    """Return an event as it is put down; see :func:`emit_event`. Raises DefinitionTypeError."""
    return NewEvent(
        id=new_run_id() if id is None else _id(str(id)),
        name=_name(name, event), occurred_s=_moment_s(occurred), resource=_resource(resource),
        payload=_payload(payload, resource, related, follows), flow_run_id=flow_run_id)


def line_of(event: NewEvent) -> str:
    """Return an event as the text of the log line that carries it to the store."""
    return json.dumps({
        "id": event.id, "name": event.name, "occurred_s": event.occurred_s,
        "resource": event.resource, "flow_run_id": event.flow_run_id,
        "payload": json.dumps(event.payload) if event.payload else None})


def _put(event: NewEvent) -> None:
    from dataflow.stores import open_store

    store = open_store(None)
    try:
        store.events().emit([event])
    finally:
        store.close()


def _name(name: Any, event: Any) -> str:
    if (name is None) == (event is None):
        raise DefinitionTypeError(
            "emit_event() takes the name of the event once: emit_event(\"orders.loaded\").")
    found = _text(name if event is None else event, "the name")
    if found.startswith(_OURS):
        raise DefinitionTypeError(
            f"The event name {found!r:.200} begins as changes of state do, and other events that "
            "are put down by themselves. Choose another beginning.")
    return found


def _id(text: str) -> str:
    if _SHOWN_ID.fullmatch(text):
        raise DefinitionTypeError(
            f"The event id {text!r} is that of a change of state. Choose another.")
    return _text(text, "id")


def _resource(resource: Any) -> str | None:
    if resource is None or isinstance(resource, str):
        return None if resource is None else _text(resource, "the resource")
    if isinstance(resource, Mapping):
        for label in _RESOURCE_IDS:
            if label in resource:
                return _text(resource[label], f"the resource's {label}")
        raise DefinitionTypeError(
            "The resource of an event names its id: {\"dataflow.resource.id\": \"shop.eu\"}.")
    raise DefinitionTypeError(
        f"The resource of an event is a text or a mapping of labels, not {resource!r:.200}.")


def _payload(payload: Any, resource: Any, related: Any, follows: Any) -> dict[str, Any]:
    if payload is not None and not isinstance(payload, Mapping):
        raise DefinitionTypeError(
            f"The payload of an event is a mapping, not {type(payload).__name__}.")
    whole = dict(payload or {})
    if isinstance(resource, Mapping):
        labels = {key: value for key, value in resource.items() if key not in _RESOURCE_IDS}
        if labels:
            whole["resource_labels"] = labels
    if related:
        whole["related"] = list(related)
    if follows is not None:
        whole["follows"] = str(follows)
    try:
        checked: dict[str, Any] = json_copy(whole, "payload")
    except ValueError as wrong:
        raise DefinitionTypeError(f"The payload of an event must be JSON: {wrong}.") from None
    if len(json.dumps(checked)) > PAYLOAD_LIMIT:
        raise DefinitionTypeError(
            f"The payload of an event has more than {PAYLOAD_LIMIT:,} characters as JSON. Keep "
            "the data where it is, and put its path or key into the event.")
    return checked


def _moment_s(occurred: Any) -> float:
    if occurred is None:
        return time.time()
    if not isinstance(occurred, datetime):
        raise DefinitionTypeError(f"occurred is a datetime, not {type(occurred).__name__}.")
    return (occurred if occurred.tzinfo is not None
            else occurred.replace(tzinfo=UTC)).timestamp()


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > NAME_LIMIT:
        raise DefinitionTypeError(
            f"An event needs {what} as a text of 1 to {NAME_LIMIT:,} characters, not "
            f"{value!r:.200}.")
    try:
        return checked_text(value, what)
    except ValueError as wrong:
        raise DefinitionTypeError(f"An event cannot be put down: {wrong}.") from None


def __getattr__(name: str) -> Any:
    if name == "DeploymentEventTrigger":  # where Prefect's users import it from
        from dataflow.triggers.prefect_triggers import DeploymentEventTrigger

        return DeploymentEventTrigger
    raise AttributeError(f"module 'dataflow.events' has no attribute {name!r}")
