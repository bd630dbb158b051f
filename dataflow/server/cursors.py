"""Where a page of a list begins, as a text that only the service reads.

Lives here: writing and reading it. Does not live here: what stands in it, which each
list knows.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from dataflow.exceptions import RequestRefused


def cursor_of(*parts: Any) -> str:
    """Return a cursor that holds these values."""
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parts_of(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """Return what a cursor holds. Raises RequestRefused where these are not its kinds."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise bad_cursor() from None
    if not isinstance(found, list) or [type(each) for each in found] != list(kinds):
        raise bad_cursor()
    if any(isinstance(each, float) and not math.isfinite(each) for each in found):
        raise bad_cursor()
    if any(isinstance(each, int) and abs(each) >= 1 << 62 for each in found):
        raise bad_cursor()
    if any(isinstance(each, str) and not _is_kept(each) for each in found):
        raise bad_cursor()
    return tuple(found)


def _is_kept(text: str) -> bool:
    """Tell whether stores can hold a text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def bad_cursor() -> RequestRefused:
    """Return the error of a cursor that belongs to no page of this list."""
    return RequestRefused(
        "The cursor is none of this list.", status=422,
        what_to_do="Take `next` of the page before as it is, or leave it out.",
        problems=(("query.cursor", "is none of this list"),))
