"""What runs inside a Dask worker: the task of a batch.

Lives here: :func:`run` (open the letter, run the batch, tell the driver), the
task that fetches a report that was not heard, and the wish to stop. Does not
live here: the walk over the elements (``dataflow.worker``).

The report is told as an event on the way of the worker's own messages to the
scheduler: in order, ahead of the end of the task, and for 1.6 ms of cpu a batch
instead of the 4.4 ms that a second task and a gather cost. It lies in the
task's result as well, should the event be lost.
"""

from __future__ import annotations

import logging
import pickle
import threading
from array import array
from collections import OrderedDict
from typing import Any

from distributed import get_worker, secede

from dataflow.batch import Batch, Block, RunInfo
from dataflow.exceptions import MissingModule, TransportError
from dataflow.failures import record_of, text_of
from dataflow.outcomes import Code, Detail, LogLine, Report, Span
from dataflow.script_classes import come_with_code
from dataflow.worker.batch import run_batch
from dataflow.worker.control import Control
from dataflow.worker.splitting import stop_left_running
from runners.dask.checking import drop_unpicklable
from runners.dask.letter import Known, Letter, on_desk
from runners.dask.parcel import Parcel, Result
from runners.dask.seats import seated

STARTED, DONE, BROKEN = "started", "done", "broken"

REPORT_LIMIT_BYTES = 1_000_000
"""Larger reports are fetched by a task of their own: events are kept on the scheduler."""

_STOPPED_LIMIT = 10_000

_codes = Known(256)
_runs = Known(32)
_lock = threading.Lock()
_running: dict[tuple[str, int], Control] = {}
_stopped: OrderedDict[tuple[str, int], None] = OrderedDict()


def run(sealed: bytes, dependencies: list[Any]) -> Result:
    """Run the batch in a letter; the Dask task of a batch. Never raises for the batch."""
    letter = Letter.opened(sealed)
    worker = get_worker()
    address = worker.address

    def tell(kind: str, *content: Any) -> None:
        worker.log_event(letter.topic, (kind, letter.session, letter.number, address, *content))

    key = (letter.session, letter.number)
    control = _enter(key)
    tell(STARTED)
    try:
        remote = not address.startswith("inproc://")
        if remote:
            come_with_code()
        report, block = _execute(letter, dependencies, worker, control, remote)
        data = pickle.dumps(report, protocol=5)
    except Exception as error:  # a fault of ours: told, since a batch must come to an end
        tell(BROKEN, record_of(error, remote=False).traceback)
        return Result(b"", None)
    finally:
        with _lock:
            _running.pop(key, None)
    tell(DONE, data if len(data) <= REPORT_LIMIT_BYTES else None, block is not None)
    return Result.of(data, block)


def report_of(result: Result) -> tuple[bytes, bool]:
    """Return the report, and whether values were kept; a task beside the result."""
    return result.report, result.parcel is not None


def hand_over(parcel: Parcel) -> Parcel:
    """Return what it was given; the task that brings a constant to the first worker."""
    return parcel


def stop(keys: list[tuple[str, int]], left: list[tuple[str, int]]) -> None:
    """Stop batches before their next element, also those that have not started yet.

    ``left`` names (flow run, batch) of elements that outlast their batch.
    """
    for one in left:
        stop_left_running(*one)
    with _lock:
        for key in keys:
            control = _running.get(key)
            if control is not None:
                control.stop()
            else:
                _stopped[key] = None
        while len(_stopped) > _STOPPED_LIMIT:
            _stopped.popitem(last=False)


def _enter(key: tuple[str, int]) -> Control:
    control = Control()
    with _lock:
        control.stopped = key in _stopped
        _running[key] = control
    return control


def _execute(letter: Letter, dependencies: list[Any], worker: Any, control: Control,
             remote: bool) -> tuple[Report, Block | None]:
    address = worker.address
    try:
        batch, run_info, blocks = _open(letter, dependencies)
    except Exception as error:  # user code: what a pickle calls; modules that are not here
        return _unopened(letter, address, error, remote), None
    if batch.collect is not None and batch.at_once:
        secede()  # what waits on an event loop needs no thread of the worker
    with seated(batch, run_info, worker):
        report, block = run_batch(batch, blocks, run_info, worker=address, control=control,
                                  remote=True)  # the report is pickled also within one process
    report.remote = remote
    if block is not None and remote:
        block = drop_unpicklable(batch, report, block)
    return report, block


def _open(letter: Letter, dependencies: list[Any]) -> tuple[Batch, RunInfo, list[Block]]:
    constants: list[Parcel] = dependencies[:letter.shared]
    results = iter(dependencies[letter.shared:])
    blocks = [next(results).block() if there else Block({}) for there in letter.inputs]
    run_info: RunInfo = _runs.get(letter.run, constants)
    codes = {piece.digest: _codes.get(piece, constants) for piece in letter.codes}
    with on_desk(codes, constants):
        batch: Batch = constants[-1].open() if letter.body is None else pickle.loads(letter.body)
    return batch, run_info, blocks


def _unopened(letter: Letter, address: str, error: Exception, remote: bool) -> Report:
    """Return the report of a batch that could not be opened: every element is CRASHED."""
    report = Report(letter.batch, address, _now(), [], remote=remote)
    for call, task, indexes, attempts in letter.outline:
        record = record_of(_opening_error(task, address, error), remote=True)
        count = len(indexes)
        details = {index: Detail(attempts=attempts.get(index, 0) + 1, error=record)
                   for index in indexes}
        report.spans.append(Span(call, indexes, bytearray([Code.CRASHED]) * count,
                                 array("f", bytes(4 * count)), array("f", bytes(4 * count)),
                                 details))
    _unmeasured(letter, report, error)
    return report


def _unmeasured(letter: Letter, report: Report, error: Exception) -> None:
    """Say that values whose lengths are asked for cannot be read, and log why.

    Naming them as missing would have them computed again, with no other end.
    """
    keys = letter.lengths_of
    if not keys:
        return
    report.lengths.update(dict.fromkeys(keys, -1))
    report.unread = (f"could not be unpickled on worker {report.worker}: "
                     f"{type(error).__name__}: {text_of(error)}")
    others = f" (and of {len(keys) - 1} more)" if len(keys) > 1 else ""
    call, index, _ = keys[0]
    report.logs.append(LogLine(
        call, index, 1, report.started_s, logging.ERROR, "dataflow.task_runs",
        f"The length of this task run's value{others} is not known, so that it cannot be mapped "
        f"over: it {report.unread}"))


def _opening_error(task: str, address: str, error: Exception) -> TransportError:
    made: TransportError
    if isinstance(error, ImportError | AttributeError):
        name = getattr(error, "name", None) if isinstance(error, ImportError) else None
        what = f"module {name!r}" if name else f"something ({error})"
        made = MissingModule(
            f"Task {task!r} needs {what} that worker {address} does not have. Install it where "
            "the workers run, in the version of the flow's process; modules of your own that lie "
            "beside the flow travel with it when the flow's process has imported them.",
            task=task, module=name, worker=address,
        )
    else:
        made = TransportError(
            f"What task {task!r} was sent could not be unpickled on worker {address}: "
            f"{type(error).__name__}: {error}", task=task, worker=address,
        )
    made.__cause__ = error
    return made


def _now() -> float:
    import time

    return time.time()
