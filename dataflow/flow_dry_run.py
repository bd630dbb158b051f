"""A run of a flow that only pretends: the function is called, its tasks are not.

Lives here: what stands in the place of a task's function and of its values,
and what those tell of the graph. Does not live here: drawing it
(``flow_graph.py``).

The flow runs on the inline runner with records in memory. Each task gives its
``viz_return_value``, else a :class:`Placeholder` that takes part in most of
what a flow does with a value.
"""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from dataflow.batch import TaskCode
from dataflow.context import FlowRunContext, current_flow, current_task
from dataflow.flow_graph import FlowGraph, graph_of
from dataflow.flow_steps import perform, perform_later, stream, stream_later
from dataflow.hooks import run_to_end
from dataflow.logging import disable_run_logger
from dataflow.parameters import to_json
from dataflow.retry import RetryPolicy
from dataflow.store import FlowRunRow

if TYPE_CHECKING:
    from dataflow.flow_run import FlowRun
    from dataflow.flows import Flow
    from dataflow.states import State

ITEMS = 100
"""A generator flow is asked for so many items at most."""

_LOOKED_AT = 100  # elements of a map whose arguments are looked at
_DEPTH = 4
_PLAIN = (type(None), bool, int, float, complex, str, bytes)

Origin = tuple[str, int]
"""A call: flow run id and number."""


