"""Whether who has a run still says so, without comparing the clocks of two hosts.

Lives here: the rule, pure; time is passed in. Does not live here: what becomes of a run
that nobody speaks of (``lost_runs.py``), the words themselves (the agenda, the leases).

A worker moves the end of its claims on while it lives, and the process of a run that of
its lease. Both are times of their own hosts, whose clocks may be minutes apart: only
whether they change counts, and for how long they have not is counted by the clock of who
looks, one that nobody sets. So who has just begun to look has to look for that long.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataflow.agenda import RunClaim


class Silence:
    """Looks at claims again and again.

    Parameters
    ----------
    patience_s
        A claim that stands unchanged for so long is nobody's any more.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[RunClaim, float] = {}

    def lost(self, claims: Iterable[RunClaim], now_s: float) -> list[str]:
        """Look once; return the flow run ids of claims that nobody has changed for too long.

        Parameters
        ----------
        claims
            All there are.
        now_s
            Of a clock that nobody sets.
        """
        self._since = {claim: self._since.get(claim, now_s) for claim in claims}
        return [claim.flow_run_id for claim, since_s in self._since.items()
                if now_s - since_s >= self._patience_s]

    def forget(self) -> None:
        """Begin anew: for a while nobody could say anything."""
        self._since = {}
