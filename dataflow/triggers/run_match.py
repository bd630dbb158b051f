"""Which runs a trigger is about, as people write it: ``tag:prod``, ``flow:etl-*``.

Lives here: the check. Does not live here: the language (``alerts/conditions.py``),
whether a run is meant (``matching.py``).
"""

from __future__ import annotations

from dataflow.alerts import conditions
from dataflow.triggers.definition import as_of_alerts, refuse


def checked_match(value: object) -> tuple[str, ...]:
    """Return which runs are meant, as alternatives."""
    found = as_of_alerts("match", value, lambda each: conditions.words("match", each))
    for parts in as_of_alerts("match", found, conditions.patterns):
        if any(part.kind == "task" for part in parts):
            refuse("match", value, "is about task runs, whose states are no events: name flows, "
                                   "deployments or tags")
    return found
