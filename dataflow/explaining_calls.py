"""What differs between the call of a task run and the one that made an older result.

Lives here: code, policy, arguments that all elements share, and values that
came from other task runs. Does not live here: which old result that is
(``explaining_results.py``), comparing code (``code_identity/``) and values
(``hashing/``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataflow.call_facts import TOO_LARGE, CallFacts, Input, read_facts
from dataflow.call_inputs import MAPPED
from dataflow.exceptions import CorruptResult, ResultStorageError, RunNotFound
from dataflow.explaining_results import Kept, OldResults
from dataflow.hashing import changed_leaves, leaves
from dataflow.packs import Origin, results_at
from dataflow.storages import open_storage
from dataflow.store import CallRow, FlowRunRow, Store, TaskRunRow

_SHOWN = 10  # parts of inputs that changed
_RUNS_READ, _RUNS = 200, 5  # runs of a flow that are looked through for the one before
_CALLS = 200  # calls of a task that are looked through for the one with a key

_NOT_HERE = ("what the nearest old result was made from is not in this run store: its inputs or "
             "its code differ")
_UNKNOWN: Any = object()


def call_of(store: Store, run_id: str, call: int) -> CallRow | None:
    """Return the record of a call of a run, or of the inside of a task run."""
    return next((row for row in store.calls(run_id) if row.call == call), None)


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The old task run, or result, that one is best compared with.

    Attributes
    ----------
    origin, index
        Which run computed the result, and its map index there.
    key
        16 bytes.
    run_id, call
        Where a call is recorded that had this result; None: in no run that is known here.
    is_kept
        The result is still there.
    """

    origin: Origin
    index: int
    key: bytes
    run_id: str
    call: CallRow | None
    is_kept: bool = True


def predecessor_of(store: Store, row: TaskRunRow, run: FlowRunRow, call: CallRow,
                   results: OldResults) -> Predecessor | None:
    """Return what a task run is compared with.

    That is the same element of the same call in the last run of the flow before this one;
    where that has none, the newest result of the task that another run computed, if there
    is one of the same map index.
    """
    index, before_s = row.map_index or 0, (row.start_time or run.created).timestamp()
    if row.run_id == run.id:
        for old in _runs_before(store, run):
            old_call = call_of(store, old.id, row.call)
            if old_call is None or _task(old_call) != _task(call):
                continue
            key = store.keys(old.id, row.call, [index]).get(index)
            if key is None:
                continue
            kept = next((each for each in results.of_key(key) if not each.forgotten), None)
            origin = kept.origin if kept is not None else Origin(
                old.id, old.name, call.task_name, row.call, old.created.timestamp())
            return Predecessor(origin, index, key, old.id, old_call, kept is not None)
    kept = results.nearest(row, task_name=row.task_name, before_s=before_s, run_id=run.id)
    if kept is None:
        return None
    old_call = _call_with(store, kept, call)
    return Predecessor(kept.origin, kept.entry.index, kept.entry.key,
                       kept.origin.run_id if old_call is None else old_call.run_id, old_call)


def _task(call: CallRow) -> tuple[str, str | None, str]:
    return call.task_name, call.partition, call.kind


def _runs_before(store: Store, run: FlowRunRow) -> list[FlowRunRow]:
    rows = store.flow_runs(flow=run.flow_name, limit=_RUNS_READ)
    return [row for row in rows if row.created < run.created and row.id != run.id][:_RUNS]


def _call_with(store: Store, kept: Kept, call: CallRow) -> CallRow | None:
    """Return the call that computed a result; packs name the first of those that share them."""
    origin = kept.origin
    try:
        calls = store.calls(origin.run_id, nested=True) if origin.run_id else []
    except RunNotFound:
        return None
    alike = [row for row in calls if row.call >= origin.call
             and (row.task_name, row.partition) == (call.task_name, call.partition)]
    index, key = kept.entry.index, kept.entry.key
    return next((row for row in alike[:_CALLS]
                 if store.keys(row.run_id, row.call, [index]).get(index) == key), None)


