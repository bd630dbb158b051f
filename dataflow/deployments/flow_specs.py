"""Deployments of flows that are loaded: what the flow itself says is filled in.

Lives here: making a spec of a flow, and fitting one to a flow with its parameters
checked. Does not live here: loading flows (``dataflow.entrypoints``).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflow.deployments.json_values import json_copy
from dataflow.deployments.source_places import place_in_source
from dataflow.deployments.spec import DeploymentSpec
from dataflow.entrypoints import entrypoint_of, entrypoint_within
from dataflow.exceptions import (
    DeploymentDefinitionError,
    ParameterBindError,
    ParameterTypeError,
)

if TYPE_CHECKING:
    from dataflow.flows import Flow


def spec_of(flow: Flow[Any, Any], name: str, *, entrypoint: str | None = None,
            folder: str | os.PathLike[str] | None = None, **fields: Any) -> DeploymentSpec:
    """Return the deployment of a flow under a name.

    Parameters
    ----------
    flow
        The flow. It says its name, description, version and the schema of its parameters.
    name
        Of the deployment.
    entrypoint
        Where other processes find the flow; by default the file that it is made in, or where
        the source has that file.
    folder
        The root of the source: the entry point is made relative to it.
    fields
        The other fields of :class:`DeploymentSpec`.

    Raises
    ------
    DeploymentDefinitionError
        The flow cannot be found by another process, parameters do not fit it, or a field
        has a value that cannot be meant.
    """
    place, source = entrypoint, fields.get("source")
    if place is None and (place := entrypoint_of(flow.fn)) is not None and source is not None:
        place = place_in_source(place, source)
    if place is None or "<locals>" in place:
        raise DeploymentDefinitionError(
            f"Deployment {name!r}: another process cannot find flow {flow.name!r}, which was "
            f"made {'inside of a function' if place else 'in no file'}. What to do: define it "
            "at the top of a file.", deployment=name, problems=())
    if folder is not None:
        place = entrypoint_within(place, folder)
    return fitted(DeploymentSpec(name=name, flow_name=flow.name, entrypoint=place, **fields), flow)


def fitted(spec: DeploymentSpec, flow: Flow[Any, Any]) -> DeploymentSpec:
    """Return a spec with what its flow says: name and parameter schema, and by default more.

    Description and version are the flow's where the spec has none, and its alerts are added.
    The parameters of
    the spec, and those of each schedule over them, are checked against the flow;
    parameters that are missing are left to who starts a run, but not to a schedule.

    Raises
    ------
    DeploymentDefinitionError
        Parameters do not fit the flow; the text says which and why.
    """
    _check_parameters(spec, flow)
    return replace(
        spec, flow_name=flow.name,
        parameter_schema=json_copy(flow.parameter_schema, "parameter_schema"),
        description=spec.description if spec.description is not None else flow.description,
        version=spec.version if spec.version is not None else flow.version,
        alerts=(*spec.alerts, *_alerts(flow)))


def _alerts(flow: Flow[Any, Any]) -> list[dict[str, Any]]:
    if not flow.alerts:
        return []
    from dataflow.alerts.alert_lists import tables

    return tables(flow.alerts)


def _check_parameters(spec: DeploymentSpec, flow: Flow[Any, Any]) -> None:
    from dataflow.triggers.filling import has_template

    sets = [("parameters", dict(spec.parameters))]
    for at, schedule in enumerate(spec.schedules):
        own = schedule.get("parameters") or {}
        sets.append((f"schedules[{at}].parameters", {**spec.parameters, **own}))
    sets += _of_triggers(spec)
    problems = []
    required = flow.parameter_schema["required"]
    for where, given in sets:
        try:
            if where.startswith("triggers"):  # what templates give is seen when they are filled in
                flow.arguments.signature.bind_partial(**given)
                given_now = {name: each for name, each in given.items() if not has_template(each)}
            else:
                given_now = given
            if flow.should_validate_parameters:
                flow.arguments.check_some(given_now)
            else:
                flow.arguments.signature.bind_partial(**given_now)
        except (ParameterBindError, ParameterTypeError, TypeError) as error:
            problems.append((where, str(error)))
        if where != "parameters" and (missing := [name for name in required if name not in given]):
            kind = "triggered" if where.startswith(("triggers", "after")) else "scheduled"
            text = (f"flow {flow.name!r} needs {', '.join(missing)}, and nobody gives it to a "
                    f"{kind} run: add it to the parameters")
            problems.append((where, text))
    if problems:
        listed = "\n".join(f"  {where}: {text}" for where, text in problems)
        raise DeploymentDefinitionError(
            f"Deployment {spec.full_name!r} does not fit its flow; nothing was registered:\n"
            f"{listed}", deployment=spec.name, problems=tuple(problems))


def _of_triggers(spec: DeploymentSpec) -> list[tuple[str, dict[str, Any]]]:
    """Return the parameters of the runs that triggers make."""
    found = [(f"triggers[{at}].parameters", {**spec.parameters, **each.get("parameters", {})})
             for at, each in enumerate(spec.triggers) if each.get("action", "run") == "run"]
    return found if spec.after is None else [*found, ("after", dict(spec.parameters))]
