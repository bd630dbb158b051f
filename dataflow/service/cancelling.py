"""Asking for the end of a flow run, whoever drives it.

Lives here: who is asked, and why nobody can be. Does not live here: waiting for the
end, what is shown (``cli/going_on.py``, ``server/views/flow_runs.py``).
"""

from __future__ import annotations

import os
import signal

from dataflow.claims import owner_alive, this_host
from dataflow.flow_moves import ENDS
from dataflow.store import FlowRunRow, Store


def ask_for_the_end(store: Store, row: FlowRunRow, now_s: float) -> str | None:
    """Cancel a run that waits, or ask who drives it to end it; return why that cannot be done.

    A run of a deployment is cancelled by its worker, on whatever host; one that was started by
    hand is interrupted as by Ctrl-C, which works on its own host.
    """
    if row.state_type in ENDS:
        return f"Flow run {row.name} has ended: it is {row.state_name}."
    if store.agenda().ask_to_cancel(row.id, now_s):
        return None
    if row.parent_flow_run_id is not None:
        return (f"Flow run {row.name} was called in flow run {row.parent_flow_run_id}: "
                "cancel that one.")
    if row.owner is None or owner_alive(row.owner) is False:
        return (f"Nobody drives flow run {row.name} ({row.state_name}): its process is gone. "
                f"Go on with it: dataflow flow-run resume {row.id[:8]}")
    host, _, rest = row.owner.partition(":")
    if host != this_host() or owner_alive(row.owner) is None:
        return f"Flow run {row.name} is driven by {row.owner}: cancel it on that host."
    try:
        os.kill(int(rest.partition(":")[0]), signal.SIGINT)
    except ProcessLookupError:  # it ended a moment ago
        return f"The process of flow run {row.name} has just ended: look at the run again."
    except PermissionError:
        return f"Flow run {row.name} is driven by {row.owner}, a process of another user."
    return None
