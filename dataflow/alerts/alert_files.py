"""Alerts and channels in the files of settings: ``[channels]`` and ``[[alerts]]``.

Lives here: reading those tables from the files that settings are read from, and
the environment variables that URLs name. Does not live here: which files these
are (``settings_tables.py``), other settings. ::

    [channels]
    slack-ops = "slack://${SLACK_TOKEN}"

    [[alerts]]
    on = "failed"
    match = "tag:prod"
    channels = ["slack-ops", "mailto://ops@example.com"]

A channel is taken from the first file that names it (the project's before the
one in ``DATAFLOW_HOME``); alerts of all files hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.alerts.alert import Alert, alert_from_json
from dataflow.alerts.channel_urls import is_name, is_url, shown
from dataflow.exceptions import DefinitionError, SettingsError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Configured:
    """What the files say.

    Parameters
    ----------
    alerts
        All of them, the project's first.
    channels
        URLs by name. They hold secrets, and are not shown.
    """

    alerts: tuple[Alert, ...] = ()
    channels: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown_channels(self) -> dict[str, str]:
        """Return the channels by name, without their secrets."""
        return {name: shown(url) for name, url in self.channels.items()}


def configured() -> Configured:
    """Return the alerts and channels that the files of settings hold at this moment.

    Raises
    ------
    SettingsError
        A file cannot be read, or a table in one cannot be used; the text names it.
    """
    from dataflow.settings import get_settings
    from dataflow.settings_tables import whole_tables

    alerts: list[Alert] = []
    channels: dict[str, str] = {}
    for source, table in whole_tables(get_settings().file):
        for name, url in _channels(table.get("channels", {}), source).items():
            channels.setdefault(name, url)
        alerts += _alerts(table.get("alerts", ()), source)
    for alert in alerts:
        for channel in alert.channels:
            _check_known(channel, channels, alert)
    return Configured(tuple(alerts), channels)


def _alerts(tables: Any, source: str) -> list[Alert]:
    found = []
    for number, table in enumerate(tables, 1):
        where = f"{source}, [[alerts]] number {number}"
        try:
            alert = alert_from_json(table, where)
        except DefinitionError as error:
            raise SettingsError(str(error), source=source, variable="alerts") from error
        if not alert.channels:
            raise SettingsError(f"{where} names no channels, so that it would tell nobody. Write "
                                "channels = [\"…\"].", source=source, variable="alerts")
        found.append(alert)
    return found


def _channels(table: Mapping[str, Any], source: str) -> dict[str, str]:
    found = {}
    for name, url in table.items():
        if not is_name(name) or not isinstance(url, str) or not is_url(url):
            raise SettingsError(
                f"{source}, [channels] {shown(name)} cannot be used: write name = \"URL\", the "
                "name of letters, digits, '-', '_' and '.'.", source=source, variable="channels")
        found[name] = _filled(url, name, source)
    return found


def _filled(url: str, channel: str, source: str) -> str:
    """Return a URL with the environment variables that it names."""
    return _VARIABLE.sub(lambda one: _environment(one[1], channel, source), url)


def _environment(variable: str, channel: str, source: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise SettingsError(
            f"{source}, [channels] {channel} names the environment variable {variable}, which "
            "is not set.", source=source, variable="channels")
    return value


def _check_known(channel: str, channels: Mapping[str, str], alert: Alert) -> None:
    from dataflow.alerts.conditions import near

    if is_url(channel) or channel in channels:
        return
    raise SettingsError(
        f"The alert {alert.label!r} names the channel {shown(channel)!r}, which is not in "
        f"[channels]. {near(channel, channels)}Known are: {', '.join(sorted(channels)) or 'none'}.",
        variable="channels")
