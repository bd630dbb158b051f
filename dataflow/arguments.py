"""What an argument means for the graph: a constant, an element, a whole map, a tree of them.

Lives here: turning arguments into sources and dependencies, and futures of
other runs into constants or errors. Does not live here: the walk itself
(``resolve.py``), mapped arguments (``mapping.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataflow.annotations import (
    Annotation,
    allow_failure,
    flatten,
    opaque,
    quote,
    unmapped,
)
from dataflow.batch import CallCode, Const, Flat, One, Source, TaskCode, Tree, Whole
from dataflow.context import FlowRunContext
from dataflow.exceptions import ForeignFuture, ParameterBindError
from dataflow.failures import record_of
from dataflow.futures import Future, FutureList
from dataflow.graph import CallSpec, Dep
from dataflow.handles import CallHandle
from dataflow.resolve import Kind, Leaf, Marker, kind_of, substitute
from dataflow.states import State, exception_in
from dataflow.unnesting import flattened

_STATE = TaskCode("state", fn=exception_in, name="state")
"""In the place of a task where a state stands in the graph; never called."""


class Extraction:
    """Sources of the arguments of one call, and what they depend on.

    Parameters
    ----------
    flow_run
        The flow run that makes the call.
    allow
        A failed input arrives as its exception.
    """

    __slots__ = ("allow", "deps", "flow_run")

    def __init__(self, flow_run: FlowRunContext, allow: bool = False) -> None:
        self.flow_run = flow_run
        self.allow = allow
        self.deps: list[Dep] = []

    def source(self, value: Any) -> Source:
        """Return where a parameter's value comes from.

        Raises
        ------
        ForeignFuture
            A future of another flow run whose value is not here.
        """
        kind = kind_of(type(value))
        if kind == Kind.ATOM:
            return Const(value)
        if kind == Kind.MARKER:
            return self._marker(value)
        if kind == Kind.LIST and value and type(value[0]) is Future:
            handle = whole_of(value)
            if handle is not None and handle.flow_run is self.flow_run:
                return self.whole(handle)
        return self._tree(value)

    def _tree(self, value: Any) -> Source:
        """Return a container's source: itself where nothing stands inside for a value."""
        leaves: list[Source] = []

        def place(marker: Marker) -> Leaf:
            leaves.append(self._marker(marker))
            return Leaf(len(leaves) - 1)

        template = substitute(value, place)
        if not leaves:
            return Const(value)
        if all(type(leaf) is Const for leaf in leaves):
            constants = [leaf.value for leaf in leaves if isinstance(leaf, Const)]
            return Const(substitute(template, lambda leaf: constants[leaf.n]))
        return Tree(template, tuple(leaves))

    def _marker(self, marker: Any) -> Source:
        match marker:
            case Future():
                return self.one(marker)
            case FutureList():
                return self._list(marker)
            case State():
                return self._state(marker)
            case allow_failure():
                return self._allowing(marker.value)
            case quote():
                return Const(marker.value)
            case opaque():
                inner = marker.value
                return self._marker(inner) if isinstance(inner, Marker) else Const(inner)
            case unmapped():
                return self.source(marker.value)
            case flatten():
                return self._flat(marker.value)
            case _:
                return Const(marker)

    def _flat(self, value: Any) -> Source:
        """Return the source of the items of the items; of plain data, themselves."""
        source, what = self.source(value), described(value)
        allow = self.allow or allows(value)
        if isinstance(source, Const):
            return Const(flattened(source.value, what, allow))
        return Flat(source, what, allow)

    def _allowing(self, value: Any) -> Source:
        before, self.allow = self.allow, True
        try:
            return self.source(value)
        finally:
            self.allow = before

    def one(self, future: Future[Any]) -> Source:
        """Return the source of one future and note the dependency."""
        handle = future.handle
        if handle.flow_run is not self.flow_run:
            return self._foreign(future)
        handle.consume(future.index)
        self.deps.append(Dep(handle.call, future.index, allow_failure=self.allow))
        return One(handle.call, future.index, self.allow)

    def whole(self, handle: CallHandle) -> Source:
        """Return the source of all elements of a call and note the dependency."""
        handle.consume(None)
        self.deps.append(Dep(handle.call, None, allow_failure=self.allow))
        return Whole(handle.call, self.allow)

    def _list(self, futures: FutureList[Any]) -> Source:
        own = futures.handle.flow_run is self.flow_run
        if own and futures.indexes is None:
            return self.whole(futures.handle)
        leaves = tuple(self.one(future) for future in futures)
        return Tree([Leaf(n) for n in range(len(leaves))], leaves)

    def _state(self, state: State) -> Source:
        if isinstance(state.future, Future):
            return self.one(state.future)
        if state.is_completed():
            return Const(state.data)
        error = exception_in(state)
        if self.allow:
            return Const(None if state.name == "NotReady" else error)
        return self.one(self._stand_in(state, error))

    def _stand_in(self, state: State, error: BaseException) -> Future[Any]:
        """Put a state that did not complete into the graph, so that downstream is NotReady."""
        flow_run = self.flow_run
        code = CallCode(flow_run.driver.next_call(), _STATE, (), {}, (), mapped=False)
        view = flow_run.driver.add(CallSpec(
            code, "state", "state", failed=record_of(error, remote=False)))
        view.names[0] = f"{state.name} state"
        return Future(CallHandle(flow_run, view))

    def _foreign(self, future: Future[Any]) -> Source:
        """Take a future of another run as a constant, where that run left a value."""
        other = future.handle.flow_run
        if other.ended:
            state = future.state
            if state.is_completed() and future.fetched:
                return Const(future.result())
            if not state.is_completed():
                state.keep(future.result(raise_on_failure=False))
                return self._state(state)
        raise ForeignFuture(
            f"Task run {future.name!r} belongs to flow run {other.run.flow_run_name!r}, not to "
            f"{self.flow_run.run.flow_run_name!r}: pass its value (.result(), while its run goes "
            "on), or pass the future as a parameter of the flow",
            flow_run_name=other.run.flow_run_name, task_run_name=future.name,
        )


