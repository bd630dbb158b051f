"""Triggers: what happens makes runs of deployments. Values and rules; nobody waits here.

Lives here: the public names, each imported from its module on first use. Does not live
here: events (``dataflow/event_log.py``), the loop that judges them (``service/watcher.py``).

The way of one trigger: a definition (``on_state.py``, …) stands in a deployment; an event
comes in; ``judging.py`` says what follows from it, with what each trigger remembers
(``counting.py``, ``silences.py``, ``missed_deadlines.py``); ``consequences.py`` makes runs
of it, with parameters that templates fill in (``filling.py``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "Absence": "absence",
    "DeploymentEventTrigger": "prefect_triggers",
    "OnEvent": "on_event",
    "OnFile": "on_file",
    "OnState": "on_state",
    "OnWebhook": "on_webhook",
    "Trigger": "trigger",
    "judge": "judging",
    "next_s": "judging",
    "trigger_from_json": "wire",
}

__all__ = [
    "Absence",
    "DeploymentEventTrigger",
    "OnEvent",
    "OnFile",
    "OnState",
    "OnWebhook",
    "Trigger",
    "judge",
    "next_s",
    "trigger_from_json",
]

if TYPE_CHECKING:
    from dataflow.triggers.absence import Absence
    from dataflow.triggers.judging import judge, next_s
    from dataflow.triggers.on_event import OnEvent
    from dataflow.triggers.on_file import OnFile
    from dataflow.triggers.on_state import OnState
    from dataflow.triggers.on_webhook import OnWebhook
    from dataflow.triggers.prefect_triggers import DeploymentEventTrigger
    from dataflow.triggers.trigger import Trigger
    from dataflow.triggers.wire import trigger_from_json


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'dataflow.triggers' has no attribute {name!r}")
    value = getattr(import_module(f"dataflow.triggers.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
