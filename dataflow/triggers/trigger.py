"""What every trigger is: a frozen value that says upon what, and what is done then.

Lives here: the options that all kinds share, and those of all that answer to events.
Does not live here: the kinds (a module each), whether an event is meant
(``matching.py``), what is remembered (``memories.py``).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from hashlib import blake2b
from typing import Any, ClassVar, Literal

from dataflow.triggers.definition import (
    ACTIONS,
    above_zero,
    checked_count,
    checked_flag,
    checked_name,
    checked_parameters,
    checked_seconds,
    checked_word,
    compact,
    name_or_none,
    refuse,
)
from dataflow.triggers.payload_match import checked_payload

Action = Literal["run", "cancel", "pause", "resume"]
_DONE = frozenset({"parameters", "action", "deployment", "delay", "slug", "active"})


@dataclass(frozen=True, slots=True)
class Trigger(ABC):
    """Base of all triggers; make an ``OnState``, ``OnEvent``, ``Absence`` and so on.

    A trigger belongs to the deployment that carries it, which it makes a run of by default.

    Parameters
    ----------
    parameters
        Of the run, over those of the deployment; JSON values. Texts are templates (Jinja)
        over the event: ``"{{ event.payload.path }}"``. One that is a single expression gives
        its value with its type.
    action : {"run", "cancel", "pause", "resume"}, default "run"
        ``run`` makes a run of the deployment, ``cancel`` cancels the run that the event is
        of, ``pause`` and ``resume`` let a deployment rest and go on.
    deployment
        Which one is paused or resumed; by default the one that carries the trigger.
    delay : seconds, ``"10m"`` or timedelta, default 0
        The run begins so much later.
    slug
        Name of the trigger within its deployment; by default its kind.
    active
        False: it rests.

    Raises
    ------
    TriggerError
        An option cannot be used; the text names it.
    """

    kind: ClassVar[str]
    run_of_event: ClassVar[bool] = True
    """Whether its events may be of a run, which can be cancelled."""

    parameters: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    action: Action = field(default="run", kw_only=True)
    deployment: str | None = field(default=None, kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    slug: str | None = field(default=None, kw_only=True)
    active: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        """Check the options and bring each into its one form; subclasses go on from here."""
        self._set(
            parameters=checked_parameters(self.parameters),
            action=checked_word("action", self.action, ACTIONS),
            deployment=name_or_none("deployment", self.deployment),
            delay=checked_seconds("delay", self.delay),
            slug=name_or_none("slug", self.slug),
            active=checked_flag("active", self.active),
        )
        if self.deployment is not None and self.action not in ("pause", "resume"):
            refuse("deployment", self.deployment,
                   "says what is paused or resumed: with another action leave it out. A run is "
                   "made of the deployment that carries the trigger")
        for name in ("parameters", "delay"):
            if getattr(self, name) and self.action != "run":
                refuse(name, getattr(self, name), f"is of a run, and action={self.action!r} makes "
                                                  "none")
        if self.action == "cancel" and not self.run_of_event:
            refuse("action", "cancel", f"has no run to cancel: a trigger of kind {self.kind} "
                                       "knows of none")

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def digest(self) -> str:
        """Return what tells upon what it acts; what is done then does not count."""
        facts = {name: value for name, value in self.to_json().items() if name not in _DONE}
        return blake2b(compact(facts).encode(), digest_size=8).hexdigest()

    def describe(self) -> str:
        """Return the trigger in words, for people."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as JSON can hold it, without what is as by default.

        ``trigger_from_json`` takes it back.
        """
        found: dict[str, Any] = {"kind": self.kind}
        for each in fields(self):
            value = getattr(self, each.name)
            default = each.default_factory() if each.default_factory is not MISSING else (
                each.default)
            if each.init and value != default:
                found[each.name] = _plain(value)
        return found


@dataclass(frozen=True, slots=True)
class Reactive(Trigger):
    """Base of triggers that answer to events.

    Parameters
    ----------
    payload
        Conditions on what the event brings, all of which must hold: a path with dots →
        a value, a list of values, a glob, or comparisons such as ``{">": 3, "<=": 10}``.
    count
        It takes so many events; then counting starts anew.
    within : seconds, ``"1h"`` or timedelta, optional
        All of them in such a time; None: however long it takes.
    for_each
        Count apart for each value of this: ``"resource"``, ``"flow"``, ``"deployment"``,
        or a path into the payload.
    """

    payload: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    count: int = field(default=1, kw_only=True)
    within: float | None = field(default=None, kw_only=True)
    for_each: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the options."""
        super(Reactive, self).__post_init__()
        self._set(
            payload=checked_payload(self.payload),
            count=checked_count(self.count),
            within=None if self.within is None else above_zero("within", self.within),
            for_each=None if self.for_each is None else checked_name("for_each", self.for_each),
        )
        if self.for_each is not None and self.for_each.startswith("event."):
            refuse("for_each", self.for_each, "begins as templates do: write 'resource', 'flow', "
                                              "'deployment', or the path into the payload alone")
        if self.within is not None and self.count == 1:
            refuse("within", self.within, "says in which time `count` events come: give count too")

    def counts_in_words(self, what: str) -> str:
        """Return ``3 × what within 3600 s, for each resource``."""
        said = what if self.count == 1 else f"{self.count} × {what}"
        if self.within is not None:
            said += f" within {self.within:g} s"
        return said if self.for_each is None else f"{said}, for each {self.for_each}"


def _plain(value: Any) -> Any:
    if isinstance(value, Trigger):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
