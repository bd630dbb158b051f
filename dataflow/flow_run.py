"""One run of a flow, from its parameters to its final state.

Lives here: the order of things: parameters, runner, driver, the function, the
drain, another attempt, the final state, hooks. It stands once, as a plan of
steps, for plain and async flows and for generators of both kinds. Does not live
here: how steps are gone through (``flow_steps.py``), the function as a step
(``flow_function.py``), the rules of each thing (``parameters.py``,
``runner_choice.py``, ``final_state.py``), or anything about single task runs
(``driver.py``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import BoundArguments
from typing import Any

from dataflow.arguments import waited_for
from dataflow.batch import RunInfo
from dataflow.context import FlowRunContext, RunDriver
from dataflow.direct import Inputs, resolved
from dataflow.exceptions import ParameterTypeError, RunFenced
from dataflow.failures import own_frames, record_of, shorn
from dataflow.final_state import (
    Returned,
    aborted,
    failed,
    unseen_failures,
    wait_for_futures,
)
from dataflow.flow_dry_run import DryRun
from dataflow.flow_function import Call, Items
from dataflow.flow_hooks import due
from dataflow.flow_opening import Runnable, continued, opened, pretending
from dataflow.flow_options import retries_of
from dataflow.flow_resume import ResumePoint, child_point, since
from dataflow.flow_steps import Blocking, Pause, Plan, Step, perform
from dataflow.logging import flow_logger
from dataflow.nested import run_around
from dataflow.outcomes import ErrorRecord
from dataflow.parameters import to_json
from dataflow.retry_words import waiting_words
from dataflow.settings import get_settings
from dataflow.state_details import StateDetails
from dataflow.states import Cancelled, Failed, State
from dataflow.store import Store
from dataflow.subflow import Ended, StandIn, not_ready, upstream_calls
from dataflow.telling import tell_after


class FlowRun:
    """A run of a flow, made for one call.

    Parameters
    ----------
    flow
        The flow.
    args, kwargs
        As the caller gave them.
    wait_for
        Futures of the flow around that must complete first.
    dry
        The dry run that this is; None: it is real.
    point
        Where a run goes on that another process began; None: it is a new one.

    Attributes
    ----------
    ended
        Set when everything is over.
    state
        The final state, None before the end.

    Raises
    ------
    ParameterBindError
        The arguments do not fit.
    """

    def __init__(self, flow: Runnable, args: tuple[Any, ...], kwargs: dict[str, Any],
                 wait_for: Any, dry: DryRun | None = None,
                 point: ResumePoint | None = None) -> None:
        flow.arguments.bind(args, kwargs)
        self.flow: Any = flow
        self.settings = flow.settings if dry is None else pretending(flow.settings, dry)
        self.state: State | None = None
        self._dry = dry
        self._point = point
        self.ended = threading.Event()
        self._given = args, kwargs, waited_for(wait_for)
        self._parent: FlowRunContext | None = None
        self._bound: BoundArguments
        self._refusal: State | None = None  # why the function is not even called
        self._upstream: tuple[int, ...] = ()
        self._stand_in: StandIn | None = None
        self._context: FlowRunContext
        self._store: Store | None
        self._function: Call | None = None
        self._closing = False
        self._lock = threading.Lock()

    def plan(self) -> Plan[State]:
        """Run and return the final state; what is no Exception is raised after the clean-up."""
        parent = self._parent = run_around()
        if parent is not None:
            self._dry = parent.dry
        yield Blocking(self._take, parent, in_place=_in_place(parent))
        if parent is not None:
            self._stand_in = StandIn(parent, self.settings.name, self._upstream,
                                     to_json(self._bound.arguments))
            if self._dry is None:
                self._point = child_point(
                    parent.driver, self._stand_in.task_run_id, parent.store)
                before = self._returned_before()
                if before is not None:
                    return before
        self._context, self._store = opened(
            self.flow, self.settings, self._bound, parent, self._stand_in, self._dry, self._point)
        control = self._context.control
        if parent is not None:
            parent.children.add(self)
        if control is not None:
            control.on_stop(self._told_to_stop)
        try:
            yield self._blocking(self._context.driver.start)
            if self._point is not None and not self._point.begins:
                self._tell_resumed(self._point)
            if self._stand_in is not None:
                self._stand_in.begin()
            if self._refusal is not None:
                refusal = self._own(self._refusal)
                yield from self._end(refusal)
                return refusal
            state = yield from self._attempts()
            yield from self._end(state)
        except BaseException as error:  # user code, or Ctrl-C anywhere
            yield from self._abort(error)
            raise
        finally:
            self._leave("has ended")
            self.ended.set()
            if parent is not None:
                parent.children.discard(self)
            if control is not None:
                control.forget(self._told_to_stop)
        return state

    def _tell_resumed(self, point: ResumePoint) -> None:
        """Say what is kept and what runs."""
        verb = "Retrying" if point.retry else "Resuming"
        flow_logger(self._context).info(
            "%s flow run %r of flow %r, begun %s ago: %s", verb, point.row.name,
            self.settings.name, since(point.row), point.resumption.summary)

    def _told_to_stop(self) -> None:
        """Cancel what the run has open: the task run around it is stopped, in any thread."""
        self._context.driver.stop("the task run around it was cancelled")

    def stop(self, message: str) -> None:
        """Cancel the run from outside; its function may go on and leads nowhere."""
        if self._first_to_close():
            if self._function is not None:
                self._function.left_behind = True
            perform(self._cut_off(Cancelled(message=message)))

    # before the function

    def _take(self) -> None:
        """Resolve, bind and validate the arguments."""
        parameters = self.flow.arguments
        args, kwargs, wait_for = self._given
        parent = self._parent
        if parent is None:
            args, kwargs = resolved(args, kwargs)
        else:
            self._upstream = upstream_calls(parent, args, kwargs, wait_for)
            inputs = Inputs(parent)
            args, kwargs = inputs.values(args), inputs.values(kwargs)
            inputs.after(wait_for)
            if inputs.failed:
                self._refusal = not_ready(self.settings.name, inputs.failed[0])
        bound = self._bound = parameters.bind(args, kwargs)
        checked = parent is None or parent.dry is None  # a dry run's values are placeholders
        if self.settings.validate_parameters and checked and self._refusal is None:
            given = set(parameters.signature.bind(*args, **kwargs).arguments)
            try:
                parameters.validate(bound, given)
            except ParameterTypeError as error:
                self._refusal = Failed(
                    message=f"Validation of flow parameters failed with error: {error}",
                    data=error)

    # attempts

    def _attempts(self) -> Plan[State]:
        """Call the function until it does not fail or there are no retries left."""
        retries, delay_s = retries_of(self.settings)
        while True:
            state = yield from self._attempt()
            count = self._context.run.run_count
            begun = isinstance(self._function, Items) and self._function.yielded
            if (not state.is_failed() or count > retries or begun or self._closing
                    or self._is_fenced()):
                return state
            yield from self._await_retry(state, count, retries, delay_s)

    def _is_fenced(self) -> bool:
        """Tell whether another process has taken the run over."""
        return isinstance(self._context.driver.fatal, RunFenced)

    def _attempt(self) -> Plan[State]:
        """Call the function, drain what it submitted, tell the state."""
        context, settings = self._context, self.settings
        driver, logger = context.driver, flow_logger(context)
        first = context.run.run_count == 1
        if first:
            logger.info("Beginning flow run %r for flow %r", context.run.flow_run_name,
                        settings.name)
        running = State("RUNNING", "Running" if first else "Retrying")
        driver.record_state(running.type.value, running.name)
        yield from due(self.flow, context, running)
        kind = Items if self.flow.kind.endswith("generator") else Call
        function = self._function = kind(
            self.flow.fn, self._bound.args, self._bound.kwargs, context, settings.timeout_seconds)
        error: Exception | None = None
        value: Any = None
        try:
            value = yield function
        except Exception as raised:  # user code
            error = shorn(raised, "dataflow.")
        if function.timed_out:
            yield from self._cut_short(function, str(error))
            return self._own(Failed("TimedOut", message=str(error), data=error))
        yield from self._drain(value, error)
        if error is not None:
            state = self._own(failed(error))
        else:
            state = yield self._blocking(lambda: self._state_of(value))
        return self._judged(state)

    def _drain(self, value: Any, error: Exception | None) -> Plan[None]:
        """Wait for what the function submitted, or cancel it where the flow says so."""
        context, cancel = self._context, self.settings.on_exit == "cancel"
        if cancel:
            yield self._blocking(lambda: wait_for_futures(value))
        for child in list(context.children):
            if cancel or child.flow.kind.endswith("generator"):
                yield self._blocking(partial(child.stop, "the flow around it ended"))
            else:
                yield Blocking(child.ended.wait)  # never in place: the loop may have to run it
        yield self._blocking(lambda: context.driver.finish(
            cancel=cancel, stop_generators=error is not None))

    def _state_of(self, value: Any) -> State:
        """Return the final state for what the function returned."""
        returned = Returned(value)
        for text in returned.lost:
            flow_logger(self._context).warning("A returned value could not be fetched: %s", text)
        state = returned.state()
        if state.is_completed() and self._keeps():
            from dataflow.flow_result import keep

            self._context.driver.record_result(*keep(
                self.flow, self._context.run, state.data if state.has_data() else None))
        return state if state is returned.value else self._own(state)

    def _keeps(self) -> bool:
        """Tell whether what the flow returns is kept."""
        own = self.settings.keeping.persist
        wanted = get_settings().results_persist_by_default if own is None else own
        return wanted and self._dry is None and self._context.run.keeping is not None

    def _returned_before(self) -> State | None:
        """Return the state of a flow that completed before the run around was interrupted."""
        point = self._point
        if point is None or point.row.state_type != "COMPLETED" or point.row.result_key is None:
            return None
        from dataflow.flow_result import NotKept, kept
        from dataflow.keeping_defaults import keeping_defaults

        around = None if self._parent is None else self._parent.run.keeping
        try:
            value = kept(self.flow, keeping_defaults(self.settings.keeping, None, around),
                         point.row.result_key)
        except NotKept:
            return None
        return State("COMPLETED", point.row.state_name, point.row.message, value,
                     state_details=StateDetails(point.row.id))

    def _own(self, state: State) -> State:
        """Return a state that says which run it is of; one that the user made does not."""
        details = StateDetails(self._context.run.flow_run_id)
        return state.copy(update={"state_details": details})

    def _judged(self, state: State) -> State:
        """Tell of failures that nobody took; a strict flow does not complete with them."""
        unseen = unseen_failures(self._context)
        if unseen is None:
            return state
        if self.settings.strict and state.is_completed():
            return self._own(Failed(message=unseen.text, data=unseen.error()))
        flow_logger(self._context).warning("%s", unseen.text)
        return state

    def _await_retry(self, state: State, count: int, retries: int, delay_s: float) -> Plan[None]:
        """Get ready for another attempt, in time."""
        context = self._context
        when = f"in {delay_s:g} second(s)" if delay_s else "now"
        record = _record(state)
        flow_logger(context).warning(
            "%s; attempt %d of %d begins %s%s", state.message, count + 1, retries + 1, when,
            f"\n{record.traceback.rstrip()}" if record is not None else "")
        context.driver.record_state("SCHEDULED", "AwaitingRetry", waiting_words(
            state.message, count + 1, retries + 1, time.time() + delay_s))
        if delay_s:
            yield Pause(delay_s)
        run = replace(context.run, run_count=count + 1)
        driver = yield self._blocking(lambda: context.driver.next_attempt(run))
        self._leave("has begun another attempt")
        self._go_on(driver, run)

    def _go_on(self, driver: RunDriver, run: RunInfo) -> None:
        """Make the context of what follows: code left behind keeps the one it has."""
        self._context = continued(self._context, driver, run)

    # the end

    def _cut_short(self, function: Call, why: str) -> Plan[None]:
        """Cancel whatever is under way, also where the function is left behind in it."""
        context = self._context
        for child in list(context.children):
            yield self._blocking(partial(child.stop, why), to_its_end=True)
        driver = context.driver
        if function.left_behind:
            self._leave(f"was cut short ({why})")
            if context.runner.synchronous:
                self._go_on(driver.abandon(why), context.run)
                return
            self._go_on(driver, context.run)
        yield self._blocking(lambda: driver.finish(cancel=True), to_its_end=True)

    def _leave(self, why: str) -> None:
        """Take the driver away from code that may still run in this context."""
        context = self._context
        if not isinstance(context.driver, Ended):
            context.driver = Ended(context.driver, f"Flow run {context.run.flow_run_name!r} {why}")
        context.ended = True

    def _end(self, state: State, *, cancelled: bool = False) -> Plan[None]:
        """Record the final state, call hooks and close, unless somebody else does."""
        if self._first_to_close():
            yield from self._close(state, cancelled)

    def _first_to_close(self) -> bool:
        with self._lock:
            first, self._closing = not self._closing, True
            return first

    def _close(self, state: State, cancelled: bool) -> Plan[None]:
        context = self._context
        self.state = state
        level = logging.INFO if state.is_completed() else logging.ERROR
        flow_logger(context).log(level, "Finished in state %s", state)
        record = _record(state)
        driver = context.driver
        driver.record_state(state.type.value, state.name, state.message, record)
        if self._stand_in is not None:
            self._stand_in.end(state, record)
        fenced = self._is_fenced()
        self._leave("has ended")
        try:
            if not fenced:  # its hooks are the other process's to call
                yield from due(self.flow, context, state)
        finally:
            yield self._blocking(lambda: self._release(driver, cancelled), to_its_end=True)

    def _release(self, driver: RunDriver, cancelled: bool) -> None:
        from dataflow.stores.reuse import after_run

        context = self._context
        try:
            driver.close(cancelled=cancelled)
            if self._dry is None:
                tell_after(context.run, self.settings.alerts, context.store)
        finally:
            if self._store is not None:
                after_run(self._store)

    def _abort(self, error: BaseException) -> Plan[None]:
        """Cancel what is left, record how the run ended, close; whatever happens on the way."""
        if self._first_to_close():  # else closing itself failed: there is nothing left to do
            yield from self._cut_off(aborted(error))

    def _cut_off(self, state: State) -> Plan[None]:
        function = self._function
        try:
            if function is None:
                driver = self._context.driver
                yield self._blocking(lambda: driver.finish(cancel=True), to_its_end=True)
            else:
                yield from self._cut_short(function, state.message or state.name)
        finally:
            yield from self._close(state, cancelled=True)

    def _blocking(self, fn: Callable[[], Any], *, to_its_end: bool = False) -> Step:
        context = self._context
        return Blocking(fn, context, in_place=_in_place(context), to_its_end=to_its_end)


def _in_place(context: FlowRunContext | None) -> bool:
    """Tell whether waiting is the work: nobody but this thread runs tasks."""
    return context is not None and bool(context.runner.synchronous)


def _record(state: State) -> ErrorRecord | None:
    """Return the record of the exception that a run ended with; its traceback is the user's."""
    data = state.data if state.has_data() and not state.is_completed() else None
    if not isinstance(data, BaseException):
        return None
    return record_of(data, remote=False, skip_frames=own_frames(data, "dataflow."))
