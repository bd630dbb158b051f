"""One flow run under way, as the public face sees it.

Lives here: what is asked of a run: add a call, call directly, bring values,
cancel, end. Does not live here: the loop that performs what the engine
commands, and waiting for it (``loop.py``), decisions (``engine/``), writing
(``recorder.py``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NoReturn

from dataflow.batch import CallCode, RunInfo
from dataflow.call_facts import facts_of
from dataflow.call_inputs import given, with_inputs
from dataflow.context import FlowRunContext, current_task
from dataflow.engine.messages import (
    CallAdded,
    CancelAll,
    CancelAsked,
    GeneratorsStopped,
    HandleDropped,
    ValueLost,
)
from dataflow.exceptions import BlockLost, CancelledRun, MissingResult, RunFenced
from dataflow.fetching import Wanted
from dataflow.graph import CallSpec, CallView, Recorded
from dataflow.loop import Loop
from dataflow.outcomes import Attempt, ErrorRecord, LogLine
from dataflow.recorder import Gathered
from dataflow.resumption import DirectRecorded, Resumption
from dataflow.run_record import DirectCall, RunRecord
from dataflow.runner import TaskRunner
from dataflow.sources import Source
from dataflow.store import CallRecord, ElementRecord, FlowRunRecord, Gulp, Store
from dataflow.watching import Watch
from dataflow.worker.attempt import Outcome, run_here

_FETCH_TRIES = 10  # workers may die while values are computed again
_FETCH_PAUSE_S = 0.1  # longer each time: a death may not be known everywhere yet
_PATIENCE_S = 10.0  # at the end of a flow, before it says what it waits for

logger = logging.getLogger("dataflow.driver")


class Driver(Loop):
    """One flow run under way.

    Parameters
    ----------
    record
        The flow run's row, or its records so far.
    run
        What tasks may ask about the run.
    runner
        Where batches run; started at the first ``submit`` or ``map``.
    store
        Where records go, None to keep none.
    owns_runner
        Close the runner at the end.
    first_call
        The number of the first call.
    resumption
        Of a run that goes on: what is recorded of it.
    inputs
        Parameters to keep with the run, pickled.
    """

    def __init__(self, *, record: FlowRunRecord | RunRecord, run: RunInfo, runner: TaskRunner,
                 store: Store | Gathered | None, owns_runner: bool, first_call: int = 0,
                 resumption: Resumption | None = None, inputs: bytes | None = None) -> None:
        super().__init__(
            record if isinstance(record, RunRecord) else RunRecord(record, run, store), run, runner)
        self._owns_runner = owns_runner
        self._inputs = inputs
        self.record.fenced = self._taken_from_us
        self.resumption = resumption
        self._numbers = count(first_call if resumption is None else resumption.next_free)
        self._ordinals: dict[str, count[int]] = {}
        self._asking = threading.Lock()
        self._under_way: dict[int, DirectCall] = {}
        self._children: dict[int, list[int]] = {}  # direct call → calls that its task run made
        self._stopped: str | None = None  # why nothing may be added any more

    # life

    def start(self) -> None:
        """Begin to record; the loop starts with the first call."""
        self.record.start(self._inputs)
        self._inputs = None

    def _taken_from_us(self, error: RunFenced) -> None:
        """Another process drives the run now: whoever waits is told, nothing more begins."""
        logger.error("%s", error)
        self.give_up(error)

    def finish(self, *, cancel: bool, stop_generators: bool = False) -> None:
        """Wait until every element is final, or cancel those that are not.

        Values can still be fetched afterwards.

        Parameters
        ----------
        cancel
            Cancel instead of waiting.
        stop_generators
            Mapped generators that have not ended are not consumed any further.
        """
        if cancel:
            if self.fatal is not None:
                return
            self._ask(CancelAll("the flow run ended"))
        elif stop_generators and self._sources:
            self._post(GeneratorsStopped(), now=True)
        if not self.wait(self._all_final, _PATIENCE_S):
            for view in list(self._views.values()):
                if view.width is None and view.call in self._sources:
                    logger.warning(
                        "The flow function has returned; its map of task %r goes on consuming a "
                        "generator (%d items so far). Call .cancel() on a map over an endless "
                        "generator, or use @flow(on_exit='cancel').",
                        view.task_name, len(view.codes),
                    )
            self.wait(self._all_final)
        self._tell_computed_again()

    def _tell_computed_again(self) -> None:
        """Say what was executed although its outcome was recorded: its value was needed."""
        world = self._engine.world
        for again, why in ((world.computed_again, "are not kept"),
                           (world.not_found_again, "were kept, and cannot be read any more")):
            if again:
                logger.info(
                    "%d task runs that had completed were computed again for their values, which "
                    "%s: %s.", again.total(), why,
                    ", ".join(f"{many} of task {name!r}" for name, many in sorted(again.items())))
                again.clear()

    def stop(self, reason: str) -> None:
        """Cancel what is not final, and refuse further calls; from any thread, without waiting."""
        self._stopped = reason
        if not self._added or self.fatal is not None:
            return
        if self.runner.synchronous:  # heard by the thread that the run belongs to
            with self._asking:
                self._asked += 1
            self._events.append(CancelAll(reason))
        else:
            self._ask(CancelAll(reason))

    def _ask(self, event: CancelAll | ValueLost) -> None:
        with self._asking:
            self._asked += 1
        self._post(event, now=True)

    def close(self, *, cancelled: bool = False) -> None:
        """Release what is held, write the last records, close the runner if it is ours.

        Raises
        ------
        StoreError
            Records could not be written.
        """
        self._end_loop()
        try:
            self._close_session(cancelled)
            if self._owns_runner:
                self.runner.close(cancelled=cancelled)
        finally:
            self.record.close(self._engine.take_gulp())

    def next_attempt(self, run: RunInfo, *, cancelled: bool = False) -> Driver:
        """End here and return the driver of the run's next attempt.

        It goes on with the runner, the records and the count of calls; this
        one, which futures and code left behind may still have, records nothing more.
        """
        record, self.record = self.record, RunRecord.nowhere(run)
        owns, self._owns_runner = self._owns_runner, False
        self._end_loop()
        self._close_session(cancelled)
        record.put(self._engine.take_gulp())
        number = next(self._numbers)
        record.attempt(run)
        record.change(first_call=number)
        return Driver(record=record, run=run, runner=self.runner, store=None, owns_runner=owns,
                      first_call=number)

    def abandon(self, message: str) -> Driver:
        """Cancel what is open although another thread is at work in here, and take the rest over.

        For a synchronous runner whose thread is left behind in user code: the
        lock is its, and it decides nothing until it comes back.
        """
        self._engine.hear(CancelAll(message), time.time())
        self._engine.take_commands()
        return self.next_attempt(self.run)

    def _all_final(self) -> bool:
        with self._lock:
            return (self._heard == self._added and self._asked_heard == self._asked
                    and self._engine.open_calls == 0)

    # what a flow asks

    def next_call(self, task_name: str = "", kind: str = "") -> int:
        """Return the number of the next call; a recorded one gets its own when it is made."""
        return next(self._numbers)  # in one piece: several threads may ask

    def next_flow(self, flow_name: str, kind: str, fits: Callable[[int], bool]) -> int:
        """Return the number of the next call of a flow; of one that was recorded, the one it has.

        ``fits``: whether a recorded call is one with these parameters.
        """
        if self.resumption is not None:
            number = self.resumption.number(self._parent(), flow_name, kind, fits)
            if number is not None:
                return number
        return self.next_call(flow_name, kind)

    def ordinal(self, task_name: str) -> int:
        """Return how many calls of a task were made before in this try of the function."""
        return next(self._ordinals.setdefault(task_name, count()))

    def view(self, call: int) -> CallView:
        """Return the columns of a call."""
        return self._views[call]

    def rolled_back(self, call: int, indexes: Sequence[int]) -> None:
        """Say of completed elements that their effects were undone: they are cached no more."""
        from dataflow.task_transactions import undone

        undone(self._views[call], indexes, self.record)
        self.record.put_soon(Gulp(undone={call: set(indexes)}))

    def committed(self, call: int, *, soon: bool) -> None:
        """Record that a transaction committed a call: it has no part in one any more."""
        gulp = Gulp(committed={call: None})
        if soon:
            self.record.put_soon(gulp)
        else:
            self.record.put(gulp)

    def keep_txn_values(self, call: int, values: bytes) -> None:
        """Record what a direct call set in its transaction, pickled."""
        self.record.put(Gulp(txn_values={call: values}))

    def add(self, spec: CallSpec) -> CallView:
        """Add a call to the graph; returns at once.

        Returns
        -------
        CallView
            The call's columns, which change as it runs.
        """
        if self._stopped is not None:
            self._refuse()
        code = spec.code
        facts = {} if code.task.caching is None else facts_of(code)
        spec.facts = with_inputs(facts, spec)
        if self.resumption is not None and spec.failed is None:
            lengths = {len(m.items) for m in spec.mapped if m.items is not None}
            spec.recorded = self._recorded(code, spec.kind, spec.task_key, spec.facts, lengths)
        spec.parent = self._parent_of(code.call)
        view = CallView(code.call, code.task.name, spec.kind, None, bytearray(),
                        caching=code.task.caching)
        if spec.recorded is not None and spec.recorded.committed:
            view.committed = bytes(spec.recorded.codes)
        if not spec.mapped:
            view.width = 1
            view.codes = bytearray(1)
        self._views[code.call] = view
        generators = [m for m in spec.mapped if m.iterator is not None]
        if generators:
            self._sources[code.call] = Source(code.call, generators, self._post)
        self._added += 1
        self._post(CallAdded(spec, view))
        return view

    def _recorded(self, code: CallCode, kind: str, task_key: str, facts: dict[str, Any],
                  lengths: set[int]) -> Recorded | None:
        """Return what is recorded of a call, which gets the number that it has there."""
        assert self.resumption is not None
        recorded = self.resumption.find(self._parent(), code.task.name, kind, facts, lengths)
        if recorded is None:
            return None
        code.call = recorded.call
        if recorded.task_key != task_key and any(recorded.codes):
            self.resumption.tell_changed(code.task.name)
        return recorded

    def _refuse(self) -> NoReturn:
        raise CancelledRun(f"Nothing can be called, submitted or mapped here: {self._stopped}.")

    def _parent_of(self, call: int) -> int | None:
        """Return the direct call whose task run makes this call, None where the run itself does."""
        parent = self._parent()
        if parent is not None:
            children = self._children.setdefault(parent, [])
            if not children and parent in self._under_way:  # so that they are found by it
                self.record.direct_began(self._under_way[parent])
            children.append(call)
        return parent

    def _parent(self) -> int | None:
        task_run = current_task.get()
        if task_run is None or task_run.run is not self.run:
            return None
        return task_run.code.call

    def cancel_children(self, parent: int) -> None:
        """Cancel the calls that a direct call's task run made and that have not ended."""
        for call in self._children.pop(parent, ()):
            view = self._views.get(call)
            if view is not None and not view.is_done():
                self.cancel(call)

    def direct(self, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
               task_key: str, caller: FlowRunContext) -> tuple[CallView, Any]:
        """Run a task here and now, retries included, and record it.

        Returns
        -------
        CallView, value
            The value is None unless the code is COMPLETED.
        """
        call, recorded = self._direct_begins(code, args, kwargs, task_key)
        if recorded.final:
            view, value = recorded.taken(
                lambda: run_here(code, args, kwargs, self.run, self.record, caller=caller))
            self._views[code.call] = view
            return view, value
        try:
            outcome = run_here(
                code, args, kwargs, self.run, self.record, history=call.history, caller=caller,
                nested=call.nested, before=recorded.before, first_wait_s=recorded.wait_s,
                told=lambda waits: self.record.direct_waits(call, waits))
            return self._direct_ended(call, outcome), outcome.value
        finally:
            self._under_way.pop(code.call, None)

    async def direct_awaited(self, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
                             task_key: str, caller: FlowRunContext) -> tuple[CallView, Any]:
        """Run an async task on the caller's loop, as :meth:`direct` does in its thread."""
        from dataflow.worker.async_attempt import arrive_here

        call, recorded = self._direct_begins(code, args, kwargs, task_key, beside=True)
        if recorded.final:
            again = None
            if not recorded.at_hand:
                again = await arrive_here(code, args, kwargs, self.run, self.record,
                                          caller=caller)
            view, value = recorded.taken(lambda: again)
            self._views[code.call] = view
            return view, value
        try:
            outcome = await arrive_here(
                code, args, kwargs, self.run, self.record, history=call.history, caller=caller,
                nested=call.nested, before=recorded.before, first_wait_s=recorded.wait_s,
                told=lambda waits: self.record.direct_waits(call, waits))
            return self._direct_ended(call, outcome), outcome.value
        finally:
            self._under_way.pop(code.call, None)

    def _direct_begins(self, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
                       task_key: str, *, beside: bool = False) -> tuple[DirectCall, DirectRecorded]:
        """Take a direct call in, and what is recorded of it; ``beside``: others may be under way.

        What its arguments are is noted where that may be needed to tell it from others:
        calls one after another are told by their order.
        """
        if self._stopped is not None:
            self._refuse()
        began, found = time.time(), None
        if code.task.caching is not None:
            facts = facts_of(code, args, kwargs)
        elif beside or self._under_way or self.resumption is not None:
            facts = given(code, args, kwargs)
        else:
            facts = {}
        if self.resumption is not None:
            found = self._recorded(code, "direct", task_key, facts, set())
        call = DirectCall(code, task_key, began, self._parent_of(code.call), facts)
        recorded = DirectRecorded(code, found)
        if not recorded.final:
            self._under_way[code.call] = call
        elif not recorded.at_hand:
            world = self._engine.world
            again = world.not_found_again if recorded.sought else world.computed_again
            again[code.task.name] += 1
        return call, recorded

    def stream_began(self, code: CallCode, task_key: str, began_s: float) -> None:
        """Record that a generator is being consumed."""
        if self.resumption is not None:
            number = self.resumption.number(
                self._parent(), code.task.name, "direct", lambda call: True)
            code.call = code.call if number is None else number
        self.record.direct_began(
            DirectCall(code, task_key, began_s, self._parent_of(code.call), {}))

    def stream_ended(self, code: CallCode, task_key: str, began_s: float, outcome: Outcome,
                     history: list[Attempt]) -> CallView:
        """Record how a generator ended that was consumed directly."""
        return self._direct_ended(
            DirectCall(code, task_key, began_s, None, {}, history), outcome)

    def _direct_ended(self, call: DirectCall, outcome: Outcome) -> CallView:
        code = call.code
        view = CallView(code.call, code.task.name, "direct", 1, bytearray([outcome.code]))
        view.final = 1
        if outcome.error is not None:
            view.errors[0] = outcome.error
            view.failed_order = [0]
        if outcome.name is not None:
            view.names[0] = outcome.name
        if outcome.said is not None:
            view.take(0, outcome.said)
        if outcome.key is not None:
            view.caching, view.keys = code.task.caching, bytearray(outcome.key)
        self._views[code.call] = view
        self.record.direct(call, outcome)
        if call.nested:
            self.record.put_nested(call.nested)
        return view

    def subscribe(self, call: int, index: int, fn: Callable[[], None]) -> None:
        """Call ``fn`` once when an element is final, on a thread of its own; at once if it is."""
        self._callbacks.add(call, index, fn)

    def watch(self, watch: Watch) -> None:
        """Wake somebody once something is final; at once if it is."""
        if self.fatal is not None:
            watch.wake()
        self._watchers.add(watch)

    def unwatch(self, watch: Watch) -> None:
        """Forget somebody who does not wait any more."""
        self._watchers.drop(watch)

    def cancel(self, call: int, index: int | None = None) -> bool:
        """Cancel an element or a call; return False when it was final already."""
        if self._views[call].is_done(index):
            return False
        self._post(CancelAsked(call, index, "cancelled by the flow"), now=True)
        self.wait(lambda: self._views[call].is_done(index))
        return True

    def release(self, call: int) -> None:
        """Nobody holds a future of this call any more."""
        if not self._stopping:  # called from __del__, in any thread: nothing here takes a lock
            self._events.append(HandleDropped(call))
            if not self.runner.synchronous:
                self._signal.put(None)

    def failures(self, limit: int = 100) -> list[tuple[CallView, int]]:
        """Return failed elements, some of each call, for messages."""
        out: list[tuple[CallView, int]] = []
        for view in list(self._views.values()):
            out += [(view, i) for i in view.failed_order[:10]]
            if view.fault is not None:
                out.append((view, len(view.codes)))
            if len(out) >= limit:
                break
        return out[:limit]

    # records of the flow itself

    def record_state(self, state_type: str, state_name: str, message: str | None = None,
                     error: ErrorRecord | None = None) -> None:
        """Record a state of the flow run; start and end times follow from it."""
        self.record.state(state_type, state_name, message, error)

    def record_result(self, key: bytes | None, place: str | None) -> None:
        """Record under which key the flow run's own result is kept, and where."""
        self.record.change(result_key=key, result_place=place)

    def record_subflow(self, call: CallRecord | None, element: ElementRecord) -> None:
        """Record the call that stands for a flow called in this one: made, or ended."""
        if call is not None:
            call.parent = self._parent_of(call.call)
        self.record.subflow(call, element)

    def log(self, line: LogLine) -> None:
        """Record a log line of the flow or of a direct call."""
        self.record.line(line)

    # values

    def values(self, call: int, indexes: Sequence[int],
               timeout_s: float | None = None) -> list[Any]:
        """Bring the values of COMPLETED elements, in the order asked for.

        Raises
        ------
        TimeoutError
            They did not arrive in time.
        MissingResult
            An element has no value (any more).
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        for tried in range(_FETCH_TRIES):
            if tried > 1:
                time.sleep(_FETCH_PAUSE_S * tried)
            wanted = self._where(call, indexes)
            if wanted is not None:
                try:
                    return self._fetcher.bring(wanted, self._session, until)
                except BlockLost:
                    pass
            self._restore(call, indexes, until)
            if self._engine.world.lost is not None:
                raise MissingResult(
                    f"the values of task {self._views[call].task_name!r} were lost with the "
                    f"runner: {self._engine.world.lost}", call=call,
                )
        raise MissingResult(
            f"the values of task {self._views[call].task_name!r} were lost with the workers that "
            f"held them, {_FETCH_TRIES} times", call=call,
        )

    def _where(self, call: int, indexes: Sequence[int]) -> Wanted | None:
        """Return where values lie, None where some lie nowhere."""
        with self._lock:
            node = self._engine.world.nodes.get(call)
            if node is None:
                raise MissingResult(f"call {call} keeps no values", call=call)
            if node.places.losses and any(node.places.of(i) is None for i in indexes):
                return None
            batches = node.places.over(indexes)
            return Wanted(call, indexes, node.succeeded == node.width
                          and isinstance(indexes, range) and indexes == range(node.width),
                          {b: self._handles[b] for b in batches if b in self._handles})

    def _restore(self, call: int, indexes: Sequence[int], until: float | None) -> None:
        """Have values computed again that no worker holds any more."""
        lost = self._lost(call, indexes)
        self._ask(ValueLost(tuple((call, i) for i in lost)))
        node = self._engine.world.nodes[call]

        def back() -> bool:
            return self._asked_heard == self._asked and not node.restoring

        left = None if until is None else max(0.0, until - time.monotonic())
        if not self.wait(back, left):
            raise TimeoutError("lost values were not computed again in time")

    def _lost(self, call: int, indexes: Sequence[int]) -> list[int]:
        """Return the elements whose block cannot be had; one lost block costs its own alone."""
        with self._lock:
            places = self._engine.world.nodes[call].places
            place_of = {i: places.of(i) for i in indexes}
            handles = {b: self._handles.get(b) for b in {*place_of.values()} if b is not None}
            session = self._session
        there = set()
        for batch, handle in handles.items():
            try:
                if handle is not None and session is not None:
                    session.fetch([handle])
                    there.add(batch)
            except BlockLost:
                continue
        return [i for i, place in place_of.items() if place not in there]
