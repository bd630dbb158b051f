"""URLs of channels, without what is secret in them.

Lives here: what may be shown of one, the secrets in one, a text freed of them.
Does not live here: where a URL leads (``hosts.py``), the secrets of other texts
(``cleaning.py``). A path counts as secret: Slack's, Discord's and Teams' are.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from dataflow.masking import HIDDEN

_NAME = re.compile(r"[\w.-]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?")
_HOSTED = frozenset({"json", "jsons", "http", "https", "form", "forms", "xml", "xmls",
                     "mailto", "mailtos"})
"""Schemes in which the place of the host holds one; in others a token may stand there."""
_SHORTEST = 4
"""A part of a URL that is shorter gives no secret away, and would mask half of every text."""
_DULL = frozenset({"hook", "hooks", "webhook", "webhooks", "services", "http", "https", "yes",
                   "true", "false", "post"})


def is_url(channel: str) -> bool:
    """Tell whether a channel is a URL, not a name."""
    return "://" in channel


def is_name(channel: str) -> bool:
    """Tell whether a text may be the name of a channel."""
    return _NAME.fullmatch(channel) is not None


def shown(channel: str) -> str:
    """Return what may be written down of a channel: ``slack://…``, ``https://example.com/…``.

    A name is shown as it is.
    """
    found = _SCHEME.fullmatch(channel.strip())
    if found is None:
        return channel if is_name(channel) else HIDDEN
    scheme, rest = found[1].lower(), found[2]
    place = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    after = rest[len(place):]
    # a password with a slash in it looks like a port and a path
    unclear = "@" in after and "@" not in place and (after[0] != "?" or ":" in place)
    place = place.rpartition("@")[2]
    if scheme not in _HOSTED or unclear or not _HOST.fullmatch(place):
        return f"{scheme}://…"
    return f"{scheme}://{place}/…"


def has_secrets(channel: str) -> bool:
    """Tell whether a channel is a URL with something in it that is not shown."""
    if not is_url(channel):
        return False
    found = _SCHEME.fullmatch(channel.strip())
    if found is None:
        return True
    return channel.strip().rstrip("/").lower() != shown(channel).removesuffix("/…").lower()


def without(text: str, channel: str) -> str:
    """Return a text without the URL of a channel and the secrets in it."""
    if not is_url(channel):
        return text
    text = text.replace(channel, shown(channel))
    for secret in _secrets(channel):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(channel: str) -> list[str]:
    """Return the parts of a URL that are not shown, in each spelling, longest first."""
    found = _SCHEME.fullmatch(channel.strip())
    rest = found[2] if found else channel
    seen = shown(channel).partition("://")[2]
    parts = {part for part in re.split(r"[/?#&=@:\\+\s]", rest)
             if len(part) >= _SHORTEST and part.lower() not in _DULL}
    spellings = {spelling for part in parts
                 for spelling in (part, unquote(part), quote(unquote(part), safe=""))}
    hidden = (each for each in spellings if len(each) >= _SHORTEST and each not in seen)
    return sorted(hidden, key=len, reverse=True)
