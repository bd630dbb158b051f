"""Deployments, schedules, queued runs, workers, pools and limits as values.

Lives here: what goes into an agenda and comes out of it, frozen. Does not live here: the port
(``agenda.py``, from where these names are imported), how they are kept (``stores/agenda/``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Phase = Literal["waiting", "taken", "ended"]
Collision = Literal["ENQUEUE", "CANCEL_NEW"]
OnCrash = Literal["crash", "resume"]
LimitKind = Literal["tag", "queue", "pool", "deployment"]

DEFAULT_POOL = "default"
DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 0
"""Of runs: of those that are due, the greater number goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule of a deployment, as it is put.

    ``next_s``: its first slot, epoch seconds; None where there is none.
    """

    slug: str
    spec: Mapping[str, Any]
    active: bool = True
    next_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeployment:
    """A deployment as it is put; another digest makes another version."""

    name: str  # flow/deployment
    flow_name: str
    digest: str
    spec: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None  # the version's name, as users give it
    paused: bool = False
    pool: str = DEFAULT_POOL
    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    limit: int | None = None
    collision: Collision = "ENQUEUE"
    on_crash: OnCrash = "crash"
    schedules: Sequence[NewSchedule] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRow:
    """A deployment as it stands."""

    id: str
    name: str
    flow_name: str
    version: int  # counts from 1
    label: str | None
    digest: str
    spec: dict[str, Any]  # as it was put last; see VersionRow for that of a version
    provenance: dict[str, Any]
    paused: bool
    pool: str
    queue: str
    priority: int
    limit: int | None
    collision: Collision
    on_crash: OnCrash
    created_s: float
    updated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A version that a deployment has or had."""

    number: int
    label: str | None
    digest: str
    spec: dict[str, Any]
    provenance: dict[str, Any]
    created_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """A schedule as it stands.

    ``handled_s`` is the last slot that was looked at, whether it made a run or was passed
    over; ``next_s`` the one that comes, None where none does.
    """

    key: int
    deployment: str  # its name
    slug: str
    spec: dict[str, Any]
    active: bool
    paused: bool  # the deployment is
    made_s: float
    handled_s: float | None
    next_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run that is to be queued."""

    flow_run_id: str
    name: str
    deployment: str
    parameters: Mapping[str, Any]
    due_s: float
    tags: Sequence[str] = ()
    priority: int | None = None  # None: the deployment's
    slot_s: float | None = None  # of the schedule that makes it, or of ``schedule``
    schedule: str | None = None  # slug of one for whose slot it stands though that did not make it
    serial: bool = False  # not beside another run of its schedule
    idempotency_key: str | None = None
    parent_task_run_id: str | None = None
    parent_flow_run_id: str | None = None
    cause: str | None = None  # what made it, for people
    trigger: Mapping[str, Any] | None = None  # the event that made it, where one did; JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRun:
    """A run in the queue."""

    flow_run_id: str
    deployment: str
    deployment_id: str
    version: int
    spec: dict[str, Any]  # of that version
    parameters: dict[str, Any]
    pool: str
    queue: str
    priority: int
    due_s: float
    slot_s: float | None
    schedule: str | None  # its slug
    phase: Phase
    worker: str | None
    taken_until_s: float | None
    tries: int  # times that it was taken
    cancel: bool  # somebody asked to
    on_crash: OnCrash
    cause: str | None
    trigger: dict[str, Any] | None = None  # the event that made it
    retry: bool = False  # what failed in it is to run again


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClaim:
    """Who has a run that was taken: the last words of its worker and of its process.

    ``until_s`` is by the clock of the worker's host, ``lease_until_s`` by that of the process's.
    """

    flow_run_id: str
    worker: str | None
    until_s: float | None
    tries: int
    owner: str | None
    lease_until_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRun:
    """A run that a schedule made for a slot, or that was made in its place."""

    slot_s: float
    schedule: str | None  # its slug; None: the schedule is not there any more
    flow_run_id: str
    state_type: str
    state_name: str
    parent_flow_run_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker that takes runs of a pool."""

    name: str
    pool: str
    kind: str
    limit: int | None
    host: str
    pid: int
    started_s: float
    seen_s: float
    status: Literal["online", "draining", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """A work pool: where runs wait for workers of one kind.

    ``kind`` is what its workers are unless told otherwise: ``process``, ``inline``, ``dask`` or
    ``command``; ``template`` is what they need for that, as JSON.
    """

    name: str
    limit: int | None
    paused: bool
    kind: str = "process"
    template: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A queue of a pool that somebody said something of.

    ``priority``: of the queues of a pool, runs of the greater go first.
    """

    pool: str
    name: str
    priority: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """How many runs may go on at the same time, and how many do.

    ``name`` is a tag, ``pool/queue``, a pool or a deployment.
    """

    kind: LimitKind
    name: str
    limit: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLength:
    """How many runs wait in a queue of a pool, and how many were taken."""

    pool: str
    queue: str
    waiting: int
    due: int  # of those that wait
    taken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of the slots of a schedule that have come.

    Attributes
    ----------
    runs
        Runs to be made.
    handled_s
        The last slot that was looked at.
    next_s
        The one after it, None: there is none.
    cancel_active
        Runs of the schedule that wait or go on are cancelled.
    """

    runs: Sequence[NewRun] = ()
    handled_s: float | None
    next_s: float | None
    cancel_active: bool = False


Decide = Callable[[ScheduleRow, DeploymentRow, int], Decision]
"""Schedule, its deployment, how many of its runs wait or go on → what becomes of it. Pure, quick:
it is called in a transaction."""
