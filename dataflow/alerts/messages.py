"""The message: what is told at once, of one run or of many.

Lives here: the value and its JSON. Does not live here: when there is one
(``grouping.py``), its words (``text.py``), where it goes (``outbox.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataflow.alerts.events import ErrorGroup, error_of
from dataflow.alerts.notices import Notice, notice_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of an alert.

    Parameters
    ----------
    notice
        The first of those that it is about; of a resolved message, the one that resolves.
    resolved
        It only tells that it is over.
    over_s
        When it was over, also where that came before this could be told; None: it is not.
    runs
        Names and ids of the first runs.
    run_count
        How many runs; 1 at least, but 0 for a deadline.
    element_count
        How many failed elements have been heard of singly.
    errors
        Of all runs together, those that are alike as one.
    since_s, until_s
        When the first and the last of it occurred.
    number
        How many messages of this trouble came before.
    """

    notice: Notice
    resolved: bool = False
    over_s: float | None = None
    runs: tuple[tuple[str, str], ...] = ()
    run_count: int = 1
    element_count: int = 0
    errors: tuple[ErrorGroup, ...] = ()
    since_s: float
    until_s: float
    number: int = 0

    @property
    def id(self) -> str:
        """Return what is the same where the same message is made again after a crash."""
        whole = f"{self.notice.id} {self.since_s!r} {self.number} {self.resolved}"
        return hashlib.blake2b(whole.encode(), digest_size=8).hexdigest()

    @property
    def severity(self) -> str:
        """Return ``failure``, ``warning``, ``success`` or ``info``: apprise's words."""
        state = self.notice.state
        if self.resolved or state in ("COMPLETED", "RECOVERED"):
            return "success"
        if state in ("FAILED", "CRASHED", "TIMED_OUT", "MISSED"):
            return "failure"
        return "info" if state in ("RUNNING", "PAUSED") else "warning"

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a JSON object."""
        from dataclasses import asdict

        return {"notice": self.notice.to_dict(), "resolved": self.resolved, "over_s": self.over_s,
                "runs": [list(each) for each in self.runs], "run_count": self.run_count,
                "element_count": self.element_count,
                "errors": [asdict(each) for each in self.errors],
                "since_s": self.since_s, "until_s": self.until_s, "number": self.number}


def message_of(table: Mapping[str, Any]) -> Message:
    """Return the message that :meth:`Message.to_dict` wrote."""
    return Message(**{
        **table, "notice": notice_of(table["notice"]),
        "runs": tuple((run_id, name) for run_id, name in table["runs"]),
        "errors": tuple(error_of(each) for each in table["errors"]),
    })
