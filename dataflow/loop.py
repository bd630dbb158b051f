"""The loop of one flow run: hears what happened and performs what the engine commands.

Lives here: the thread that feeds the engine, who waits for it, and the same
without a thread where the runner is synchronous. Does not live here: what a
flow asks of its run (``driver.py``), decisions (``engine/``), writing
(``recorder.py``), running batches (``runners``).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from dataflow.batch import RunInfo
from dataflow.callbacks import Callbacks
from dataflow.engine import Engine
from dataflow.engine.messages import (
    CallAdded,
    CancelAll,
    Commands,
    Event,
    Pull,
    RunnerRestarted,
    Tick,
    ValueLost,
)
from dataflow.fetching import Fetcher
from dataflow.graph import CallView
from dataflow.relaying import relay_lines
from dataflow.run_record import RunRecord
from dataflow.runner import (
    BatchDone,
    BatchLost,
    BatchRefused,
    Capacity,
    CapacityChanged,
    Handle,
    RunnerLost,
    RunnerSession,
    TaskRunner,
)
from dataflow.sources import Source
from dataflow.watching import Watchers

GATHER_S = 0.005
"""What a flow adds is gathered for so long before it is cut into batches, in seconds."""

RESTART_LIMIT = 5
"""Times a run goes on after its scheduler or cluster was lost."""

_GLANCE_S = 0.001
_LONGEST_SLEEP_S = 3600.0  # then it is looked again: a platform's own waits have a limit
_LOOK_UP_S = 0.5  # of the main thread: a signal that comes as a lock is about to block is not heard

logger = logging.getLogger("dataflow.driver")

_starting = threading.Lock()


class Loop:
    """Feeds one engine.

    Parameters
    ----------
    record
        The flow run's records.
    run
        What tasks may ask about the run.
    runner
        Where batches run; started at the first call that is added.
    """

    def __init__(self, record: RunRecord, run: RunInfo, runner: TaskRunner) -> None:
        self.run = run
        self.runner = runner
        self.record = record
        self.deadline: tuple[float, BaseException] | None = None
        """Monotonic time at which whoever waits is given up, and what is raised there then."""
        self.fatal: BaseException | None = None
        """What ended the loop itself; raised by whoever waits."""
        self._engine = Engine(Capacity(0, 0), run.flow_run_id)
        self._events: deque[Event] = deque()
        self._signal: SimpleQueue[None] = SimpleQueue()  # put() is safe also inside __del__
        self._lock = threading.RLock()  # held while the engine is at work
        self._settled = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._session: RunnerSession | None = None
        self._handles: dict[int, Handle] = {}
        self._views: dict[int, CallView] = {}
        self._sources: dict[int, Source] = {}
        self._callbacks = Callbacks(self._views, self._notify)
        self._watchers = Watchers()
        self._fetcher = Fetcher()
        self._wake_at: float | None = None
        self._gather_until: float | None = None
        self._added = self._heard = 0  # calls posted to, and heard by the engine
        self._asked = self._asked_heard = 0
        self._deferred: list[Pull] = []
        self._restarts = 0
        self._stopping = False
        self._pumping = False

    def wait(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block until ``done()`` or the timeout; return whether it is done.

        Raises
        ------
        BaseException
            What ended the run's loop: a runner that could not be started, above all.
        """
        if done():
            return True
        until = None if timeout_s is None else time.monotonic() + timeout_s
        if self.deadline is not None and (until is None or until > self.deadline[0]):
            if not self._waited(done, self.deadline[0]):
                raise self.deadline[1]
            return True
        return self._waited(done, until)

    def _waited(self, done: Callable[[], bool], until: float | None) -> bool:
        self._flush()
        if self.runner.synchronous:
            return self._wait_here(done, until)
        main = threading.current_thread() is threading.main_thread()
        longest = _LOOK_UP_S if main else _LONGEST_SLEEP_S
        with self._settled:
            while not done():
                if self.fatal is not None:
                    raise self.fatal
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._settled.wait(longest if left is None else min(left, longest))
        return True

    def give_up(self, error: BaseException) -> None:
        """End the loop from any thread; ``error`` is raised by whoever waits."""
        self.fatal = error
        self._stopping = True
        self._signal.put(None)
        self._notify()
        self._watchers.give_up()

    def _end_loop(self) -> None:
        self._stopping = True
        self._signal.put(None)
        if self._thread is not None:
            self._thread.join()
        for source in self._sources.values():
            source.stop()
        self._callbacks.close()

    def _close_session(self, cancelled: bool) -> None:
        if self._session is not None:
            self._session.close(cancelled=cancelled)
            self._session = None

    # what happened, and what is done about it

    def _post(self, event: Event, now: bool = False) -> None:
        self._events.append(event)
        if self.runner.synchronous:
            self._pump()
            return
        if now or not isinstance(event, CallAdded):
            self._gather_until = None
            self._signal.put(None)
        elif self._gather_until is None:
            self._gather_until = time.monotonic() + GATHER_S
            self._signal.put(None)
        if self._thread is None:
            self._start_thread()

    def _start_thread(self) -> None:
        with self._lock:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(
                    target=self._loop, name=f"dataflow-driver-{self.run.flow_run_id[:8]}",
                    daemon=True,
                )
                if self.runner.budget is not None:
                    self.runner.budget.take(owed=True)
                self._thread.start()

    def _flush(self) -> None:
        """The flow blocks: what it added goes out now."""
        self._gather_until = None
        if self._events:
            self._signal.put(None)

    def _loop(self) -> None:
        try:
            self._go_round()
        finally:
            if self.runner.budget is not None:
                self.runner.budget.give_back()

    def _go_round(self) -> None:
        while not self._stopping:
            self._sleep()
            gather = self._gather_until
            if gather is not None and gather > time.monotonic():
                continue
            try:
                self._step()
            except BaseException as error:  # a fault of ours must not leave anybody waiting
                logger.exception("the driver of flow run %s failed", self.run.flow_run_id)
                self.fatal = error
                self._notify()
                self._watchers.give_up()
                return

    def _sleep(self) -> None:
        """Wait for a signal or for the time to look again; take all signals that are there."""
        try:
            self._signal.get(timeout=self._sleep_s())
            while True:
                self._signal.get_nowait()
        except Empty:
            return

    def _sleep_s(self) -> float | None:
        now = time.monotonic()
        until = [t - now for t in (self._gather_until,) if t is not None]
        if self._wake_at is not None:
            until.append(self._wake_at - time.time())
        return max(0.0, min(*until, _LONGEST_SLEEP_S)) if until else None

    def _step(self) -> None:
        """Hear what happened, decide, perform, record, tell."""
        self._gather_until = None
        with self._lock:
            if self._session is None and self._added:
                self._open_session()
            heard = False
            while self._events:
                event = self._events.popleft()
                if isinstance(event, RunnerLost) and self._restarted(event.reason):
                    event = RunnerRestarted()
                self._remember(event)
                self._engine.hear(event, time.time())
                heard = True
            if not heard:
                self._engine.hear(Tick(), time.time())
            self._engine.decide(time.time())
            commands = self._engine.take_commands()
            self._wake_at = commands.wake_at
            if self.runner.synchronous:  # what is sent runs here, and may take long
                self.record.put(self._engine.take_gulp())
            self._perform(commands)
            # taken last: Ctrl-C in a synchronous runner leaves them for the clean-up
            gulp = self._engine.take_gulp()
            settled = self._engine.take_settled()
        self.record.put(gulp)
        if commands.settled:
            self._notify()
            calls = [call for call, _, _ in settled]
            self._callbacks.settled(calls)
            self._watchers.settled(calls)

    def _open_session(self) -> None:
        with _starting:
            if not self.runner.started:
                self.runner.start()
                self.runner.started = True
        self._session = self.runner.session(self.run, self._post)
        self._events.appendleft(CapacityChanged(self._session.capacity()))
        self.record.change(runner=self.runner.name, dashboard_link=self.runner.dashboard_link)

    def _restarted(self, reason: str) -> bool:
        """Have a lost runner started again, within limits; return whether it is there.

        Blocks the loop, and nothing else: there is nobody to hear from meanwhile.
        """
        session = self._session
        if session is None or self._restarts >= RESTART_LIMIT or self._stopping:
            return False
        self._restarts += 1
        logger.warning("The runner of flow run %r was lost (%s). Waiting for it, or starting "
                       "another (%d of at most %d times).", self.run.flow_run_name, reason,
                       self._restarts, RESTART_LIMIT)
        session.close(cancelled=True)
        self._handles.clear()
        try:
            there = self.runner.restart(session, self._is_given_up)
        except Exception as error:  # whatever a cluster raises when it does not start
            logger.error("The runner could not be started again: %s: %s",
                         type(error).__name__, error)
            there = False
        if not there:
            return False
        self._events = deque(event for event in self._events if not isinstance(
            event, BatchDone | BatchLost | BatchRefused | RunnerLost))
        self._open_session()
        logger.warning("The runner is there again; flow run %r goes on.", self.run.flow_run_name)
        return True

    def _is_given_up(self) -> bool:
        return self._stopping or any(isinstance(event, CancelAll) for event in self._events)

    def _remember(self, event: Event) -> None:
        if isinstance(event, BatchDone):
            if event.handle is not None:
                self._handles[event.batch] = event.handle
            if self.record.usage is not None:
                self.record.usage.took(event.report, in_place=self.runner.synchronous)
            if event.report.nested and event.batch in self._engine.world.flights:
                self.record.put_nested(event.report.nested)
            if event.report.remote:
                relay_lines(event.report, self.run, self._views)
        elif isinstance(event, CallAdded):
            self._heard += 1
        elif isinstance(event, (CancelAll, ValueLost)):
            self._asked_heard += 1

    def _perform(self, commands: Commands) -> None:
        session = self._session
        if session is None:
            return
        if commands.release:
            for batch in commands.release:
                self._fetcher.forget(batch)
            handles = [self._handles.pop(b) for b in commands.release if b in self._handles]
            session.release(handles)
        for pull in commands.pull:
            if self.runner.synchronous:
                self._deferred.append(pull)  # a generator may be endless: taken while waited for
            else:
                self._sources[pull.call].pull(pull.count)
        for made in commands.send:
            session.submit(made, [self._handles.get(b) for b in made.inputs])
        if commands.stop:  # also of what was sent just now
            session.cancel(commands.stop)

    def _notify(self) -> None:
        """Wake who waits."""
        with self._settled:
            self._settled.notify_all()

    # a synchronous runner: the loop is the caller

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._events:
                self._step()
        finally:
            self._pumping = False

    def _wait_here(self, done: Callable[[], bool], until: float | None) -> bool:
        while not done():
            self._pump()
            if done():
                return True
            now = time.monotonic()
            if until is not None and now >= until:
                return False
            pulls, self._deferred = self._deferred, []
            for pull in pulls:
                self._sources[pull.call].pull_now(pull.count)
            if pulls:
                continue
            if self._wake_at is not None:
                pause = max(0.0, self._wake_at - time.time())
                time.sleep(min(pause, _LONGEST_SLEEP_S, math.inf if until is None else until - now))
            else:
                time.sleep(_GLANCE_S)  # somebody else makes it true: a callback, a drain
            self._events.append(Tick())
        return True
