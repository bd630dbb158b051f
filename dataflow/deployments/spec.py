"""What a deployment is, as one frozen value.

Lives here: :class:`DeploymentSpec`, its JSON and its digest. Does not live here:
what a field may be (``spec_checks.py``), what changed between two
(``spec_differences.py``), making one of a flow (``flow_specs.py``) or of a project
file (``project_file.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, Literal

from dataflow.deployments.json_values import canonical
from dataflow.deployments.spec_checks import checked, unknown_field
from dataflow.exceptions import DeploymentDefinitionError

_RUN_FIELDS = (
    "name", "flow_name", "entrypoint", "source", "parameters", "parameter_schema", "tags",
    "version", "environment", "task_runner", "retries", "retry_delay_seconds", "timeout_seconds",
    "on_crash",
)
_FORMAT = b"dataflow-spec-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """A flow with all that a run of it needs, under a name.

    Values are checked and brought into one form when it is made: sequences may be
    given for tuples, a name for ``task_runner``, objects with ``to_json()`` for
    schedules, alerts and triggers.

    Attributes
    ----------
    name, flow_name
        Of the deployment and of its flow; neither has a slash.
    entrypoint
        ``path/file.py:flow``, relative to the source, or ``package.module:flow``.
    source
        Where the code is: None (the folder in which the one who runs it stands), a
        folder, ``git+https://host/repo.git@ref#subfolder=flows``, or the fsspec URL of a
        zip. See :class:`dataflow.deployments.Source`.
    parameters
        Defaults of the runs, as JSON; they may be fewer than the flow needs.
    parameter_schema
        JSON schema of the flow's parameters; empty where nobody has looked at the flow.
    schedules
        JSON of each, see ``dataflow.schedules``.
    work_pool, work_queue
        Whose workers take its runs; None: no pool, and the pool's default queue.
    priority
        Of runs that are due at once the greater goes first.
    tags
        Of the deployment and of each run; sorted.
    version, description
        For the reader.
    environment
        Variables for the process of a run, over those of the worker.
    task_runner
        ``{"name": "dask", "options": {…}}``; None: as the flow says.
    retries, retry_delay_seconds, timeout_seconds
        Instead of the flow's; None: as the flow says.
    limit
        Runs of it at the same time; None: any number.
    collision
        What happens to a run above the limit: ``"ENQUEUE"`` or ``"CANCEL_NEW"``.
    on_crash
        What happens to a run whose process vanished: ``"crash"`` or ``"resume"``.
    alerts
        JSON of each, see ``dataflow.alerts``.
    paused
        Whether its schedules and triggers make no runs.
    after
        ``flow/deployment`` (or the deployment's name alone) whose completed runs start one.
    triggers
        JSON of each, see ``dataflow.triggers``.

    Raises
    ------
    DeploymentDefinitionError
        Fields have values that cannot be meant; the text lists them all.
    """

    name: str
    flow_name: str
    entrypoint: str
    source: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    parameter_schema: Mapping[str, Any] = field(default_factory=dict)
    schedules: tuple[Mapping[str, Any], ...] = ()
    work_pool: str | None = None
    work_queue: str | None = None
    priority: int = 0
    tags: tuple[str, ...] = ()
    version: str | None = None
    description: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    task_runner: Mapping[str, Any] | None = None
    retries: int | None = None
    retry_delay_seconds: float | None = None
    timeout_seconds: float | None = None
    limit: int | None = None
    collision: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"
    on_crash: Literal["crash", "resume"] = "crash"
    alerts: tuple[Mapping[str, Any], ...] = ()
    paused: bool = False
    after: str | None = None
    triggers: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        values, problems = checked({each.name: getattr(self, each.name) for each in fields(self)})
        if problems:
            listed = "\n".join(f"  {each.field}: {each.text}" for each in problems)
            raise DeploymentDefinitionError(
                f"Deployment {self.name!r} is described wrongly; nothing was registered:\n{listed}",
                deployment=str(self.name),
                problems=tuple(problems))
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def full_name(self) -> str:
        """``flow/deployment``."""
        return f"{self.flow_name}/{self.name}"

    def digest(self) -> str:
        """Return 32 hex digits of what a run depends on: the name of this version.

        Two specs that make the same runs have the same digest, in whatever order their
        keys stand. Schedules, triggers, pools, priority, limits, alerts, the description and
        ``paused`` do not count: they decide when and where runs are made, not what they
        are. Compare specs with ``==`` or :func:`differences` to see whether anything changed.
        """
        facts = self.to_json()
        text = canonical({name: facts[name] for name in _RUN_FIELDS})
        return blake2b(text.encode(), digest_size=16, person=_FORMAT).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON; a copy that may be changed."""
        import copy

        found = {each.name: copy.deepcopy(getattr(self, each.name)) for each in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in found.items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> DeploymentSpec:
        """Return the spec that :meth:`to_json` wrote; fields that are missing have their default.

        Raises
        ------
        DeploymentDefinitionError
            There is no such field, or one has a value that cannot be meant.
        """
        known = [each.name for each in fields(cls)]
        problems = [unknown_field(name, known) for name in facts if name not in known]
        problems += [unknown_field(name, known, missing=True) for name in known[:3]
                     if name not in facts]
        if problems:
            listed = "\n".join(f"  {each.field}: {each.text}" for each in problems)
            raise DeploymentDefinitionError(
                f"This is no deployment of this version of dataflow:\n{listed}",
                deployment=facts.get("name"), problems=tuple(problems))
        return cls(**facts)
