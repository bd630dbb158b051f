"""The calling thread itself: a debugger stops in user code, order is the order of calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dataflow.batch import Batch, Block, RunInfo
from dataflow.context import current_transaction
from dataflow.runner import BatchDone, BatchLost, Capacity, Handle, RunnerSession, Sink, TaskRunner
from dataflow.worker.batch import run_batch
from dataflow.worker.control import Control, current_control
from dataflow.worker.isolate import end_idle_children


class InlineTaskRunner(TaskRunner):
    """Runs each task in the flow's own thread, before ``submit`` returns."""

    name = "inline"
    local = True
    synchronous = True

    def __repr__(self) -> str:
        return "InlineTaskRunner()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InlineTaskRunner)

    def __hash__(self) -> int:
        return hash(type(self))

    def duplicate(self) -> InlineTaskRunner:
        """Return another one: there are no settings."""
        return InlineTaskRunner()

    def start(self) -> None:
        """Nothing to acquire."""

    def session(self, run: RunInfo, sink: Sink) -> RunnerSession:
        """Open a session for one flow run."""
        return _Session(run, sink)

    def close(self, *, cancelled: bool = False) -> None:
        """End child processes that wait for work."""
        if self.budget is None:  # else others of this process go on
            end_idle_children()


class _Session(RunnerSession):
    def __init__(self, run: RunInfo, sink: Sink) -> None:
        self._run = run
        self._sink = sink

    def capacity(self) -> Capacity:
        """One element at a time."""
        return Capacity(1, 1)

    def submit(self, batch: Batch, inputs: Sequence[Handle]) -> None:
        """Run the batch here."""
        blocks = [Block({}) if i is None else i for i in inputs]
        control = Control(current_control.get())
        around = current_transaction.set(None)  # the flow's, at whose end this joins it
        try:
            report, block = run_batch(
                batch, blocks, self._run, worker=self._run.worker or "inline", control=control,
                remote=False, may_split=False,
            )
        except BaseException:  # Ctrl-C between elements: should the flow go on, they run again
            self._sink(BatchLost(batch.id, "interrupted", blame=False))
            raise
        finally:
            current_transaction.reset(around)
        self._sink(BatchDone(batch.id, report, block))
        if control.interrupt is not None:
            raise control.interrupt

    def fetch(self, handles: Sequence[Handle], timeout_s: float | None = None) -> list[Block]:
        """Return the blocks, which are here already."""
        return list(handles)

    def release(self, handles: Iterable[Handle]) -> None:
        """Nothing to do: a block goes with its last reference."""

    def cancel(self, batches: Sequence[int]) -> None:
        """Nothing to do: no batch is under way while the flow can ask."""
