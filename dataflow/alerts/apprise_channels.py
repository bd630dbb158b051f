"""Slack, mail, Teams, Discord and the rest, by apprise.

Lives here: the import of apprise with a text for who lacks it, one message
through one of its services, its log lines kept from the log. Does not live here:
webhooks of our own (``webhooks.py``), which service a URL means (apprise knows).

Redirects are not followed. Connections go to allowed addresses only
(``connect_guard.py``), but for mail: servers of mail stand in private networks.
What apprise and urllib3 log while they send holds tokens; it is kept back, and
the warnings go into the error, masked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from dataflow.alerts.channel_urls import shown, without
from dataflow.alerts.cleaning import cleaned_line
from dataflow.alerts.connect_guard import only_within
from dataflow.alerts.reach import Reach
from dataflow.alerts.text import Text
from dataflow.exceptions import ChannelError, ChannelRefused

MAIL = frozenset({"mailto", "mailtos"})
_TALKATIVE = ("apprise", "urllib3.connectionpool", "requests_oauthlib", "oauthlib")


def library(channel: str) -> Any:
    """Return apprise.

    Parameters
    ----------
    channel
        As it may be shown, for the error.

    Raises
    ------
    ChannelRefused
        It is not installed.
    """
    try:
        import apprise
    except ImportError as error:
        raise ChannelRefused(
            f"{channel} needs apprise, which cannot be imported ({error}). Install it with: "
            "pip install 'dataflow[alerts]'. Webhooks (json://, https://) need nothing.",
            channel=channel, reason="not installed") from error
    return apprise


def is_native(url: str) -> bool:
    """Tell whether an http(s) URL is one that a service gives out (Slack's, Discord's webhooks).

    False where apprise is not installed.
    """
    try:
        import apprise
    except ImportError:
        return False
    with _quiet():
        return apprise.Apprise.instantiate(url) is not None


class AppriseChannel:
    """A channel that one of apprise's services delivers to.

    Parameters
    ----------
    url
        As apprise reads it.
    reach
        Which addresses it may lead to.

    Raises
    ------
    ChannelRefused
        apprise is not installed, or cannot read the URL.
    """

    def __init__(self, url: str, reach: Reach) -> None:
        self.shown = shown(url)
        self._url = url
        self._reach = reach
        self._service()

    def send(self, text: Text, timeout_s: float) -> None:
        """Deliver a message.

        ``timeout_s`` bounds each connection and each wait for bytes, not the whole.

        Raises
        ------
        ChannelError
            The service did not take it.
        ChannelRefused
            It leads to an address that is not allowed.
        """
        service = self._service()
        service.redirects = False
        service.socket_connect_timeout = service.socket_read_timeout = timeout_s
        guard = nullcontext() if service.schema in MAIL else only_within(
            self._reach, self.shown, str(service.host or ""))
        with _quiet() as said:
            with guard:
                taken = self._notified(service, text)
        if not taken:
            why = cleaned_line(without("; ".join(said), self._url)) or "it does not say why"
            raise ChannelError(f"{self.shown} did not take the message: {why}",
                               channel=self.shown, reason="not taken")

    def _service(self) -> Any:
        """Return a service for one message: it remembers what it has delivered."""
        apprise = library(self.shown)
        asset = apprise.AppriseAsset(app_id="dataflow", app_desc="dataflow", app_url="",
                                     secure_logging=True, http_redirects=False)
        with _quiet() as said:
            service = apprise.Apprise.instantiate(self._url, asset=asset)
        if service is None:
            why = cleaned_line(without("; ".join(said), self._url))
            raise ChannelRefused(
                f"{self.shown} is no URL that apprise can use{': ' if why else ''}{why}. "
                "Its forms are listed at https://appriseit.com/services/.",
                channel=self.shown, reason="bad URL")
        return service

    def _notified(self, service: Any, text: Text) -> bool:
        try:
            return bool(service.notify(title=text.title, body=text.body,
                                       notify_type=text.severity, body_format="text"))
        except Exception as error:  # code of many services: none of them may stop a delivery
            said = cleaned_line(without(str(error), self._url))
            raise ChannelError(f"{self.shown} failed: {type(error).__name__}: {said}",
                               channel=self.shown, reason="failed") from None


class _Kept(threading.local):
    """Warnings of this thread while it sends; None while it does not."""

    lines: list[str] | None = None


_kept = _Kept()


class _KeepBack(logging.Filter):
    """Keeps the lines of a thread that sends from the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _kept.lines is None:
            return True
        if record.levelno >= logging.WARNING:
            _kept.lines.append(record.getMessage())
        return False


_keep_back = _KeepBack()


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Keep this thread's lines of the libraries from the log; yield their warnings."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_keep_back)  # once: a second time changes nothing
    before, _kept.lines = _kept.lines, []
    try:
        yield _kept.lines
    finally:
        _kept.lines = before
