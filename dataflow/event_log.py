"""The port to what has happened, and to what is to follow from it.

Lives here: the contract and its values. The adapter is in ``stores/events/``; a store
gives its own by :meth:`.Store.events`. Does not live here: what follows from an event
(``triggers/``, ``alerts/``), the loop that acts (``service/watcher.py``), how users
emit one (``events.py``).

Each change of a flow run's state is an event, put down in the transaction that changes it.
An event waits until somebody has drawn its consequences, which happens once: they are
written in the transaction that takes it off the list.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dataflow.agenda import NewRun
from dataflow.alerts.outbox import Outbox, Parcel

STATE_EVENTS = "dataflow.flow-run."
"""How the names of changes of state begin: ``dataflow.flow-run.Completed``."""

FILE_WATCH = "file:"
"""How the watch of a deployment's files begins; the deployment's id follows."""

RUN_RESOURCE = "dataflow.flow-run."
"""How the resource of a flow run begins; its id follows."""

WATCHING = "watch"
"""Name of the loop that draws the consequences of events, see :meth:`EventLog.lead`."""

LONGEST_LEAD_S = 60.0
"""Nobody leads for longer at a time, in seconds: a clock that was set back since took such a lead,
or one that goes otherwise, and it counts as over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that is to be put down.

    Parameters
    ----------
    id
        The same id again is the same event.
    sighting
        (watch, what, mark): put down only where that watch has not seen that thing with
        that mark, which is remembered with it.
    flow_run_id
        The run that emitted it.
    """

    id: str
    name: str
    occurred_s: float
    resource: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    flow_run_id: str | None = None
    sighting: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event as it is read.

    Of a change of state the last fields tell whose it was; ``flow_run_id`` of another one is
    the run that emitted it, and they tell of that. ``state_*`` are of changes of state alone.
    """

    key: int  # in the order in which they were put down, nearly: transactions overlap
    id: str
    name: str
    resource: str | None
    occurred_s: float
    payload: dict[str, Any]
    flow_run_id: str | None = None
    state_type: str | None = None
    state_name: str | None = None
    message: str | None = None
    run_count: int | None = None
    flow_run_name: str | None = None
    flow_name: str | None = None
    tags: tuple[str, ...] = ()
    deployment: str | None = None  # flow/deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What waits to be acted on.

    ``memory`` is what was remembered by whoever judged last, by name; ``version`` goes up with
    each :meth:`EventLog.settle`.
    """

    version: int
    events: Sequence[EventRow]
    memory: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What follows from events, or from time that has passed.

    Attributes
    ----------
    handled
        Keys of events whose consequences these are.
    memory
        What is to be remembered, by name; None: nothing any more. Names that are not here
        stay as they are.
    runs
        To be queued. One whose deployment is gone is left out.
    cancel
        Ids of flow runs.
    pause
        (deployment, whether it is to rest).
    parcels
        To be delivered.
    events
        To be put down.
    """

    handled: Sequence[int] = ()
    memory: Mapping[str, str | None] = field(default_factory=dict)
    runs: Sequence[NewRun] = ()
    cancel: Sequence[str] = ()
    pause: Sequence[tuple[str, bool]] = ()
    parcels: Sequence[Parcel] = ()
    events: Sequence[NewEvent] = ()

    @property
    def anything(self) -> bool:
        """Tell whether there is something to be written."""
        return bool(self.handled or self.memory or self.runs or self.cancel or self.pause
                    or self.parcels or self.events)


ParcelStatus = Literal["waiting", "delivered", "given up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelRow:
    """A message for one channel, and what became of it."""

    parcel: Parcel
    status: ParcelStatus
    ended_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What alerts and triggers need of a flow run beside its row.

    ``alerts`` is the JSON list of those that its flow or deployment brings. ``depth``: how many
    runs made by triggers it follows from, itself among them, as far as it is known.
    """

    deployment: str | None
    deployment_spec: dict[str, Any]
    alerts: Sequence[Mapping[str, Any]]
    due_s: float | None
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What earlier runs of a flow, or of one deployment of it, came to; the latest first."""

    durations_s: Sequence[float]  # of completed ones
    ended: Sequence[str]  # types of final states
    last_completed_s: float | None


class EventLog(abc.ABC):
    """Events, and who acts on them. Any number of processes use one at the same time.

    Every method is one transaction and raises StoreError where the store fails: nothing was
    changed then. Times are epoch seconds, and passed in.
    """

    @abc.abstractmethod
    def emit(self, events: Sequence[NewEvent]) -> int:
        """Put events down; return how many were new."""

    @abc.abstractmethod
    def events(
        self, *, name: str | None = None, resource: str | None = None,
        flow_run_id: str | None = None, since_s: float | None = None, after: int | None = None,
        before: int | None = None, limit: int = 50,
    ) -> list[EventRow]:
        """Return events, the newest first; with ``after`` those beyond that key, the oldest first.

        ``name`` and ``resource`` are globs: ``*`` stands for anything, ``?`` for one character.
        ``before`` is a key too: the last one of the page before.
        """

    @abc.abstractmethod
    def seen(self, watch: str) -> dict[str, str]:
        """Return what a watch has seen: thing → mark."""

    @abc.abstractmethod
    def pending(self, limit: int = 500) -> Pending:
        """Return events whose consequences nobody has drawn, the oldest first."""

    @abc.abstractmethod
    def settle(self, version: int, findings: Findings, now_s: float) -> bool:
        """Write down what follows. False, and nothing changed: somebody was faster.

        Parameters
        ----------
        version
            Of the :class:`Pending` that was judged.
        """

    @abc.abstractmethod
    def pass_over(self, before_s: float) -> int:
        """Let everything that waits and occurred before a moment have no consequences."""

    @abc.abstractmethod
    def forget(self, before_s: float, limit: int = 10_000) -> int:
        """Remove events that were handled and occurred before a moment, and parcels that ended
        before it; return how many."""

    @abc.abstractmethod
    def facts(self, flow_run_ids: Sequence[str]) -> dict[str, RunFacts]:
        """Return what is known of runs, of those that are there."""

    @abc.abstractmethod
    def past(self, flow_name: str, deployment: str | None, before_s: float,
             without: str = "", limit: int = 20) -> Past:
        """Return what runs that ended up to a moment came to.

        Parameters
        ----------
        deployment
            ``flow/deployment``: only its runs.
        without
            Id of a run that does not count.
        """

    @abc.abstractmethod
    def outbox(self) -> Outbox:
        """Return what waits to be delivered."""

    @abc.abstractmethod
    def parcels(self, status: ParcelStatus | None = None, limit: int = 50,
                before: str | None = None) -> list[ParcelRow]:
        """Return messages, the newest first; ``before``: id of the last of the page before."""

    @abc.abstractmethod
    def lead(self, loop: str, owner: str, now_s: float, until_s: float) -> bool:
        """Become the one that runs a loop, or stay it, until a moment; False: another one is.

        ``until_s`` before now: give it up. At most :data:`LONGEST_LEAD_S` from now.
        """

    @abc.abstractmethod
    def leader(self, loop: str, now_s: float) -> str | None:
        """Return who runs a loop at the moment; None: nobody does."""
