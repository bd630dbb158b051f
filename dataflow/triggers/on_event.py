"""``OnEvent``: an event of some name came in.

Lives here: the definition. Does not live here: whether an event is meant (``matching.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dataflow.triggers.definition import checked_globs, refuse
from dataflow.triggers.run_match import checked_match
from dataflow.triggers.trigger import Reactive


@dataclass(frozen=True, slots=True)
class OnEvent(Reactive):
    """An event came in, one that somebody emitted or one of ours.

    Parameters
    ----------
    name
        Globs of names; one is enough: ``"orders.*"``, ``["a", "b"]``.
    resource
        Globs of resources; empty: any, or none.
    match
        Of which runs, as with ``OnState``: those that the event is of, or that emitted it.
        Empty: of any or none; but states of runs of the deployment itself do not count then.
    """

    kind: ClassVar[str] = "event"

    name: tuple[str, ...] | str | Sequence[str]
    resource: tuple[str, ...] | str | Sequence[str] = field(default=(), kw_only=True)
    match: tuple[str, ...] | str | Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Check the options."""
        super(OnEvent, self).__post_init__()
        self._set(name=checked_globs("name", self.name),
                  resource=checked_globs("resource", self.resource),
                  match=checked_match(self.match))
        if not self.name:
            refuse("name", self.name, "names no event: give a name, or '*' for all")

    def describe(self) -> str:
        """Return it in words."""
        where = f" of {' or '.join(self.resource)}" if self.resource else ""
        by = f" of runs of {' or '.join(self.match)}" if self.match else ""
        return self.counts_in_words(f"event {' or '.join(self.name)}{where}{by}")
