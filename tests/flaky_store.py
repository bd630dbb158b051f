"""A store that does what it is told and then says that it failed.

Lives here: the wrapper, at a seeded rate. Does not live here: fixtures. It is
what a network does to a database: the commit arrived, the answer did not.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

import dataflow.stores
from dataflow.claim import Claims
from dataflow.exceptions import StoreError
from dataflow.outcomes import Attempt, LogLine
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

_Answer = TypeVar("_Answer")


class FlakyStore(Store):
    """Execute each call, then report a failure at a rate.

    Parameters
    ----------
    store
        What does the work.
    rate
        Of failures, 0 to 1.
    seed
        Of the chance.
    spare
        Tells of the name of a method whether it must not fail here and now.
    """

    def __init__(self, store: Store, rate: float, seed: int,
                 spare: Callable[[str], bool] = lambda method: False) -> None:
        self._store = store
        self._rate = rate
        self._chance = random.Random(seed)
        self._spare = spare
        self._turn = threading.Lock()
        self.failed: Counter[str] = Counter()  # method → times

    def _told(self, method: str, answer: _Answer) -> _Answer:
        with self._turn:
            fails = self._chance.random() < self._rate and not self._spare(method)
            self.failed[method] += fails
        if fails:
            raise StoreError(f"Cannot {method}: timed out, and nobody knows what was done.",
                             reason="timeout")
        return answer

    def write(self, flow_run_id: str, gulp: Gulp) -> None:
        self._told("write", self._store.write(flow_run_id, gulp))

    def write_all(self, gulps: Sequence[tuple[str, Gulp]]) -> None:
        self._told("write_all", self._store.write_all(gulps))

    def flow_runs(self, **asked: Any) -> list[FlowRunRow]:
        return self._told("flow_runs", self._store.flow_runs(**asked))

    def flows(self, **asked: Any) -> list[FlowRow]:
        return self._told("flows", self._store.flows(**asked))

    def find_flow_run(self, ref: str) -> FlowRunRow:
        return self._told("find_flow_run", self._store.find_flow_run(ref))

    def calls(self, flow_run_id: str, *, nested: bool = False) -> list[CallRow]:
        return self._told("calls", self._store.calls(flow_run_id, nested=nested))

    def task_runs(self, flow_run_id: str | None = None, **asked: Any) -> list[TaskRunRow]:
        return self._told("task_runs", self._store.task_runs(flow_run_id, **asked))

    def usage(self, flow_run_id: str) -> list[CallUsage]:
        return self._told("usage", self._store.usage(flow_run_id))

    def children(self, task_run: TaskRunRow, *, limit: int | None = 50) -> list[TaskRunRow]:
        return self._told("children", self._store.children(task_run, limit=limit))

    def find_task_run(self, ref: str, flow_run_id: str | None = None) -> TaskRunRow:
        return self._told("find_task_run", self._store.find_task_run(ref, flow_run_id))

    def attempts(self, flow_run_id: str, call: int, index: int) -> Sequence[Attempt]:
        return self._told("attempts", self._store.attempts(flow_run_id, call, index))

    def logs(self, flow_run_id: str, **asked: Any) -> Iterable[LogLine]:
        return self._told("logs", self._store.logs(flow_run_id, **asked))

    def nested_logs(self, flow_run_id: str, **asked: Any) -> Iterable[tuple[str, LogLine]]:
        return self._told("nested_logs", self._store.nested_logs(flow_run_id, **asked))

    def lease(self, flow_run_id: str, owner: str, **asked: Any) -> int:
        return self._told("lease", self._store.lease(flow_run_id, owner, **asked))

    def renew(self, flow_run_id: str, epoch: int, until_s: float) -> None:
        self._told("renew", self._store.renew(flow_run_id, epoch, until_s))

    def give_up_lease(self, flow_run_id: str, epoch: int) -> None:
        self._told("give_up_lease", self._store.give_up_lease(flow_run_id, epoch))

    def reopen(self, flow_run_id: str, codes: Sequence[int], *, fence: int | None = None) -> int:
        return self._told("reopen", self._store.reopen(flow_run_id, codes, fence=fence))

    def put_inputs(self, flow_run_id: str, blob: bytes) -> None:
        self._told("put_inputs", self._store.put_inputs(flow_run_id, blob))

    def inputs(self, flow_run_id: str) -> bytes | None:
        return self._told("inputs", self._store.inputs(flow_run_id))

    def put_code(self, digest: str, text: str) -> None:
        self._told("put_code", self._store.put_code(digest, text))

    def code(self, digest: str) -> str | None:
        return self._told("code", self._store.code(digest))

    def recorded(self, flow_run_id: str, first_call: int = 0) -> Iterator[RecordedCall]:
        yield from self._told("recorded", list(self._store.recorded(flow_run_id, first_call)))

    def keys(self, flow_run_id: str, call: int, indexes: Iterable[int]) -> dict[int, bytes]:
        return self._told("keys", self._store.keys(flow_run_id, call, indexes))

    def key_column(self, flow_run_id: str, call: int, width: int) -> bytearray:
        return self._told("key_column", self._store.key_column(flow_run_id, call, width))

    def claims(self) -> Claims:
        return self._store.claims()

    def close(self) -> None:
        self._store.close()


def asked_in_the_foreground(method: str) -> bool:
    """Spare what somebody waits for: there a store that cannot be used is to be known at once."""
    recording = threading.current_thread().name == "dataflow-recorder"
    return not recording and method not in ("renew", "give_up_lease")


def let_stores_fail(
    patch: pytest.MonkeyPatch, rate: float, seed: int
) -> list[FlakyStore]:
    """Wrap each store that a flow opens from now on; return them as they come."""
    opened = dataflow.stores.open_store
    made: list[FlakyStore] = []

    def opening(location: Any = None) -> Store:
        made.append(FlakyStore(opened(location), rate, seed + len(made), asked_in_the_foreground))
        return made[-1]

    patch.setattr(dataflow.stores, "open_store", opening)
    return made
