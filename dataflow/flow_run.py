"""One run of a flow, from its parameters to its final state.

Lives here: the order of things: parameters, runner, driver, the function, the
drain, the final state, what the caller gets. Does not live here: the rules of
each (``parameters.py``, ``runner_choice.py``, ``final_state.py``), or anything
about single task runs (``driver.py``).
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from collections.abc import Callable
from contextvars import Token
from inspect import BoundArguments
from typing import Any, Protocol

from dataflow.batch import RunInfo
from dataflow.captured_logs import capture
from dataflow.context import FlowRunContext, LogSink, RunDriver, current_flow, current_tags
from dataflow.direct import Inputs, resolved
from dataflow.exceptions import ParameterTypeError, UpstreamTaskError
from dataflow.failures import own_frames, record_of, text_of, type_name
from dataflow.final_state import Returned, materialise, unseen_failures, wait_for_futures
from dataflow.ids import new_run_id
from dataflow.logging import flow_logger, prints_to_log, show_on_console
from dataflow.names import flow_run_name
from dataflow.outcomes import ErrorRecord, LogLine
from dataflow.parameters import Parameters, to_json
from dataflow.runner import TaskRunner
from dataflow.runner_choice import DEFAULT, RunnerOption, new_runner
from dataflow.settings import get_settings
from dataflow.states import Cancelled, Crashed, Failed, Pending, State
from dataflow.store import FlowRunRecord, Store


class Runnable(Protocol):
    """A flow, as far as a run of it needs one."""

    name: str
    version: str | None
    fn: Callable[..., Any]
    parameters: Parameters
    should_validate_parameters: bool
    task_runner: RunnerOption | None
    log_prints: bool | None
    on_exit: str

    def make_run_name(self, bound: BoundArguments) -> str | None:
        """Return the name of a run, None where the flow does not say."""


class _FlowLog(LogSink):
    """The flow's own lines go to the driver's recorder."""

    __slots__ = ("_driver",)

    def __init__(self, driver: RunDriver) -> None:
        self._driver = driver

    def add(self, call: int, index: int, attempt: int, time_s: float, level: int,
            logger: str, message: str) -> None:
        self._driver.log(LogLine(call, index, attempt, time_s, level, logger, message))


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
    """

    def __init__(self, flow: Runnable, args: tuple[Any, ...], kwargs: dict[str, Any],
                 wait_for: Any) -> None:
        self.flow = flow
        self.parent = current_flow.get()
        self._refusal: State | None = None  # why the function is not even called
        self._bound = self._take(args, kwargs, wait_for)
        self._context: FlowRunContext
        self._store: Store
        self._closing = False

    def _take(self, args: tuple[Any, ...], kwargs: dict[str, Any],
              wait_for: Any) -> BoundArguments:
        """Resolve, bind and validate the arguments."""
        parameters = self.flow.parameters
        parameters.bind(args, kwargs)
        if self.parent is None:
            args, kwargs = resolved(args, kwargs)
        else:
            inputs = Inputs(self.parent)
            args, kwargs = inputs.values(args), inputs.values(kwargs)
            inputs.values(wait_for)
            if inputs.failed:
                self._refusal = _upstream(self.flow.name, inputs.failed[0])
        bound = parameters.bind(args, kwargs)
        if self.flow.should_validate_parameters and self._refusal is None:
            given = set(parameters.signature.bind(*args, **kwargs).arguments)
            try:
                parameters.validate(bound, given)
            except ParameterTypeError as error:
                self._refusal = Failed(
                    message=f"Validation of flow parameters failed with error: {error}",
                    data=error)
        return bound

    def run(self) -> State:
        """Run and return the final state; what is no Exception is raised after the clean-up."""
        context = self._context = self._open()
        driver = context.driver
        token: Token[FlowRunContext | None] | None = None
        try:
            driver.start()
            token = current_flow.set(context)
            state = self._refused() if self._refusal is not None else self._go()
        except BaseException as error:  # user code, or Ctrl-C anywhere
            self._abort(error)
            raise
        finally:
            context.ended = True
            if token is not None:
                current_flow.reset(token)
        return state

    def _open(self) -> FlowRunContext:
        """Make the run's driver and context."""
        from dataflow.driver import Driver
        from dataflow.stores import open_store

        settings = get_settings()
        parent, flow = self.parent, self.flow
        level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
        if parent is None:
            show_on_console(level, settings.logging_to_console)
        runner = self._runner(settings.task_runner)
        info = self._info(level, settings.logging_extra_loggers)
        if info.extra_loggers:
            capture(info.extra_loggers, level)
        record = FlowRunRecord(
            id=info.flow_run_id, name=info.flow_run_name, flow_name=flow.name,
            flow_version=flow.version, parameters=to_json(self._bound.arguments),
            tags=info.tags, created_s=info.started_s,
            parent_flow_run_id=info.parent_flow_run_id, runner=runner.name,
            host=socket.gethostname(), pid=os.getpid(),
        )
        self._store = open_store(None)
        driver: RunDriver = Driver(
            record=record, run=info, runner=runner, store=self._store,
            owns_runner=parent is None or runner is not parent.runner,
        )
        log_prints = flow.log_prints
        if log_prints is None:
            log_prints = parent.log_prints if parent is not None else settings.log_prints
        if log_prints:
            prints_to_log(print)
        return FlowRunContext(info, driver, flow, log_prints, _FlowLog(driver), runner,
                              parent.root_flow_run_id if parent is not None else None)

    def _runner(self, by_setting: str | None) -> TaskRunner:
        option = self.flow.task_runner
        if option is None and self.parent is not None:
            shared: TaskRunner = self.parent.runner
            return shared
        return new_runner(option or by_setting or DEFAULT)

    def _info(self, level: int, extra_loggers: tuple[str, ...]) -> RunInfo:
        flow, parent = self.flow, self.parent
        return RunInfo(
            flow_run_id=new_run_id(),
            flow_run_name=flow.make_run_name(self._bound) or flow_run_name(random.Random()),
            flow_name=flow.name, flow_version=flow.version,
            parameters=dict(self._bound.arguments), tags=tuple(sorted(current_tags.get())),
            started_s=time.time(),
            parent_flow_run_id=parent.run.flow_run_id if parent is not None else None,
            log_level=level,
            root_flow_run_id=parent.root_flow_run_id if parent is not None else None,
            extra_loggers=extra_loggers,
        )

    def _refused(self) -> State:
        """End a run whose function is not called."""
        assert self._refusal is not None
        self._end(self._refusal)
        return self._refusal

    def _go(self) -> State:
        """Call the function, drain what it submitted, tell the final state."""
        context, flow = self._context, self.flow
        driver, logger = context.driver, flow_logger(context)
        logger.info("Beginning flow run %r for flow %r", context.run.flow_run_name, flow.name)
        driver.record_state("RUNNING", "Running")
        error: Exception | None = None
        value: Any = None
        try:
            value = materialise(flow.fn(*self._bound.args, **self._bound.kwargs))
        except Exception as raised:  # user code
            error = raised
        if flow.on_exit == "cancel":
            wait_for_futures(value)
        driver.finish(cancel=flow.on_exit == "cancel", stop_generators=error is not None)
        if error is not None:
            state = Failed(message=f"Flow run encountered an exception: {_text(error)}", data=error)
        else:
            returned = Returned(value)
            for text in returned.lost:
                logger.warning("A returned value could not be fetched: %s", text)
            state = returned.state()
        warning = unseen_failures(context)
        if warning is not None:
            logger.warning("%s", warning)
        self._end(state)
        return state

    def _end(self, state: State, *, cancelled: bool = False) -> None:
        """Record the final state and close the driver."""
        self._closing = True
        context = self._context
        level = logging.INFO if state.is_completed() else logging.ERROR
        flow_logger(context).log(level, "Finished in state %s", state)
        data = state.data if state.has_data() else None
        error: ErrorRecord | None = None
        if isinstance(data, BaseException) and not state.is_completed():
            error = record_of(data, remote=False, skip_frames=own_frames(data, "dataflow."))
        context.driver.record_state(state.type.value, state.name, state.message, error)
        try:
            context.driver.close(cancelled=cancelled)
        finally:
            self._store.close()

    def _abort(self, error: BaseException) -> None:
        """Cancel what is left, record how the run ended, close; whatever happens on the way."""
        if self._closing:  # closing itself failed: there is nothing left to do
            return
        if isinstance(error, KeyboardInterrupt):
            state = Cancelled(message="Interrupted")
        elif isinstance(error, SystemExit):
            state = Crashed(message="Execution was aborted by Python system exit call.", data=error)
        else:
            state = Crashed(message=f"Execution was aborted: {_text(error)}", data=error)
        try:
            self._context.driver.finish(cancel=True)
        finally:
            self._end(state, cancelled=True)


def _text(error: BaseException) -> str:
    text = text_of(error)
    return f"{type_name(type(error))}: {text}" if text else type_name(type(error))


def _upstream(flow_name: str, failed: Any) -> State:
    """Return the state of a flow that does not run because of an argument."""
    cause = failed.result(raise_on_failure=False)
    name = getattr(failed, "name", "?")
    message = f"Upstream task run {name!r} did not reach a 'COMPLETED' state."
    error = UpstreamTaskError(f"Flow {flow_name!r} did not run: {message}",
                              upstream_task_run_name=name)
    error.__cause__ = cause
    return Pending("NotReady", message=message, data=error)
