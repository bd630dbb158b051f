"""Batches and sessions for the tests of the Dask runner.

Lives here: what its contract, fault and unit tests share. Does not live here:
fixtures of the whole suite (``conftest.py``).
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataflow.batch import (
    Aligned,
    Batch,
    CallCode,
    Group,
    Items,
    Part,
    Placement,
    RunInfo,
    Source,
    TaskCode,
)
from dataflow.runner import CapacityChanged, RunnerEvent, RunnerSession
from runners.dask import DaskTaskRunner

PATIENCE_S = 10.0


def run_info(**parameters: Any) -> RunInfo:
    return RunInfo("0badcafe-0000-0000-0000-000000000001", "brisk-otter", "flights", None,
                   parameters, (), time.time())


def call_of(call: int, fn: Callable[..., Any], *args: Source, **kwargs: Source) -> CallCode:
    task = TaskCode(f"{fn.__module__}.{fn.__qualname__}", fn, fn.__name__)
    names = tuple(f"x{i}" for i in range(len(args))) or ()
    return CallCode(call, task, args, kwargs, names, True)


def items_batch(id: int, fn: Callable[..., Any], items: Sequence[Any], *more: Source,
                call: int | None = None, keep: bool = True,
                placement: Placement = Placement()) -> Batch:
    """Return a batch that maps ``fn`` over items; ``more`` are further arguments."""
    code = call_of(id if call is None else call, fn, Items(), *more)
    part = Part(code, {0: items}, {}, keep)
    return Batch(id, fn.__name__, [Group([part], range(len(items)))], [], placement=placement)


def aligned_batch(id: int, fn: Callable[..., Any], upstream: Batch, keep: bool = True) -> Batch:
    """Return a batch that maps ``fn`` over the values of another batch."""
    group = upstream.groups[0]
    code = call_of(id, fn, Aligned(group.parts[-1].code.call))
    return Batch(id, fn.__name__, [Group([Part(code, {}, {}, keep)], group.indexes)], [upstream.id])


class Inbox:
    """The sink of a session, with what it took."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[RunnerEvent] = queue.SimpleQueue()
        self.capacities: list[CapacityChanged] = []

    def __call__(self, event: RunnerEvent) -> None:
        self._queue.put(event)

    def next(self, timeout_s: float = PATIENCE_S) -> RunnerEvent:
        """Return the next event that is no change of capacity."""
        while True:
            event = self._queue.get(timeout=timeout_s)
            if not isinstance(event, CapacityChanged):
                return event
            self.capacities.append(event)

    def many(self, count: int) -> list[RunnerEvent]:
        return [self.next() for _ in range(count)]

    def is_empty(self, after_s: float = 0.3) -> bool:
        try:
            self.next(after_s)
        except queue.Empty:
            return True
        return False


@contextmanager
def opened(runner: DaskTaskRunner, **parameters: Any) -> Iterator[tuple[RunnerSession, Inbox]]:
    """Start a runner and open a session; both are closed at the end."""
    inbox = Inbox()
    runner.start()
    try:
        session = runner.session(run_info(**parameters), inbox)
        try:
            yield session, inbox
        finally:
            session.close()
    finally:
        runner.close()


# a gate between test and worker: files in a folder that both see

def pass_gate(folder: str, name: str) -> None:
    """Say that this process came here, and wait until the gate is opened; for tasks."""
    Path(folder, f"{name}.at").write_text(str(os.getpid()))
    until = time.monotonic() + 2 * PATIENCE_S
    while not Path(folder, f"{name}.open").exists() and time.monotonic() < until:
        time.sleep(0.01)


def wait_at_gate(folder: Path, name: str) -> int:
    """Wait until a task came to the gate; return its process id."""
    path = folder / f"{name}.at"
    until = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, f"nobody came to the gate {name!r}"
        time.sleep(0.01)
    return int(path.read_text())


def open_gate(folder: Path, name: str) -> None:
    (folder / f"{name}.open").touch()


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