def allows(value: Any) -> bool:
    """Tell whether ``allow_failure`` stands among the annotations directly around a value."""
    while isinstance(value, Annotation):
        if isinstance(value, allow_failure):
            return True
        value = value.value
    return False


def described(value: Any) -> str:
    """Say what is annotated, for messages."""
    while isinstance(value, Annotation):
        value = value.value
    if isinstance(value, Future):
        return f"the value of task run {value.name!r}"
    if isinstance(value, FutureList):
        return f"the map of task {value.handle.view.task_name!r}"
    return f"a {type(value).__name__}"


def whole_of(values: Sequence[Any]) -> CallHandle | None:
    """Return the call whose elements these are: exactly all of a map, in order; else None."""
    first = values[0]
    if type(first) is not Future or not first.handle.mapped:
        return None
    handle: CallHandle = first.handle
    if handle.view.width != len(values):
        return None
    for index, future in enumerate(values):
        if type(future) is not Future or future.handle is not handle or future.index != index:
            return None
    return handle


def merged(deps: list[Dep]) -> tuple[Dep, ...]:
    """Return dependencies with one per element: the strictest of what was said of it."""
    if len(deps) < 2:
        return tuple(deps)
    found: dict[tuple[int, int | None, bool], Dep] = {}
    for dep in deps:
        key = (dep.call, dep.index, dep.aligned)
        before = found.get(key)
        if before is not None and before != dep:
            dep = Dep(dep.call, dep.index, dep.aligned, dep.allow_failure and before.allow_failure,
                      dep.value or before.value)
        found[key] = dep
    return tuple(found.values())


def waited_for(wait_for: Any) -> Any:
    """Return what ``wait_for`` was given, an iterator as a list.

    Plain values inside of containers are there already: nothing is waited for.

    Raises
    ------
    ParameterBindError
        It is neither a future, nor a state, nor a container of them.
    """
    if wait_for is None or kind_of(type(wait_for)) != Kind.ATOM:
        return wait_for
    if not isinstance(wait_for, (str, bytes)) and hasattr(type(wait_for), "__iter__"):
        return list(wait_for)
    raise ParameterBindError(
        f"wait_for takes futures, states or a list of them, got {type(wait_for).__name__} "
        f"{wait_for!r:.80}")


def wait_for_deps(flow_run: FlowRunContext, wait_for: Any) -> list[Dep]:
    """Return the dependencies of ``wait_for``: a future, a state, or any nesting of them."""
    if wait_for is None:
        return []
    found = Extraction(flow_run)
    found.source(waited_for(wait_for))
    return [Dep(d.call, d.index, allow_failure=d.allow_failure, value=False) for d in found.deps]