class Placeholder:
    """The value of a task that was not called; whatever is made of it is one too.

    It is true, has one item, is equal to nothing but itself, and is the number 1.
    """

    def __init__(self, name: str, origin: Origin) -> None:
        self._name = name
        self._origin = origin

    def _same(self, *args: Any, **kwargs: Any) -> Placeholder:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __truediv__ = _same
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _same
    __and__ = __or__ = __xor__ = __neg__ = __pos__ = __abs__ = __invert__ = _same
    __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __call__ = __enter__ = _same

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Iterator[Placeholder]:
        return iter((self,))

    def __len__(self) -> int:
        return 1

    def __contains__(self, item: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True

    def __int__(self) -> int:
        return 1

    __index__ = __int__

    def __float__(self) -> float:
        return 1.0

    def __exit__(self, *error: object) -> None:
        return None

    def __dataflow_hash__(self) -> Any:
        raise ValueError("is not known in a dry run")

    def __repr__(self) -> str:
        return f"<value of {self._name}>"


class DryRun:
    """One dry run: stands in for task functions, and learns what is handed to whom.

    Attributes
    ----------
    on_exit
        What happens to task runs that have not ended with the function.
    store
        Where its records are.
    stands_for
        Flow run id of a flow called in another → the call that stands for it there.
    """

    on_exit = "cancel"

    def __init__(self) -> None:
        from dataflow.stores.memory import MemoryStore

        self.store = MemoryStore()
        self.stands_for: dict[str, Origin] = {}
        self._edges: dict[Origin, set[Origin]] = {}
        self._made: dict[int, tuple[Any, Origin]] = {}  # given values by identity, kept alive
        self._codes: dict[str, TaskCode] = {}  # by the token of what runs in a real run

    def code(self, task: Any, code: TaskCode) -> TaskCode:
        """Return what runs in the place of a task."""
        known = self._codes.get(code.token)
        if known is None:
            known = self._codes[code.token] = replace(
                code, token=f"dry-{code.token}", fn=self._stand_in(task), retries=0,
                retry_delay=RetryPolicy(), retry_condition=None, timeout_s=None,
                isolation="thread", run_name=None, hooks=None, owner=None,
                effects=None, caching=None)  # what stands for values is never kept as one
        return known

    def asked(self, around: FlowRunContext, what: str, *values: Any) -> Origin:
        """Note a call that would have a deployment run; return the call that stands for it.

        Parameters
        ----------
        around
            The pretended run that makes it.
        what
            For people.
        values
            What it is given.
        """
        from dataflow.states import State
        from dataflow.subflow import StandIn

        stand_in = StandIn(around, what, ())
        stand_in.begin()
        stand_in.end(State("COMPLETED"), None)
        call = around.run.flow_run_id, stand_in.call
        self.note(call, self.origins(*values))
        return call

    def pretended_row(self, around: FlowRunContext, deployment: str,
                      parameters: Any) -> FlowRunRow:
        """Return the run of a deployment that none was made of, as one that completed."""
        from dataflow.ids import new_run_id

        call = self.asked(around, f"deployment {deployment}", parameters)
        now = datetime.now(UTC)
        given = to_json(dict(parameters)) if isinstance(parameters, Mapping) else "{}"
        row = FlowRunRow(
            id=new_run_id(), name="dry-run", flow_name=deployment.partition("/")[0],
            flow_version=None, state_type="COMPLETED", state_name="Completed",
            message="This was a dry run: no run was made", parameters=given, tags=(),
            created=now, start_time=now, end_time=now, run_count=1,
            parent_flow_run_id=around.run.flow_run_id, parent_task_run_id=None, runner=None,
            dashboard_link=None, host=None, pid=None, error_type=None, error_message=None,
            traceback=None)
        self._made[id(row)] = row, call
        return row

    def origins(self, *values: Any) -> set[Origin]:
        """Return the calls whose values stand in some values."""
        found: set[Origin] = set()
        for value in values:
            self._look(value, found, _DEPTH)
        return found

    def edges_of(self, flow_run_id: str) -> dict[int, set[int]]:
        """Return call → calls it takes values from, within one run.

        A value out of a flow called in the run comes from the call that stands for it.
        """
        def within(origin: Origin) -> int | None:
            while origin[0] != flow_run_id:
                if origin[0] not in self.stands_for:
                    return None
                origin = self.stands_for[origin[0]]
            return origin[1]

        return {
            call[1]: {up for up in map(within, ups) if up is not None}
            for call, ups in self._edges.items() if call[0] == flow_run_id
        }

    def note(self, call: Origin, ups: set[Origin]) -> None:
        """Keep what a call takes from."""
        self._edges.setdefault(call, set()).update(ups)

    def _look(self, value: Any, found: set[Origin], depth: int) -> None:
        if isinstance(value, Placeholder):
            found.add(value._origin)
        elif isinstance(value, _PLAIN):
            return
        elif (made := self._made.get(id(value))) is not None:
            found.add(made[1])
        elif depth and isinstance(value, (list, tuple, set, frozenset)):
            for item in islice(value, _LOOKED_AT):
                self._look(item, found, depth - 1)
        elif depth and isinstance(value, dict):
            for item in islice(value.values(), _LOOKED_AT):
                self._look(item, found, depth - 1)

    def _value(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note what a call is given, and return what it gives."""
        context = current_task.get()
        assert context is not None and context.run is not None
        origin = context.run.flow_run_id, context.code.call
        if context.index < _LOOKED_AT:
            self.note(origin, self.origins(args, kwargs))
        given = task.viz_return_value
        if given is None:
            return Placeholder(task.name, origin)
        if not isinstance(given, _PLAIN):
            self._made.setdefault(id(given), (given, origin))
        return given

    def _items(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Return what a generator gives."""
        return [self._value(task, args, kwargs)]

    def _stand_in(self, task: Any) -> Callable[..., Any]:
        """Return a function of the task's kind."""
        def plain(*args: Any, **kwargs: Any) -> Any:
            return self._value(task, args, kwargs)

        async def later(*args: Any, **kwargs: Any) -> Any:
            return self._value(task, args, kwargs)

        def items(*args: Any, **kwargs: Any) -> Iterator[Any]:
            yield from self._items(task, args, kwargs)

        async def later_items(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for item in self._items(task, args, kwargs):
                yield item

        kinds: dict[str, Callable[..., Any]] = {
            "sync": plain, "async": later, "generator": items, "async_generator": later_items}
        return kinds[task.kind]


def dry_graph(flow: Flow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> FlowGraph:
    """Call a flow's function with tasks that only pretend; return the graph that comes of it.

    Raises
    ------
    Exception
        What the function raised over values that are not there, with a note.
    """
    dry = DryRun()
    state = pretended(flow, args, kwargs, dry)
    if state is not None and isinstance(state.data, Exception) and not state.is_completed():
        error = state.data
        error.add_note(
            f"This was a dry run of flow {flow.name!r}: tasks were not called. Give tasks a "
            "viz_return_value, or draw a run that was made with flow.graph(run='last').")
        raise error
    (made,) = [row for row in dry.store.flow_runs() if row.parent_flow_run_id is None]
    return graph_of(dry.store.calls(made.id), f"flow {flow.name}, not run", counts=False,
                    more=dry.edges_of(made.id))


def pretended(flow: Flow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
              dry: DryRun) -> State | None:
    """Call a flow's function with tasks that only pretend; return the state it came to."""
    from dataflow.flow_run import FlowRun

    run = FlowRun(flow, args, kwargs, None, dry)
    context = contextvars.copy_context()
    context.run(current_flow.set, None)
    context.run(current_task.set, None)
    with disable_run_logger():
        context.run(_performed, run, flow.kind)
    return run.state


def _performed(run: FlowRun, kind: str) -> None:
    """Go through the run's plan; of a generator take the first items."""
    if kind == "async":
        run_to_end(perform_later(run.plan()))
    elif kind == "sync":
        perform(run.plan())
    elif kind == "async_generator":
        async def take() -> None:
            items = stream_later(run.plan(), lambda state: None)
            count = 0
            async for _ in items:
                if (count := count + 1) >= ITEMS:
                    break
            await items.aclose()

        run_to_end(take())
    else:
        items = stream(run.plan())
        list(islice(items, ITEMS))
        items.close()
