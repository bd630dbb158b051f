"""Alerts in a project file: which are right, and where the others are wrong.

Lives here: finding the places where alerts stand, each checked with its line. Does
not live here: what an alert may say (``dataflow.alerts``), other keys
(``project_problems.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataflow.deployments.project_yaml import Document, Path, Problem
from dataflow.exceptions import DefinitionError


def alert_problems(document: Document) -> Iterator[Problem]:
    """Yield what is wrong with alerts, those of the project and of each deployment."""
    for path, table in _alerts(document.value):
        error = _wrong(table)
        if error is None:
            continue
        option = error.__dict__.get("option")
        key = (option,) if isinstance(option, str) and option in table else ()
        yield document.problem((*path, *key), str(error))


def right_alerts(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that can be used; the others are listed by :func:`alert_problems`."""
    return [each for each in tables if _wrong(each) is None]


def _wrong(table: dict[str, Any]) -> DefinitionError | None:
    from dataflow.alerts.alert_lists import checked_alert

    try:
        checked_alert(table, "the alert")
    except DefinitionError as error:
        return error
    return None


def _alerts(value: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each alert with its place; what is no mapping is listed as another mistake."""
    deployments = value.get("deployments")
    holders: list[tuple[Path, Any]] = [((), value), (("defaults",), value.get("defaults"))]
    if isinstance(deployments, list):
        holders += [(("deployments", at), each) for at, each in enumerate(deployments)]
    for path, holder in holders:
        found = holder.get("alerts") if isinstance(holder, dict) else None
        for at, table in enumerate(found if isinstance(found, list) else ()):
            if isinstance(table, dict):
                yield (*path, "alerts", at), table
