"""From a deployment as people describe it to one that is in the agenda, and to its runs.

Lives here: registering, the order that a run's process gets, checking parameters
before a run is queued. Does not live here: what a deployment is (``deployments/``),
the agenda, methods of flows (``flow_deploying.py``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.agenda import (
    DEFAULT_POOL,
    DEFAULT_QUEUE,
    Agenda,
    DeploymentRow,
    NewDeployment,
    NewSchedule,
    QueuedRun,
)
from dataflow.deployments import DeploymentSpec, Difference, differences
from dataflow.exceptions import DeploymentNotFound, ParameterTypeError
from dataflow.service.orders import Order
from dataflow.service.slots import first_slot_s, schedule_of

_OPTIONS = ("retries", "retry_delay_seconds", "timeout_seconds")
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Registered:
    """A deployment that was put, and what is another now."""

    row: DeploymentRow
    changed: bool
    differences: Sequence[Difference]  # empty for a new one


def register(agenda: Agenda, spec: DeploymentSpec, now_s: float, *,
             provenance: Mapping[str, Any] | None = None, dry_run: bool = False,
             ) -> Registered | Sequence[Difference]:
    """Put a deployment; the same one again changes nothing.

    With ``dry_run`` only what would be another is returned.
    """
    before = _known(agenda, spec.full_name)
    changes = [] if before is None else differences(
        DeploymentSpec.from_json(before.spec), spec)
    if dry_run:
        return changes
    row, changed = agenda.put(placed(spec, now_s, provenance), now_s)
    return Registered(row, changed, changes)


def _known(agenda: Agenda, name: str) -> DeploymentRow | None:
    try:
        return agenda.deployment(name)
    except DeploymentNotFound:
        return None


def placed(spec: DeploymentSpec, now_s: float,
           provenance: Mapping[str, Any] | None = None) -> NewDeployment:
    """Return a spec as the agenda takes it, its schedules with their first slot."""
    return NewDeployment(
        name=spec.full_name, flow_name=spec.flow_name, digest=spec.digest(), spec=spec.to_json(),
        provenance=provenance or {}, label=spec.version, paused=spec.paused,
        pool=spec.work_pool or DEFAULT_POOL, queue=spec.work_queue or DEFAULT_QUEUE,
        priority=spec.priority, limit=spec.limit, collision=spec.collision,
        on_crash=spec.on_crash, schedules=_schedules(spec, now_s))


def _schedules(spec: DeploymentSpec, now_s: float) -> list[NewSchedule]:
    """Give each schedule a name: its slug, else its kind, numbered where that repeats."""
    named: dict[str, NewSchedule] = {}
    for facts in spec.schedules:
        schedule = schedule_of(facts)
        slug, number = schedule.slug or schedule.kind, 1
        while slug in named:
            number += 1
            slug = f"{schedule.slug or schedule.kind}-{number}"
        named[slug] = NewSchedule(
            slug=slug, spec=schedule.to_json(), active=schedule.active,
            next_s=first_slot_s(schedule, now_s))
    return list(named.values())


def order_of(run: QueuedRun) -> Order:
    """Return what the process of a run is told."""
    spec = run.spec
    options = {name: spec[name] for name in _OPTIONS if spec.get(name) is not None}
    return Order(
        flow_run_id=run.flow_run_id, entrypoint=spec["entrypoint"], source=spec.get("source"),
        parameters=run.parameters, environment=spec.get("environment") or {}, options=options,
        task_runner=spec.get("task_runner"), flow_name=spec.get("flow_name"))


def checked_parameters(deployment: DeploymentRow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run, the deployment's with what is given over them.

    Raises
    ------
    ParameterTypeError
        They do not fit the schema of the flow's parameters; the text says which, and why. No
        run was made.
    """
    from jsonschema import Draft202012Validator

    parameters = {**deployment.spec.get("parameters", {}), **given}
    schema = deployment.spec.get("parameter_schema") or {}
    known = schema.get("properties")
    problems: list[str] = []
    if known is not None:
        for name in parameters:
            if name not in known:
                near = difflib.get_close_matches(name, list(known), 1)
                hint = f"; is {near[0]!r} meant?" if near else (
                    f"; it has {', '.join(known)}" if known else "; it has none")
                problems.append(f"{name}: the flow has no such parameter{hint}")
    for error in Draft202012Validator(schema).iter_errors(parameters):
        where = ".".join(map(str, error.absolute_path))
        problems.append(f"{where}: {error.message}" if where else error.message)
    if problems:
        listed = "\n".join(f"  {each}" for each in problems[:_SHOWN_PROBLEMS])
        raise ParameterTypeError(
            f"The parameters do not fit deployment {deployment.name!r}; no run was made:\n"
            f"{listed}")
    return parameters
