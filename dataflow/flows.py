"""``@flow``: a function whose task calls become a graph.

Lives here: :class:`Flow`, its options and their checks. Does not live here: a
run of it (``flow_run.py``).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from dataflow.annotations import NotSet
from dataflow.entrypoints import refuse_while_loading
from dataflow.flow_calls import started
from dataflow.flow_deploying import FlowDeploying
from dataflow.flow_dry_run import dry_graph
from dataflow.flow_graph import FlowGraph, recorded
from dataflow.flow_hooks import KINDS, FlowHooks
from dataflow.flow_options import KEPT_ON_NONE, FlowKeywords, check_flow, retries_of
from dataflow.flow_run import FlowRun
from dataflow.parameter_schema import ParameterSchema
from dataflow.parameters import Parameters
from dataflow.runner_choice import RunnerOption
from dataflow.signatures import Arguments, kind_of, name_of
from dataflow.states import State

if TYPE_CHECKING:
    from dataflow.alerts import Alert
    from dataflow.flow_plan import FlowPlan  # loaded when a plan is asked for

P = ParamSpec("P")
P2 = ParamSpec("P2")
R = TypeVar("R")
T = TypeVar("T")


class Flow(FlowHooks, FlowDeploying, Generic[P, R]):
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
    kind
        ``"sync"``, ``"async"``, ``"generator"`` or ``"async_generator"``.
    """

    def __init__(self, fn: Callable[P, R], **options: Unpack[FlowKeywords]) -> None:
        self._binding: type | None = None
        if isinstance(fn, (classmethod, staticmethod)):
            self._binding, fn = type(fn), fn.__func__
        given: dict[str, Any] = {k: v for k, v in options.items() if v is not NotSet}
        label = f"flow {given.get('name') or name_of(fn)!r}"
        self.kind = kind_of(fn, label)
        Arguments(fn, label).refuse_reserved()
        self.fn = fn
        self._function: Callable[..., Any] = fn  # of a method: not bound
        self._given = given
        self.arguments = Parameters(fn, label)
        self.settings = check_flow(given, name_of(fn).replace("_", "-"), inspect.getdoc(fn),
                                   self.arguments.signature.parameters)
        self.set_hooks(given, label)
        update_wrapper(self, fn, updated=())

    def with_options(self, **options: Unpack[FlowKeywords]) -> Flow[P, R]:
        """Return a new flow with some options changed; this one stays as it is.

        What is not given (or is ``NotSet``) keeps its value; hooks are
        replaced, not added to. None takes an option back to its default,
        except for name, description, version, flow_run_name and task_runner,
        where it keeps the value.
        """
        changed = {
            key: value for key, value in options.items()
            if value is not NotSet and not (value is None and key in KEPT_ON_NONE)
        }
        fn: Any = self._function if self._binding is None else self._binding(self._function)
        hooks = {kind: list(self.hooks_of(kind)) for kind in KINDS}
        new: Flow[P, R] = Flow(fn, **{**self._given, **hooks, **changed})
        target = getattr(self.fn, "__self__", None)
        return new if self.fn is self._function else new._bound_to(target)

    def _bound_to(self, target: Any) -> Any:
        """Return the flow with an instance or class before all arguments."""
        bound = cast("Flow[Any, R]", object.__new__(Flow))
        bound.__dict__.update(self.__dict__)
        bound.fn = MethodType(self._function, target)
        bound.arguments = Parameters(bound.fn, f"flow {self.name!r}")
        return bound

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Flow[P, R]: ...
    @overload
    def __get__(
        self: Flow[Concatenate[Any, P2], R], instance: object, owner: type | None = None
    ) -> Flow[P2, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a method: the instance becomes the first argument of every call."""
        if self._binding is staticmethod:
            return self
        target = owner if self._binding is classmethod else instance
        return self if target is None else self._bound_to(target)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self: Flow[P2, Coroutine[Any, Any, T]], *args: Any, return_state: Literal[True],
                 wait_for: Any = None, **kwargs: Any) -> Coroutine[Any, Any, State]: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], wait_for: Any = None,
                 **kwargs: Any) -> State: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[False] = False, wait_for: Any,
                 **kwargs: Any) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow and return what it returned, with states in the place of futures.

        Whatever the flow submitted has ended when this returns. The call of an
        async flow is awaited, that of a generator iterated: nothing runs
        before, and the items come as they are made (with ``return_state=True``
        the state's value is a list of them).

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
        FlowRunTimeoutError
            The function took longer than ``timeout_seconds``.
        Exception
            What the function raised in its last attempt, or the first failure among the
            states it returned.
        """
        refuse_while_loading(self.name)
        return_state, wait_for = kwargs.pop("return_state", False), kwargs.pop("wait_for", None)
        return started(FlowRun(self, args, kwargs, wait_for), self.kind, return_state)

    def resume(self, run: str = "last", *, parameters: dict[str, Any] | None = None,
               return_state: bool = False, take_over: bool = False) -> Any:
        """Go on with a run that did not complete, under its id and with its parameters.

        The function runs again from its beginning. Task runs that are recorded as
        completed or failed stand: they are not executed again, and values that
        somebody needs come from the result storage, else they are computed again.
        What was under way, cancelled, crashed or not begun runs; a retry keeps its
        due time and its attempts.

        Parameters
        ----------
        run
            Id, the front of one, name, or ``"last"``: the last run of this flow.
        parameters
            Instead of those that the run was started with.
        return_state
            Return the final state; nothing is raised for a failure.
        take_over
            Also where another process holds the run and may be alive; that one's writes
            are refused from then on.

        Raises
        ------
        RunNotFound
            No run answers to that name.
        RunOwned
            Another process drives it; the text names host and pid.
        ResumeError
            It has completed, is of another flow, or its parameters were not kept.
        """
        return self._again(run, parameters, return_state, take_over, retry=False)

    def retry(self, run: str = "last", *, parameters: dict[str, Any] | None = None,
              return_state: bool = False, take_over: bool = False) -> Any:
        """Run again what failed in a run, with what depends on it; see :meth:`resume`.

        As a resume, but for task runs that failed: they and their downstream
        begin anew. The outcome that was recorded of them is replaced.
        """
        return self._again(run, parameters, return_state, take_over, retry=True)

    def _again(self, run: str, parameters: dict[str, Any] | None, return_state: bool,
               take_over: bool, *, retry: bool) -> Any:
        from dataflow.flow_resume import parameters_of, resume_point
        from dataflow.stores import open_store

        refuse_while_loading(self.name)
        store = open_store(None)
        point = None
        try:
            point = resume_point(self.name, run, retry=retry, store=store, take_over=take_over)
            given = parameters_of(point) if parameters is None else parameters
            args, kwargs = self.arguments.spread(given)
            made = FlowRun(self, args, kwargs, None, point=point)
        except BaseException:
            if point is not None:
                store.give_up_lease(point.row.id, point.epoch or 0)
            store.close()
            raise
        return started(made, self.kind, return_state)

    def graph(self, *args: Any, run: str | None = None, **kwargs: Any) -> FlowGraph:
        """Return the graph of a run, or of what a call would add to one.

        Parameters
        ----------
        run
            ``"last"``, an id, the front of one, or a name: the graph of that run, from the
            records, with counts by state. ``"last"`` is the last run of this flow.
        args, kwargs
            Parameters of a dry run: the function is called and runs, its tasks are
            not; they give their ``viz_return_value`` or a placeholder.

        Returns
        -------
        FlowGraph
            With ``text()`` and ``mermaid()``; notebooks draw it.

        Raises
        ------
        ParameterBindError
            The arguments do not fit.
        RunNotFound
            No run answers to that name.
        Exception
            What the function raised over values that are not there.
        """
        if run is None:
            return dry_graph(self, args, kwargs)
        return recorded(self.name, run)

    def plan(self, *args: Any, **kwargs: Any) -> FlowPlan:
        """Return what a run would execute and what it would take from kept results.

        As in :meth:`graph` the function is called and its tasks are not. The keys of
        their results are looked up as a run would; a result that is there stands for its
        task, so that what depends on it is looked up too. What depends on a value that
        would have to be computed is counted as unknown.

        Parameters
        ----------
        args, kwargs
            Parameters of the run.

        Returns
        -------
        FlowPlan
            With ``rows`` by task, ``text()``, and totals.

        Raises
        ------
        ParameterBindError
            The arguments do not fit.
        ParameterTypeError
            They fail validation.

        Notes
        -----
        Costs some 100 µs per task run, and the reading of what is there. A map over an
        endless generator does not end.
        """
        from dataflow.flow_plan import plan_of

        return plan_of(self, args, kwargs)

    def visualize(self, *args: Any, **kwargs: Any) -> FlowGraph:
        """Print the graph of a dry run, and return it; see :meth:`graph`."""
        graph = self.graph(*args, **kwargs)
        sys.stdout.write(f"{graph}\n")
        return graph

    @property
    def parameters(self) -> ParameterSchema:
        """The parameters as a JSON schema, described by the docstring; made anew each time."""
        return self.arguments.schema()

    @property
    def parameter_schema(self) -> dict[str, Any]:
        """The same as a plain dict."""
        return dict(self.arguments.schema())

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return parameters by name, coerced by their annotations, defaults left out.

        Raises
        ------
        ParameterBindError
            They do not fit.
        ParameterTypeError
            A value does not fit its annotation; the text says which and why.
        """
        bound = self.arguments.bind((), parameters)
        self.arguments.validate(bound, set(parameters))
        return {name: bound.arguments[name] for name in parameters}

    @property
    def name(self) -> str:
        """Name of the flow."""
        return self.settings.name

    @property
    def version(self) -> str | None:
        """Version, for the reader."""
        return self.settings.version

    @property
    def description(self) -> str | None:
        """Description; the docstring by default."""
        return self.settings.description

    @property
    def flow_run_name(self) -> str | Callable[..., str] | None:
        """Template or callable that names the runs."""
        return self.settings.flow_run_name

    @property
    def task_runner(self) -> RunnerOption | None:
        """Runner, class of one or name; None: by the flow around or the settings."""
        return self.settings.task_runner

    @property
    def retries(self) -> int:
        """How often a failing run is tried again."""
        return retries_of(self.settings)[0]

    @property
    def retry_delay_seconds(self) -> float:
        """Seconds between two attempts."""
        return retries_of(self.settings)[1]

    @property
    def timeout_seconds(self) -> float | None:
        """Seconds that an attempt may take."""
        return self.settings.timeout_seconds

    @property
    def log_prints(self) -> bool | None:
        """Whether prints go to the log; None: as the flow around or the settings say."""
        return self.settings.log_prints

    @property
    def should_validate_parameters(self) -> bool:
        """Whether parameters are coerced by their annotations."""
        return self.settings.validate_parameters

    @property
    def on_exit(self) -> str:
        """What happens to task runs that have not ended with the function."""
        return self.settings.on_exit

    @property
    def strict(self) -> bool:
        """Whether failures that nobody took fail the run."""
        return self.settings.strict

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Who is told when its runs come to something."""
        return self.settings.alerts

    @property
    def isasync(self) -> bool:
        """Whether calls of the flow are awaited, or iterated asynchronously."""
        return self.kind.startswith("async")

    @property
    def isgenerator(self) -> bool:
        """Whether calls of the flow are iterated."""
        return self.kind.endswith("generator")

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}>"


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
    retries
        How often the whole function is run again when it failed.
    retry_delay_seconds
        Seconds between two attempts.
    timeout_seconds
        After so long an attempt fails, TimedOut, and what it submitted is
        cancelled. A plain function runs in a thread of its own then, which is
        left behind; an async one that blocks its loop is noticed when it comes back.
    validate_parameters
        False: parameters are passed as they are.
    log_prints
        ``print`` in the flow and its tasks goes to the log.
    on_exit
        What happens to task runs that have not ended when the function
        returns: ``"wait"`` for them, or ``"cancel"`` those that the flow does not return.
    strict
        True: with task runs that failed and whose outcome nobody took, the run
        does not complete but fails; by default a warning lists them.
    on_completion, on_failure, on_cancellation, on_crashed, on_running
        Lists of functions ``(flow, flow_run, state)``, plain or async, that are
        called when a run enters such a state: ``on_running`` at each attempt,
        ``on_failure`` when no retry is left. What one raises is logged.
    persist_result
        Keep the results of its tasks, and its own, beyond the run; what a task says
        counts more. By default as the flow around or the setting
        ``results.persist_by_default`` says; True where a storage or serializer is given.
    result_storage, result_serializer
        Where and how: see :func:`dataflow.task`. Flows called in it take them over.
    cache_result_in_memory
        Accepted for those that come from Prefect.
    alerts
        Who is told when its runs come to something: a list of :class:`dataflow.alerts.Alert`.
        Those of the files of settings, and of deployments, hold beside them.
    options
        The keywords above.

    Returns
    -------
    Flow

    Raises
    ------
    DefinitionError
        An option has a value that cannot be meant; the text names it.
    NotImplementedError
        An option does not act yet.
    """
    if fn is None:
        return lambda fn: Flow(fn, **options)
    return Flow(fn, **options)

