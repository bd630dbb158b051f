"""What ``map`` does with each argument: mapped or the same for all, and over what.

Lives here: telling iterables from constants, taking snapshots, comparing the
lengths that are known. Nothing is waited for and no generator is begun. Does
not live here: lengths that become known later (``engine/``).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import copy_context
from itertools import chain
from typing import Any

from dataflow.annotations import (
    Annotation,
    allow_failure,
    flatten,
    opaque,
    quote,
    unmapped,
)
from dataflow.arguments import Extraction, whole_of
from dataflow.batch import Aligned, Const, ItemOf, Items, One, Source
from dataflow.context import FlowRunContext
from dataflow.exceptions import CallError, MappingLengthMismatch, MappingMissingIterable
from dataflow.flattening import Parts
from dataflow.futures import Future, FutureList
from dataflow.graph import Dep, Mapped
from dataflow.handles import CallHandle
from dataflow.resolve import Kind, Marker, has_marker, kind_of
from dataflow.states import State

ItemDeps = list[tuple[Dep, ...]]


class Mapping:
    """The arguments of one ``map``, taken one after another.

    Attributes
    ----------
    mapped
        The mapped parameters.
    item_deps
        Per element, what it depends on; None where no item holds a future.
    """

    def __init__(self, flow_run: FlowRunContext, label: str) -> None:
        self.flow_run = flow_run
        self.label = label
        self.mapped: list[Mapped] = []
        self.item_deps: ItemDeps | None = None
        self._constants = Extraction(flow_run)
        self._structure: list[Dep] = []
        self._lengths: dict[str, int] = {}

    @property
    def deps(self) -> list[Dep]:
        """What every element depends on alike."""
        return self._constants.deps + self._structure

    @property
    def width(self) -> int | None:
        """The length that is known at the call, None where none is."""
        return next(iter(self._lengths.values()), None)

    def take(self, name: str, key: int | str, value: Any) -> Source:
        """Return the source of one argument; what is mapped over is noted."""
        if not isinstance(value, Annotation):
            return self._mapped(name, key, value, allow=False)
        if _within(value, unmapped):
            return self._constants.source(value)
        if _within(value, flatten):
            return self._flattened(name, key, value)
        allow = isinstance(value, allow_failure)
        while isinstance(value, allow_failure):
            value = value.value
        if isinstance(value, (quote, opaque)):
            if is_iterable(value.value):
                return self._annotated(name, key, value, allow)
            return self._constants.source(allow_failure(value) if allow else value)
        return self._mapped(name, key, value, allow=allow)

    def _mapped(self, name: str, key: int | str, value: Any, *, allow: bool) -> Source:
        if isinstance(value, State):
            value = value.future if value.future is not None else value.result()
        if isinstance(value, Future):
            one = self._one(value, allow)
            if isinstance(one, Const):  # of a run that has ended
                return self._mapped(name, key, one.value, allow=allow)
            self.mapped.append(Mapped(name, key, item_of=One(one.call, one.index)))
            return ItemOf(one.call, one.index)
        if isinstance(value, FutureList):
            if value.indexes is None and value.handle.flow_run is self.flow_run:
                return self._along(name, key, value.handle, allow)
            value = list(value)
        if not is_iterable(value):
            extraction = self._constants
            return extraction.source(allow_failure(value) if allow else value)
        if kind_of(type(value)) == Kind.LIST and value:
            handle = whole_of(value)
            if handle is not None and handle.flow_run is self.flow_run:
                return self._along(name, key, handle, allow)
        return self._iterable(name, key, value, allow)

    def _one(self, future: Future[Any], allow: bool) -> One | Const:
        found = Extraction(self.flow_run, allow)
        source = found.one(future)
        self._structure += found.deps
        assert isinstance(source, (One, Const))
        return source

    def _along(self, name: str, key: int | str, handle: CallHandle, allow: bool) -> Source:
        handle.consume(None)
        self._structure.append(Dep(handle.call, None, aligned=True, allow_failure=allow))
        width = handle.width if handle.view.width is None else handle.view.width
        if width is not None:
            self._lengths[name] = width
        self.mapped.append(Mapped(name, key, aligned=handle.call))
        return Aligned(handle.call, allow)

    def _iterable(self, name: str, key: int | str, value: Any, allow: bool) -> Source:
        items = snapshot(value)
        if items is None:
            iterator = _Checked(iter(value), self.label, name)
            self.mapped.append(Mapped(name, key, iterator=iterator))
            return Items()
        if has_marker(items):
            items = self._item_sources(items, allow)
        return self._items(name, key, items)

    def _items(self, name: str, key: int | str, items: Sequence[Any]) -> Source:
        self._lengths[name] = len(items)
        self.mapped.append(Mapped(name, key, items=items))
        return Items()

    def _annotated(self, name: str, key: int | str, value: Any, allow: bool) -> Source:
        """Map over something annotated: each item is taken as the annotation says."""
        items = snapshot(value.value)
        if items is None:
            items = list(value.value)
        if isinstance(value, opaque) and any(isinstance(item, Marker) for item in items):
            items = self._item_sources([opaque(item) for item in items], allow)
        return self._items(name, key, items)

    def _item_sources(self, items: Sequence[Any], allow: bool) -> list[Any]:
        """Return items with sources in the place of those that hold futures."""
        out: list[Any] = []
        deps: ItemDeps = []
        for item in items:
            found = Extraction(self.flow_run, allow)
            source = found.source(item)
            out.append(source.value if isinstance(source, Const) else source)
            deps.append(tuple(found.deps))
        if any(deps):
            before = self.item_deps
            if before is None or len(before) != len(deps):
                self.item_deps = deps
            else:
                self.item_deps = [a + b for a, b in zip(before, deps, strict=True)]
        return out

    def _flattened(self, name: str, key: int | str, value: Any) -> Source:
        """Map over the items of the items, at any depth."""
        found = Parts(self.flow_run, f"{self.label}.map(), argument {name!r}")
        found.take(value, 1)
        plain = [part for part in found.parts if isinstance(part, list)]
        if len(plain) == len(found.parts):
            return self._iterable(name, key, list(chain.from_iterable(plain)), allow=False)
        self._structure += found.deps
        parts = [self._here(p) if isinstance(p, list) else p for p in found.parts]
        self.mapped.append(Mapped(name, key, flat=parts))
        return Items()

    def _here(self, items: list[Any]) -> list[Any]:
        """Return items, with sources for those that hold futures; the whole map waits for them."""
        if not has_marker(items):
            return items
        found = Extraction(self.flow_run)
        sources = [found.source(item) for item in items]
        self._structure += found.deps
        return [source.value if isinstance(source, Const) else source for source in sources]

    def check(self) -> None:
        """Raise where there is nothing to map over, or known lengths differ.

        Raises
        ------
        MappingMissingIterable, MappingLengthMismatch
            Nothing was added to the graph.
        """
        if not self.mapped:
            raise MappingMissingIterable(
                f"{self.label}.map() got no iterable argument: pass at least one, or use submit()")
        if len(set(self._lengths.values())) > 1:
            listed = ", ".join(f"{name!r} has {n}" for name, n in self._lengths.items())
            raise MappingLengthMismatch(
                f"{self.label}.map(): the mapped arguments differ in length: {listed}; wrap what "
                "is the same for every element in unmapped(...)", lengths=dict(self._lengths))


class _Checked(Iterator[Any]):
    """A user's iterator in the context it came from; refuses futures, which come too late."""

    def __init__(self, items: Iterator[Any], label: str, name: str) -> None:
        self._items = items
        self._where = f"{label}.map(), argument {name!r}"
        self._run: Callable[..., Any] = copy_context().run

    def __next__(self) -> Any:
        item = self._run(next, self._items)
        if has_marker(item):
            raise CallError(
                f"{self._where}: the generator yielded a future. A generator is consumed while "
                "the map runs, too late for the graph; pass a list of futures instead")
        return item


def is_iterable(value: Any) -> bool:
    """Tell whether ``map`` maps over a value."""
    if isinstance(value, (str, bytes, io.IOBase)) or kind_of(type(value)) == Kind.MODEL:
        return False  # a model gives its fields: settings, the same for every element
    try:
        iter(value)
    except TypeError:
        return False
    return True


def snapshot(value: Iterable[Any]) -> Sequence[Any] | None:
    """Return the items as they are now, None where they come one at a time.

    Notes
    -----
    A list is copied (shallow, some 4 ms a million), so that changing it after
    the call changes nothing; an array likewise.
    """
    kind = type(value)
    if kind in (tuple, range):
        return value  # type: ignore[return-value]  # as just checked
    if kind.__module__ == "numpy" and hasattr(value, "ndim"):
        return value.copy()  # type: ignore[no-any-return,attr-defined]  # an array
    if hasattr(value, "__next__") or not hasattr(value, "__len__"):
        return None
    return list(value)


def _within(value: Any, kind: type[Annotation[Any]]) -> bool:
    """Tell whether an annotation is of a kind, or stands directly around one that is."""
    while isinstance(value, Annotation):
        if isinstance(value, kind):
            return True
        value = value.value
    return False
