"""Names of deployments in one project: each once, and ``after`` without a circle.

Lives here: pure rules over the specs of a file. Does not live here: names of
deployments that stand elsewhere; the store knows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from dataflow.deployments.spec import DeploymentSpec


class LinkProblem(NamedTuple):
    """What is wrong with a field of the spec at a position."""

    position: int
    field: str
    text: str


def linked(specs: Sequence[DeploymentSpec]) -> tuple[list[DeploymentSpec], list[LinkProblem]]:
    """Return the specs with ``after`` as full names, and what is wrong with the names."""
    problems = list(_doubles(specs))
    by_full = {spec.full_name: spec for spec in specs}
    found = []
    for at, spec in enumerate(specs):
        if spec.after is None or "/" in spec.after:
            found.append(spec)
            continue
        named = sorted({each.full_name for each in specs if each.name == spec.after})
        if len(named) > 1:
            problems.append(LinkProblem(
                at, "after", f"{spec.after!r} may be {' or '.join(named)}: write which"))
        full = named[0] if len(named) == 1 else spec.after
        found.append(spec if full == spec.full_name else replace(spec, after=full))
    for at, spec in enumerate(found):
        way = [spec.full_name]
        after = spec.after
        while after in by_full and after not in way:
            way.append(after)
            after = next(each.after for each in found if each.full_name == after) or ""
        if after == spec.full_name:
            problems.append(LinkProblem(
                at, "after", f"goes in a circle: {' after '.join([*way, after])}"))
    return found, problems


def _doubles(specs: Sequence[DeploymentSpec]) -> list[LinkProblem]:
    first: dict[str, int] = {}
    problems = []
    for at, spec in enumerate(specs):
        if first.setdefault(spec.full_name, at) != at:
            problems.append(LinkProblem(
                at, "name", f"{spec.name!r} of flow {spec.flow_name!r} is there twice: also "
                f"deployments[{first[spec.full_name]}]"))
    return problems
