"""A driver that runs nothing: it keeps the calls it gets, and tests say how elements end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dataflow.batch import CallCode, RunInfo
from dataflow.context import FlowRunContext, current_flow
from dataflow.failures import record_of
from dataflow.graph import CallSpec, CallView, grown
from dataflow.ids import new_run_id
from dataflow.outcomes import SUCCEEDED, Code, ErrorRecord, LogLine


class FakeDriver:
    """Keeps what it is given; ``end`` and ``fail`` play the engine."""

    def __init__(self) -> None:
        self.runner: Any = None
        self.run = RunInfo(new_run_id(), "test-run", "test-flow", None, {}, (), time.time())
        self.specs: list[CallSpec] = []
        self.views: dict[int, CallView] = {}
        self.found: dict[tuple[int, int], Any] = {}
        self.released: list[int] = []
        self.cancelled: list[tuple[int, int | None]] = []
        self.lines: list[LogLine] = []
        self._calls = 0

    def start(self) -> None: ...

    def ordinal(self, task_name: str) -> int:
        return 0

    def next_call(self, task_name: str = "", kind: str = "") -> int:
        self._calls += 1
        return self._calls - 1

    def add(self, spec: CallSpec) -> CallView:
        width = None if spec.mapped else 1
        for mapped in spec.mapped:
            if mapped.items is not None:
                width = len(mapped.items)
        view = CallView(spec.code.call, spec.code.task.name, spec.kind, width,
                        bytearray(width or 0))
        self.specs.append(spec)
        self.views[view.call] = view
        return view

    def direct(self, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
               task_key: str, caller: FlowRunContext) -> tuple[CallView, Any]:
        view = CallView(code.call, code.task.name, "direct", 1, bytearray([Code.COMPLETED]),
                        final=1)
        self.views[code.call] = view
        return view, code.task.fn(*args, **kwargs)

    def rolled_back(self, call: int, indexes: Sequence[int]) -> None: ...

    def committed(self, call: int, *, soon: bool) -> None: ...

    def keep_txn_values(self, call: int, values: bytes) -> None: ...

    def view(self, call: int) -> CallView:
        return self.views[call]

    def wait(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        assert done() or timeout_s is not None, "the test would hang"
        return done()

    def values(self, call: int, indexes: Sequence[int],
               timeout_s: float | None = None) -> list[Any]:
        return [self.found[call, index] for index in indexes]

    def subscribe(self, call: int, index: int, fn: Callable[[], None]) -> None: ...

    def watch(self, watch: Any) -> None: ...

    def unwatch(self, watch: Any) -> None: ...

    def cancel(self, call: int, index: int | None = None) -> bool:
        self.cancelled.append((call, index))
        return True

    def release(self, call: int) -> None:
        self.released.append(call)

    def record_state(self, state_type: str, state_name: str, message: str | None = None,
                     error: ErrorRecord | None = None) -> None: ...

    def log(self, line: LogLine) -> None:
        self.lines.append(line)

    def failures(self) -> list[tuple[CallView, int]]:
        return [(view, index) for view in self.views.values() for index in view.failed_order]

    def finish(self, *, cancel: bool, stop_generators: bool = False) -> None: ...

    def close(self, *, cancelled: bool = False) -> None: ...

    # what the engine would do

    def end(self, call: int, index: int, value: Any) -> None:
        self._final(call, index, Code.COMPLETED)
        self.found[call, index] = value

    def fail(self, call: int, index: int, error: BaseException | None = None,
             code: Code = Code.FAILED) -> None:
        self._final(call, index, code)
        view = self.views[call]
        view.failed_order = grown(view.failed_order, index)
        if error is not None:
            view.errors[index] = record_of(error, remote=False)

    def not_ready(self, call: int, index: int, root: tuple[int, int]) -> None:
        self._final(call, index, Code.NOT_READY)
        view = self.views[call]
        view.causes = grown(view.causes, (index, index + 1, root))

    def _final(self, call: int, index: int, code: Code) -> None:
        view = self.views[call]
        assert view.codes[index] not in SUCCEEDED
        view.codes[index] = code
        view.final += 1


@contextmanager
def flow_run(driver: FakeDriver) -> Iterator[FlowRunContext]:
    """Make the code inside part of a flow run with this driver."""
    context = FlowRunContext(driver.run, driver, None, False, None)
    token = current_flow.set(context)
    try:
        yield context
    finally:
        current_flow.reset(token)
