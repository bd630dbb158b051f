"""Functions that a flow wants to be called when its run enters a state.

Lives here: the five kinds, their checks, their decorators, and a call of one as
a step. Does not live here: when they are called (``flow_run.py``), hooks of
tasks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from dataflow.context import FlowRunContext
from dataflow.exceptions import DefinitionTypeError
from dataflow.flow_steps import Step
from dataflow.hooks import run_to_end
from dataflow.logging import flow_logger
from dataflow.run_views import FlowRunView
from dataflow.states import State, StateType

Hook = Callable[[Any, FlowRunView, State], Any]
"""``(flow, flow_run, state)``, plain or async; what it returns is not looked at."""

H = TypeVar("H", bound=Callable[..., Any])

KINDS = ("on_completion", "on_failure", "on_cancellation", "on_crashed", "on_running")

_KIND_OF = {
    StateType.COMPLETED: "on_completion", StateType.FAILED: "on_failure",
    StateType.CANCELLED: "on_cancellation", StateType.CANCELLING: "on_cancellation",
    StateType.CRASHED: "on_crashed", StateType.RUNNING: "on_running",
}


def check_hooks(kind: str, value: Any, label: str) -> list[Hook]:
    """Return hooks as a list.

    Raises
    ------
    DefinitionTypeError
        Not an iterable, or something in it cannot be called.
    """
    if value is None:
        return []
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        raise DefinitionTypeError(
            f"{kind} of {label} must be a list of functions (flow, flow_run, state), got "
            f"{type(value).__name__} {value!r}; write {kind}=[...]", option=kind)
    hooks = list(value)
    for hook in hooks:
        if not callable(hook):
            raise DefinitionTypeError(
                f"{kind} of {label} must hold nothing but functions (flow, flow_run, state), got "
                f"{type(hook).__name__} {hook!r} in it", option=kind)
    return hooks


class FlowHooks:
    """The hooks of a flow, and the decorators that add one.

    Attributes
    ----------
    on_completion_hooks, on_failure_hooks, on_cancellation_hooks, on_crashed_hooks, on_running_hooks
        Lists, called in their order.
    """

    on_completion_hooks: list[Hook]
    on_failure_hooks: list[Hook]
    on_cancellation_hooks: list[Hook]
    on_crashed_hooks: list[Hook]
    on_running_hooks: list[Hook]

    def hooks_of(self, kind: str) -> list[Hook]:
        """Return the hooks of a kind, e.g. ``"on_failure"``."""
        found: list[Hook] = getattr(self, f"{kind}_hooks")
        return found

    def set_hooks(self, given: dict[str, Any], label: str) -> None:
        """Take the hooks out of the keywords of a flow."""
        for kind in KINDS:
            setattr(self, f"{kind}_hooks", check_hooks(kind, given.get(kind), label))

    def on_completion(self, fn: H) -> H:
        """Call ``fn(flow, flow_run, state)`` when a run of this flow completes; a decorator."""
        return self._added("on_completion", fn)

    def on_failure(self, fn: H) -> H:
        """Call ``fn(flow, flow_run, state)`` when a run fails for good; a decorator."""
        return self._added("on_failure", fn)

    def on_cancellation(self, fn: H) -> H:
        """Call ``fn(flow, flow_run, state)`` when a run is cancelled; a decorator."""
        return self._added("on_cancellation", fn)

    def on_crashed(self, fn: H) -> H:
        """Call ``fn(flow, flow_run, state)`` when a run crashes; a decorator."""
        return self._added("on_crashed", fn)

    def on_running(self, fn: H) -> H:
        """Call ``fn(flow, flow_run, state)`` when an attempt of a run begins; a decorator."""
        return self._added("on_running", fn)

    def _added(self, kind: str, fn: H) -> H:
        self.hooks_of(kind).extend(check_hooks(kind, [fn], repr(self)))
        return fn


class HookCall(Step):
    """One hook, called for one state. What it raises is logged."""

    def __init__(self, hook: Hook, flow: Any, context: FlowRunContext, state: State) -> None:
        self.context: FlowRunContext = context
        self._state = state
        self._call = partial(hook, flow, FlowRunView(context.run, state), state)
        self._name = getattr(hook, "__name__", None) or type(hook).__name__

    def here(self) -> None:
        """Call the hook; an async one on a loop of its own."""
        self._begin()
        try:
            made = self._call()
            if inspect.iscoroutine(made):
                run_to_end(made)
        except Exception as error:  # user code: a hook changes nothing
            self._failed(error)

    async def later(self) -> None:
        """Call the hook, await an async one."""
        self._begin()
        try:
            made = self._call()
            if inspect.isawaitable(made):
                await made
        except Exception as error:  # user code: a hook changes nothing
            self._failed(error)

    def _begin(self) -> None:
        flow_logger(self.context).info(
            "Running hook %r in response to entering state %r", self._name, self._state.name)

    def _failed(self, error: Exception) -> None:
        flow_logger(self.context).error("Hook %r raised", self._name, exc_info=error)


def due(flow: FlowHooks, context: FlowRunContext, state: State) -> list[HookCall]:
    """Return the calls of the hooks for a state, in their order."""
    kind = _KIND_OF.get(state.type)
    hooks = flow.hooks_of(kind) if kind is not None and context.dry is None else []
    return [HookCall(hook, flow, context, state) for hook in hooks]
