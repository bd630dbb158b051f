"""Runs in the worker's own process, one at a time, in its main thread.

Lives here: handing an order to the main thread, interrupting it, putting back what a
run changes of the process. Does not live here: the worker's loop, which goes on in
another thread meanwhile (``worker.py``), performing an order (``run_process.py``).

A run here is less apart than in a process of its own: modules stay loaded but for those
of the run's own folder, ``PYTHON*`` variables come too late, and what kills the process
takes the worker along.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from dataflow.agenda import QueuedRun
from dataflow.service.orders import NOT_COMPLETED, Order
from dataflow.service.run_process import perform

_LOOK_UP_S = 0.5
_INSTALLED = ("site-packages", "dist-packages")

AGAIN_S = 30.0
"""A flow that goes on after it was interrupted is interrupted again, in seconds."""

logger = logging.getLogger("dataflow.worker")


class InlineRun:
    """A run that the main thread is given.

    Parameters
    ----------
    order, ended
        What is to be done, and whom to tell.
    interrupt
        Interrupts the main thread, or, with False, only where it has not heard of it yet.
    """

    kills = None

    def __init__(self, order: Order, ended: Callable[[], object],
                 interrupt: Callable[[InlineRun, bool], object]) -> None:
        self.order = order
        self._ended = ended
        self._interrupt = interrupt
        self._code: int | None = None
        self._asked_s: float | None = None
        self._again_s = 0.0

    @property
    def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()

    @property
    def told_to_end(self) -> bool:
        """Tell whether it was cancelled."""
        return self._asked_s is not None

    def exit_code(self) -> int | None:
        """Return the exit code that a process of its own would have had."""
        return self._code

    def words(self) -> str | None:
        """Return None: it is no command."""
        return None

    def cancel(self, now_s: float, patience_s: float) -> None:
        """Interrupt the flow; nothing stronger can be done without ending the worker."""
        fresh = self._asked_s is None or now_s >= self._again_s
        if fresh and self._asked_s is not None:
            logger.warning("Run %s goes on though it was interrupted: once more.",
                           self.order.flow_run_id)
        if fresh:
            self._asked_s, self._again_s = now_s, now_s + AGAIN_S
        self._interrupt(self, fresh)

    def kill(self) -> None:
        """Interrupt the flow."""
        self._interrupt(self, True)

    def end_children(self) -> None:
        """Do nothing: what a run started here is this process's."""

    def done(self, code: int) -> None:
        """Note how it ended."""
        self._code = code
        self._ended()


class MainThread:
    """Gives orders to the main thread, which :meth:`serve` keeps busy.

    Parameters
    ----------
    run
        Performs an order and returns its exit code.
    """

    def __init__(self, run: Callable[[Order], int] = perform) -> None:
        self._run = run
        self._orders: SimpleQueue[InlineRun | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._now: InlineRun | None = None
        self._wanted = False

    def begin(self, run: QueuedRun, order: Order, ended: Callable[[], object]) -> InlineRun:
        """Hand an order to the main thread."""
        begun = InlineRun(order, ended, self._interrupt)
        self._orders.put(begun)
        return begun

    def prepare(self) -> None:
        """Do nothing: the process is here."""

    def close(self) -> None:
        """Let the main thread go, once it has done what it was given."""
        self._orders.put(None)

    def serve(self) -> None:
        """Perform orders, in the main thread, until :meth:`close`."""
        while (begun := self._next()) is not None:
            code = NOT_COMPLETED
            with as_it_was(begun.order.flow_run_id):
                try:
                    with self._to_be_interrupted(begun):
                        if not begun.told_to_end:
                            code = self._performed(begun.order)
                except KeyboardInterrupt:  # it came as the run had just ended
                    pass
            begun.done(code)

    def _next(self) -> InlineRun | None:
        while True:
            try:
                return self._orders.get(timeout=_LOOK_UP_S)
            except Empty:  # a signal that came as the wait began was not heard
                continue

    def _performed(self, order: Order) -> int:
        try:
            return self._run(order)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else NOT_COMPLETED
        except KeyboardInterrupt:
            return NOT_COMPLETED
        except BaseException:  # user code: what ends a process of its own does not end the worker
            traceback.print_exc()
            return NOT_COMPLETED

    def _interrupt(self, begun: InlineRun, fresh: bool) -> None:
        with self._guard:
            if self._now is not begun:
                return
            self._wanted |= fresh
            main = threading.main_thread().ident
            if self._wanted and main is not None:
                signal.pthread_kill(main, signal.SIGINT)  # ends a system call that waits, too

    @contextmanager
    def _to_be_interrupted(self, begun: InlineRun) -> Iterator[None]:
        """Turn the signal that :meth:`_interrupt` sends into KeyboardInterrupt meanwhile."""
        before: Any = signal.getsignal(signal.SIGINT)

        def heard(number: int, frame: FrameType | None) -> None:
            wanted, self._wanted = self._wanted, False
            if wanted:
                raise KeyboardInterrupt
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGINT, heard)
        with self._guard:
            self._now = begun
        try:
            yield
        finally:
            self._leave(before)

    def _leave(self, before: Any) -> None:
        while True:
            try:
                with self._guard:
                    self._now = None
                signal.signal(signal.SIGINT, before)
                self._wanted = False
                return
            except KeyboardInterrupt:  # it came this late: nothing is left to be interrupted
                continue


@contextmanager
def as_it_was(flow_run_id: str) -> Iterator[None]:
    """Put back what a run changes of the process: variables, folder, path, its own modules."""
    environment, folder, path = dict(os.environ), Path.cwd(), list(sys.path)
    modules = set(sys.modules)
    try:
        yield
    finally:
        own = [Path(each) for each in sys.path if each not in path]
        with suppress(FileNotFoundError):  # a run may have removed the folder that it stood in
            own.append(Path.cwd())
        for name in set(sys.modules) - modules:
            if _is_of(sys.modules[name], own):
                del sys.modules[name]
        os.chdir(folder)
        sys.path[:] = path
        zone = os.environ.get("TZ")
        for variable in set(os.environ) - set(environment):
            del os.environ[variable]
        os.environ.update(environment)
        if os.environ.get("TZ") != zone:
            time.tzset()
        from dataflow.deployed_run import leave

        leave(flow_run_id)


def _is_of(module: Any, folders: Sequence[Path]) -> bool:
    """Tell whether a module stands in one of these folders, and is not installed."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__.partition(".")[0] in ("dataflow", "runners"):
        return False
    path = Path(file)
    return not any(part in path.parts for part in _INSTALLED) and any(
        path.is_relative_to(folder) for folder in folders)
