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

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow.alerts.alert import Alert, alert_from_json
from dataflow.alerts.channel_urls import has_secrets, is_name, is_url, shown
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
    broken
        Names of channels that cannot be used, and why.
    places
        Where the alerts stand: file and number.
    """

    alerts: tuple[Alert, ...] = ()
    channels: Mapping[str, str] = field(default_factory=dict, repr=False)
    broken: Mapping[str, str] = field(default_factory=dict)
    places: tuple[str, ...] = ()

    @property
    def shown_channels(self) -> dict[str, str]:
        """Return the channels by name, without their secrets."""
        return {name: shown(url) for name, url in self.channels.items()}

    def named(self) -> Configured:
        """Return the same with a name in the place of each URL that has a secret in it.

        Such alerts may be written down: whoever reads these files finds the URL by its name.
        """
        channels = dict(self.channels)
        alerts = []
        for alert in self.alerts:
            names = {url: name_of(url) for url in alert.channels if has_secrets(url)}
            channels |= {name: url for url, name in names.items()}
            alerts.append(replace(alert, channels=tuple(
                names.get(each, each) for each in alert.channels)) if names else alert)
        return replace(self, alerts=tuple(alerts), channels=channels)


def name_of(url: str) -> str:
    """Return the name of a channel that files give as a URL: ``slack-3f2a9c017be4``."""
    scheme = shown(url).partition("://")[0]
    return f"{scheme}-{hashlib.blake2b(url.encode(), digest_size=6).hexdigest()}"


def configured() -> Configured:
    """Return the alerts and channels that the files of settings hold at this moment.

    Raises
    ------
    SettingsError
        A file cannot be read, or a table in one cannot be used; the text names it.
    """
    found, problems = usable()
    if problems:
        raise problems[0]
    return found


def usable() -> tuple[Configured, list[SettingsError]]:
    """Return what can be used of the files of settings, and all that is wrong with the rest."""
    from dataflow.settings import get_settings
    from dataflow.settings_tables import whole_tables

    reader = _Reader()
    try:
        for source, table in whole_tables(get_settings().file):
            reader.take(source, table)
    except SettingsError as error:
        reader.problems.append(error)
    return reader.found(), reader.problems


class _Reader:
    """Gathers what can be used; what cannot is noted and left out."""

    def __init__(self) -> None:
        self.problems: list[SettingsError] = []
        self._alerts: list[tuple[Alert, str]] = []
        self._channels: dict[str, str] = {}
        self._broken: dict[str, str] = {}

    def take(self, source: str, table: Mapping[str, Any]) -> None:
        for name, url in table.get("channels", {}).items():
            if name in self._channels or name in self._broken:
                continue  # a file before this one has it
            try:
                self._channels[name] = _channel(name, url, source)
            except SettingsError as error:
                self._broken[name] = str(error)
                self.problems.append(error)
        for number, each in enumerate(table.get("alerts", ()), 1):
            where = f"{source}, [[alerts]] number {number}"
            try:
                self._alerts.append((_alert(each, where, source), where))
            except SettingsError as error:
                self.problems.append(error)

    def found(self) -> Configured:
        for alert, _ in self._alerts:
            for channel in alert.channels:
                if not is_url(channel) and channel not in (*self._channels, *self._broken):
                    self.problems.append(_unknown(channel, self._channels, alert))
        return Configured(
            tuple(alert for alert, _ in self._alerts), self._channels, self._broken,
            tuple(where for _, where in self._alerts))


def _alert(table: Any, where: str, source: str) -> Alert:
    try:
        alert = alert_from_json(table, where)
    except DefinitionError as error:
        raise SettingsError(str(error), source=source, variable="alerts") from error
    if not alert.channels:
        raise SettingsError(f"{where} names no channels, so that it would tell nobody. Write "
                            "channels = [\"…\"].", source=source, variable="alerts")
    return alert


def _channel(name: str, url: Any, source: str) -> str:
    if not is_name(name) or not isinstance(url, str) or not is_url(url):
        raise SettingsError(
            f"{source}, [channels] {shown(name)} cannot be used: write name = \"URL\", the "
            "name of letters, digits, '-', '_' and '.'.", source=source, variable="channels")
    return _VARIABLE.sub(lambda one: _environment(one[1], name, source), url)


def _environment(variable: str, channel: str, source: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise SettingsError(
            f"{source}, [channels] {channel} names the environment variable {variable}, which "
            "is not set.", source=source, variable="channels")
    return value


def _unknown(channel: str, channels: Mapping[str, str], alert: Alert) -> SettingsError:
    from dataflow.alerts.conditions import near

    return SettingsError(
        f"The alert {alert.label!r} names the channel {shown(channel)!r}, which is not in "
        f"[channels]. {near(channel, channels)}Known are: {', '.join(sorted(channels)) or 'none'}.",
        variable="channels")
