"""Values that others wrote, as they may be shown.

Lives here: secrets masked by their names, texts that every reader of JSON takes. Does
not live here: the shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dataflow.alerts import channel_urls
from dataflow.deployments.json_values import DEPTH
from dataflow.deployments.spec_differences import without_secrets


def shown(value: Any, name: str = "") -> Any:
    """Return a JSON value without secrets, and without what JSON cannot hold."""
    return _plain(without_secrets(value, name), DEPTH)


def shown_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a deployment says; names in the schema of parameters are no secrets."""
    return {name: _plain(value, DEPTH) if name == "parameter_schema"
            else [_alert(each) for each in value] if name == "alerts" and isinstance(value, list)
            else shown(value, name)
            for name, value in spec.items()}


def _alert(alert: Any) -> Any:
    """Return an alert with its channels as they may be written down."""
    if isinstance(alert, Mapping) and isinstance(alert.get("channels"), list):
        alert = {**alert, "channels": [channel_urls.shown(str(each))
                                       for each in alert["channels"]]}
    return shown(alert, "alerts")


def shown_parameters(text: str) -> Any:
    """Return parameters from their JSON; what was cut at its limit, as the text it is."""
    try:
        return shown(json.loads(text), "parameters")
    except (ValueError, RecursionError):
        return _plain(text, DEPTH)


def moment(seconds: float | None) -> datetime | None:
    """Return epoch seconds as a datetime in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and value - value != 0:  # infinite, or no number
        return str(value)
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if not depth:
        return "…"
    if isinstance(value, Mapping):
        return {_plain(str(key), 1): _plain(item, depth - 1) for key, item in value.items()}
    return [_plain(item, depth - 1) for item in value]
