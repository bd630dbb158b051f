"""``OnState``: a flow run came to a state.

Lives here: the definition. Does not live here: whether an event is meant (``matching.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dataflow.alerts import conditions
from dataflow.triggers.definition import as_of_alerts, near, refuse
from dataflow.triggers.run_match import checked_match
from dataflow.triggers.trigger import Reactive

STATES = (
    "failed", "crashed", "cancelled", "completed", "late", "paused", "running", "retrying",
    "timed_out", "scheduled", "pending", "cancelling", "any",
)
"""What ``states`` may name. ``any`` is every final state; ``failed`` includes ``timed_out``."""


@dataclass(frozen=True, slots=True)
class OnState(Reactive):
    """A flow run came to a state.

    Parameters
    ----------
    states
        ``"failed"``, ``["failed", "crashed"]``, ``"any"`` (every final state); see
        :data:`STATES`. A state with a name of your own is an event as well:
        ``OnEvent("dataflow.flow-run.Nothing to do")``.
    match
        Of which runs: ``"tag:prod"``, ``"flow:etl-*"``, ``"deployment:nightly"``,
        ``"name:*-retry"`` (of the run), or a bare name of a flow or deployment; all are
        globs. A list holds alternatives, ``&`` joins what must hold together. Empty: all
        but those of the deployment that carries the trigger.
    """

    kind: ClassVar[str] = "state"

    states: tuple[str, ...] | str | Sequence[str] = ("completed",)
    match: tuple[str, ...] | str | Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Check the options."""
        super(OnState, self).__post_init__()
        self._set(states=_states(self.states), match=checked_match(self.match))

    def describe(self) -> str:
        """Return it in words."""
        whose = " or ".join(self.match) or "any other run"
        return self.counts_in_words(f"{whose} is {' or '.join(self.states)}")


def _states(value: object) -> tuple[str, ...]:
    found = as_of_alerts("states", value, lambda each: conditions.words("states", each))
    named = tuple(one.lower().replace("-", "_").replace(" ", "_") for one in found)
    if not named:
        refuse("states", value, f"names none{near('', STATES)}")
    for one in named:
        if one not in STATES:
            refuse("states", one, "is no state (one with a name of its own is an event: "
                                  f"OnEvent('dataflow.flow-run.<name>')){near(one, STATES)}")
    return named
