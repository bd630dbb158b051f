"""Deployments, schedules, the queue, workers and pools as they are answered.

Lives here: their fields, named as ``dataflow … --output json`` names them, and what
asks for them. Does not live here: runs (``runs.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dataflow.agenda import (
    DeploymentRow,
    LimitKind,
    LimitRow,
    Phase,
    PoolRow,
    QueuedRun,
    ScheduleRow,
    VersionRow,
    WorkerRow,
)
from dataflow.server.shapes.moments import Moment
from dataflow.server.shapes.pages import Page, PageQuery, Shape
from dataflow.server.shapes.shown import moment, shown, shown_spec


class DeploymentShape(Shape):
    """A deployment as it stands."""

    id: str
    name: Annotated[str, Field(description="flow/name.")]
    flow_name: str
    version: int
    label: str | None
    digest: str
    paused: bool
    pool: str
    queue: str
    priority: int
    limit: int | None
    collision: str
    on_crash: str
    created: datetime
    updated: datetime
    spec: Annotated[dict[str, Any], Field(description="Secrets in it are masked.")]
    provenance: dict[str, Any]


class Deployments(Page[DeploymentShape]):
    """Some of the deployments, by name."""


class VersionShape(Shape):
    """A version that a deployment has or had."""

    number: int
    label: str | None
    digest: str
    created: datetime
    spec: dict[str, Any]
    provenance: dict[str, Any]


class Versions(Page[VersionShape]):
    """Versions of a deployment, the newest first."""


class Deleted(Shape):
    """A deployment that is gone."""

    name: str
    cancelled: Annotated[int, Field(description="Runs that waited, and were cancelled.")]


class ScheduleShape(Shape):
    """A schedule of a deployment."""

    deployment: str
    slug: str
    active: bool
    paused: Annotated[bool, Field(description="The deployment is.")]
    spec: dict[str, Any]
    next: datetime | None
    handled: datetime | None


class Schedules(Page[ScheduleShape]):
    """Some of the schedules, by deployment."""


class QueuedRunShape(Shape):
    """A run's place in the queue."""

    flow_run_id: str
    deployment: str
    version: int
    pool: str
    queue: str
    priority: int
    phase: str
    worker: str | None
    tries: int
    due: datetime
    slot: datetime | None
    schedule: str | None
    cancel: Annotated[bool, Field(description="Somebody asked for its end.")]
    on_crash: str
    cause: str | None
    parameters: Annotated[dict[str, Any], Field(description="Secrets are masked.")]


class QueuedRuns(Page[QueuedRunShape]):
    """Some of what waits or was taken, the first due first."""


class WorkerShape(Shape):
    """A worker that takes runs of a pool."""

    name: str
    pool: str
    type: str
    limit: int | None
    host: str
    pid: int
    started: datetime
    seen: datetime
    status: str


class Workers(Page[WorkerShape]):
    """The workers, the last one seen first."""


class PoolShape(Shape):
    """A work pool."""

    name: str
    type: Annotated[str, Field(description="What its workers are unless told otherwise.")]
    limit: int | None
    paused: bool


class Pools(Page[PoolShape]):
    """The pools, by name."""


class LimitShape(Shape):
    """How many runs may go on at the same time, and how many do."""

    kind: LimitKind
    name: Annotated[str, Field(description="A tag, pool/queue, a pool, or flow/name.")]
    limit: Annotated[int | None, Field(description="null: any number.")]
    running: int


class Limits(Page[LimitShape]):
    """The limits, by kind and name."""


class LimitBody(BaseModel):
    """A limit as it is to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: LimitKind
    name: Annotated[str, Field(min_length=1, max_length=500, description=(
        "A tag, pool/queue, a pool, or flow/name."))]
    limit: Annotated[int | None, Field(
        ge=0, le=1_000_000, strict=True, description="null: any number; 0: none begins.")]


class QueueQuery(PageQuery):
    """Which runs of the queue."""

    pool: Annotated[str | None, Field(max_length=500)] = None
    phase: Phase | None = None


class SchedulesQuery(PageQuery):
    """Which schedules."""

    deployment: Annotated[str | None, Field(max_length=500, description="flow/name.")] = None


class NewRunBody(BaseModel):
    """A run of a deployment that is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: Annotated[dict[str, Any], Field(
        description="Over those of the deployment; checked against its schema.")] = {}
    idempotency_key: Annotated[str | None, Field(
        min_length=1, max_length=500, description="The same key again is the same run.")] = None
    scheduled_time: Annotated[Moment | None, Field(
        description="Not before; now where it is missing. Without an offset: UTC.")] = None
    priority: Annotated[int | None, Field(
        gt=-(1 << 31), lt=1 << 31, description="Instead of the deployment's.")] = None
    tags: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=100)] = []
    name: Annotated[str | None, Field(min_length=1, max_length=200)] = None


def deployment_shape(row: DeploymentRow) -> DeploymentShape:
    """Return a deployment."""
    return DeploymentShape(**{
        **_plain(row), "created": moment(row.created_s), "updated": moment(row.updated_s),
        "spec": shown_spec(row.spec), "provenance": shown(row.provenance)})


def version_shape(row: VersionRow) -> VersionShape:
    """Return a version of a deployment."""
    return VersionShape(**{
        **_plain(row), "created": moment(row.created_s), "spec": shown_spec(row.spec),
        "provenance": shown(row.provenance)})


def schedule_shape(row: ScheduleRow) -> ScheduleShape:
    """Return a schedule."""
    return ScheduleShape(
        deployment=row.deployment, slug=row.slug, active=row.active, paused=row.paused,
        spec=shown_spec(row.spec), next=moment(row.next_s), handled=moment(row.handled_s))


def queued_run_shape(run: QueuedRun) -> QueuedRunShape:
    """Return a run's place in the queue."""
    return QueuedRunShape(**{
        **_plain(run), "due": moment(run.due_s), "slot": moment(run.slot_s),
        "parameters": shown(run.parameters, "parameters")})


def worker_shape(row: WorkerRow) -> WorkerShape:
    """Return a worker."""
    return WorkerShape(**{**_plain(row), "type": row.kind, "started": moment(row.started_s),
                          "seen": moment(row.seen_s)})


def limit_shape(row: LimitRow) -> LimitShape:
    """Return a limit."""
    return LimitShape.model_validate(row)


def pool_shape(row: PoolRow) -> PoolShape:
    """Return a pool."""
    return PoolShape(name=row.name, type=row.kind, limit=row.limit, paused=row.paused)


_Row = DeploymentRow | VersionRow | QueuedRun | WorkerRow


def _plain(row: _Row) -> Mapping[str, Any]:
    """Return the fields of a row that are answered as they are."""
    return {name: value for name, value in asdict(row).items()
            if not name.endswith("_s") and name not in ("deployment_id", "kind")}
