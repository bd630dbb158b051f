"""Which of many processes runs a loop: asked of the store some times in each lead.

Lives here: asking, and remembering the answer for a while. Does not live here: the rule
(the event log), the loops (``watcher.py``, ``file_watcher.py``).
"""

from __future__ import annotations

import itertools
import logging

from dataflow.claims import owner_of_this_process
from dataflow.event_log import EventLog
from dataflow.exceptions import StoreError

LEAD_S = 10.0
"""A loop that has not been heard of for so long leads no more, in seconds."""

_numbers = itertools.count(1)

logger = logging.getLogger("dataflow.watcher")


class Lead:
    """The lead of one loop, as one of those that run it sees it; for one thread.

    Parameters
    ----------
    log
        Who knows who leads.
    loop
        Name of the loop.
    owner
        As which it leads; where somebody took the lead for it, that name.

    Attributes
    ----------
    is_new
        The last time that it was asked the lead was taken, which was another's or nobody's.
    """

    def __init__(self, log: EventLog, loop: str, owner: str | None = None) -> None:
        self._log, self._loop = log, loop
        self._owner = owner or f"{owner_of_this_process()}:{next(_numbers)}"
        self._until_s = self._ask_at_s = 0.0
        self.is_new = False

    def is_held(self, now_s: float) -> bool:
        """Tell whether it is held, without asking."""
        return now_s < self._until_s

    def ask(self, now_s: float) -> bool:
        """Take or keep it; False: another one leads. Raises StoreError."""
        self.is_new = False
        if 0 < self._ask_at_s - now_s <= LEAD_S:
            return self.is_held(now_s)
        until_s = now_s + LEAD_S
        self._ask_at_s = now_s + LEAD_S / 4
        leads = self._log.lead(self._loop, self._owner, now_s, until_s)
        self.is_new = leads and not self.is_held(now_s)
        self._until_s = until_s if leads else 0.0
        return leads

    def give_up(self, now_s: float) -> None:
        """Let another one lead at once; it can be asked for again."""
        self._until_s = self._ask_at_s = 0.0
        try:
            self._log.lead(self._loop, self._owner, now_s, 0.0)
        except StoreError as error:
            logger.debug("the lead of %s is over by itself: %s", self._loop, error)
