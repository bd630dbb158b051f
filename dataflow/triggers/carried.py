"""The triggers that deployments carry, each under a name.

Lives here: reading them from a deployment, ``after`` among them. Does not live here: the
definitions, what they remember (``memories.py``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dataflow.agenda import DeploymentRow
from dataflow.exceptions import TriggerError
from dataflow.triggers.definition import compact
from dataflow.triggers.on_state import OnState
from dataflow.triggers.trigger import Trigger
from dataflow.triggers.wire import trigger_from_json

AFTER = "after"
"""Slug of the trigger that ``after=`` stands for."""

_SPECIAL = re.compile(r"([*?\[])")

logger = logging.getLogger("dataflow.triggers")


@dataclass(frozen=True, slots=True)
class Carried:
    """A trigger of a deployment.

    Attributes
    ----------
    deployment
        As it stands.
    slug
        Name of the trigger within it.
    trigger
        The definition.
    """

    deployment: DeploymentRow
    slug: str
    trigger: Trigger

    @property
    def memory(self) -> str:
        """Return the name under which it remembers."""
        return f"trigger:{self.deployment.id}:{self.slug}"

    @property
    def rests(self) -> bool:
        """Tell whether it does nothing now: those that let deployments go on do not rest."""
        paused = self.deployment.paused and self.trigger.action != "resume"
        return paused or not self.trigger.active


def carried(rows: Iterable[DeploymentRow]) -> list[Carried]:
    """Return the triggers of deployments; one that cannot be read holds up no other."""
    found = []
    for row in rows:
        given, after = row.spec.get("triggers"), row.spec.get("after")
        if not given and not after:
            continue
        triggers = [_read(compact(each), row.name) for each in given or ()]
        found += [Carried(row, slug, trigger) for slug, trigger in named(
            [each for each in triggers if each is not None], after).items()]
    return found


def named(triggers: Iterable[Trigger], after: str | None = None) -> dict[str, Trigger]:
    """Give each trigger a name: its slug, else its kind, numbered where that repeats."""
    found: dict[str, Trigger] = {}
    several = [*triggers, after_trigger(after)] if after else list(triggers)
    for trigger in several:
        front = trigger.slug or trigger.kind
        slug, number = front, 1
        while slug in found:
            number += 1
            slug = f"{front}-{number}"
        found[slug] = trigger
    return found


def after_trigger(after: str) -> Trigger:
    """Return what ``after="flow/deployment"`` means: a completed run of that one makes one."""
    return OnState("completed", match=f"deployment:{literal(after)}", slug=AFTER)


def literal(name: str) -> str:
    """Return the glob that fits a name alone."""
    return _SPECIAL.sub(r"[\1]", name)


def from_spec(facts: Mapping[str, Any]) -> dict[str, Trigger]:
    """Return the triggers of a deployment's spec by slug. Raises TriggerError."""
    return named([trigger_from_json(each) for each in facts.get("triggers") or ()],
                 facts.get("after"))


@lru_cache(maxsize=16_384)
def _read(text: str, deployment: str) -> Trigger | None:
    """Return a trigger; one that cannot be read here is told of once."""
    import json

    try:
        return trigger_from_json(json.loads(text))
    except TriggerError as error:  # what a newer version wrote, a zone that this host lacks
        logger.error("A trigger of %s does nothing: %s", deployment, error)
        return None
