"""Channels: where messages go, by name or by URL.

Lives here: what a channel is, and which one a URL means. Does not live here: how
each delivers (``webhooks.py``, ``apprise_channels.py``), when (``delivery.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dataflow.alerts.channel_urls import is_url, shown
from dataflow.alerts.conditions import near
from dataflow.alerts.reach import Reach
from dataflow.alerts.text import Text
from dataflow.exceptions import ChannelRefused

_FOREIGN = frozenset({"file", "ftp", "ftps", "gopher", "ldap", "ldaps", "dict", "tftp", "data",
                      "jar", "netdoc", "phar"})


class Channel(Protocol):
    """Something that takes messages."""

    shown: str
    """What may be written down of it."""

    def send(self, text: Text, timeout_s: float) -> None:
        """Deliver a message, within a time as far as that can be held.

        Raises
        ------
        ChannelError
            It was not taken; it may be tried again.
        ChannelRefused
            It may not be sent there; only other settings change that.
        """


def open_channel(
    channel: str, *, named: Mapping[str, str] | None = None, reach: Reach | None = None
) -> Channel:
    """Return the channel of a name or a URL. Nothing is sent.

    Parameters
    ----------
    channel
        The name of one from the settings, or a URL: ``json://``, ``https://`` (a webhook), or
        any of apprise's (``slack://``, ``mailto://``).
    named
        URLs by name; by default those of the settings.
    reach
        Which addresses it may lead to; by default as the settings say.

    Raises
    ------
    ChannelRefused
        There is no such name (the nearest is given), the URL cannot be used, or apprise is not
        installed.
    SettingsError
        The settings cannot be read.
    """
    url = channel.strip()
    if not is_url(url):
        url = _url_of(channel, named)
    if reach is None:
        from dataflow.settings import get_settings

        reach = Reach.of(get_settings().alerts_allow_private)
    scheme = url.partition("://")[0].lower()
    if scheme in _FOREIGN or not scheme.isascii():
        raise ChannelRefused(
            f"{shown(url)} cannot be a channel. Give a webhook (json://, https://) or one of "
            "apprise's services (slack://, mailto://).", channel=shown(url), reason="bad URL")
    return _opened(scheme, url, reach)


def _opened(scheme: str, url: str, reach: Reach) -> Channel:
    from dataflow.alerts.apprise_channels import AppriseChannel, is_native
    from dataflow.alerts.webhooks import SCHEMES, WebhookChannel

    if scheme in SCHEMES and not (scheme in ("http", "https") and is_native(url)):
        return WebhookChannel(url, reach)
    return AppriseChannel(url, reach)


def _url_of(name: str, named: Mapping[str, str] | None) -> str:
    if named is None:
        from dataflow.alerts.alert_files import configured

        named = configured().channels
    if name not in named:
        known = f"Known are: {', '.join(sorted(named))}." if named else (
            "None is named: write [channels] with name = \"URL\" into dataflow.toml.")
        raise ChannelRefused(f"There is no channel {shown(name)!r}. {near(name, named)}{known}",
                             channel=shown(name), reason="unknown name")
    return named[name]
