"""What the engine hears and what it commands.

Lives here: events (beside those of ``runner.py``) and commands, as values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dataflow.batch import Batch
from dataflow.graph import CallSpec, CallView
from dataflow.outcomes import ErrorRecord
from dataflow.runner import RunnerEvent


@dataclass(frozen=True, slots=True)
class CallAdded:
    """The flow made a call."""

    spec: CallSpec
    view: CallView


@dataclass(frozen=True, slots=True)
class Pulled:
    """Items came out of a call's generators: one list per mapped iterator, equally long."""

    call: int
    items: dict[int | str, list[Any]]
    exhausted: bool = False
    uneven: bool = False  # one generator ended before another
    error: ErrorRecord | None = None  # a generator raised


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A future (``index``) or a whole call is to be cancelled."""

    call: int
    index: int | None
    message: str


@dataclass(frozen=True, slots=True)
class CancelAll:
    """Everything that is not final is to be cancelled."""

    message: str


@dataclass(frozen=True, slots=True)
class GeneratorsStopped:
    """Mapped generators that have not ended are not to be consumed any further."""


@dataclass(frozen=True, slots=True)
class HandleDropped:
    """Nobody holds a future of a call any more."""

    call: int


@dataclass(frozen=True, slots=True)
class ValueLost:
    """Values were asked for that the runner does not have any more."""

    elements: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RunnerRestarted:
    """The runner was lost and is there again: nothing is in flight, all values are gone."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    CallAdded | Pulled | CancelAsked | CancelAll | GeneratorsStopped | HandleDropped
    | ValueLost | RunnerRestarted | Tick | RunnerEvent
)


@dataclass(frozen=True, slots=True)
class Pull:
    """Take up to ``count`` items from each generator of a call."""

    call: int
    count: int


@dataclass(slots=True)
class Commands:
    """What the driver is to do, in this order, then forget."""

    send: list[Batch] = field(default_factory=list)
    release: list[int] = field(default_factory=list)  # batches whose block nobody needs
    stop: list[int] = field(default_factory=list)  # batches to stop before their next element
    pull: list[Pull] = field(default_factory=list)
    settled: bool = False  # something became final: wake who waits
    wake_at: float | None = None  # send a Tick then
