"""Flows that run when nobody is there: serve, deploy, to_deployment.

Lives here: the methods of flows. Does not live here: what a deployment is
(``deployments/``), the process that serves (``service/serving.py``), the agenda.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

if TYPE_CHECKING:
    from dataflow.deployments import DeploymentSpec
    from dataflow.service.deploying import Registered


class DeploymentKeywords(TypedDict, total=False):
    """What can be said of a deployment where it is made."""

    cron: str | Iterable[str] | None
    interval: Any
    rrule: str | Iterable[str] | None
    at: Any
    schedule: Any
    schedules: Iterable[Any] | None
    timezone: str | None
    parameters: Mapping[str, Any] | None
    tags: Iterable[str] | None
    version: str | None
    description: str | None
    environment: Mapping[str, str] | None
    task_runner: Any
    retries: int | None
    retry_delay_seconds: float | None
    timeout_seconds: float | None
    concurrency_limit: int | None
    collision: str | None
    on_crash: str | None
    priority: int | None
    paused: bool | None
    source: Any
    entrypoint: str | None
    work_pool_name: str | None
    work_queue_name: str | None
    alerts: Iterable[Any] | None
    after: str | None
    triggers: Any


_RENAMED = {"work_pool_name": "work_pool", "work_queue_name": "work_queue",
            "concurrency_limit": "limit"}
_TIMES = ("cron", "interval", "rrule", "at", "schedule", "schedules", "timezone")


class FlowDeploying:
    """The part of a flow that makes deployments."""

    if TYPE_CHECKING:
        @property
        def name(self) -> str:
            """Name of the flow."""

    def to_deployment(self, name: str, **options: Unpack[DeploymentKeywords]) -> DeploymentSpec:
        """Return a deployment of this flow; nothing is registered.

        Parameters
        ----------
        name
            Of the deployment; with the flow's it is ``flow/name``.
        cron, interval, rrule, at, schedule, schedules, timezone
            When it runs: cron expressions; seconds or timedeltas; rules; moments; objects of
            :mod:`dataflow.schedules`. Several are allowed. ``timezone`` holds for those that
            are no objects.
        parameters
            Of its runs, over the defaults of the function; JSON values.
        tags, version, description
            For the reader; the runs have the tags.
        environment
            Variables for the process of a run.
        alerts
            Who is told when its runs come to something, beside those of the flow: a list of
            :class:`dataflow.alerts.Alert`.
        task_runner, retries, retry_delay_seconds, timeout_seconds
            In place of the flow's own; ``task_runner`` by name, or with ``options``.
        concurrency_limit, collision
            Runs at the same time, and whether others wait (``"ENQUEUE"``) or are cancelled
            (``"CANCEL_NEW"``).
        on_crash
            ``"crash"``, or ``"resume"`` in another process, where a run's process is lost.
        priority
            Of runs that are due at once the greater goes first.
        paused
            The schedules rest.
        source, entrypoint
            Where the code is, and the flow in it; by default this flow's file, as the source
            has it.
        work_pool_name, work_queue_name
            Whose workers take the runs.
        triggers
            Upon what it runs: objects of :mod:`dataflow.triggers`, one or several.
        after
            ``flow/deployment`` whose completed runs start one of this.

        Raises
        ------
        DeploymentDefinitionError, ScheduleError
            Something cannot be meant; the text says what. Nothing was registered.
        """
        from dataflow.deployments import spec_of
        from dataflow.service.schedule_options import schedules_of

        given: dict[str, Any] = {key: value for key, value in options.items()
                                 if value is not None}
        times = {key: given.pop(key) for key in _TIMES if key in given}
        fields = {_RENAMED.get(key, key): value for key, value in given.items()}
        if hasattr(fields.get("triggers"), "to_json"):
            fields["triggers"] = [fields["triggers"]]
        if isinstance(fields.get("tags"), str):
            fields["tags"] = [fields["tags"]]
        return spec_of(self, name, schedules=schedules_of(**times), **fields)  # type: ignore[arg-type]  # every flow is one

    def serve(self, name: str | None = None, *, limit: int | None = None,
              pause_on_shutdown: bool = False, print_starting_message: bool = True,
              **options: Unpack[DeploymentKeywords]) -> None:
        """Run this flow from this process when it is due or asked for, until told to end.

        See :meth:`to_deployment` for the options and :func:`dataflow.serve` for the process.

        Parameters
        ----------
        name
            Of the deployment; by default the name of the flow's file.
        limit
            Runs at the same time.
        """
        from dataflow.service.serving import serve

        serve(self.to_deployment(name or self._file_stem(), **options), limit=limit,
              pause_on_shutdown=pause_on_shutdown,
              print_starting_message=print_starting_message)

    def deploy(self, name: str, **options: Unpack[DeploymentKeywords]) -> Registered:
        """Register a deployment of this flow for the workers of a pool; nothing runs here.

        The same deployment again changes nothing. See :meth:`to_deployment` for the options.
        Without ``source`` the code is looked for in the current folder, or in that of the flow's
        file where that is elsewhere; it has to be where workers find it too.
        """
        from dataflow.entrypoints import refuse_to_serve_while_loading
        from dataflow.service.deploying import provenance_here, register
        from dataflow.stores import open_store

        refuse_to_serve_while_loading(f"{self.name}.deploy()")
        if options.get("source") is None:
            options["source"] = self._folder()
        spec = self.to_deployment(name, **options)
        store = open_store(None)
        try:
            return register(store.agenda(), spec, time.time(),
                            provenance=provenance_here(spec))
        finally:
            store.close()

    def _folder(self) -> str:
        """Return the current folder, or that of the flow's file where it is not within."""
        from dataflow.entrypoints import Entrypoint, entrypoint_of, entrypoint_within

        here = os.getcwd()
        place = entrypoint_of(self.fn)  # type: ignore[attr-defined]  # every flow has one
        if place is None:
            return here
        found = Entrypoint.parse(entrypoint_within(place, here))
        return here if found.is_module or not os.path.isabs(found.place) else (
            os.path.dirname(found.place))

    def _file_stem(self) -> str:
        from dataflow.entrypoints import entrypoint_of

        place = entrypoint_of(self.fn)  # type: ignore[attr-defined]  # every flow has one
        return self.name if place is None else Path(place.rpartition(":")[0]).stem
