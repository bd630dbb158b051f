"""Who may drive a flow run, the same for every store.

Lives here: the rule, and the errors of who may not. Does not live here: where
epochs and leases are kept (``leases.py``, ``memory.py``).
"""

from __future__ import annotations

from datetime import UTC, datetime

from dataflow.claims import owner_alive
from dataflow.exceptions import RunFenced, RunNotFound, RunOwned

LEASE = ("epoch", "owner", "lease_until_s")
"""Fields of a flow run that a write of its record leaves as they are."""


def check_owner(
    flow_run_id: str, owner: str, there: str | None, until_s: float | None, now_s: float
) -> None:
    """Raise RunOwned where another's lease is not over and its process may be alive."""
    if there is None or there == owner or until_s is None or until_s <= now_s:
        return
    if owner_alive(there) is False:
        return
    until = datetime.fromtimestamp(until_s, UTC).isoformat(" ", "seconds")
    raise RunOwned(
        f"Flow run {flow_run_id} is driven by {there} (host:pid:start), whose lease lasts until "
        f"{until} and is renewed while it lives. Nothing was begun. Wait until it has ended, or "
        "stop that process first.",
        flow_run_id=flow_run_id, owner=there, until_s=until_s,
    )


def fenced(flow_run_id: str, owner: str | None) -> RunFenced:
    """Return the error of who writes after having lost the run."""
    return RunFenced(
        f"Flow run {flow_run_id} was taken over by {owner or 'another process'} while this one "
        "did not renew its lease. Nothing of what this process recorded since was written. "
        "What to do: leave the run to the other.",
        flow_run_id=flow_run_id, owner=owner,
    )


def not_found(flow_run_id: str) -> RunNotFound:
    """Return the error of a run that is not in the store."""
    return RunNotFound(
        f"Flow run {flow_run_id} is not in the run store.", ref=flow_run_id, matches=[])
