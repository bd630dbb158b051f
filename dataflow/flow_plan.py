"""What a run of a flow would execute and what it would take from kept results.

Lives here: :class:`FlowPlan`, and the dry run that looks results up as a run
would. Does not live here: pretending (``flow_dry_run.py``), keys
(``key_maker.py``), results (``packs/``).

A result that is found is the value of its task from there on, so that what
depends on it can be looked up too. What would run has no value: whatever takes
it is *unknown*. No task function is called, and nothing is written.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataflow.batch import CallCode, Const, FlatItem, ItemOf, TaskCode
from dataflow.context import FlowRunContext, TaskRunContext, current_task
from dataflow.exceptions import CorruptResult, DataflowError, ParameterTypeError
from dataflow.flow_dry_run import DryRun, Origin, Placeholder, pretended
from dataflow.key_maker import KeyMaker
from dataflow.packs import Entry, Results, results_at
from dataflow.worker.keeping import keeper_of
from dataflow.worker.shelves import shelf_for

if TYPE_CHECKING:
    from dataflow.caching import Caching
    from dataflow.flows import Flow

_AT_ONCE, _SMALL_BYTES = 1000, 1 << 14  # values that are read ahead
_UNKNOWN: Any = object()
_ASKED = "each run asks for one"
_NOT_KEPT = "results are not kept (persist_result)"
_OWN_KEYS = "RUN_ID in its policy: each run has keys of its own"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What is planned of one task.

    Attributes
    ----------
    cached, would_run, unknown
        Task runs whose result is there; that would be executed; of which it depends on
        values that are not known.
    open_width
        How many there are is not known either: a map over such a value counts as one.
    why
        Of those that would run, the most frequent reason.
    """

    task_name: str
    cached: int
    would_run: int
    unknown: int
    open_width: bool
    why: str


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """What a run would execute and what it would take from kept results.

    Attributes
    ----------
    rows
        By task, in the order of their first calls.
    stopped
        Why the flow's function did not come to its end over values that are not known:
        what would come after is not in the plan. None: it did.
    """

    flow_name: str
    rows: tuple[PlanRow, ...]
    stopped: str | None = None

    @property
    def cached(self) -> int:
        """Task runs whose result is there."""
        return sum(row.cached for row in self.rows)

    @property
    def would_run(self) -> int:
        """Task runs that would be executed."""
        return sum(row.would_run for row in self.rows)

    @property
    def unknown(self) -> int:
        """Task runs of which it depends on values that are not known."""
        return sum(row.unknown for row in self.rows)

    def text(self) -> str:
        """Return the plan as lines."""
        head = (f"flow {self.flow_name}, not run: {self.cached:,} cached, {self.would_run:,} "
                f"would run, {self.unknown:,} unknown")
        lines = [head]
        wide = max((len(row.task_name) for row in self.rows), default=0)
        for row in self.rows:
            more = " or more" if row.open_width else ""
            counts = [f"{row.cached:,} cached" if row.cached else "",
                      f"{row.would_run:,} would run" if row.would_run else "",
                      f"{row.unknown:,}{more} unknown" if row.unknown else ""]
            why = f"  ({row.why})" if row.would_run and row.why else ""
            lines.append(f"  {row.task_name:<{wide}}  {', '.join(filter(None, counts))}{why}")
        if self.stopped is not None:
            lines.append(f"  and what comes after: the flow's function raised {self.stopped}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


@dataclass(slots=True)
class _Count:
    cached: int = 0
    would_run: int = 0
    unknown: int = 0
    open_width: bool = False
    why: Counter[str] = field(default_factory=Counter)


def plan_of(flow: Flow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> FlowPlan:
    """Return what a run with these parameters would do, as far as that is known.

    Raises
    ------
    ParameterBindError
        The arguments do not fit.
    ParameterTypeError
        They fail validation.
    """
    planning = Planning()
    state = pretended(flow, args, kwargs, planning)
    rows, stopped = planning.rows(), None
    if state is not None and not state.is_completed() and isinstance(state.data, Exception):
        if not rows and isinstance(state.data, ParameterTypeError):
            raise state.data
        stopped = f"{type(state.data).__name__}: {state.data}"
    return FlowPlan(flow.name, rows, stopped)


class Planning(DryRun):
    """A dry run that looks results up."""

    on_exit = "wait"

    def __init__(self) -> None:
        super().__init__()
        self._real: dict[str, TaskCode] = {}  # by the token of what stands for it
        self._counts: dict[str, _Count] = {}
        self._makers: dict[tuple[str, int], KeyMaker] = {}
        self._ahead = _Ahead()

    def code(self, task: Any, code: TaskCode) -> TaskCode:
        """Return what runs in the place of a task, and remember the task's own."""
        pretending = super().code(task, code)
        self._real[pretending.token] = code
        self._counts.setdefault(code.name, _Count())
        return pretending

    def rows(self) -> tuple[PlanRow, ...]:
        """Return what was counted."""
        return tuple(
            PlanRow(name, count.cached, count.would_run, count.unknown, count.open_width,
                    count.why.most_common(1)[0][0] if count.why else "")
            for name, count in self._counts.items()
            if count.cached or count.would_run or count.unknown)

    def asked(self, around: FlowRunContext, what: str, *values: Any) -> Origin:
        """Note a call that would have a deployment run: it does so in every run."""
        count = self._counts.setdefault(what, _Count())
        count.would_run += 1
        count.why[_ASKED] += 1
        return super().asked(around, what, *values)

    def _value(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = self._planned(args, kwargs)
        return super()._value(task, args, kwargs) if found is _UNKNOWN else found

    def _items(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        found = self._planned(args, kwargs)
        if found is _UNKNOWN:
            return [super()._value(task, args, kwargs)]
        return list(found)

    def _planned(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Count one task run; return its value where that is kept."""
        context = current_task.get()
        assert context is not None
        real = self._real[context.code.task.token]
        count = self._counts[real.name]
        why = _always_runs(real.caching)
        if why is None and self._depends(args, kwargs):
            count.unknown += 1
            count.open_width |= _is_over_unknown(context.code, args, kwargs)
            return _UNKNOWN
        if why is None:
            found, why = self._looked_up(real, context, args, kwargs)
            if found is not _UNKNOWN:
                count.cached += 1
                return found
        count.would_run += 1
        count.why[why] += 1
        return _UNKNOWN

    def _depends(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Tell whether values that are not known stand in the arguments."""
        return bool(self.origins(args, kwargs)) or _has_placeholder([args, kwargs])

    def _looked_up(self, real: TaskCode, context: TaskRunContext, args: tuple[Any, ...],
                   kwargs: dict[str, Any]) -> tuple[Any, str]:
        """Return the value that is kept and "", else no value and why it would run."""
        caching: Caching = real.caching
        code = replace(context.code, task=real)
        try:
            if caching.named is not None:
                return _named(caching, code, context, args, kwargs)
            key = self._maker(context, code).key(args, kwargs, TaskRunContext(
                context.run, code, context.index, 1, None, args, kwargs))
            if key is None:
                return _UNKNOWN, "its policy gives no key"
            return self._ahead.kept(caching, key)
        except DataflowError as error:  # not cacheable, or the storage cannot be read
            return _UNKNOWN, str(error)

    def _maker(self, context: TaskRunContext, code: CallCode) -> KeyMaker:
        assert context.run is not None
        place = context.run.flow_run_id, code.call
        maker = self._makers.get(place)
        if maker is None:
            maker = self._makers[place] = KeyMaker(code.task.caching.recipe)
            for name, source in (*zip(code.names, code.args, strict=False), *code.kwargs.items()):
                if code.mapped and type(source) is Const:
                    maker.constant(name, source.value)
        return maker


def _always_runs(caching: Caching | None) -> str | None:
    """Return why a task runs whatever its arguments, None where that depends."""
    if caching is None:
        return _NOT_KEPT
    if caching.refresh:
        return "refresh asked (refresh_cache)"
    if caching.why_not is not None:
        return caching.why_not
    if caching.named is None and caching.recipe is None:
        return f"its policy is {caching.policy}"
    if caching.recipe is not None and caching.recipe.run_id is not None:
        return _OWN_KEYS
    return None


class _Ahead:
    """Values that are kept, read many at once: neighbours in a map are neighbours in a pack."""

    def __init__(self) -> None:
        self._values: dict[bytes, Any] = {}

    def kept(self, caching: Caching, key: bytes) -> tuple[Any, str]:
        """Return the value of a key and "", else no value and why it would run."""
        value = self._values.pop(key, _UNKNOWN)
        if value is _UNKNOWN:
            results, place = results_at(caching.storage), caching.place
            [entry] = results.find(place, [key], time.time())
            if entry is None:
                return _UNKNOWN, "no entry"
            entries = [entry, *self._next(results, place, entry)]
            values = results.load(place, entries)
            self._values = {each.key: found for each, found in zip(entries, values, strict=True)}
            value = self._values.pop(key)
        return (_UNKNOWN, "entry corrupt") if isinstance(value, CorruptResult) else (value, "")

    def _next(self, results: Results, place: str, entry: Entry) -> list[Entry]:
        """Return small results that are likely to be asked for next."""
        folder = results.partition(place)
        pack = folder.known(entry.pack)
        if pack is None or entry.length > _SMALL_BYTES:
            return []
        columns = folder.columns(pack)
        stop = min(len(columns.lengths), entry.slot + _AT_ONCE)
        keys = {columns.key(slot) for slot in range(entry.slot + 1, stop)} - {entry.key}
        found = results.find(place, list(keys), time.time())
        return [each for each in found if each is not None and each.length <= _SMALL_BYTES]


def _named(caching: Caching, code: CallCode, context: TaskRunContext, args: tuple[Any, ...],
           kwargs: dict[str, Any]) -> tuple[Any, str]:
    """Look a result up that has a file of its own."""
    alone = replace(code, task=replace(code.task, caching=replace(
        caching, claims=None, lock_manager=None)))
    keeper = keeper_of(alone, context.run, (context.index,), shelf_for(alone),
                       lambda index, level, text: None)
    keeper.prepare(lambda position, index: (args, kwargs))
    if keeper.found(0):
        return keeper.value(0), ""
    return _UNKNOWN, keeper.reasons.get(context.index, "no entry")


def _is_over_unknown(code: CallCode, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Tell whether a map is over a value that is not known, and so has who knows how many."""
    pairs = [*zip(code.args, args, strict=False),
             *((source, kwargs.get(name)) for name, source in code.kwargs.items())]
    return any(isinstance(source, ItemOf | FlatItem) and isinstance(value, Placeholder)
               for source, value in pairs)


def _has_placeholder(waiting: list[Any]) -> bool:
    """Tell whether a placeholder stands anywhere in lists, tuples, sets and dicts."""
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Placeholder):
            return True
        if isinstance(value, (list, tuple, set, frozenset, dict)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return False
