"""Texts of runs made fit to be sent: harmless, bounded, without secrets.

Lives here: cleaning one text. Does not live here: secrets of channels' URLs
(``channel_urls.py``), names of secrets (``masking.py``). Names and errors are
anybody's text: a file name may hold escapes of terminals, a line of a megabyte,
a call to everyone in the room.
"""

from __future__ import annotations

import re
import unicodedata

from dataflow.masking import HIDDEN, masked

LINE = 400
"""So many characters of a line are sent."""
LINES = 60
WHOLE = 12_000
"""So many characters of a message are sent."""

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]?")
_PAIR = re.compile(
    r"(?P<name>[\w.-]{2,64}[\"']?)(?P<equals>\s*(?:=|:(?!//))\s*)"
    r"(?P<value>\"[^\"\n]{1,400}\"|'[^'\n]{1,400}'|[^\s,;&\"')\]}]{1,400})")
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/?#@]{1,400}@")
_BEARER = re.compile(r"\b(?P<word>Bearer|Basic|Token)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
_ENDS_SECRET = re.compile(r"(?:passw(?:or)?d|secret|token|api_?key)$", re.IGNORECASE)
_LOUD = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|(?<=<)(?=[!@#])")
_QUIET = "\u200b"
"""Nothing to the eye; keeps a chat from calling everybody."""


def cleaned(text: str, *, line: int = LINE, lines: int = LINES, whole: int = WHOLE) -> str:
    """Return a text without control characters, escapes and secrets, cut to its bounds.

    Lines stay lines. What is cut off is told by its size.
    """
    cut = text[:4 * whole]
    kept = _plain(_ESCAPES.sub("", cut)).strip("\n").split("\n")
    shown = [_short(without_secrets(each), line) for each in kept[:lines]]
    if len(kept) > lines:
        shown.append(f"… and {len(kept) - lines:,} more lines")
    return _LOUD.sub(lambda found: found[0] + _QUIET, _short("\n".join(shown), whole))


def cleaned_line(text: str, length: int = LINE) -> str:
    """Return a text as one line, cleaned and cut."""
    return cleaned(" ".join(text[:4 * length].split()), line=length, lines=1)


def without_secrets(text: str) -> str:
    """Return a text without what looks like a password, token or key.

    ``password=…``, ``"api_key": "…"``, ``postgres://user:…@host``, ``Bearer …``.
    """
    text = _USERINFO.sub(lambda found: f"{found['scheme']}{HIDDEN}@", text)
    text = _BEARER.sub(lambda found: f"{found['word']} {HIDDEN}", text)
    return _PAIR.sub(_masked_pair, text)


def _masked_pair(found: re.Match[str]) -> str:
    name = found["name"].rstrip("\"'")
    value = HIDDEN if _ENDS_SECRET.search(name) else masked(name, found["value"])
    return found["name"] + found["equals"] + value


def _plain(text: str) -> str:
    """Return a text of what can be seen, spaces and line ends."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    return "".join(
        one if one == "\n" or unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else _stand_in(one) for one in text)


def _stand_in(one: str) -> str:
    if unicodedata.category(one) in ("Zl", "Zp"):
        return "\n"
    return "" if unicodedata.category(one) == "Cf" else "\ufffd"


def _short(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return f"{text[:length]}… ({len(text) - length:,} more characters)"
