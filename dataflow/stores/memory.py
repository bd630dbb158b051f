"""A store in memory: for tests, and the model that the real ones are held against.

Lives here: the plainest way to keep the port's promises; an element is an
entry in a dict. Does not live here: anything that has to be fast.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dataflow.claiming.memory_claims import MemoryClaims
from dataflow.claims import Claims
from dataflow.exceptions import RunFenced, StoreError
from dataflow.outcomes import Attempt, Code, LogLine
from dataflow.store import (
    CallRow,
    CallUsage,
    FlowRow,
    FlowRunRow,
    Gulp,
    RecordedCall,
    Store,
    TaskRunRow,
)
from dataflow.stores import owners, refs
from dataflow.stores.memory_run import (
    MemoryRun,
    begin_anew,
    call_head,
    call_row,
    flow_run_row,
    forget_ranges,
    key_of,
    recorded_call,
    usage_of,
    with_lease_of,
    write_calls,
    write_elements,
    write_logs,
    write_undone,
)
from dataflow.stores.packing import KEY_BYTES, codes_of
from dataflow.stores.rows import (
    Element,
    task_run_row,
)


class MemoryStore(Store):
    """Records that end with the process."""

    def __init__(self) -> None:
        self._runs: dict[str, MemoryRun] = {}
        self._codes: dict[str, str] = {}
        self._claims = MemoryClaims()
        self._turn = threading.RLock()

    def write(self, flow_run_id: str, gulp: Gulp) -> None:
        with self._turn:
            self._check_fence(flow_run_id, gulp)
            run = self._runs.get(flow_run_id)
            if gulp.flow_run is not None:
                if run is None:
                    run = self._runs[flow_run_id] = MemoryRun(replace(gulp.flow_run))
                else:
                    run.record = with_lease_of(run.record, gulp.flow_run)
            if run is None:
                raise StoreError(
                    f"Flow run {flow_run_id} is not in the run store; its first gulp must carry "
                    "the flow run's record. Nothing was written.",
                    path="memory:", reason="unknown run",
                )
            if gulp.inputs is not None:
                run.inputs = gulp.inputs
            write_calls(run, gulp)
            write_elements(run, gulp)
            write_undone(run, gulp.undone)
            write_logs(run, gulp.logs)

    def write_all(self, gulps: Sequence[tuple[str, Gulp]]) -> None:
        fenced: RunFenced | None = None
        with self._turn:
            for flow_run_id, gulp in gulps:
                try:
                    self.write(flow_run_id, gulp)
                except RunFenced as error:
                    fenced = fenced or error
        if fenced is not None:
            raise fenced

    def _check_fence(self, flow_run_id: str, gulp: Gulp) -> None:
        run = self._runs.get(flow_run_id)
        record = gulp.flow_run if run is None else run.record
        while record is not None and (run is None or not record.epoch):
            around = self._runs.get(record.parent_flow_run_id or "")
            if around is None:
                break
            run, record = around, around.record
        if gulp.fence is not None and run is not None and run.record.epoch != gulp.fence:
            raise owners.fenced(run.record.id, run.record.owner)

    def flow_runs(
        self, *, limit: int | None = 50, state: str | None = None, flow: str | None = None,
        parent: str | None = None, deployment: str | None = None, tag: str | None = None,
        since_s: float | None = None, before: str | None = None,
    ) -> list[FlowRunRow]:
        with self._turn:
            runs = self._newest_first()
            if before is not None:
                runs = runs[runs.index(self._known(before)) + 1:]
            found = [
                flow_run_row(run.record)
                for run in runs
                if deployment is None  # this store has none
                if tag is None or tag in run.record.tags
                if since_s is None or run.record.created_s >= since_s
                if parent is None or run.record.parent_task_run_id == parent
                if flow is None or run.record.flow_name == flow
                if state is None or state.casefold() in (
                    run.record.state_type.casefold(), run.record.state_name.casefold()
                )
            ]
            return found[:limit]

    def flows(self, *, limit: int | None = 50, after: str | None = None) -> list[FlowRow]:
        runs: dict[str, list[FlowRunRow]] = {}
        for row in self.flow_runs(limit=None):
            runs.setdefault(row.flow_name, []).append(row)
        return [
            FlowRow(name=name, counts=dict(Counter(row.state_type for row in runs[name])),
                    last_created=runs[name][0].created)
            for name in sorted(runs) if after is None or name > after][:limit]

    def find_flow_run(self, ref: str) -> FlowRunRow:
        with self._turn:
            rows = [flow_run_row(run.record) for run in self._newest_first()]
            if ref == refs.LAST:
                rows = rows[:1]
            else:
                id = refs.full_id(ref) or refs.id_prefix(ref)
                rows = [r for r in rows if r.name == ref or (id and r.id.startswith(id))]
            chosen = refs.only("flow run", ref, [(row.id, row.name) for row in rows])
            return next(row for row in rows if row.id == chosen)

    def calls(self, flow_run_id: str, *, nested: bool = False) -> list[CallRow]:
        with self._turn:
            return [
                call_row(run, call)
                for run in self._with_insides(flow_run_id, nested=nested)
                for call in sorted(run.calls)
            ]

    def task_runs(
        self,
        flow_run_id: str | None = None,
        *,
        state: str | None = None,
        call: int | None = None,
        map_index: int | None = None,
        limit: int | None = 50,
        after: tuple[str, int, int] | None = None,
    ) -> list[TaskRunRow]:
        codes = None if state is None else codes_of(state)
        with self._turn:
            runs = self._with_insides(flow_run_id, nested=call is None)
            place = {run.record.id: number for number, run in enumerate(runs)}
            found = [
                row
                for element, row in self._elements(flow_run_id, nested=call is None)
                if after is None or (place[row.run_id], row.call, row.map_index or 0) > (
                    place.get(after[0], len(runs)), *after[1:])
                if codes is None or element.code in codes
                if call is None or row.call == call
                if map_index is None or row.map_index == map_index
            ]
        return found[:limit]

    def children(self, task_run: TaskRunRow, *, limit: int | None = 50) -> list[TaskRunRow]:
        with self._turn:
            rows = [row for _, row in self._elements(task_run.flow_run_id)]
        return [row for row in rows if row.parent_task_run_id == task_run.id][:limit]

    def find_task_run(self, ref: str, flow_run_id: str | None = None) -> TaskRunRow:
        with self._turn:
            rows = [row for _, row in self._elements(flow_run_id)]
            if ref == refs.LAST:
                rows = self._last_started(flow_run_id)
            elif (whole := refs.full_id(ref)) is not None:
                rows = [row for row in rows if row.id == whole]
            else:
                prefix = refs.id_prefix(ref)
                named = [row for row in rows if row.name == ref]
                rows = named or [r for r in rows if prefix and r.id.startswith(prefix)]
            chosen = refs.only("task run", ref, [(row.id, row.name) for row in rows])
            return next(row for row in rows if row.id == chosen)

    def usage(self, flow_run_id: str) -> list[CallUsage]:
        with self._turn:
            return [
                found for run in self._with_insides(flow_run_id) for call in sorted(run.calls)
                if (found := usage_of(run, call)) is not None
            ]

    def attempts(self, flow_run_id: str, call: int, index: int) -> Sequence[Attempt]:
        with self._turn:
            run = self._runs.get(flow_run_id)
            kept = sorted(run.attempts.items()) if run is not None else []
            return [attempt for place, attempt in kept if place[:2] == (call, index)]

    def logs(
        self,
        flow_run_id: str,
        *,
        call: int | None = None,
        index: int | None = None,
        limit: int | None = None,
    ) -> Iterable[LogLine]:
        with self._turn:
            run = self._runs.get(flow_run_id)
            lines = [] if run is None else [
                line
                for line in run.logs.values()
                if call is None or line.call == call
                if index is None or line.index == index
            ]
        return sorted(lines, key=lambda line: line.time_s)[:limit]

    def nested_logs(
        self, flow_run_id: str, *, limit: int | None = None, since_s: float | None = None,
    ) -> Iterable[tuple[str, LogLine]]:
        with self._turn:
            lines = [
                (run.record.id, line)
                for run in self._with_insides(flow_run_id)
                for line in run.logs.values()
                if since_s is None or line.time_s >= since_s
            ]
        return sorted(lines, key=lambda line: line[1].time_s)[:limit]

    def lease(
        self, flow_run_id: str, owner: str, *, now_s: float, until_s: float,
        take_over: bool = False,
    ) -> int:
        with self._turn:
            run = self._known(flow_run_id)
            there = run.record
            if not take_over:
                owners.check_owner(flow_run_id, owner, there.owner, there.lease_until_s, now_s)
            run.record = replace(
                there, epoch=there.epoch + 1, owner=owner, lease_until_s=until_s)
            return run.record.epoch

    def renew(self, flow_run_id: str, epoch: int, until_s: float) -> None:
        with self._turn:
            run = self._known(flow_run_id)
            if run.record.epoch != epoch:
                raise owners.fenced(flow_run_id, run.record.owner)
            run.record = replace(run.record, lease_until_s=until_s)

    def give_up_lease(self, flow_run_id: str, epoch: int) -> None:
        with self._turn:
            run = self._runs.get(flow_run_id)
            if run is not None and run.record.epoch == epoch:
                run.record = replace(run.record, owner=None, lease_until_s=None)

    def reopen(
        self, flow_run_id: str, codes: Sequence[int],
        elements: Mapping[int, Sequence[int] | None] | None = None, *, fence: int | None = None,
    ) -> int:
        with self._turn:
            run = self._known(flow_run_id)
            if fence is not None and run.record.epoch != fence:
                raise owners.fenced(flow_run_id, run.record.owner)
            ended = [place for place, row in run.rows.items() if row.code in codes]
            for place in ended:
                run.rows[place] = run.rows[place]._replace(code=int(Code.PENDING))
            forget_ranges(run, codes)
            for call, indexes in (elements or {}).items():
                begin_anew(run, call, indexes)
            return len(ended)

    def put_inputs(self, flow_run_id: str, blob: bytes) -> None:
        with self._turn:
            self._known(flow_run_id).inputs = blob

    def inputs(self, flow_run_id: str) -> bytes | None:
        with self._turn:
            run = self._runs.get(flow_run_id)
            return None if run is None else run.inputs

    def put_code(self, digest: str, text: str) -> None:
        with self._turn:
            self._codes.setdefault(digest, text)

    def code(self, digest: str) -> str | None:
        return self._codes.get(digest)

    def recorded(self, flow_run_id: str, first_call: int = 0) -> Iterator[RecordedCall]:
        with self._turn:
            run = self._runs.get(flow_run_id)
            found = [] if run is None else [
                recorded_call(run, call) for call in sorted(run.calls) if call >= first_call]
        yield from found

    def keys(self, flow_run_id: str, call: int, indexes: Iterable[int]) -> dict[int, bytes]:
        with self._turn:
            run = self._runs.get(flow_run_id)
            return {} if run is None else {
                index: key for index in indexes if (key := key_of(run, call, index)) is not None}

    def key_column(self, flow_run_id: str, call: int, width: int) -> bytearray:
        column = bytearray(KEY_BYTES * width)
        for index, key in self.keys(flow_run_id, call, range(width)).items():
            column[KEY_BYTES * index : KEY_BYTES * (index + 1)] = key
        return column

    def claims(self) -> Claims:
        return self._claims

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _known(self, flow_run_id: str) -> MemoryRun:
        run = self._runs.get(flow_run_id)
        if run is None:
            raise owners.not_found(flow_run_id)
        return run

    def _newest_first(self) -> list[MemoryRun]:
        """Return the flow runs, without the insides of task runs."""
        runs = [run for run in reversed(self._runs.values()) if run.record.kind == "flow"]
        return sorted(runs, key=lambda run: run.record.created_s, reverse=True)

    def _with_insides(self, flow_run_id: str | None, *, nested: bool = True) -> list[MemoryRun]:
        """Return one run, or all flow runs, newest first, each with its insides after it."""
        if flow_run_id is None:
            first = self._newest_first()
        else:
            first = [self._runs[flow_run_id]] if flow_run_id in self._runs else []
        found: list[MemoryRun] = []
        for run in first:
            insides = [
                each for each in self._runs.values()
                if each.record.kind == "task"
                and each.record.parent_flow_run_id == run.record.id
            ]
            found.append(run)
            if nested:
                found += sorted(insides, key=lambda each: each.record.created_s)
        return found

    def _elements(
        self, flow_run_id: str | None, *, nested: bool = True
    ) -> list[tuple[Element, TaskRunRow]]:
        return [
            (element, task_run_row(call_head(run, element.call), element))
            for run in self._with_insides(flow_run_id, nested=nested)
            for place, element in sorted(run.elements().items())
            if place[0] in run.calls
        ]

    def _last_started(self, flow_run_id: str | None) -> list[TaskRunRow]:
        for run in self._with_insides(flow_run_id, nested=False):
            started = [
                element
                for element in run.elements().values()
                if element.started_s is not None and element.call in run.calls
            ]
            if started:
                element = max(started, key=lambda element: element.started_s or 0.0)
                return [task_run_row(call_head(run, element.call), element)]
        return []
