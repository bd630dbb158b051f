"""Large constant arguments: sent to the workers once, not with every batch.

Lives here: telling large from small, and the scattered copies. Does not live
here: where in a batch the constants stand (``wire.py``).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from runners.dask.parcel import Dumps, Parcel

LARGE_BYTES = 64 * 1024
_SAMPLE = 20
_COPIES = 64
_HOLDERS = 1_024
_SMALL = frozenset({int, float, complex, bool, type(None)})

Scatter = Callable[[str, Parcel], Any]
"""(name, parcel) → the Dask future of the parcel on some worker."""


def quick_bytes(value: Any, depth: int = 3) -> int | None:
    """Estimate what a value pickles to without pickling it; None where that cannot be told."""
    kind = type(value)
    if kind in _SMALL:
        return 8
    if kind in (str, bytes, bytearray):
        return len(value)
    if kind in (list, tuple, set, frozenset, dict):
        return _members_bytes(value, depth)
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int) and not hasattr(value, "__dask_graph__"):  # not there yet
        dtype = getattr(value, "dtype", None)
        return None if getattr(dtype, "hasobject", False) else nbytes
    if kind.__module__.partition(".")[0] == "pandas" and hasattr(value, "memory_usage"):
        usage = value.memory_usage(deep=False)
        return int(usage if isinstance(usage, int) else usage.sum())
    return None


def _members_bytes(container: Any, depth: int) -> int | None:
    if not container:
        return 8
    if depth == 0:
        return None
    total = 0
    items = container.items() if isinstance(container, Mapping) else container
    for item in itertools.islice(items, _SAMPLE):
        size = quick_bytes(item, depth - 1)
        if size is None:
            return None
        total += size
    count = len(container)
    return count * total // min(count, _SAMPLE)


class Constants:
    """The constants of one session.

    A value is looked at once per call that uses it (``holder`` is the call's
    own :class:`Const` or :class:`Tree`); calls that were given equal values
    share one copy. An object changed between two calls is thus sent again.

    Parameters
    ----------
    name
        Prefix of the Dask keys.
    scatter
        Puts a parcel on a worker.
    pickler
        Pickles a value as the session does.

    Notes
    -----
    Bounded: a copy not used for long is let go, and sent again where it is
    needed again. Dask keeps it as long as a batch in flight depends on it.
    """

    def __init__(self, name: str, scatter: Scatter, pickler: Dumps) -> None:
        self._name = name
        self._scatter = scatter
        self._pickler = pickler
        self._small: OrderedDict[int, Any] = OrderedDict()  # id → holder, found to be small
        self._large: OrderedDict[int, tuple[Any, bytes]] = OrderedDict()  # id → holder, digest
        self._futures: OrderedDict[bytes, Any] = OrderedDict()  # digest → Dask future
        self._numbers = itertools.count()

    def is_large(self, holder: Any, value: Any) -> bool:
        """Tell whether a value should travel by itself. Pickles it where nothing else tells."""
        if type(value) in _SMALL or id(holder) in self._small:
            return False
        if id(holder) in self._large:
            return True
        size = quick_bytes(value)
        if size is not None and size <= LARGE_BYTES:
            return False
        parcel = Parcel.packed(value, self._pickler)
        if parcel.size_bytes <= LARGE_BYTES:
            _remember(self._small, id(holder), holder, _HOLDERS)
            return False
        self._enter(holder, parcel)
        return True

    def future_of(self, holder: Any, value: Any) -> Any:
        """Return the Dask future of a large value; sent now where no worker has it."""
        known = self._large.get(id(holder))
        future = None if known is None else self._futures.get(known[1])
        if known is None or not _is_alive(future):
            return self._enter(holder, Parcel.packed(value, self._pickler))
        self._large.move_to_end(id(holder))
        self._futures.move_to_end(known[1])
        return future

    def sealed(self, digest: bytes, data: bytes) -> Any:
        """Return the Dask future of pickled bytes; sent now where no worker has them."""
        future = self._futures.get(digest)
        if not _is_alive(future):
            future = self.send(Parcel.closed(data, [], len(data)))
        _remember(self._futures, digest, future, _COPIES)
        return future

    def send(self, parcel: Parcel) -> Any:
        """Put a parcel on a worker and return its Dask future; nothing is remembered."""
        return self._scatter(f"{self._name}-{next(self._numbers)}", parcel)

    def close(self) -> None:
        """Let go of all copies."""
        for table in (self._small, self._large, self._futures):
            table.clear()

    def _enter(self, holder: Any, parcel: Parcel) -> Any:
        digest = parcel.digest()
        future = self._futures.get(digest)
        if not _is_alive(future):
            future = self.send(parcel)
        _remember(self._large, id(holder), (holder, digest), _HOLDERS)
        _remember(self._futures, digest, future, _COPIES)
        return future


def _is_alive(future: Any) -> bool:
    return future is not None and future.status not in ("cancelled", "error", "lost")


def _remember(table: OrderedDict[Any, Any], key: Any, value: Any, limit: int) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > limit:
        table.popitem(last=False)
