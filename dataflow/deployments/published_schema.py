"""The published JSON schema of ``dataflow.yaml``.

Lives here: making it of the models, and the file that the wheel has. Does not live
here: the models (``project_models.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SCHEMA_FILE = Path(__file__).with_name("dataflow.schema.json")
"""The schema as editors read it; a test holds it against the models."""


def project_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a project file, made of the models."""
    from dataflow.deployments.project_models import ProjectModel
    from dataflow.deployments.spec_checks import SCHEDULE_KINDS

    made = ProjectModel.model_json_schema(mode="validation")
    made["$defs"]["ScheduleEntry"]["oneOf"] = [{"required": [kind]} for kind in SCHEDULE_KINDS]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "dataflow.yaml", **{k: v for k, v in made.items() if k != "title"}}


def project_schema_text() -> str:
    """Return the schema as it is written to the file: indented, with a newline at the end."""
    import json

    return json.dumps(project_schema(), indent=2, ensure_ascii=False) + "\n"
