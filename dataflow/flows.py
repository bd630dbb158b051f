"""``@flow``: a function whose task calls become a graph.

Lives here: :class:`Flow`, its options and their checks. Does not live here: a
run of it (``flow_run.py``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import (
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from dataflow.annotations import NotSet
from dataflow.context import current_task
from dataflow.exceptions import DefinitionTypeError
from dataflow.flow_run import FlowRun
from dataflow.options import Check, refuse_unknown
from dataflow.parameters import Parameters
from dataflow.runner import TaskRunner
from dataflow.runner_choice import RunnerOption, check_runner
from dataflow.signatures import Arguments, name_of, refuse_not_yet
from dataflow.states import State

P = ParamSpec("P")
P2 = ParamSpec("P2")
R = TypeVar("R")

_BANNED = "/%&<>"
_KEPT_ON_NONE = frozenset({"name", "description", "version", "flow_run_name", "task_runner"})


class FlowKeywords(TypedDict, total=False):
    """Keywords of ``@flow``, ``Flow`` and ``with_options``."""

    name: str | None
    version: str | None
    description: str | None
    flow_run_name: str | Callable[..., str] | None
    task_runner: TaskRunner | type[TaskRunner] | str | None
    validate_parameters: bool | None
    log_prints: bool | None
    on_exit: str | None
    retries: Any
    retry_delay_seconds: Any
    timeout_seconds: Any
    persist_result: Any
    result_storage: Any
    result_serializer: Any
    cache_result_in_memory: Any
    on_completion: Any
    on_failure: Any
    on_cancellation: Any
    on_crashed: Any
    on_running: Any


NOT_YET: dict[str, tuple[Any, ...]] = {
    "retries": (0,), "retry_delay_seconds": (0,), "timeout_seconds": (),
    "persist_result": (False,), "result_storage": (), "result_serializer": (),
    "cache_result_in_memory": (True,), "on_completion": (), "on_failure": (),
    "on_cancellation": (), "on_crashed": (), "on_running": (),
}
"""Keywords that do not act yet, each with the values that ask for what happens anyway."""


class Flow(Generic[P, R]):
    """A function that runs as a flow; made by :func:`flow`.

    Parameters
    ----------
    fn
        The function.
    options
        See :func:`flow`.

    Attributes
    ----------
    fn
        The function itself; calling it bypasses everything.
    parameters
        Its parameters.
    """

    def __init__(self, fn: Callable[P, R], **options: Unpack[FlowKeywords]) -> None:
        given: dict[str, Any] = {k: v for k, v in options.items() if v is not NotSet}
        label = f"flow {given.get('name') or name_of(fn)!r}"
        refuse_not_yet(fn, label)
        refuse_unknown(given, FlowKeywords.__annotations__, "flow")
        check = Check(label, given)
        check.not_yet(NOT_YET)
        Arguments(fn, label).refuse_reserved()
        self.fn = fn
        self._given = given
        self.name: str = _checked_name(check) or name_of(fn).replace("_", "-")
        self.version = check.text("version")
        self.description = check.text("description") or inspect.getdoc(fn)
        self.flow_run_name = _run_name(check)
        self.task_runner: RunnerOption | None = check_runner(check.get("task_runner"), label)
        self.should_validate_parameters = check.flag("validate_parameters") is not False
        self.log_prints = check.flag("log_prints")
        self.on_exit = _on_exit(check)
        self.parameters = Parameters(fn, label)
        update_wrapper(self, fn, updated=())

    def with_options(self, **options: Unpack[FlowKeywords]) -> Flow[P, R]:
        """Return a new flow with some options changed; this one stays as it is."""
        changed = {
            key: value for key, value in options.items()
            if value is not NotSet and not (value is None and key in _KEPT_ON_NONE)
        }
        return Flow(self.fn, **{**self._given, **changed})

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Flow[P, R]: ...
    @overload
    def __get__(
        self: Flow[Concatenate[Any, P2], R], instance: object, owner: type | None = None
    ) -> Flow[P2, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a method."""
        if instance is None:
            return self
        given = {"name": self.name, **self._given}
        return Flow(MethodType(self.fn, instance), **given)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], wait_for: Any = None,
                 **kwargs: Any) -> State: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[False] = False, wait_for: Any,
                 **kwargs: Any) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow and return what it returned, with states in the place of futures.

        Whatever the flow submitted has ended when this returns.

        Parameters
        ----------
        args, kwargs
            Parameters of the flow, coerced by their annotations.
        return_state
            Return the final state instead; nothing is raised for a failure.
        wait_for
            Futures of the flow around that must complete first.

        Raises
        ------
        ParameterBindError
            The arguments do not fit; no run was made.
        ParameterTypeError
            A value does not fit its annotation; the run is recorded as FAILED.
        Exception
            What the function raised, or the first failure among the states it returned.
        """
        return_state, wait_for = kwargs.pop("return_state", False), kwargs.pop("wait_for", None)
        if current_task.get() is not None:
            raise NotImplementedError(
                f"Flow {self.name!r} was called inside of a task: not implemented yet; call it "
                "from a flow")
        state = FlowRun(self, args, kwargs, wait_for).run()
        return state if return_state else state.result()

    def make_run_name(self, bound: inspect.BoundArguments) -> str | None:
        """Return the name of a run by template or callable, None where there is none.

        Raises
        ------
        DefinitionTypeError
            The callable did not return a str.
        """
        how = self.flow_run_name
        if how is None:
            return None
        if isinstance(how, str):
            return how.format(**bound.arguments)
        takes = inspect.signature(how).parameters
        name = how(parameters=dict(bound.arguments)) if "parameters" in takes else how()
        if not isinstance(name, str):
            raise DefinitionTypeError(
                f"flow_run_name of flow {self.name!r} returned {type(name).__name__}, "
                "expected str", option="flow_run_name")
        return name

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}>"


def _checked_name(check: Check) -> str | None:
    name = check.text("name")
    if name is not None and any(char in name for char in _BANNED):
        check.wrong("name", f"free of {' '.join(_BANNED)}")
    return name


def _run_name(check: Check) -> str | Callable[..., str] | None:
    value = check.get("flow_run_name")
    if value is not None and not isinstance(value, str) and not callable(value):
        check.wrong_type("flow_run_name", "a str or a callable that returns one")
    return cast("str | Callable[..., str] | None", value)


def _on_exit(check: Check) -> str:
    value = check.get("on_exit")
    if value not in (None, "wait", "cancel"):
        check.wrong("on_exit", "'wait' or 'cancel'")
    return cast(str, value) or "wait"


@overload
def flow(fn: Callable[P, R], /, **options: Unpack[FlowKeywords]) -> Flow[P, R]: ...
@overload
def flow(
    fn: None = None, /, **options: Unpack[FlowKeywords]
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(fn: Any = None, /, **options: Unpack[FlowKeywords]) -> Any:
    """Make a flow of a function; with or without parentheses.

    Parameters
    ----------
    name
        By default the function's name with ``_`` as ``-``.
    version, description
        For the reader; the description is the docstring by default.
    flow_run_name
        A template over the parameters, or a callable that returns a str, with
        or without a keyword ``parameters``; two words by default.
    task_runner
        A runner, a class of one, or a name: ``"threads"`` (the default),
        ``"inline"``, ``"dask"``. A flow called in a flow shares its runner by default.
    validate_parameters
        False: parameters are passed as they are.
    log_prints
        ``print`` in the flow and its tasks goes to the log.
    on_exit
        What happens to task runs that have not ended when the function
        returns: ``"wait"`` for them, or ``"cancel"`` those that the flow does not return.
    options
        The keywords above; retries, timeouts, results and hooks do not act yet.

    Returns
    -------
    Flow

    Raises
    ------
    DefinitionError
        An option has a value that cannot be meant; the text names it.
    NotImplementedError
        An option, or a kind of function, does not act yet.
    """
    if fn is None:
        return lambda fn: Flow(fn, **options)
    return Flow(fn, **options)

