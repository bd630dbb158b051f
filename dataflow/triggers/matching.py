"""Which triggers hear an event. Pure.

Lives here: an index over what triggers listen to, by name and state first. Does not live
here: what follows for a trigger that heard (``counting.py``, ``silences.py``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from typing import Any

from dataflow.alerts import conditions
from dataflow.event_log import EventRow
from dataflow.state import TERMINAL
from dataflow.triggers.definition import compact
from dataflow.triggers.on_event import OnEvent
from dataflow.triggers.on_file import OnFile
from dataflow.triggers.on_state import OnState
from dataflow.triggers.on_webhook import OnWebhook
from dataflow.triggers.payload_match import MISSING, found_at, holds

FILE_APPEARED, FILE_CHANGED = "dataflow.file.Appeared", "dataflow.file.Changed"
_FILE_EVENTS = {"both": (FILE_APPEARED, FILE_CHANGED), "appeared": (FILE_APPEARED,),
                "changed": (FILE_CHANGED,)}
_STATE_NAMES = {"Late": "late", "AwaitingRetry": "retrying", "Retrying": "retrying",
                "TimedOut": "timed_out"}
_LONGEST_VALUE = 200
Definition = OnState | OnEvent | OnFile | OnWebhook


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """Something that hears events.

    Attributes
    ----------
    owner
        Whose it is, for the caller.
    definition
        What it listens to.
    own
        ``flow/deployment`` that carries it.
    part
        What of the owner it is: ``""``, or ``"after"`` of an absence.
    watch
        Of an ``OnFile``: whose files are meant.
    """

    owner: Any
    definition: Definition
    own: str
    part: str = ""
    watch: str | None = None

    def is_about(self, event: EventRow, *, names: bool) -> bool:
        """Tell whether an event's run is meant; ``names``: also by the run's own name."""
        if not isinstance(self.definition, OnState | OnEvent):
            return True
        given = tuple(self.definition.match)
        if not given:
            return event.state_type is None or event.deployment != self.own
        alternatives = _patterns(given)
        by_name = any(part.kind == "name" for parts in alternatives for part in parts)
        if by_name != names:
            return True  # not the time to ask
        found = _names_of(event)
        return any(all(part.holds(found) for part in parts) for parts in alternatives)

    def fits(self, event: EventRow) -> bool:
        """Tell whether what only this event has is meant: resource, payload, the run's name."""
        mine = self.definition
        if isinstance(mine, OnEvent) and mine.resource and (
                event.resource is None or not _regex(tuple(mine.resource)).match(event.resource)):
            return False
        if isinstance(mine, OnFile) and event.payload.get("watch") != self.watch:
            return False
        if isinstance(mine, OnWebhook) and event.payload.get("secret") != mine.secret:
            return False
        return holds(mine.payload, event.payload) and self.is_about(event, names=True)


@dataclass(slots=True)
class Index:
    """What listens, found by an event's name and state, and by whose run it is of."""

    listeners: Sequence[Listener]
    _by_name: dict[str, list[Listener]] = field(default_factory=lambda: defaultdict(list))
    _by_state: dict[str, list[Listener]] = field(default_factory=lambda: defaultdict(list))
    _by_glob: list[tuple[re.Pattern[str], Listener]] = field(default_factory=list)
    _known: dict[tuple[Any, ...], list[Listener]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in self.listeners:
            mine = each.definition
            if isinstance(mine, OnState):
                for state in mine.states:
                    self._by_state[state].append(each)
            elif isinstance(mine, OnEvent):
                self._by_glob.append((_regex(tuple(mine.name)), each))
            else:
                for name in _FILE_EVENTS[mine.on] if isinstance(mine, OnFile) else (
                        mine.event_name,):
                    self._by_name[name].append(each)

    def hearing(self, event: EventRow) -> Iterator[Listener]:
        """Yield what hears an event."""
        key = (event.name, event.state_type, event.state_name, event.flow_name, event.deployment,
               event.tags)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = [
                each for each in self._named(event) if each.is_about(event, names=False)]
        for each in found:
            if each.fits(event):
                yield each

    def _named(self, event: EventRow) -> Iterator[Listener]:
        yield from self._by_name.get(event.name, ())
        for pattern, each in self._by_glob:
            if pattern.match(event.name):
                yield each
        seen: set[int] = set()
        for word in state_words(event):
            for each in self._by_state.get(word, ()):
                if id(each) not in seen:
                    seen.add(id(each))
                    yield each


def state_words(event: EventRow) -> Iterator[str]:
    """Yield what the state of a change of state may be called; nothing of other events."""
    if event.state_type is None:
        return
    yield event.state_type.lower()
    if event.state_type in TERMINAL:
        yield "any"
    if event.state_name in _STATE_NAMES:
        yield _STATE_NAMES[event.state_name]


def value_of(event: EventRow, for_each: str | None) -> str | None:
    """Return the value for which is counted apart; None: the event has none."""
    if for_each is None:
        return ""
    known = {"resource": event.resource, "flow": event.flow_name, "deployment": event.deployment,
             "flow_run_id": event.flow_run_id}
    found = known[for_each] if for_each in known else found_at(event.payload, for_each)
    if found is MISSING or found is None:
        return None
    text = found if isinstance(found, str) else compact(found)
    if len(text) <= _LONGEST_VALUE:
        return text
    from hashlib import blake2b

    return f"{text[:100]}…{blake2b(text.encode(), digest_size=8).hexdigest()}"


def _names_of(event: EventRow) -> dict[str, tuple[str, ...]]:
    deployment = event.deployment
    return {
        "tag": event.tags, "flow": () if event.flow_name is None else (event.flow_name,),
        "name": () if event.flow_run_name is None else (event.flow_run_name,),
        "deployment": () if deployment is None else (deployment.partition("/")[2], deployment),
    }


@lru_cache(maxsize=4096)
def _patterns(match: tuple[str, ...]) -> tuple[tuple[conditions.Pattern, ...], ...]:
    return conditions.patterns(match)


@lru_cache(maxsize=4096)
def _regex(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(each) for each in globs))
