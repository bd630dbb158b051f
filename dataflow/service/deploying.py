"""From a deployment as people describe it to one that is in the agenda, and to its runs.

Lives here: registering, the order that a run's process gets, checking parameters
before a run is queued. Does not live here: what a deployment is (``deployments/``),
the agenda, methods of flows (``flow_deploying.py``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
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
from dataflow.deployments.json_values import json_copy
from dataflow.exceptions import DeploymentNotFound, ParameterTypeError
from dataflow.service.chains import refuse_circles
from dataflow.service.orders import Order
from dataflow.service.slots import first_slot_s, schedule_of

_OPTIONS = ("retries", "retry_delay_seconds", "timeout_seconds")
_SHOWN_PROBLEMS = 20
_SHOWN_TEXT = 400  # characters of a problem


@dataclass(frozen=True, slots=True)
class Registered:
    """What putting a deployment came to.

    Attributes
    ----------
    row
        The deployment as it stands now; of a dry run, as it stood before.
    changed
        Something is another now, or would be.
    version
        Before and after; 0 where there was none.
    differences
        What is another; of a new one, what differs from the defaults.
    """

    row: DeploymentRow | None
    changed: bool
    version: tuple[int, int]
    differences: Sequence[Difference]

    def said(self, dry_run: bool = False) -> str:
        """Return it in words."""
        before, after = self.version
        if not self.changed:
            return f"unchanged (version {before})"
        if dry_run:
            return "would be new" if not before else "would change"
        if not before:
            return f"new (version {after})"
        return f"changed (version {before} → {after})" if after != before else (
            f"changed (version {after})")


def register(agenda: Agenda, spec: DeploymentSpec, now_s: float, *,
             provenance: Mapping[str, Any] | None = None, dry_run: bool = False,
             beside: Iterable[DeploymentSpec] = ()) -> Registered:
    """Put a deployment; the same one again changes nothing. With ``dry_run`` nothing is put.

    Parameters
    ----------
    provenance
        What is known of its code; other code makes another version.
    beside
        Those that are registered with it: what they say counts, not what they said before.

    Raises
    ------
    DeploymentDefinitionError
        With ``after`` it goes in a circle of deployments; nothing was registered.
    """
    refuse_circles(agenda, spec, beside)
    before = _known(agenda, spec.full_name)
    changes = list(differences(
        None if before is None else DeploymentSpec.from_json(before.spec), spec))
    new = placed(spec, now_s, provenance)
    was = 0 if before is None else before.version
    if before is not None and before.digest != new.digest and not changes:
        changes.append(Difference("code", before.provenance.get("code_digest"),
                                  new.provenance.get("code_digest")))
    if dry_run:
        return Registered(before, before is None or bool(changes), (was, was), changes)
    row, changed = agenda.put(new, now_s)
    return Registered(row, changed, (was, row.version), changes)


def provenance_here(spec: DeploymentSpec) -> dict[str, Any]:
    """Return what is known of the code of a deployment, which is loaded for it."""
    from dataflow.deployments import Source, provenance_of
    from dataflow.entrypoints import load_flow
    from dataflow.settings import get_settings

    fetched = Source.parse(spec.source).fetch(get_settings().home)
    flow = load_flow(spec.entrypoint, fetched.folder)
    return provenance_of(flow, fetched.folder, fetched.revision).to_json()


def _known(agenda: Agenda, name: str) -> DeploymentRow | None:
    try:
        return agenda.deployment(name)
    except DeploymentNotFound:
        return None


def placed(spec: DeploymentSpec, now_s: float,
           provenance: Mapping[str, Any] | None = None) -> NewDeployment:
    """Return a spec as the agenda takes it, its schedules with their first slot."""
    return NewDeployment(
        name=spec.full_name, flow_name=spec.flow_name, spec=spec.to_json(),
        digest=f"{spec.digest()}-{(provenance or {}).get('code_digest') or ''}",
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
        task_runner=spec.get("task_runner"), flow_name=spec.get("flow_name"), retry=run.retry,
        deployment={
            "id": run.deployment_id, "name": run.deployment.partition("/")[2],
            "version": spec.get("version") or str(run.version),
            "parameters": spec.get("parameters") or {},
            "due_s": run.due_s if run.slot_s is None else run.slot_s, "trigger": run.trigger},
        attempt=run.tries)


def _shortened(text: str) -> str:
    """Leave out the middle of a text in which a large value is shown."""
    return text if len(text) <= _SHOWN_TEXT else (
        f"{text[:_SHOWN_TEXT // 2]} … {text[-_SHOWN_TEXT // 2:]}")


def checked_parameters(deployment: DeploymentRow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run, the deployment's with what is given over them.

    Raises
    ------
    ParameterTypeError
        They do not fit the schema of the flow's parameters; the text says which, and why. No
        run was made.
    """
    from jsonschema import Draft202012Validator

    if not isinstance(given, Mapping):
        raise ParameterTypeError(
            f"Parameters of a deployment are a mapping of names to values, not {given!r:.200}.")
    try:
        given = json_copy(given, "parameters")
    except ValueError as wrong:
        raise ParameterTypeError(
            f"The parameters do not fit deployment {deployment.name!r}; no run was made: "
            f"{wrong}.") from None
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
        text = _shortened(error.message)
        problems.append(f"{where}: {text}" if where else text)
    if problems:
        listed = "\n".join(f"  {each}" for each in problems[:_SHOWN_PROBLEMS])
        raise ParameterTypeError(
            f"The parameters do not fit deployment {deployment.name!r}; no run was made:\n"
            f"{listed}")
    return parameters
