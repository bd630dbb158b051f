"""``flatten`` as a mapped argument: what the items are made of.

Lives here: the parts that a flattened argument of ``map`` is made of. Does not
live here: how long they are (``engine/lengths.py``), what is an item
(``unnesting.py``), ``flatten`` as the argument of a single run (``arguments.py``).
"""

from __future__ import annotations

from typing import Any

from dataflow.annotations import Annotation, allow_failure, flatten, quote
from dataflow.arguments import Extraction, whole_of
from dataflow.batch import Const, One
from dataflow.context import FlowRunContext
from dataflow.exceptions import MappingMissingIterable
from dataflow.futures import Future, FutureList
from dataflow.graph import Dep, FlatPart
from dataflow.handles import CallHandle
from dataflow.resolve import Marker, has_marker
from dataflow.states import State
from dataflow.unnesting import below, items_in

Part = FlatPart | list[Any]


class Parts:
    """Takes an argument apart into parts, one after another.

    Attributes
    ----------
    parts
        Runs of items: of values that are not here yet, or lists of what is here,
        futures of single items among it.
    deps
        What must end before the parts' lengths can be told.
    """

    def __init__(self, flow_run: FlowRunContext, where: str) -> None:
        self._flow_run = flow_run
        self._where = where
        self.parts: list[Part] = []
        self.deps: list[Dep] = []

    def take(self, value: Any, depth: int, allow: bool = False) -> None:
        """Add the items that ``depth`` levels below ``value`` consist of; 1: its own items.

        Raises
        ------
        MappingMissingIterable
            Something that is here is not iterable; the text says where it stands.
        """
        if isinstance(value, State):
            value = value.future if value.future is not None else self._data(value, allow)
        match value:
            case allow_failure():
                self.take(value.value, depth, allow=True)
            case flatten():
                self.take(value.value, depth + 1, allow)
            case Annotation():  # opaque, quote: not looked into for futures
                if isinstance(value.value, Marker):
                    self.take(value.value, depth, allow)
                else:
                    items = below(value.value, depth, self._where)
                    self._items([quote(i) if has_marker(i) else i for i in items])
            case Future():
                self._one(value, depth, allow)
            case FutureList() if value.indexes is None and self._own(value.handle):
                self._whole(value.handle, depth, allow)
            case _:
                self._iterable(value, depth, allow)

    def _data(self, state: State, allow: bool) -> Any:
        source = Extraction(self._flow_run, allow).source(state)
        assert isinstance(source, Const)
        return source.value if state.is_completed() else quote([source.value])

    def _own(self, handle: CallHandle) -> bool:
        return handle.flow_run is self._flow_run

    def _one(self, future: Future[Any], depth: int, allow: bool) -> None:
        found = Extraction(self._flow_run, allow)
        source = found.one(future)
        if isinstance(source, Const):  # of a run that has ended
            self.take(source.value, depth)
            return
        assert isinstance(source, One)
        self.deps += found.deps
        self.parts.append(FlatPart(source.call, source.index, depth, allow))

    def _whole(self, handle: CallHandle, depth: int, allow: bool) -> None:
        width = handle.width if handle.view.width is None else handle.view.width
        if depth == 1 and width is not None:
            self._items([_as(Future(handle, n), allow) for n in range(width)])
            return
        handle.consume(None)
        self.deps.append(Dep(handle.call, None, allow_failure=allow))
        self.parts.append(FlatPart(handle.call, None, depth - 1, allow))

    def _iterable(self, value: Any, depth: int, allow: bool) -> None:
        if isinstance(value, (list, tuple)) and value:
            handle = whole_of(value)
            if handle is not None and self._own(handle):
                self._whole(handle, depth, allow)
                return
        items = items_in(value)
        if items is None:
            raise MappingMissingIterable(
                f"flatten of {self._where}: {type(value).__name__} is not iterable; flatten takes "
                "a future, a map, or an iterable of them or of iterables")
        if depth == 1:
            self._items([_as(item, allow) for item in items])
            return
        for item in items:
            self.take(item, depth - 1, allow)

    def _items(self, items: list[Any]) -> None:
        if self.parts and isinstance(self.parts[-1], list):
            self.parts[-1] += items
        else:
            self.parts.append(items)


def _as(item: Any, allow: bool) -> Any:
    return allow_failure(item) if allow and isinstance(item, Marker) else item
