"""``dataflow.yaml``: the deployments of a project.

Lives here: from a file to specs, or to the list of all that is wrong with it. Does
not live here: YAML (``project_yaml.py``), keys and types (``project_models.py``),
the published schema (``published_schema.py``), looking at flows
(``project_flows.py``), registering anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.deployments.code_sources import Source
from dataflow.deployments.project_alerts import alert_problems, right_alerts
from dataflow.deployments.project_links import linked
from dataflow.deployments.project_yaml import Document, Problem, read_yaml
from dataflow.deployments.spec import DeploymentSpec
from dataflow.entrypoints import Entrypoint
from dataflow.exceptions import (
    CodeSourceError,
    DataflowError,
    DeploymentDefinitionError,
    ProjectFileError,
    ResumeError,
)

if TYPE_CHECKING:
    from dataflow.deployments.project_models import DeploymentEntry, ProjectModel

FILES = ("dataflow.yaml", "dataflow.yml")
_SCHEDULES = ("schedules", "cron", "interval", "rrule", "at")
_JOINED = ("parameters", "environment")
_APART = frozenset({*_SCHEDULES, *_JOINED, "timezone", "tags", "alerts", "source", "flow"})

Check = Callable[[dict[str, Any]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a project file says.

    Attributes
    ----------
    file
        The file.
    name
        Of the project; None where it has none.
    specs
        Its deployments, in the order of the file.
    lines
        Where each begins in the file, from 1.
    """

    file: Path
    name: str | None
    specs: tuple[DeploymentSpec, ...]
    lines: tuple[int, ...]


def load_project(path: str | os.PathLike[str] | None = None, *,
                 check_schedule: Check | None = None) -> Project:
    """Return what a project file says; no code of the project is loaded.

    Parameters
    ----------
    path
        The file, or the folder that ``dataflow.yaml`` stands in; by default the current one.
    check_schedule
        Called with the JSON of each schedule; what it raises is listed as a mistake of the
        file.

    Raises
    ------
    ProjectFileError
        There is no such file, or it has mistakes: all are listed, by line.
    """
    given = Path(os.curdir if path is None else path)
    choices = [given / name for name in FILES] if given.is_dir() else [given]
    file = next((each for each in choices if each.is_file()), None)
    if file is None:
        raise ProjectFileError(
            f"There is no project file {choices[0].absolute()}. What to do: make one "
            "(`dataflow deploy --help` shows how), or say where it is.",
            file=str(choices[0].absolute()), problems=())
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectFileError(f"{file} cannot be read: {error}.", file=str(file),
                               problems=()) from error
    return parse_project(text, file, check_schedule=check_schedule)


def parse_project(text: str, file: Path, *, check_schedule: Check | None = None) -> Project:
    """Return what the text of a project file says; see :func:`load_project`."""
    document = read_yaml(text)
    problems = list(document.problems)
    if document.value is None and not problems:
        problems.append(Problem(None, "", "is empty: it needs 'deployments'"))
    if not isinstance(document.value, dict):
        raise mistakes(file, problems or [Problem(1, "", "must be a mapping of keys")])
    from dataflow.deployments.project_models import ProjectModel
    from dataflow.deployments.project_problems import problems_of, valid

    problems += problems_of(document, ProjectModel)
    problems += alert_problems(document)
    model = valid(ProjectModel, {**document.value, "deployments": []})
    model = model or ProjectModel(deployments=[])  # its mistakes are listed already
    found: list[tuple[int, DeploymentSpec]] = []
    for entry in _entries(document, model, file.absolute().parent):
        problems += entry.checked_schedules(check_schedule)
        spec = entry.spec(problems)
        if spec is not None:
            found.append((entry.at, spec))
    specs, wrong = linked([spec for _, spec in found])
    problems += [document.problem(("deployments", found[at][0], field), said)
                 for at, field, said in wrong]
    if problems:
        raise mistakes(file, problems)
    lines = tuple(document.lines["deployments", at] for at, _ in found)
    return Project(file=file.absolute(), name=model.name, specs=tuple(specs), lines=lines)


