"""Why a task run ran, or why it did not: from what is recorded of it and of its predecessors.

Lives here: :class:`Explanation` and the order in which reasons are looked for.
Does not live here: older results (``explaining_results.py``), what differs
between two calls (``explaining_calls.py``), what is recorded (``call_facts.py``).

Nothing is recorded for it but what stands in a call's record and in packs anyway: an
element has its key. Everything else is worked out when somebody asks, in any process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from dataflow.cache_keys import own_key
from dataflow.call_facts import CallFacts, read_facts
from dataflow.exceptions import ResultStorageError, RunNotFound
from dataflow.explaining_calls import Differences, call_of, predecessor_of
from dataflow.explaining_results import Kept, OldResults
from dataflow.packs import Origin
from dataflow.store import CallRow, FlowRunRow, Store, TaskRunRow

_ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

_PATIENCE_S, _POLL_S = 5.0, 0.02  # records are written some four times a second
_REFUSALS = ("not cacheable because", "cache_key_fn ", "compute_key() ", "result_storage_key ")

Verdict = Literal["ran", "cached", "did not run", "has not ended"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task run ran or did not.

    Attributes
    ----------
    name, task_run_id, state
        Of the task run.
    verdict
        ``"ran"``, ``"cached"``, ``"did not run"`` or ``"has not ended"``.
    reasons
        A text each, the first one weighs most; ``"helper `parse` changed:"`` is followed by a
        diff in further lines.
    nearest
        Where the old result comes from that was taken, or that comes nearest; None: there is none.
    nearest_index
        The map index of that result.
    """

    name: str
    task_run_id: str
    state: str
    verdict: Verdict
    reasons: tuple[str, ...]
    nearest: Origin | None = None
    nearest_index: int | None = None

    def __str__(self) -> str:
        head, *more = self.reasons or ("nothing is recorded that tells",)
        joint = {"ran": " ran because: ", "cached": " is "}.get(self.verdict,
                                                               f" {self.verdict}: ")
        lines = [f"{self.name}{joint}{head}", *(f"and: {reason}" for reason in more)]
        if self.nearest is not None and self.verdict == "ran":
            lines.append(f"nearest old result: {origin_text(self.nearest, self.nearest_index)}")
        return "\n".join(lines)


def explain(store: Store, task_run: TaskRunRow) -> Explanation:
    """Return why a task run ran or did not.

    Parameters
    ----------
    store
        Where it is recorded.
    task_run
        An element of a map, a submitted or a direct call.

    Raises
    ------
    StoreError
        The records cannot be read. A result storage that cannot be read is a reason among others.

    Notes
    -----
    Costs a look at the index of each pack of the task, newest first, until one has the map
    index; values are loaded only of upstream task runs whose results are kept.
    """
    return _Case(store, task_run).explanation()


def explain_recorded(store: object, flow_run_id: str, call: int,
                     map_index: int | None) -> Explanation:
    """Return why a task run ran that has ended just now; its record may take a moment.

    Parameters
    ----------
    store
        That of its run while it goes on; else that of the settings is opened.
    map_index
        None for a single call.

    Raises
    ------
    RunNotFound
        It is not recorded, within some seconds.
    """
    if not isinstance(store, Store):
        from dataflow.stores import open_store

        opened = open_store(None)
        try:
            return explain_recorded(opened, flow_run_id, call, map_index)
        finally:
            opened.close()
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        rows = store.task_runs(flow_run_id, call=call, map_index=map_index, limit=1)
        if rows and _verdict(rows[0]) != "has not ended":
            return explain(store, rows[0])
        if time.monotonic() > give_up_at:
            raise RunNotFound(
                f"Call {call} of run {flow_run_id} is not recorded (yet): what a task run calls "
                "itself is recorded once that has ended.", ref=flow_run_id, matches=[])
        time.sleep(_POLL_S)


def origin_text(origin: Origin, index: int | None = None) -> str:
    """Return which run computed a result, and when, for people."""
    where = (f"flow run {origin.run_name!r} ({origin.run_id})" if origin.run_id
             else "a call outside of any flow run")
    element = "" if index is None else f", map index {index},"
    return f"of task {origin.task_name!r}{element} in {where} of {when_text(origin.created_s)}"


