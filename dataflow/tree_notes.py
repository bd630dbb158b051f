"""Notes on an exception that say in which task runs, one inside another, it was raised.

Lives here: the note of one level. Does not live here: when an exception passes
a level (``worker/attempt.py``, ``flow_run.py``).
"""

from __future__ import annotations

from dataflow.context import TaskRunContext

_BEGINS = "in task run "
_LIMIT = 64  # notes of one exception: an object that many task runs raise would collect them all


def note_place(error: BaseException, task_run: TaskRunContext) -> None:
    """Note on an exception that it left this task run, where that is one of several levels.

    A task run that a flow calls and that calls nothing itself adds no note: its
    name is told anyway.
    """
    run, around = task_run.run, task_run.around
    if run is None:
        return
    try:
        notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)
                 and note.startswith(_BEGINS)]
        if not (run.within or around is not None or notes) or len(notes) >= _LIMIT:
            return
        outer = _levels(around) if around is not None and around.run is run else ""
        note = f"{_BEGINS}{task_run.name!r}{outer}{run.place}"
        if note not in notes:
            error.add_note(note)
    except Exception:  # user code: an exception may forbid attributes, or have notes of its own
        return


def _levels(task_run: TaskRunContext) -> str:
    """Return a direct call and those around it in the same run, from the inner one outwards."""
    outer = task_run.around
    more = _levels(outer) if outer is not None and outer.run is task_run.run else ""
    return f" of task run {task_run.name!r}{more}"
