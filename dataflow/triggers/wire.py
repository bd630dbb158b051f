"""Triggers as JSON, and back.

Lives here: the keys and their check. Does not live here: the checks of values, which
are those of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from dataflow.exceptions import TriggerError
from dataflow.triggers.absence import Absence
from dataflow.triggers.definition import near
from dataflow.triggers.on_event import OnEvent
from dataflow.triggers.on_file import OnFile
from dataflow.triggers.on_state import OnState
from dataflow.triggers.on_webhook import OnWebhook
from dataflow.triggers.trigger import Trigger

KINDS: Mapping[str, type[Trigger]] = {
    each.kind: each for each in (OnState, OnEvent, Absence, OnFile, OnWebhook)}


def trigger_from_json(value: Mapping[str, Any]) -> Trigger:
    """Return the trigger that ``Trigger.to_json`` wrote, or somebody by hand.

    Parameters
    ----------
    value
        ``kind`` (state, event, absence, file or webhook) and the parameters of its class;
        what is left out has its default.

    Raises
    ------
    TriggerError
        An unknown key or kind, or a value that the class refuses.
    """
    if not isinstance(value, Mapping):
        raise TriggerError(f"trigger {value!r:.200} is not a mapping such as "
                           "{'kind': 'state', 'states': 'failed'}", field="trigger", value=value)
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        said = "the trigger has no kind" if kind is None else f"kind {kind!r:.200} is none"
        raise TriggerError(f"{said}{near(kind or '', KINDS)}", field="kind", value=kind)
    given = {name: each for name, each in value.items() if name != "kind"}
    own = [each for each in fields(KINDS[kind]) if each.init]
    allowed = [each.name for each in own]
    for name in given:
        if name not in allowed:
            raise TriggerError(
                f"{name!r} is no option of a trigger of kind {kind}{near(name, allowed)}",
                field=str(name), value=given[name])
    for each in own:
        if each.name not in given and each.default is MISSING and each.default_factory is MISSING:
            raise TriggerError(f"a trigger of kind {kind} needs {each.name!r}",
                               field=each.name, value=None)
    return KINDS[kind](**given)
