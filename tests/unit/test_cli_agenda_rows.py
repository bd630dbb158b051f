"""What the command line shows of deployments."""

from __future__ import annotations

from dataflow.agenda import DeploymentRow
from dataflow.cli.agenda_rows import deployment_fields


def test_values_that_are_named_like_secrets_are_masked() -> None:
    row = DeploymentRow(
        id="i", name="f/d", flow_name="f", version=1, label=None, digest="d", provenance={},
        spec={"environment": {"DB_PASSWORD": "hunter2", "COLOUR": "red"},
              "parameters": {"api_key": "abc", "n": 1},
              "parameter_schema": {"properties": {"api_key": {"type": "string"}}}},
        paused=False, pool="default", queue="default", priority=0, limit=None,
        collision="ENQUEUE", on_crash="crash", created_s=1.0, updated_s=1.0)
    assert deployment_fields(row)["spec"] == {
        "environment": {"DB_PASSWORD": "***", "COLOUR": "red"},
        "parameters": {"api_key": "***", "n": 1},
        "parameter_schema": {"properties": {"api_key": {"type": "string"}}}}
