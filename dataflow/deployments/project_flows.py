"""A project's deployments held against the flows that they name.

Lives here: loading each flow and fitting its specs to it, with all that is wrong
listed. Does not live here: the file (``project_file.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dataflow.deployments.code_sources import Source
from dataflow.deployments.flow_specs import fitted
from dataflow.deployments.project_file import Project, mistakes
from dataflow.deployments.project_links import linked
from dataflow.deployments.project_yaml import Problem
from dataflow.deployments.spec import DeploymentSpec
from dataflow.entrypoints import load_flow
from dataflow.exceptions import CodeSourceError, DeploymentDefinitionError, ResumeError


def flow_of(spec: DeploymentSpec) -> Any:
    """Return the flow of a deployment; its code is fetched where it is not here.

    Raises
    ------
    CodeSourceError
        The code cannot be had.
    ResumeError
        It has no such flow, or cannot be imported.
    """
    from dataflow.settings import get_settings

    folder = Source.parse(spec.source).fetch(get_settings().home).folder
    return load_flow(spec.entrypoint, folder)


def with_flows(project: Project, load: Callable[[DeploymentSpec], Any] = flow_of) -> Project:
    """Return a project whose specs have what their flows say, and fit them.

    Parameters
    ----------
    project
        As it was read.
    load
        Returns the flow of a spec.

    Raises
    ------
    ProjectFileError
        Flows cannot be loaded, or deployments do not fit them: all are listed.
    """
    found: list[DeploymentSpec] = []
    problems: list[Problem] = []
    for at, (spec, line) in enumerate(zip(project.specs, project.lines, strict=True)):
        try:
            found.append(fitted(spec, load(spec)))
        except (CodeSourceError, ResumeError) as error:
            problems.append(Problem(line, f"deployments[{at}].entrypoint", str(error)))
        except DeploymentDefinitionError as error:
            problems += [Problem(line, f"deployments[{at}].{field}", text)
                         for field, text in error.problems]
    if problems:
        raise mistakes(project.file, problems)
    names = {old.full_name: new.full_name for old, new in zip(project.specs, found, strict=True)}
    renamed = [replace(spec, after=names.get(spec.after or "", spec.after)) for spec in found]
    specs, wrong = linked(renamed)
    if wrong:
        raise mistakes(project.file, [Problem(project.lines[at], f"deployments[{at}].{field}", text)
                                      for at, field, text in wrong])
    return replace(project, specs=tuple(specs))