def when_text(moment_s: float) -> str:
    """Return epoch seconds as a date."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span_text(seconds: float) -> str:
    """Return a length of time in one unit, e.g. ``"3 h"``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class _Case:
    """One task run and what is recorded around it."""

    def __init__(self, store: Store, row: TaskRunRow) -> None:
        self._store, self._row = store, row
        self._run: FlowRunRow = store.find_flow_run(row.flow_run_id)
        self._call: CallRow | None = call_of(store, row.run_id, row.call)
        self._facts: CallFacts | None = (
            None if self._call is None or self._call.partition is None else read_facts(self._call))
        self._nearest: tuple[Origin, int] | None = None

    def explanation(self) -> Explanation:
        row = self._row
        verdict = _verdict(row)
        if verdict == "cached":
            reasons = tuple(self._why_cached())
        elif verdict == "ran":
            reasons = (*self._why_ran(), *self._again())
        else:
            reasons = tuple(_why_not(row))
        nearest = self._nearest
        return Explanation(
            row.name, row.id, row.state_name, verdict, reasons,
            None if nearest is None else nearest[0],
            None if nearest is None or row.map_index is None else nearest[1])

    # cached

    def _why_cached(self) -> Iterator[str]:
        row, found = self._row, self._taken()
        if found is None:
            if row.origin is not None:
                yield f"cached from {_run_text(self._store, row.origin)}"
            else:
                yield f"cached: {row.message or 'the entry is not there any more'}"
            return
        self._nearest = found.origin, found.entry.index
        origin = found.origin
        own = " (this very run)" if origin.run_id == row.flow_run_id else ""
        index = None if row.map_index in (None, found.entry.index) else found.entry.index
        yield f"cached from the result {origin_text(origin, index)}{own}"
        if found.entry.expires_s > 0:
            yield f"it counts until {when_text(found.entry.expires_s)}"

    def _taken(self) -> Kept | None:
        """Return the entry that was found when the task run was about to run."""
        row, results = self._row, self._results()
        if row.key is None or results is None:
            return None
        until_s = _ended_s(row)
        try:
            kept = [each for each in results.of_key(row.key)
                    if each.origin.created_s <= until_s and not each.forgotten]
        except ResultStorageError:
            return None
        of_run = [each for each in kept if row.origin in (None, each.origin.run_id)]
        return next(iter(of_run), None)

    # ran

    def _why_ran(self) -> Iterator[str]:
        row, facts = self._row, self._facts
        if row.kind == "flow":
            yield "it stands for a flow that was called: its task runs tell more"
        elif facts is None:
            yield "not kept: persist_result is off, so that nothing was looked up"
        elif facts.refresh:
            yield "refresh asked (refresh_cache): what was kept is replaced"
        elif self._has_no_key(facts):
            yield self._why_no_key(facts)
        else:
            try:
                yield from self._why_missed(facts)
            except ResultStorageError as error:
                yield f"the result storage cannot be read from here: {error}"

    def _has_no_key(self, facts: CallFacts) -> bool:
        row = self._row
        if facts.counts_nothing:
            return True
        own = own_key(row.flow_run_id, row.call, row.map_index or 0)
        return row.key == own or _refusal(row.message) is not None

    def _why_no_key(self, facts: CallFacts) -> str:
        """Return why an element's result counts for nobody else."""
        if facts.counts_nothing:
            return (f"its cache policy is {facts.policy or 'NO_CACHE'}: nothing was looked up; the "
                    "result is kept for this run alone")
        own = _refusal(self._row.message)
        if own is not None:
            return own
        for line in self._store.logs(self._row.run_id, call=self._row.call):
            text = _refusal(line.message)
            if text is not None:
                return text
        return f"it has no cache key: nothing in its policy ({facts.policy}) gave one"

    def _why_missed(self, facts: CallFacts) -> Iterator[str]:
        row, results = self._row, self._results()
        assert self._call is not None
        if results is None:
            yield f"its result storage {self._call.storage} cannot be opened from here"
            return
        if row.key is not None:
            same = [each for each in results.of_key(row.key) if self._is_older(each)]
            if same:
                self._nearest = same[0].origin, same[0].entry.index
                yield self._why_unused(same[0])
                return
        lost = results.damaged(row.key)
        if lost is not None:
            yield f"entry corrupt: {lost}"
        elif facts.named is not None:
            yield f"no entry under the name that result_storage_key {facts.named} gave"
        else:
            yield from self._why_new(facts, results)
        if row.key is None and row.state_name != "Completed":
            yield "its key is not recorded, since it did not complete"

    def _why_new(self, facts: CallFacts, results: OldResults) -> Iterator[str]:
        """Say what differs from the old result that comes nearest."""
        row, call = self._row, self._call
        assert call is not None
        old = predecessor_of(self._store, row, self._run, call, results)
        count = results.unreadable()
        aside = (f"{count} file{'s' if count > 1 else ''} of this task "
                 f"{'were' if count > 1 else 'was'} put aside, too damaged to tell what was there")
        if old is not None:
            self._nearest = old.origin, old.index
        if old is None or old.key == row.key:  # it was there, or may have been
            if count:
                yield f"entry corrupt: {aside}"
            elif old is None:
                yield f"no entry: {call.storage} has no earlier result of task {row.task_name!r}"
            else:
                yield (f"no entry any more: the result that flow run {old.origin.run_name!r} had "
                       "was removed")
            return
        yield from Differences(self._store, row, call, facts, old).reasons()
        if count:
            yield aside

    def _is_older(self, kept: Kept) -> bool:
        """Tell whether an entry was there before the task run ran, and is not its own."""
        row, origin = self._row, kept.origin
        own = (origin.run_id, origin.call) == (row.flow_run_id, row.call) and (
            not self._run.resumed)
        return origin.created_s < _began_s(row) and not own

    def _why_unused(self, kept: Kept) -> str:
        began_s, until_s = _began_s(self._row), kept.entry.expires_s
        if kept.forgotten:
            return f"its entry was taken back on {when_text(kept.origin.created_s)}"
        if 0 < until_s <= began_s:
            return (f"expired {span_text(began_s - until_s)} ago: the result counted until "
                    f"{when_text(until_s)}")
        return ("an entry with its key was written about then, and was not seen yet, or could not "
                "be read")

    # more than once

    def _again(self) -> Iterator[str]:
        row, run = self._row, self._run
        if row.run_count > 1:
            yield f"executed {row.run_count} times: {self._failed_before()}"
        if run.resumed and row.start_time is not None:
            resumed = [line.time_s for line in self._store.logs(run.id, call=-1)
                       if line.message.startswith(("Resuming flow run", "Retrying flow run"))]
            before = [moment for moment in resumed if moment <= _began_s(row)]
            if before:
                yield f"the flow run went on at {when_text(before[-1])} with what was not completed"

    def _failed_before(self) -> str:
        row = self._row
        attempts = list(self._store.attempts(row.run_id, row.call, row.map_index or 0))
        errors = {f"{each.error.type_name}: {each.error.message}"[:120]: None for each in attempts}
        return f"retried after {'; '.join(errors)}" if errors else "retried"

    def _results(self) -> OldResults | None:
        call = self._call
        if call is None or call.partition is None:
            return None
        return OldResults.at(call.storage, call.partition)


