"""Which results runs may still need, from the run store.

Lives here: the question to the store. Does not live here: what is removed
(``dataflow.packs.collecting``).
"""

from __future__ import annotations

from dataflow.store import FlowRunRow, Store

_FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


def needs(store: Store, *, drop_failed: bool) -> tuple[frozenset[str], frozenset[bytes]]:
    """Return ids of runs that go on or could be resumed, and the keys of what they have.

    Parameters
    ----------
    drop_failed
        Runs that FAILED, CRASHED or were CANCELLED count as done.
    """
    runs = [run for run in store.flow_runs(limit=None) if _counts(run, drop_failed)]
    keys: set[bytes] = set()
    for run in runs:
        for call in store.calls(run.id, nested=True):
            width = sum(call.counts.values()) if call.width is None else call.width
            keys.update(store.keys(call.run_id, call.call, range(width)).values())
    return frozenset(run.id for run in runs), frozenset(keys)


def _counts(run: FlowRunRow, drop_failed: bool) -> bool:
    return run.state_type not in _FINAL if drop_failed else run.state_type != "COMPLETED"
