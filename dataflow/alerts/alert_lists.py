"""Alerts where they are written down with flows and deployments: checked, and as JSON.

Lives here: the check of a list of them, whoever brings it, and its two forms. Does
not live here: one alert (``alert.py``), those in files of settings
(``alert_files.py``), where in a project file a mistake stands
(``deployments/project_alerts.py``).

What is written down here is read by everybody who sees the run or the deployment,
so that no URL with a secret in it may stand there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from dataflow.alerts.alert import Alert, alert_from_json
from dataflow.exceptions import DefinitionError, DefinitionTypeError


def checked_alert(value: Any, where: str) -> Alert:
    """Return an alert that may be written down.

    Parameters
    ----------
    value
        An alert, or the table that describes one.
    where
        For the texts of errors: whose it is.

    Raises
    ------
    DefinitionError
        It cannot be meant, names no channel, or a channel of it is a URL with a secret.
    """
    if isinstance(value, Alert):
        alert = value
    elif isinstance(value, Mapping):
        alert = alert_from_json(value, where)
    else:
        raise DefinitionTypeError(
            f"{where} must be an Alert, got {type(value).__name__}: write "
            "Alert(on=\"failed\", channels=[\"…\"]).", option="alerts")
    if not alert.channels:
        raise DefinitionError(
            f"{where} names no channels, so that it would tell nobody: add "
            "channels=[\"…\"].", option="alerts")
    if secret := alert.secret_channels():
        raise DefinitionError(
            f"{where} names the channel {secret[0]}, a URL with a secret in it, which everybody "
            "could read who sees the run or deployment. Give it a name under [channels] in "
            "dataflow.toml, and write that name here.", option="alerts")
    return alert


def checked_alerts(values: Any, owner: str) -> tuple[Alert, ...]:
    """Return a list of alerts, each once.

    Parameters
    ----------
    owner
        Whose they are, for the texts of errors: ``flow 'etl'``.

    Raises
    ------
    DefinitionError
        See :func:`checked_alert`; the text says which one.
    """
    if isinstance(values, str | bytes | Mapping | Alert) or not isinstance(values, Iterable):
        raise DefinitionTypeError(
            f"alerts of {owner} must be a list of alerts, got {type(values).__name__}.",
            option="alerts")
    found = [checked_alert(each, f"alerts[{at}] of {owner}") for at, each in enumerate(values)]
    return unique(found)


def unique(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """Return alerts, each once."""
    return tuple({alert.key: alert for alert in alerts}.values())


def tables(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    """Return alerts as JSON objects, each once."""
    return [json.loads(alert.to_json()) for alert in unique(alerts)]


def to_text(alerts: Iterable[Alert]) -> str | None:
    """Return alerts as one JSON text; None where there are none."""
    found = tables(alerts)
    return json.dumps(found, ensure_ascii=False) if found else None