class Differences:
    """What is told apart between a task run and an old result.

    Parameters
    ----------
    store
        Where both calls are recorded, if the old one is at all.
    row, call, facts
        The task run and its call.
    old
        What it is compared with.
    """

    def __init__(self, store: Store, row: TaskRunRow, call: CallRow, facts: CallFacts,
                 old: Predecessor) -> None:
        self._store, self._row, self._call, self._facts = store, row, call, facts
        self._before = old
        self._old_call = old.call
        self._old = None if old.call is None else read_facts(old.call)
        self._equal_keys: list[Input] = []

    def reasons(self) -> Iterator[str]:
        """Yield what differs, the surest first; at least one text."""
        facts, origin = self._facts, self._before.origin
        found: list[str] = []
        if "RUN_ID" in facts.parts and origin.run_id != self._row.flow_run_id:
            found.append("its cache policy has RUN_ID: no two flow runs share a result")
        if self._old is None or self._old_call is None:
            yield from found or [_NOT_HERE]
            return
        if facts.policy != self._old.policy:
            found.append(f"cache policy {self._old.policy} → {facts.policy}")
        found += self._code()
        found += self._shared()
        if "FLOW_PARAMETERS" in facts.parts:
            found += self._flow_parameters()
        found += self._varying(sure=bool(found))
        if not found and facts.by_user:
            found.append(f"{' and '.join(facts.by_user)} gave another key")
        yield from found or ["another key: what differs is not recorded"]

    def _code(self) -> list[str]:
        assert self._old_call is not None
        old, new = self._old_call.code, self._call.code
        if old is None or new is None or old == new:
            return []
        from dataflow.code_identity import CodeIdentity, changed_parts

        before, now = self._store.code(old), self._store.code(new)
        if before is None or now is None:
            return ["the code of the task changed (it was not recorded how)"]
        try:
            return changed_parts(CodeIdentity.from_json(before), CodeIdentity.from_json(now))
        except ValueError:
            return ["the code of the task changed"]

    def _counts(self, path: str) -> bool:
        name = path.partition("[")[0].partition(".")[0]
        return name not in self._facts.excluded

    def _shared(self) -> list[str]:
        """Compare the arguments that all elements share."""
        if "INPUTS" not in self._facts.parts:
            return []
        assert self._old is not None
        varying = {each.name for each in (*self._old.inputs, *self._facts.inputs)}

        def looked_at(facts: CallFacts) -> list[Any]:
            return [leaf for leaf in facts.leaves if self._counts(leaf.path)
                    and leaf.path.partition("[")[0].partition(".")[0] not in varying]

        changed = changed_leaves(looked_at(self._old), looked_at(self._facts))
        return _some([f"input {each}" for each in changed])

    def _flow_parameters(self) -> list[str]:
        try:
            old = json.loads(self._store.find_flow_run(self._before.run_id).parameters)
            new = json.loads(self._store.find_flow_run(self._row.flow_run_id).parameters)
        except (RunNotFound, ValueError):
            return []
        before = [leaf for name, value in old.items() for leaf in leaves(value, name=name)]
        now = [leaf for name, value in new.items() for leaf in leaves(value, name=name)]
        return _some([f"flow parameter {each}" for each in changed_leaves(before, now)])

    # arguments that are not the same for all elements

    def _varying(self, *, sure: bool) -> list[str]:
        """Compare the other arguments; ``sure``: something else changed for certain."""
        if "INPUTS" not in self._facts.parts:
            return []
        assert self._old is not None
        before = {each.name: each for each in self._old.inputs}
        found: list[str] = []
        open_ones: list[Input] = []
        for each in self._facts.inputs:
            if not self._counts(each.name):
                continue
            changed = self._compared(before.get(each.name), each)
            if changed is None:
                open_ones.append(each)
            else:
                found += changed
        if found or sure:
            return found
        if not open_ones:
            return [f"input {self._named(each)} changed: its task gave another value under the "
                    "same key" for each in self._equal_keys]
        if len(open_ones) == 1:
            return [f"input {self._named(open_ones[0])} changed"]
        names = ", ".join(self._named(each) for each in open_ones)
        return [f"one of the inputs {names} changed"]

    def _named(self, each: Input) -> str:
        if each.how == TOO_LARGE:
            return f"`{each.name}` (too large to be looked into)"
        element = self._row.map_index
        at = "" if element is None or each.how not in (MAPPED, "aligned", "item") else (
            f"element {element}")
        upstream = self._task_of(each.call)
        what = ", ".join(part for part in (at, f"from task {upstream!r}" if upstream else "")
                         if part)
        return f"`{each.name}` ({what})" if what else f"`{each.name}`"

    def _task_of(self, number: int | None) -> str | None:
        call = None if number is None else call_of(self._store, self._row.run_id, number)
        return None if call is None else call.task_name

    def _compared(self, old: Input | None, new: Input) -> list[str] | None:
        """Return what changed in a value that another task run made; None: it is not known."""
        if old is None or new.call is None or old.call is None or old.how != new.how:
            return None
        now = _Value(self._store, self._row.run_id, new, self._row.map_index or 0)
        before = _Value(self._store, self._before.run_id, old, self._before.index)
        if now.key is None or before.key is None:
            return None
        if now.key == before.key:
            self._equal_keys.append(new)
            return []
        found, earlier = now.value(), before.value()
        if found is _UNKNOWN or earlier is _UNKNOWN:
            return None
        try:
            lines = changed_leaves(leaves(earlier, name=new.name), leaves(found, name=new.name))
        except Exception:  # user values: their attributes may raise anything
            return None
        where = self._named(new).removeprefix(f"`{new.name}`").strip()
        return _some([f"input {line} {where}".rstrip() for line in lines])


class _Value:
    """What one argument of an element was, where another task run's kept result is that."""

    def __init__(self, store: Store, run_id: str, source: Input, element: int) -> None:
        self._source, self._element = source, element
        self.key: bytes | None = None
        self._call: CallRow | None = None
        if source.call is not None and source.how in ("aligned", "one", "item"):
            self._call = call_of(store, run_id, source.call)
            index = element if source.how == "aligned" else source.index
            self.key = store.keys(run_id, source.call, [index]).get(index)

    def value(self) -> Any:
        call = self._call
        if call is None or call.partition is None or self.key is None:
            return _UNKNOWN
        try:
            results = results_at(open_storage(call.storage))
            [entry] = results.find(call.partition, [self.key], 0.0, fresh=True)
            if entry is None:
                return _UNKNOWN
            [value] = results.load(call.partition, [entry])
            if isinstance(value, CorruptResult):
                return _UNKNOWN
            return value[self._element] if self._source.how == "item" else value
        except (ResultStorageError, ImportError):
            return _UNKNOWN
        except Exception:  # user values: __getitem__ may raise anything
            return _UNKNOWN


def _some(lines: list[str]) -> list[str]:
    if len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], f"{len(lines) - _SHOWN} more parts of inputs changed"]
