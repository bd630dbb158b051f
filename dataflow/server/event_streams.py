"""The form of server-sent events.

Lives here: one event as bytes. Does not live here: what is streamed (``views/``), the
connection (``exchange.py``).

References
----------
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json

from pydantic import BaseModel

ALIVE = b": still here\n\n"
"""A comment: says that the connection lives."""


def event(name: str, data: BaseModel, id: str | None = None) -> bytes:
    """Return an event; ``id`` comes back as Last-Event-ID when a reader connects again."""
    lines = [] if id is None else [f"id: {id}"]
    text = json.dumps(data.model_dump(mode="json"))  # of ASCII, on one line
    return "\n".join([*lines, f"event: {name}", f"data: {text}", "", ""]).encode()
