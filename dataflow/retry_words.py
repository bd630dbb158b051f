"""What a flow run says while it waits for its next attempt, and when that is, from its words.

Lives here: the two directions of one sentence. Does not live here: when a run is tried
again (``flow_run.py``), who is told (``service/alerting.py``).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DUE = re.compile(r"; attempt \d+ of \d+ begins at (\S+)\Z")


def waiting_words(message: str | None, attempt: int, attempts: int, due_s: float) -> str:
    """Return why a run waits, and for what: ``…; attempt 2 of 3 begins at 2026-11-28T…``."""
    moment = datetime.fromtimestamp(due_s, UTC).isoformat(timespec="seconds")
    return f"{message or 'Failed'}; attempt {attempt} of {attempts} begins at {moment}"


def due_s_in(message: str | None) -> float | None:
    """Return when the next attempt begins, epoch seconds; None where the words do not say."""
    found = _DUE.search(message or "")
    try:
        return None if found is None else datetime.fromisoformat(found[1]).timestamp()
    except ValueError:
        return None
