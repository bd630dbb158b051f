"""Webhooks: ``json://``, ``form://`` and ``xml://`` as apprise has them, ``http(s)://``.

Lives here: what such a URL says beside the address. Does not live here: bodies
(``webhook_bodies.py``), how they are sent (``sending.py``). It needs no other
package: these go to hosts of anybody, so they go the guarded way.

With an s (``jsons://``) it is https. In all but ``http(s)://`` the query is read
as apprise does: ``+Name=value`` is a header, ``-name=value`` goes into the query,
``:key=value`` into the body, ``method=PUT``, ``verify=no``. An http or https URL
is asked for as it stands, with JSON. A user and password before the host are sent
as Basic authorization.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlencode

from dataflow.alerts.channel_urls import shown
from dataflow.alerts.hosts import place_of
from dataflow.alerts.pinned import Request
from dataflow.alerts.reach import Reach
from dataflow.alerts.sending import Target, send
from dataflow.alerts.text import Text
from dataflow.alerts.webhook_bodies import encoded
from dataflow.exceptions import ChannelRefused

SCHEMES = {"http": "http", "https": "https"} | {
    f"{kind}{secure}": f"http{secure}" for kind in ("json", "form", "xml") for secure in ("", "s")}
_METHODS = ("POST", "PUT", "PATCH")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class _Extras:
    """What a query says to us, not to the webhook."""

    method: str
    verify: bool
    headers: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]
    body: tuple[tuple[str, str], ...]


class WebhookChannel:
    """A channel that sends messages to a URL.

    Parameters
    ----------
    url
        As above.
    reach
        Which addresses it may lead to.

    Raises
    ------
    ChannelRefused
        The URL cannot be used; names of hosts are looked up when a message is sent.
    """

    def __init__(self, url: str, reach: Reach) -> None:
        self.shown = shown(url)
        self._url = url
        self._reach = reach
        scheme, _, rest = url.partition("://")
        place, mark, query = rest.partition("?")
        self._extras = _Extras("POST", True, (), (), ())
        address = f"{SCHEMES[scheme.lower()]}://{place}"
        self._kind = scheme.lower().removesuffix("s")
        if self._kind in ("json", "form", "xml"):
            self._extras = _read_extras(query, self.shown)
            kept = urlencode(self._extras.query)
            address += f"?{kept}" if kept else ""
        else:
            address += mark + query
        self._address = address.partition("#")[0]
        reach.check_spelling(place_of(self._address), self.shown)

    def send(self, text: Text, timeout_s: float) -> None:
        """Deliver a message. Raises ChannelError and ChannelRefused."""
        content_type, body = encoded(self._kind, text, dict(self._extras.body))
        headers = {"Content-Type": content_type, **dict(self._extras.headers)}
        place = place_of(self._address)
        if place.user is not None:
            pair = f"{place.user}:{place.password or ''}".encode()
            headers.setdefault("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        request = Request(method=self._extras.method, headers=headers, body=body,
                          verify=self._extras.verify)
        target = Target(url=self._address, channel=self._url, shown=self.shown)
        send(target, request, self._reach, timeout_s)


def _read_extras(query: str, channel: str) -> _Extras:
    found: dict[str, list[tuple[str, str]]] = {"+": [], "-": [], ":": [], "": []}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        name = re.sub(r"^%2[bB]", "+", name)
        name = re.sub(r"^%3[aA]", ":", name)
        mark = name[:1] if name[:1] in ("+", "-", ":") else ""
        found[mark].append((unquote_plus(name[len(mark):]), unquote_plus(value)))
    options = {name.lower(): value.lower() for name, value in found[""]}
    method = options.get("method", "post").upper()
    if method not in _METHODS:
        raise ChannelRefused(f"{channel}: method={method[:20]} cannot be used; there are "
                             f"{', '.join(_METHODS)}.", channel=channel, reason="bad URL")
    for name, value in found["+"]:
        if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable() or (
                name.lower() in _OURS):
            raise ChannelRefused(f"{channel}: one of its headers (+Name=value) cannot be sent.",
                                 channel=channel, reason="bad URL")
    return _Extras(method, options.get("verify", "yes") not in ("no", "false", "0", "off"),
                   tuple(found["+"]), tuple(found["-"]), tuple(found[":"]))
