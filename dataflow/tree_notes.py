"""Notes on an exception that say in which task runs, one inside another, it was raised.

Lives here: the note of one level. Does not live here: when an exception passes
a level (``worker/attempt.py``, ``flow_run.py``).
"""

from __future__ import annotations

from dataflow.context import TaskRunContext

_BEGINS = "in task run "


def note_place(error: BaseException, task_run: TaskRunContext) -> None:
    """Note on an exception that it left this task run, where that is one of several levels.

    A task run that a flow calls and that calls nothing itself adds no note: its
    name is told anyway.
    """
    run = task_run.run
    if run is None:
        return
    around = task_run.around
    if not (run.within or around is not None or _has_notes(error)):
        return
    place = run.place
    if around is not None and around.run is run:  # a direct call within a direct call
        place = _levels(around) + place
    note = f"{_BEGINS}{task_run.name!r}{place}"
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception:  # user code: an exception may forbid attributes
        return


def _levels(around: TaskRunContext | None) -> str:
    """Return the direct calls around, from the inner one outwards."""
    if around is None or around.run is None:
        return ""
    outer = around.around
    more = _levels(outer) if outer is not None and outer.run is around.run else ""
    return f" of task run {around.name!r}{more}"


def _has_notes(error: BaseException) -> bool:
    notes = getattr(error, "__notes__", ())
    return any(isinstance(note, str) and note.startswith(_BEGINS) for note in notes)