def _entries(document: Document, model: ProjectModel, folder: Path) -> Iterator[_Entry]:
    """Yield the deployments whose keys and types are right, also where others' are not."""
    from dataflow.deployments.project_models import DeploymentEntry
    from dataflow.deployments.project_problems import valid

    given = document.value.get("deployments")
    for at, value in enumerate(given if isinstance(given, list) else ()):
        entry = valid(DeploymentEntry, value)
        if entry is not None:
            yield _Entry(model, entry, at, document, folder)


def mistakes(file: Path, problems: Sequence[Problem]) -> ProjectFileError:
    """Return the error that lists them all, by line."""
    ordered = sorted(problems, key=lambda each: each.line or 0)
    where = [f"{file}:{each.line}" if each.line else str(file) for each in ordered]
    listed = "\n".join(f"  {at}: {f'{each.path} {each.text}'.strip()}"
                       for at, each in zip(where, ordered, strict=True))
    listed = listed.encode(errors="backslashreplace").decode()  # a file may have half characters
    count = f"{len(ordered)} mistakes" if len(ordered) > 1 else "a mistake"
    return ProjectFileError(f"{file} has {count}; nothing was registered:\n{listed}",
                            file=str(file), problems=tuple(ordered))


class _Entry:
    """One deployment of a file, with what the file says of all of them."""

    def __init__(self, model: ProjectModel, entry: DeploymentEntry, at: int,
                 document: Document, folder: Path) -> None:
        self.at, self._document, self._folder = at, document, folder
        self._given = entry.model_dump(exclude_none=True, exclude_unset=True)
        self._defaults = model.defaults.model_dump(exclude_none=True, exclude_unset=True)
        self._source = model.source.model_dump(exclude_none=True) if model.source else None
        self._values = {**self._defaults, **self._given}
        self._values["alerts"] = right_alerts([*model.alerts, *self._values.get("alerts", ())])
        self._values["schedules"] = list(self._schedules())

    def spec(self, problems: list[Problem]) -> DeploymentSpec | None:
        """Return the spec, or None with what is wrong added to the problems."""
        values = {name: value for name, value in self._values.items() if name not in _APART}
        for name in _JOINED:
            values[name] = {**self._defaults.get(name, {}), **self._given.get(name, {})}
        values["tags"] = [*self._defaults.get("tags", ()), *self._given.get("tags", ())]
        values["schedules"], values["alerts"] = self._values["schedules"], self._values["alerts"]
        try:
            values["source"] = Source.parse(
                self._values.get("source", self._source), self._folder).text()
        except CodeSourceError as error:
            problems.append(self._problem("source", str(error)))
        values["flow_name"] = self._values.get("flow") or _flow_name(values["entrypoint"])
        try:
            return DeploymentSpec(**values)
        except DeploymentDefinitionError as error:
            problems += [self._problem(*each) for each in error.problems]
            return None

    def checked_schedules(self, check: Check | None) -> Iterator[Problem]:
        """Yield what somebody else's check finds wrong with schedules."""
        for value in self._values["schedules"] if check is not None else ():
            try:
                check(value)  # type: ignore[misc]  # not None
            except (DataflowError, ValueError, TypeError) as error:
                name = next((kind for kind in _SCHEDULES[1:] if kind in value
                             and kind in self._given), "schedules")
                yield self._problem(name, str(error))

    def _schedules(self) -> Iterator[Mapping[str, Any]]:
        """Yield the schedules: the deployment's own where it has any, else the defaults'."""
        own = any(name in self._given for name in _SCHEDULES)
        given = self._given if own else self._defaults
        short = [{name: given[name]} for name in _SCHEDULES[1:] if name in given]
        zone = self._values.get("timezone")
        for schedule in [*given.get("schedules", ()), *short]:
            takes_zone = zone is not None and any(
                kind in schedule for kind in ("cron", "rrule", "at"))
            yield {"timezone": zone, **schedule} if takes_zone else schedule

    def _problem(self, field: str, text: str) -> Problem:
        name = "flow" if field == "flow_name" else field
        given = name in self._given or name not in self._defaults
        front = ("deployments", self.at) if given else ("defaults",)
        shown = text if given else f"of deployments[{self.at}]: {text}"
        return self._document.problem((*front, name), shown)


def _flow_name(entrypoint: str) -> str:
    """Return the name that a flow has by default: that of its function."""
    try:
        return Entrypoint.parse(entrypoint).name.rpartition(".")[2].replace("_", "-")
    except ResumeError:
        return "unknown"  # the entry point itself is listed as a problem
