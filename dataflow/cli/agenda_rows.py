"""Rows of the agenda as the command line shows them: the keys of JSON output.

Lives here: deployments, schedules, queued runs, workers. Does not live here: flow runs
(``records.py``), layout (``rendering.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dataflow.agenda import DeploymentRow, QueuedRun, ScheduleRow, WorkerRow
from dataflow.cli.records import moment_of
from dataflow.store import FlowRunRow

_LATER = ("spec", "provenance")


def deployment_fields(row: DeploymentRow) -> dict[str, Any]:
    """Return a deployment's keys in JSON."""
    facts = asdict(row)
    return {
        **{name: value for name, value in facts.items()
           if name not in _LATER and not name.endswith("_s")},
        "created": moment_of(row.created_s), "updated": moment_of(row.updated_s),
        "spec": shown_spec(row.spec), "provenance": row.provenance,
    }


def shown_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a deployment says, with what is named like a secret masked."""
    from dataflow.deployments.spec_differences import without_secrets

    return {name: value if name == "parameter_schema" else without_secrets(value, name)
            for name, value in spec.items()}


def schedule_fields(row: ScheduleRow) -> dict[str, Any]:
    """Return a schedule's keys in JSON."""
    return {
        "deployment": row.deployment, "slug": row.slug, "active": row.active,
        "paused": row.paused, "spec": shown_spec(row.spec),
        "next": None if row.next_s is None else moment_of(row.next_s),
        "handled": None if row.handled_s is None else moment_of(row.handled_s),
    }


def queued_fields(run: QueuedRun, row: FlowRunRow) -> dict[str, Any]:
    """Return a queued run's keys in JSON."""
    return {
        "id": run.flow_run_id, "name": row.name, "state_type": row.state_type,
        "state_name": row.state_name, "message": row.message, "deployment": run.deployment,
        "version": run.version, "phase": run.phase, "worker": run.worker, "tries": run.tries,
        "due": moment_of(run.due_s),
        "slot": None if run.slot_s is None else moment_of(run.slot_s),
        "schedule": run.schedule, "cause": run.cause,
        "parameters": shown_spec({"parameters": run.parameters})["parameters"],
    }


def worker_fields(row: WorkerRow) -> dict[str, Any]:
    """Return a worker's keys in JSON."""
    return {
        "name": row.name, "pool": row.pool, "type": row.kind, "limit": row.limit,
        "host": row.host, "pid": row.pid, "started": moment_of(row.started_s),
        "seen": moment_of(row.seen_s), "status": row.status,
    }
