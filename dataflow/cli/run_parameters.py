"""Parameters of a deployment's run, as they are given on the command line.

Lives here: ``-p NAME=VALUE`` and ``--params JSON`` to a mapping. Does not live here: the
check against the flow (``service/deploying.py``).
"""

from __future__ import annotations

import json
from typing import Any

import click

from dataflow.agenda import DeploymentRow


def run_parameters(params: tuple[str, ...], as_json: str | None,
                row: DeploymentRow) -> dict[str, Any]:
    """Return parameters as given; a text parameter takes what is given as it is."""
    found: dict[str, Any] = {}
    if as_json is not None:
        try:
            whole = json.loads(as_json)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"--params is no JSON: {error}") from None
        if not isinstance(whole, dict):
            raise click.BadParameter("--params is no JSON object, such as '{\"x\": 1}'.")
        found.update(whole)
    known = (row.spec.get("parameter_schema") or {}).get("properties", {})
    for each in params:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"--param {each!r}: write NAME=VALUE.")
        if known.get(name, {}).get("type") == "string":
            found[name] = text
            continue
        try:
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            found[name] = text
    return found
