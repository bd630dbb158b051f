"""The legal moves of a flow run, from type to type of its states.

Lives here: the table, the one function that refuses a move, the picture made
from the table. Does not live here: the moves of task runs (``outcomes.py``), or
who makes them (``flow_run.py``, ``run_record.py``).
"""

from __future__ import annotations

from dataflow.exceptions import IllegalStateMove

ENDS = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
"""Types from which nothing leads anywhere."""

_UNSTARTED = frozenset({
    "SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "FAILED", "CRASHED", "CANCELLED",
})

FLOW_MOVES: dict[str, frozenset[str]] = {
    "SCHEDULED": _UNSTARTED,
    "PENDING": _UNSTARTED,
    "RUNNING": _UNSTARTED | {"PAUSED", "COMPLETED"},
    "PAUSED": _UNSTARTED | {"PAUSED"},
    "CANCELLING": frozenset({"CANCELLING", "CANCELLED", "CRASHED"}),
    **{name: frozenset() for name in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")},
}
"""Type → the types that may follow.

SCHEDULED → SCHEDULED: it is Late. PENDING → PENDING: NotReady, or on its way
into infrastructure. PENDING → FAILED: its parameters are no good. RUNNING →
RUNNING: Retrying at once; RUNNING → SCHEDULED: AwaitingRetry. RUNNING →
PENDING: the flow function returned such a state. A run that is CANCELLING does
not complete any more.
"""


def check_flow_move(before: str, after: str, flow_run_name: str = "?") -> None:
    """Refuse a state that may not follow another.

    Parameters
    ----------
    before, after
        Types of states.
    flow_run_name
        For the text of the error.

    Raises
    ------
    IllegalStateMove
        The table has no such move.
    """
    allowed = FLOW_MOVES.get(before, frozenset())
    if after in allowed:
        return
    may = f"it may become {', '.join(sorted(allowed))}" if allowed else "it has ended"
    raise IllegalStateMove(
        f"Flow run {flow_run_name!r} is {before} and cannot become {after}: {may}.",
        before=before, after=after, flow_run_name=flow_run_name)


def flow_diagram() -> str:
    """Return the moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> Scheduled", "    [*] --> Pending"]
    for before, targets in FLOW_MOVES.items():
        lines += [f"    {before.capitalize()} --> {after.capitalize()}"
                  for after in FLOW_MOVES if after in targets and after != before]
        if not targets:
            lines.append(f"    {before.capitalize()} --> [*]")
    return "\n".join(lines)
