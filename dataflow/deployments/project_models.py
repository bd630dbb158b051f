"""The keys of ``dataflow.yaml`` and the types of their values.

Lives here: one model per mapping of the file; the published JSON schema is made
of them. Does not live here: reading YAML (``project_yaml.py``), what becomes of
the values (``project_file.py``), what a value may be beyond its type
(``spec_checks.py``). Imported when a project file is read: pydantic takes its time.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dataflow.deployments.code_sources import Source
from dataflow.exceptions import CodeSourceError

Json = dict[str, Any]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """A mapping with these keys and no others, whose values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourceEntry(Strict):
    """Where the code is."""

    url: str = Field(description="A folder, git+https://…, git+ssh://…, git+file://…, or the "
                                 "fsspec URL of a zip.")
    ref: str | None = Field(None, description="Branch, tag or commit of a git repository.")
    subfolder: str | None = Field(None, description="What entry points are relative to.")
    sha256: str | None = Field(None, description="What a zip must be.")


class TaskRunnerEntry(Strict):
    """What runs the flow's tasks."""

    name: str = Field(description="inline, threads, dask, or one that a package brings.")
    options: Json = Field(default_factory=dict, description="Arguments of the runner.")


def _as_parts(value: Any) -> Any:
    """Take a source's text apart, so that its URL stands by itself as in a mapping."""
    if not isinstance(value, str):
        return value
    try:
        return Source.parse(value).to_json()
    except CodeSourceError as error:
        raise ValueError(str(error)) from None


def _as_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


SourceOption = Annotated[
    SourceEntry, BeforeValidator(_as_parts, json_schema_input_type=str | SourceEntry)]
TaskRunnerOption = Annotated[
    TaskRunnerEntry, BeforeValidator(_as_name, json_schema_input_type=str | TaskRunnerEntry)]
Times = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]

_CRON = Field(None, description="Five fields: minute, hour, day, month, day of the week.")
_INTERVAL = Field(None, gt=0, allow_inf_nan=False, description="Seconds.")
_RRULE = Field(None, description="RFC 5545, e.g. FREQ=WEEKLY;BYDAY=MO.")
_AT = Field(None, description="One time or several, ISO 8601 with offset.")


class ScheduleEntry(Strict):
    """When runs are due: one of cron, interval, rrule and at."""

    cron: str | None = _CRON
    interval: float | None = _INTERVAL
    rrule: str | None = _RRULE
    at: Times | None = _AT
    timezone: str | None = Field(None, description="Of cron, rrule and at, e.g. Europe/Berlin.")
    anchor: str | None = Field(None, description="A time that an interval is counted from.")
    parameters: Json | None = Field(None, description="Over those of the deployment.")
    slug: str | None = Field(None, description="A name within the deployment.")
    active: bool | None = None
    start: str | None = Field(None, description="No run before this time, ISO 8601.")
    end: str | None = Field(None, description="No run after this time, ISO 8601.")
    jitter: Seconds | None = Field(None, description="Up to so many seconds later.")
    catch_up: Literal["all", "latest", "none"] | None = Field(
        None, description="Which of the runs that were missed are made.")
    catch_up_limit: int | None = Field(None, ge=0)
    overlap: Literal["queue", "skip", "cancel_running", "allow"] | None = Field(
        None, description="What happens while a run of it has not ended.")


class Defaults(Strict):
    """What holds for every deployment that does not say otherwise.

    Parameters and environment are joined key by key, tags are added; any other key of
    a deployment takes the place of the one here, and with any of its schedules all of these.
    """

    source: SourceOption | None = Field(
        None, description="Where the code is; by default the folder of this file.")
    parameters: Json = Field(default_factory=dict, description="Defaults of the runs.")
    schedules: list[ScheduleEntry] | None = None
    cron: str | None = _CRON
    interval: float | None = _INTERVAL
    rrule: str | None = _RRULE
    at: Times | None = _AT
    timezone: str | None = Field(
        None, description="Of the cron and rrule schedules that name none.")
    work_pool: str | None = Field(None, description="Whose workers take the runs.")
    work_queue: str | None = None
    priority: int | None = Field(None, description="Of runs due at once the greater goes first.")
    tags: list[str] = Field(default_factory=list)
    version: str | None = None
    description: str | None = None
    environment: dict[str, str] = Field(
        default_factory=dict, description="Variables for the process of a run.")
    task_runner: TaskRunnerOption | None = None
    retries: int | None = Field(None, ge=0)
    retry_delay_seconds: Seconds | None = None
    timeout_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    limit: int | None = Field(None, ge=1, description="Runs at the same time.")
    collision: Literal["ENQUEUE", "CANCEL_NEW"] | None = Field(
        None, description="What happens to a run above the limit.")
    on_crash: Literal["crash", "resume"] | None = Field(
        None, description="What happens to a run whose process vanished.")
    alerts: list[Json] | None = Field(None, description="Added to those of the project.")
    triggers: list[Json] | None = Field(
        None, description="Upon what it runs: kind (state, event, absence, file or webhook) and "
                          "the options of that, as in dataflow.triggers.")
    paused: bool | None = None


class DeploymentEntry(Defaults):
    """One deployment."""

    name: str
    entrypoint: str = Field(
        description="path/file.py:flow, relative to the source, or package.module:flow.")
    flow: str | None = Field(
        None, description="Name of the flow; by default that of its function with - for _.")
    after: str | None = Field(
        None, description="The deployment whose completed runs start one of this.")


class ProjectModel(Strict):
    """Deployments of a project."""

    name: str | None = Field(None, description="Of the project, for the reader.")
    source: SourceOption | None = Field(
        None, description="Where the code is; by default the folder of this file.")
    defaults: Defaults = Field(default_factory=lambda: Defaults())
    deployments: list[DeploymentEntry]
    alerts: list[Json] = Field(default_factory=list, description="Of every deployment.")