def _verdict(row: TaskRunRow) -> Verdict:
    if row.state_name == "Cached":
        return "cached"
    if row.state_name == "NotReady":
        return "did not run"
    if row.state_type not in _ENDED:
        return "has not ended"
    return "did not run" if row.start_time is None or not row.run_count else "ran"


def _why_not(row: TaskRunRow) -> Iterator[str]:
    if row.cause is not None:
        yield f"task run {row.cause} failed first"
    elif row.due_s is not None:
        yield f"its retry is due on {when_text(row.due_s)}"
    if row.message:
        yield row.message
    if not row.message and row.cause is None and row.due_s is None:
        yield f"it is {row.state_name}"


def _refusal(text: str | None) -> str | None:
    """Return a message that tells why there is no key, None for any other."""
    return text if text is not None and text.startswith(_REFUSALS) else None


def _run_text(store: Store, run_id: str) -> str:
    try:
        run = store.find_flow_run(run_id)
    except RunNotFound:
        return f"flow run {run_id}, which is not in this run store"
    return f"flow run {run.name!r} ({run.id}) of {when_text(run.created.timestamp())}"


def _began_s(row: TaskRunRow) -> float:
    moment = row.start_time or row.end_time
    return 0.0 if moment is None else moment.timestamp()


def _ended_s(row: TaskRunRow) -> float:
    moment = row.end_time or row.start_time
    return float("inf") if moment is None else moment.timestamp() + 1.0


