"""What is remembered of alerts between two looks: a value that goes to JSON and back.

Lives here: the value. Does not live here: where it is kept (the event log's memory,
which is written together with what follows), who changes it (``alerting.py``,
``alert_looks.py``).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from dataflow.alerts.grouping import Groups, groups_from_json

logger = logging.getLogger("dataflow.alerts")

NAME = "alerts"
"""Under which it stands in the event log's memory."""


@dataclass(slots=True)
class AlertMemory:
    """What was told already, and what waits.

    Attributes
    ----------
    groups
        Of notices; see :func:`dataflow.alerts.fold`.
    watched
        Flow runs that are looked at until they end → since when.
    told
        Flow run → task → name of a state → elements that somebody was told of.
    deadlines
        Alert and whose it is → the deadline that was looked at last.
    flows
        Flows that were seen → since when.
    own
        Flow → JSON of the alerts with a deadline that its last run brought.
    """

    groups: Groups = field(default_factory=Groups)
    watched: dict[str, float] = field(default_factory=dict)
    told: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    flows: dict[str, float] = field(default_factory=dict)
    own: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def to_text(self) -> str | None:
        """Return all of it as JSON; None where there is nothing."""
        parts = {name: getattr(self, name) for name in _PLAIN if getattr(self, name)}
        if self.groups.by_key:
            parts["groups"] = self.groups.to_json()
        return json.dumps(parts, sort_keys=True) if parts else None


_PLAIN = ("watched", "told", "deadlines", "flows", "own")


def memory_of(text: str | None) -> AlertMemory:
    """Return what :meth:`AlertMemory.to_text` wrote; ``AlertMemory()`` of nothing,
    and of what cannot be read."""
    if not text:
        return AlertMemory()
    try:
        parts = json.loads(text)
        memory = AlertMemory(**{name: parts[name] for name in _PLAIN if name in parts})
        if "groups" in parts:
            memory.groups = groups_from_json(parts["groups"])
    except (ValueError, TypeError, LookupError) as error:  # a newer version wrote it
        logger.error("What was remembered of alerts cannot be read (%s): it begins anew",
                     type(error).__name__)
        return AlertMemory()
    return memory
