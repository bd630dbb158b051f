"""Paths and queries of requests, read in one way only.

Lives here: taking a request's target apart; what can be read in two ways is no path.
Does not live here: which paths there are (``table.py``), who may ask (``gate.py``).
"""

from __future__ import annotations

import re
import uuid
from urllib.parse import parse_qsl, quote, unquote

from dataflow.exceptions import RequestRefused, RunNotFound

_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
_MOST_FIELDS = 50


def segments(path: str) -> tuple[str, ...] | None:
    """Return the parts of a path, decoded; None where it is no path of ours.

    Empty parts, dots, slashes in disguise, control characters and bytes that are no UTF-8 are
    refused, never cleaned up: whoever checks a path and whoever serves it see the same.
    """
    if not path.startswith("/"):
        return None
    found = []
    for part in path[1:].split("/"):
        text = _decoded(part)
        if text is None:
            return None
        found.append(text)
    return tuple(found)


def _decoded(part: str) -> str | None:
    if not _SEGMENT.fullmatch(part):
        return None
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        return None
    if text in (".", "..") or any(each in "/\\" or not each.isprintable() for each in text):
        return None
    return text


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a request's target."""
    path, _, query = target.partition("?")
    return path, query


def fields_of(query: str) -> dict[str, str]:
    """Return the fields of a query. Raises RequestRefused where one cannot be meant."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query),
                          errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:  # also bytes that are no UTF-8
        raise RequestRefused(
            "The query cannot be read.", status=400,
            what_to_do="Write it as name=value&name=value, percent-encoded UTF-8.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise RequestRefused(
                f"The query has {name!r} more than once.", status=422,
                what_to_do="Give each field once.")
        if "\0" in value:
            raise RequestRefused(
                f"The query has the character NUL in {name!r}.", status=422,
                what_to_do="Leave it out.")
        found[name] = value
    return found


def quoted(text: str) -> str:
    """Return a text as a part of a path."""
    return quote(text, safe="")


def run_id(text: str, kind: str) -> str:
    """Return a whole id in its one form. Raises RunNotFound for any other text."""
    try:
        if len(text) == 36:
            return str(uuid.UUID(text))
    except ValueError:
        pass
    raise RunNotFound(f"No {kind} answers to {text!r}: its whole id is needed here.",
                      ref=text, matches=[])
