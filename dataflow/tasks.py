"""``@task`` and what can be done with a task: call, ``submit``, ``map``, ``with_options``.

Lives here: from a call in user code to a :class:`dataflow.graph.CallSpec`.
Does not live here: checks of options (``options.py``), the meaning of
arguments (``arguments.py``, ``mapping.py``), running anything (``worker/``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from functools import update_wrapper
from inspect import cleandoc
from types import MethodType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from dataflow import direct_async
from dataflow.annotations import NotSet
from dataflow.arguments import Extraction, merged, wait_for_deps, waited_for
from dataflow.batch import CallCode, Const, Source, TaskCode
from dataflow.context import FlowRunContext, current_tags, current_transaction
from dataflow.direct import call_in_flow, call_outside
from dataflow.exceptions import MissingContextError
from dataflow.futures import Future, FutureList
from dataflow.graph import CallSpec
from dataflow.handles import CallHandle
from dataflow.hooks import HOOKS
from dataflow.input_hash import task_input_hash as task_input_hash
from dataflow.mapping import Mapping
from dataflow.nested import run_around
from dataflow.options import TaskKeywords, check_task, concurrency_of
from dataflow.partitions import address_of
from dataflow.retry import exponential_backoff as exponential_backoff
from dataflow.run_names import check_template
from dataflow.settings import get_settings
from dataflow.signatures import Arguments, doc_of, key_of, kind_of, name_of
from dataflow.states import State
from dataflow.task_attributes import TaskAttributes

P = ParamSpec("P")
P2 = ParamSpec("P2")
R = TypeVar("R")
T = TypeVar("T")

_KEPT_ON_NONE = frozenset({"name", "description", "tags", "version", "task_run_name", *HOOKS})
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})


class Task(TaskAttributes, Generic[P, R]):
    """A function that can run as a task; made by :func:`task`.

    Parameters
    ----------
    fn
        The function.
    options
        See :func:`task`.

    Attributes
    ----------
    fn
        The function itself; calling it bypasses everything.
    task_key
        ``"{qualified name}-{8 hex digits of its source}"``.
    """

    def __init__(self, fn: Callable[P, R], **options: Unpack[TaskKeywords]) -> None:
        if isinstance(fn, (classmethod, staticmethod)):
            self._binding: type | None = type(fn)
            fn = fn.__func__
        else:
            self._binding = None
        label = f"task {options.get('name') or name_of(fn)!r}"
        self.kind = kind_of(fn, label)
        self.fn = fn
        self._function: Callable[..., Any] = fn  # of a method: not bound
        self._prefix: tuple[Any, ...] = ()
        self._origin: Any = None
        self.task_key = key_of(fn)
        self.address = address_of(fn)
        self._identity = None
        self._define({key: value for key, value in options.items() if value is not NotSet})
        update_wrapper(self, fn, updated=())
        self.__name__, self.__doc__ = name_of(fn), doc_of(fn)

    def _define(self, given: dict[str, Any]) -> None:
        """Check the options and let them hold."""
        self._given = {  # what can be read once only is kept for copies of the task
            key: list(value) if isinstance(value, Iterator) else value
            for key, value in given.items()
        }
        doc = doc_of(self._function)
        self._settings = check_task(self._given, name_of(self._function), doc and cleandoc(doc))
        concurrency_of(self._settings, self.kind)  # raises where it cannot be meant
        self._arguments = Arguments(self._function, f"task {self._settings.name!r}")
        self._arguments.refuse_reserved()
        template = self._settings.task_run_name
        if isinstance(template, str):
            check_template(template, self._arguments.signature, "task_run_name",
                           self._arguments.label)
        self._made, self._last_made = (), None

    def with_options(self, **options: Unpack[TaskKeywords]) -> Task[P, R]:
        """Return a new task with some options changed; this one stays as it is.

        What is not given (or is ``NotSet``) keeps its value; tags and hooks are
        replaced, not added to. None takes an option back to its default,
        except for name, description, tags, version, task_run_name and hooks,
        where it keeps the value.
        """
        changed = {
            key: value for key, value in options.items()
            if value is not NotSet and not (value is None and key in _KEPT_ON_NONE)
        }
        new: Task[P, R] = object.__new__(type(self))
        new.__dict__.update((self._origin or self).__dict__)
        new._define({**self._given, **changed})
        return new._bound_to(self._prefix[0]) if self._prefix else new

    def _bound_to(self, target: Any) -> Any:
        """Return the task with an instance or class before all arguments."""
        bound = cast("Task[Any, R]", object.__new__(type(self)))
        bound.__dict__.update(self.__dict__)
        bound._prefix = (target,)
        bound._origin = self
        bound.fn = MethodType(self._function, target)
        bound.__dict__["__wrapped__"] = bound.fn
        return bound

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Task[P, R]: ...
    @overload
    def __get__(
        self: Task[Concatenate[Any, P2], R], instance: object, owner: type | None = None
    ) -> Task[P2, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a method: the instance becomes the first argument of every call."""
        if self._binding is staticmethod:
            return self
        target = owner if self._binding is classmethod else instance
        return self if target is None else self._bound_to(target)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self: Task[P, Coroutine[Any, Any, T]], *args: Any, return_state: Literal[True],
                 wait_for: Any = None, **kwargs: Any) -> Coroutine[Any, Any, State]: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], wait_for: Any = None,
                 **kwargs: Any) -> State: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[False] = False, wait_for: Any,
                 **kwargs: Any) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task here and now and return its value.

        A call of an async function is awaited; a generator gives its items as
        they come, and its run ends when they do.

        Inside a flow, and inside of its task runs, the run is recorded; outside
        of one it is not. With ``return_state=True`` the state is returned and
        nothing raised for a failure; ``wait_for`` takes futures that must
        complete first.

        Raises
        ------
        ParameterBindError
            The arguments do not fit; nothing ran.
        UpstreamTaskError
            A future among the arguments did not complete; the task did not run.
        Exception
            What the task raised in its last attempt.
        """
        return_state, wait_for = kwargs.pop("return_state", False), kwargs.pop("wait_for", None)
        if wait_for is not None:
            wait_for = waited_for(wait_for)
        args = self._prefix + args
        self._arguments.check(args, kwargs)
        flow_run = run_around()
        if flow_run is None:
            code = self._call_code(0, None, (), {}, mapped=False)
            if self.kind != "sync":
                return direct_async.call_outside(code, args, kwargs, return_state)
            return call_outside(code, args, kwargs, return_state)
        code = self._call_code(flow_run.driver.next_call(self.name, "direct"), flow_run, (), {},
                               mapped=False, names=self._arguments.names(len(args)))
        if self.kind != "sync":
            return direct_async.call_in_flow(flow_run, code, args, kwargs, self.task_key,
                                             return_state, wait_for)
        return call_in_flow(flow_run, code, args, kwargs, self.task_key, return_state, wait_for)

    @overload
    def submit(self: Task[P, Coroutine[Any, Any, T]], *args: Any,
               return_state: Literal[False] = False, wait_for: Any = None,
               **kwargs: Any) -> Future[T]: ...
    @overload
    def submit(self: Task[P, Generator[T, Any, Any]], *args: Any,
               return_state: Literal[False] = False, wait_for: Any = None,
               **kwargs: Any) -> Future[list[T]]: ...
    @overload
    def submit(self: Task[P, AsyncGenerator[T, Any]], *args: Any,
               return_state: Literal[False] = False, wait_for: Any = None,
               **kwargs: Any) -> Future[list[T]]: ...
    @overload
    def submit(self, *args: Any, return_state: Literal[False] = False, wait_for: Any = None,
               **kwargs: Any) -> Future[R]: ...
    @overload
    def submit(self, *args: Any, return_state: Literal[True], wait_for: Any = None,
               **kwargs: Any) -> State: ...
    def submit(self, *args: Any, return_state: bool = False, wait_for: Any = None,
               **kwargs: Any) -> Any:
        """Add a run to the flow's graph and return its future at once.

        Inside of a task run it becomes that one's child: it runs in threads of
        the same process, never in a place of the flow's runner, so that a
        parent that waits for it holds up nobody. What is still under way when
        the parent returns is waited for, and cancelled when it fails. A task
        that was called directly adds to the graph of the flow.

        Parameters
        ----------
        args, kwargs
            Arguments of the task; futures in them, at any depth in containers
            (lists, tuples, sets, dicts, dataclasses, pydantic models), arrive
            as their values. Other objects are not looked into: a future in one
            arrives as it is where the task runs in this process, and is
            refused with UnpicklableArgument where it would have to travel.
        return_state
            Wait and return the state instead.
        wait_for
            Futures that must complete first.

        Raises
        ------
        MissingContextError
            Not inside a flow or a task run of one, or that task run has ended.
        ParameterBindError
            The arguments do not fit.
        ForeignFuture
            A future of another flow run whose value is not here.
        """
        flow_run = self._flow_run("submit")
        if self._prefix:
            args = self._prefix + args
        self._arguments.check(args, kwargs)
        found = Extraction(flow_run)
        sources = tuple([
            Const(arg) if type(arg) in _PLAIN else found.source(arg) for arg in args
        ]) if not self._prefix else self._bound_sources(found, args)
        keywords = {key: found.source(value) for key, value in kwargs.items()} if kwargs else {}
        deps = found.deps
        if wait_for is not None:
            deps = deps + wait_for_deps(flow_run, wait_for)
        code = self._call_code(flow_run.driver.next_call(self.name, "submit"), flow_run, sources,
                               keywords, mapped=False)
        view = flow_run.driver.add(CallSpec(
            code, "submit", self.task_key, deps=merged(deps), options=self._settings.call))
        future: Future[R] = Future(CallHandle(flow_run, view))
        if code.joins:
            _join(flow_run, code, future)
        if return_state:
            future.wait()
            return future.state
        return future

    def _bound_sources(self, found: Extraction, args: tuple[Any, ...]) -> tuple[Source, ...]:
        """Return the sources of a method's arguments; the instance itself is not looked into."""
        count = len(self._prefix)
        return (*map(Const, self._prefix), *map(found.source, args[count:]))

    @overload
    def map(self: Task[P, Coroutine[Any, Any, T]], *args: Any,
            return_state: Literal[False] = False, wait_for: Any = None,
            **kwargs: Any) -> FutureList[T]: ...
    @overload
    def map(self: Task[P, Generator[T, Any, Any]], *args: Any,
            return_state: Literal[False] = False, wait_for: Any = None,
            **kwargs: Any) -> FutureList[list[T]]: ...
    @overload
    def map(self: Task[P, AsyncGenerator[T, Any]], *args: Any,
            return_state: Literal[False] = False, wait_for: Any = None,
            **kwargs: Any) -> FutureList[list[T]]: ...
    @overload
    def map(self, *args: Any, return_state: Literal[False] = False, wait_for: Any = None,
            **kwargs: Any) -> FutureList[R]: ...
    @overload
    def map(self, *args: Any, return_state: Literal[True], wait_for: Any = None,
            **kwargs: Any) -> list[State]: ...
    def map(self, *args: Any, return_state: bool = False, wait_for: Any = None,
            **kwargs: Any) -> Any:
        """Add a run per item to the flow's graph and return their futures at once.

        Inside of a task run they become its children, as with :meth:`submit`.

        Parameters
        ----------
        args, kwargs
            Every iterable except str, bytes and files is mapped over: futures
            and futures of maps too, generators as they are consumed, dicts by
            their keys. Others, and what stands in ``unmapped(...)``, are the
            same for all. Defaults are never mapped over.
        return_state
            Wait and return the states instead.
        wait_for
            Futures that must complete before any element begins.

        Raises
        ------
        MissingContextError
            Not inside a flow or a task run of one, or that task run has ended.
        MappingMissingIterable
            No argument is iterable.
        MappingLengthMismatch
            Lengths that are known differ.
        ParameterBindError
            The arguments do not fit.
        """
        flow_run = self._flow_run("map")
        self._arguments.check(self._prefix + args, kwargs)
        names = self._arguments.names(len(self._prefix) + len(args))
        mapping = Mapping(flow_run, self._arguments.label)
        first = len(self._prefix)
        sources: list[Source] = [Const(instance) for instance in self._prefix]
        for position, arg in enumerate(args, first):
            sources.append(mapping.take(names[position], position, arg))
        keywords = {key: mapping.take(key, key, value) for key, value in kwargs.items()}
        mapping.check()
        deps = mapping.deps + wait_for_deps(flow_run, wait_for)
        code = self._call_code(flow_run.driver.next_call(self.name, "map"), flow_run,
                               tuple(sources), keywords, mapped=True)
        view = flow_run.driver.add(CallSpec(
            code, "map", self.task_key, tuple(mapping.mapped), merged(deps), mapping.item_deps,
            self._settings.call))
        futures: FutureList[R] = FutureList(
            CallHandle(flow_run, view, self._settings.call, mapping.width))
        if code.joins:
            _join(flow_run, code, futures)
        if return_state:
            futures.wait()
            return futures.states
        return futures

    def _flow_run(self, verb: str) -> FlowRunContext:
        flow_run = run_around()
        if flow_run is None:
            raise MissingContextError(
                f"{self._arguments.label}.{verb}() needs a running flow: call it inside of a "
                "function decorated with @flow or within `with runner:`, or call the task directly")
        return flow_run

    def _task_code(self, flow_run: FlowRunContext | None) -> TaskCode:
        """Return what workers need of the task, the same object for all calls alike."""
        log_prints = self._settings.log_prints
        if log_prints is None:
            log_prints = flow_run is not None and flow_run.log_prints
        own = self._origin or self
        if flow_run is not None:
            occasion: Any = flow_run.run.shown_flow_run_id
        else:
            occasion = get_settings() if own._settings.keeping.persist else ""
        made = own._last_made  # read once: other threads may put that of another run there
        if made is None or (made.occasion is not occasion and made.occasion != occasion):
            made = own._made_in(occasion, flow_run)
        code = made.codes.get(log_prints) or own._code_of(made, log_prints)
        if flow_run is not None and flow_run.dry is not None:
            dry: TaskCode = flow_run.dry.code(own, code)
            return dry
        return code

    def _call_code(self, call: int, flow_run: FlowRunContext | None, args: tuple[Source, ...],
                   kwargs: dict[str, Source], *, mapped: bool,
                   names: tuple[str, ...] | None = None) -> CallCode:
        code = self._task_code(flow_run)
        around = current_tags.get()
        if flow_run is not None and flow_run.tags:
            around = around | flow_run.tags
        return CallCode(
            call, code, args, kwargs,
            self._arguments.names(len(args)) if names is None else names, mapped,
            code.tags | around if around else code.tags,
            0 if flow_run is None else flow_run.driver.ordinal(code.name),
            current_transaction.get() is not None,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": (), "_last_made": None}

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


def _join(flow_run: FlowRunContext, code: CallCode, futures: Future[Any] | FutureList[Any]) -> None:
    """Let task runs take part in the transaction in whose block they were submitted."""
    from dataflow.transaction_runs import submitted

    submitted(current_transaction.get(), flow_run.driver, code, futures)


@overload
def task(fn: Callable[P, R], /, **options: Unpack[TaskKeywords]) -> Task[P, R]: ...
@overload
def task(
    fn: None = None, /, **options: Unpack[TaskKeywords]
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(fn: Any = None, /, **options: Unpack[TaskKeywords]) -> Any:
    """Make a task of a function; with or without parentheses.

    Parameters
    ----------
    name
        By default the function's name.
    description
        By default the docstring.
    tags
        Of every run.
    version
        For the reader.
    task_run_name
        A template over all parameters (``"load-{path}"``), or a callable that
        returns a str, with or without a keyword ``parameters``. A run whose name
        cannot be made fails.
    retries
        How often a failing run is tried again.
    retry_delay_seconds
        A number, a list with one per retry (the last repeats), or a callable
        that makes one of the number of retries.
    retry_jitter_factor
        Spreads the delays around their mean.
    retry_condition_fn
        ``(task, task_run, state) -> bool``: whether to try again. Any callable, async too.
    on_running, on_completion, on_failure
        Lists of hooks ``(task, task_run, state)``, sync or async: at each attempt that
        begins, when a run completed, when it failed and is not tried again. They are
        called where the run takes place, on a worker too; one that raises is logged.
        What never began or has no worker any more calls none: NotReady, cancelled, crashed.
    timeout_seconds
        After so long a run is TimedOut. What it computes is dropped; with
        ``isolation="process"`` it is killed.
    log_prints
        ``print`` goes to the run's log; by default as the flow says.
    batch_size
        How many elements of a map go to a worker at once: a hint.
    max_in_flight
        How many elements of one map run at once.
    async_concurrency
        Of an async function: how many of its runs one worker thread has under
        way side by side, waiting for a network, say; by default 1000.
    max_failures
        One more failure gives the map up: the rest is cancelled.
    min_success_ratio
        From this share of completed elements on, whoever takes the whole map
        runs, with None in the places of the failed ones.
    isolation
        ``"thread"`` or ``"process"``: a child process per run.
    resources
        Amounts of the workers' resources that a run occupies, by name.
    priority
        Higher runs first.
    workers
        Addresses or names of the workers that may run it.
    cache_policy
        What makes two calls the same: INPUTS, TASK_SOURCE, RUN_ID, FLOW_PARAMETERS, sums
        (``+``) and differences (``- "name"``) of them, or a class of your own; all in
        ``dataflow.cache_policies``. The same call is not executed again: its state is
        COMPLETED named Cached. Built-in parts tell tasks apart.
    cache_key_fn
        ``(context, parameters) -> str | None``: the key itself, shared by all that return
        it; None: not cached. Counts more than cache_policy.
    cache_expiration
        A timedelta, or seconds: how long a result counts.
    refresh_cache
        Execute in any case, and replace what is kept.
    persist_result
        Keep results beyond the run. By default as the flow says, else the setting
        ``results.persist_by_default``; True where another keyword of these asks for it.
    result_storage
        A folder, a URL of fsspec, ``s3://…`` or a ResultStorage; by default as the flow says,
        else ``results`` in DATAFLOW_HOME.
    result_storage_key
        A template such as ``"out/{parameters[x]}.pkl"``: each result has a file of its own,
        and a run whose file is there is not executed.
    result_serializer
        ``"pickle"``, ``"json"``, ``"parquet"``, ``"compressed/…"``, or a Serializer.
    cache_result_in_memory
        Kept for reading: a value stays where it was computed as long as somebody may ask.
    on_commit, on_rollback
        Lists of hooks ``(transaction)``, sync or async: when a run that completed is committed
        or rolled back with the transaction around it (``dataflow.transactions``). Without one
        around, on_commit is called at the end of each run, where it takes place.
    options
        The keywords above; viz_return_value and asset_deps are kept for reading.

    Returns
    -------
    Task

    Raises
    ------
    DefinitionError
        An option has a value that cannot be meant; the text names it.
    NotImplementedError
        An option, or a kind of function, does not act yet.
    """
    if fn is None:
        return lambda fn: Task(fn, **options)
    return Task(fn, **options)
