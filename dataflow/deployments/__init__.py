"""Deployments: flows that run without somebody who calls them.

Lives here: what a deployment is (``spec.py``), the project file that describes
many (``project_file.py``), how its code reaches the one who runs it
(``code_sources.py``), and what is recorded of that code (``provenance.py``). Does
not live here: when a run is due (``dataflow.schedules``), the tables of the store,
who starts runs.

Nothing is imported before it is used: a command that lists deployments needs
neither YAML nor pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "Backfill": "dataflow.service.backfill",
    "backfill": "dataflow.service.backfill",
    "DeploymentSpec": "dataflow.deployments.spec",
    "Difference": "dataflow.deployments.spec_differences",
    "differences": "dataflow.deployments.spec_differences",
    "Fetched": "dataflow.deployments.code_sources",
    "Source": "dataflow.deployments.code_sources",
    "Project": "dataflow.deployments.project_file",
    "load_project": "dataflow.deployments.project_file",
    "project_schema": "dataflow.deployments.published_schema",
    "Provenance": "dataflow.deployments.provenance",
    "provenance_of": "dataflow.deployments.provenance",
    "fitted": "dataflow.deployments.flow_specs",
    "result_of": "dataflow.service.results_of_runs",
    "run_deployment": "dataflow.service.asking",
    "spec_of": "dataflow.deployments.flow_specs",
}

__all__ = [
    "Backfill",
    "DeploymentSpec",
    "Difference",
    "Fetched",
    "Project",
    "Provenance",
    "Source",
    "backfill",
    "differences",
    "fitted",
    "load_project",
    "project_schema",
    "provenance_of",
    "result_of",
    "run_deployment",
    "spec_of",
]

if TYPE_CHECKING:
    from dataflow.deployments.code_sources import Fetched, Source
    from dataflow.deployments.flow_specs import fitted, spec_of
    from dataflow.deployments.project_file import Project, load_project
    from dataflow.deployments.provenance import Provenance, provenance_of
    from dataflow.deployments.published_schema import project_schema
    from dataflow.deployments.spec import DeploymentSpec
    from dataflow.deployments.spec_differences import Difference, differences
    from dataflow.service.asking import run_deployment
    from dataflow.service.backfill import Backfill, backfill
    from dataflow.service.results_of_runs import result_of


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'dataflow.deployments' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
