"""Deployments that run after each other: not in a circle.

Lives here: the check when one is registered. Does not live here: circles within a project
file (``deployments/project_links.py``), the runs that follow (``triggers/``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dataflow.agenda import Agenda
from dataflow.deployments import DeploymentSpec
from dataflow.exceptions import DeploymentDefinitionError


def refuse_circles(agenda: Agenda, spec: DeploymentSpec,
                   beside: Iterable[DeploymentSpec] = ()) -> None:
    """Refuse a deployment that would run after itself, by those that are registered.

    Parameters
    ----------
    beside
        Those that are registered with it, which may be otherwise so far.

    Raises
    ------
    DeploymentDefinitionError
        The text names them all in their order. Nothing was registered.
    """
    if spec.after is None:
        return
    after: dict[str, str] = {
        row.name: row.spec["after"] for row in agenda.with_triggers() if row.spec.get("after")}
    for each in (*beside, spec):
        after.pop(each.full_name, None)
        if each.after is not None:
            after[each.full_name] = each.after
    for way in _ways(spec.full_name, after):
        if way[-1] == spec.full_name:
            text = f"goes in a circle: {' after '.join(way)}"
            raise DeploymentDefinitionError(
                f"Deployment {spec.full_name!r} is described wrongly; nothing was registered:\n"
                f"  after: {text}", deployment=spec.name, problems=(("after", text),))


def _ways(start: str, after: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the ways up from a deployment, each as far as it goes or comes back to where it was.

    A name without the flow's means every deployment of that name.
    """
    open_ways = [[start]]
    while open_ways:
        way = open_ways.pop()
        named = after.get(way[-1])
        above = [] if named is None else [
            each for each in after if each == named or each.partition("/")[2] == named]
        for each in above:
            if each in way:
                yield [*way, each]
            else:
                open_ways.append([*way, each])
