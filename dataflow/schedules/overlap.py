"""What a run does that is due while earlier ones are active.

Lives here: the rule. Does not live here: who counts the active runs, and who acts.
"""

from __future__ import annotations

from typing import Literal, assert_never

from dataflow.schedules.schedule import Overlap

OverlapAction = Literal["start", "skip", "queue", "cancel_running"]


def overlap_action(overlap: Overlap, *, active: int, limit: int | None = 1) -> OverlapAction:
    """Return what to do with a run that is due now.

    Parameters
    ----------
    active : int, >= 0
        Runs of the same schedule that wait or run.
    limit : int, >= 1, or None
        How many may be active at once; None for any number.

    Returns
    -------
    str
        ``start``; ``queue`` it behind the others; ``skip`` it; or ``cancel_running``
        and start it in their place.
    """
    if active < 0:
        raise ValueError(f"active {active!r} is out of range: a number of runs, 0 or more")
    if limit is not None and limit < 1:
        raise ValueError(f"limit {limit!r} is out of range: 1 or more, or None for no limit")
    if limit is None or active < limit:
        return "start"
    match overlap:
        case "allow":
            return "start"
        case "queue" | "skip" | "cancel_running":
            return overlap
        case _:
            assert_never(overlap)
