"""What the elements of a run came to, for messages: how many, and which errors.

Lives here: reading that from a store, bounded whatever the width of the maps. Does
not live here: whether somebody is told (``alerting.py``).

Errors are read of some hundreds of elements. The others are counted: where all that
were read of a task were alike, the rest of it counts as that, else it is told apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dataflow.alerts.events import ErrorGroup
from dataflow.alerts.index_ranges import compacted
from dataflow.outcomes import STATE_OF
from dataflow.store import CallRow, FlowRunRow, Store, TaskRunRow

READ = 400
"""So many failed elements of a run are read; of a later call that had no place among them
some few."""

_LATER_CALLS, _OF_EACH = 10, 20
_TYPE_OF = {name: kind for kind, name in STATE_OF.values()}
FAILING = ("FAILED", "CRASHED")


@dataclass(frozen=True, slots=True)
class Elements:
    """How many elements a run has, by what they came to.

    Parameters
    ----------
    by_task
        Task → name of a state → elements.
    calls
        The calls, as they were read.
    """

    by_task: dict[str, Counter[str]]
    calls: Sequence[CallRow] = field(repr=False, default=())

    @property
    def by_type(self) -> dict[str, int]:
        """Return the elements by type of state."""
        found: Counter[str] = Counter()
        for counts in self.by_task.values():
            for name, count in counts.items():
                found[type_of(name)] += count
        return dict(found)


def type_of(state_name: str) -> str:
    """Return the type of an element's state by its name."""
    return _TYPE_OF.get(state_name, state_name.upper())


def elements_of(store: Store, flow_run_id: str) -> Elements:
    """Return how many elements a run has, those that its task runs made included."""
    calls = store.calls(flow_run_id, nested=True)
    by_task: dict[str, Counter[str]] = defaultdict(Counter)
    for call in calls:
        by_task[call.task_name].update({name: n for name, n in call.counts.items() if n})
    return Elements(dict(by_task), calls)


def errors_of(store: Store, flow_run_id: str, elements: Elements) -> tuple[ErrorGroup, ...]:
    """Return what elements ended with, those that are alike as one; the first one first."""
    wanted: Counter[str] = Counter()
    for call, _, count in _failing(elements, FAILING):
        wanted[call.task_name] += count
    return grouped(failed_rows(store, flow_run_id, elements, FAILING), wanted)


def failed_rows(store: Store, flow_run_id: str, elements: Elements,
                types: Sequence[str]) -> list[TaskRunRow]:
    """Return elements that failed: some hundreds, and some of each call that comes later."""
    failing = _failing(elements, types)
    rows: dict[str, TaskRunRow] = {}
    for kind in dict.fromkeys(kind for _, kind, _ in failing):
        rows |= {row.id: row for row in store.task_runs(flow_run_id, state=kind, limit=READ)}
    seen = {(row.run_id, row.call, row.state_type) for row in rows.values()}
    later = [(call, kind) for call, kind, _ in failing
             if (call.run_id or flow_run_id, call.call, kind) not in seen]
    for call, kind in later[:_LATER_CALLS]:
        rows |= {row.id: row for row in store.task_runs(
            call.run_id or flow_run_id, state=kind, call=call.call, limit=_OF_EACH)}
    return list(rows.values())


def _failing(elements: Elements, types: Sequence[str]) -> list[tuple[CallRow, str, int]]:
    """Return calls with elements that failed: the call, the type of their state, how many."""
    return [(call, kind, count) for call in elements.calls for kind in types
            if (count := sum(n for name, n in call.counts.items() if type_of(name) == kind))]


def grouped(rows: Iterable[TaskRunRow], counts: Counter[str]) -> tuple[ErrorGroup, ...]:
    """Return the errors of elements, as many of each task as were counted.

    Parameters
    ----------
    rows
        Elements that were read.
    counts
        Task → how many there are.
    """
    found: dict[tuple[str | None, str, str], tuple[ErrorGroup, list[int], list[int]]] = {}
    for row in sorted(rows, key=lambda row: (row.end_time is None, row.end_time, row.call,
                                             row.map_index or 0)):
        one = ErrorGroup(error_type=row.error_type or row.state_name, task_name=row.task_name,
                         message=row.error_message or row.message or "")
        _, number, indexes = found.setdefault(one.likeness, (one, [0], []))
        number[0] += 1
        if row.map_index is not None:
            indexes.append(row.map_index)
    groups: list[ErrorGroup] = []
    for first, number, indexes in found.values():
        groups.append(ErrorGroup(
            error_type=first.error_type, message=first.message, task_name=first.task_name,
            count=number[0], indexes=compacted(indexes)))
    for task, count in counts.items():
        _make_up(groups, task, count)
    return tuple(groups)


def _make_up(groups: list[ErrorGroup], task: str, count: int) -> None:
    """Count the elements of a task that were not read."""
    at = [place for place, group in enumerate(groups) if group.task_name == task]
    rest = count - sum(groups[place].count for place in at)
    if rest <= 0:
        return
    if len(at) == 1:
        groups[at[0]] = groups[at[0]].plus(ErrorGroup(error_type="", count=rest))
    else:
        groups.append(ErrorGroup(error_type="Others", count=rest, task_name=task,
                                 message="errors of these were not read one by one"))


def own_error(row: FlowRunRow, errors: Iterable[ErrorGroup]) -> tuple[ErrorGroup, ...]:
    """Return the error that a flow itself ended with, unless it is that of an element."""
    if row.error_type is None:
        return ()
    one = ErrorGroup(error_type=row.error_type, message=row.error_message or "")
    return () if any(each.likeness[1:] == one.likeness[1:] for each in errors) else (one,)
