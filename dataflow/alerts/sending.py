"""A request to a webhook: guarded, along a few redirects, with errors that tell no secret.

Lives here: the order of things (read the URL, resolve once, check, connect to
what was checked; again for each redirect), and what an answer means. Does not
live here: one request (``pinned.py``), what is in it (``webhooks.py``).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from urllib.parse import urljoin

from dataflow.alerts.channel_urls import without
from dataflow.alerts.cleaning import cleaned_line
from dataflow.alerts.hosts import Place, place_of
from dataflow.alerts.pinned import Answer, Deadline, Request, exchange
from dataflow.alerts.reach import Reach
from dataflow.alerts.resolving import addresses_of
from dataflow.exceptions import ChannelError, ChannelRefused

REDIRECTS = 3
_SAME = (301, 302, 307, 308)
_OWN = frozenset({"content-type", "accept"})
"""Headers that go along to another host; those that the channel set may be secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a webhook's requests go, and how it is called where it is written down."""

    url: str
    channel: str
    shown: str


def send(target: Target, request: Request, reach: Reach, timeout_s: float,
         make_deadline: Callable[[float], Deadline] = Deadline) -> Answer:
    """Send a request to a webhook and return its answer, which is a good one.

    Parameters
    ----------
    target
        An http or https URL.
    reach
        Which addresses it may lead to; holds for each redirect too.
    timeout_s
        For all of it, redirects included; but not for the look-up of names.

    Raises
    ------
    ChannelRefused
        The URL, or a redirect, leads where it may not. Nothing was sent there.
    ChannelError
        It was not taken.
    """
    deadline = make_deadline(timeout_s)
    url = target.url
    place = place_of(url)
    first = place.origin
    for _ in range(REDIRECTS + 1):
        answer = _asked(place, target, request, reach, deadline)
        if answer.is_good:
            return answer
        if answer.location is None or answer.status not in (*_SAME, 303):
            raise _not_taken(target, answer)
        url = urljoin(url, answer.location)
        place = _next(place, url, target)
        if place.origin != first:
            request = replace(request, headers={name: value for name, value
                                                in request.headers.items()
                                                if name.lower() in _OWN})
        if answer.status == 303:
            request = replace(request, method="GET", body=b"")
    raise ChannelError(
        f"{target.shown} was redirected more than {REDIRECTS} times. Give the last address.",
        channel=target.shown, reason="redirects")


def _next(before: Place, url: str, target: Target) -> Place:
    """Return where a redirect leads, if that may be followed."""
    place = _redirect_place(url, target)
    if before.scheme == "https" and place.scheme != "https":
        raise ChannelRefused(f"{target.shown} redirects from https to http, which is not "
                             "followed.", channel=target.shown, reason="redirect")
    if place.user is not None:
        raise ChannelRefused(f"{target.shown} redirects to a URL with a user in it, which is not "
                             "followed.", channel=target.shown, reason="redirect")
    return place


def _redirect_place(url: str, target: Target) -> Place:
    try:
        return place_of(url)
    except ChannelRefused as error:
        raise ChannelRefused(f"{target.shown} redirects: {error}", channel=target.shown,
                             reason="redirect") from None  # its text may hold the other URL's path


def _asked(place: Place, target: Target, request: Request, reach: Reach,
           deadline: Deadline) -> Answer:
    """Return the answer of the first address that takes a connection."""
    failed: Exception = ConnectionRefusedError("no address")
    for address in addresses_of(place, reach, target.shown):
        try:
            return exchange(place, address, request, deadline)
        except ConnectionRefusedError as error:
            failed = error  # nobody listens there: the next one may
        except (OSError, HTTPException, ValueError) as error:
            failed = error
            break
    said = getattr(failed, "verify_message", "") or str(failed) or type(failed).__name__
    said = cleaned_line(without(said, target.channel))
    kind = ("timeout" if isinstance(failed, TimeoutError) else
            "certificate" if isinstance(failed, ssl.SSLCertVerificationError) else "connection")
    raise ChannelError(f"{target.shown} gave no answer: {said}.", channel=target.shown,
                       reason=kind) from None  # a traceback of http.client shows the request


def _not_taken(target: Target, answer: Answer) -> ChannelError:
    said = cleaned_line(without(answer.start.decode(errors="replace"), target.channel), 300)
    reason = cleaned_line(without(answer.reason, target.channel), 80)
    wait = answer.retry_after
    return ChannelError(
        f"{target.shown} answered {answer.status} {reason}{': ' if said else ''}{said}",
        channel=target.shown, reason="status", status=answer.status,
        retry_after_s=float(wait) if wait and wait.isdecimal() and len(wait) < 6 else None)
