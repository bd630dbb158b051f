"""Results of one call's elements: found under their keys, else computed by one, and kept.

Lives here: the order of things for a part of a batch: keys of all elements, one
look-up, one claim of what is not there, values put on their way to the storage.
Does not live here: keys (``dataflow.cache_keys``), writing (``shelves.py``),
claims (``claiming.py``), which element runs when (``batch.py``).

Nothing here raises for an element. A result that cannot be kept is there all the
same; a storage that fails costs the keeping, not the outcome.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from dataflow.batch import CallCode, Const, RunInfo
from dataflow.cache_keys import KeyRecipe, own_key
from dataflow.caching import Caching
from dataflow.context import TaskRunContext
from dataflow.exceptions import CorruptResult, DefinitionTypeError, NotCacheable, ResultStorageError
from dataflow.failures import text_of
from dataflow.key_maker import KeyMaker
from dataflow.packs import Entry, Origin, results_at
from dataflow.script_name import within_script
from dataflow.worker.claiming import HeldClaim
from dataflow.worker.look_up import look_up_together
from dataflow.worker.shelves import Shelf

_clock = time.perf_counter
AGAIN_S = 0.1
"""What somebody else computes is looked up again after so long, in seconds."""

_EXPLAINED = 10  # elements of a part whose state says why they are not cacheable

_SMALL = frozenset({int, float, bool, complex, type(None), str, bytes})
_SIZED = frozenset({str, bytes})
_SHORT = 1000  # characters or bytes
_TOGETHER = 64  # small results that are put on the shelf together ...
_HAND_OVER_S = 0.02  # ... or what came in so long

Log = Callable[[int, int, str], None]
"""(element, level, text): a line of an element's log."""

Find = Callable[[int, int], tuple[tuple[Any, ...], dict[str, Any]]]
"""(position, element) → its arguments; may raise: the element itself will tell."""


class Keeper:
    """What is kept of one call's part of a batch.

    Parameters
    ----------
    code
        The call; its task has :attr:`~dataflow.batch.TaskCode.caching`.
    run
        The flow run, None outside of one.
    indexes
        The elements.
    shelf
        Where results are written.
    log
        Takes lines of single elements.
    known
        Keys of elements that are only to be read back.
    wanted
        Values of what is found are needed; else it is enough that they are there.
    """

    def __init__(self, code: CallCode, run: RunInfo | None, indexes: Sequence[int], shelf: Shelf,
                 log: Log, known: dict[int, bytes] | None = None, *, wanted: bool = True) -> None:
        caching: Caching = code.task.caching
        self.caching = caching
        self.spent_s = 0.0
        """Seconds that grow with the elements: keys, values read and serialised. What a batch costs
        whatever its size (a claim, a look-up, a file) is left out: batches would stay small."""
        self.reasons: dict[int, str] = {}  # element → why it is not cacheable
        self._code, self._run, self._indexes = code, run, indexes
        self.shelf, self._log = shelf, log
        self._known = known or {}
        self.wants_values = wanted
        self._maker = None if caching.recipe is None else _maker_of(caching.recipe, code)
        self._keys: list[bytes | None] = [None] * len(indexes)
        self._kept = bytearray(16 * len(indexes))
        self._entries: dict[int, Entry] = {}  # by position: what was found
        self._values: dict[int, Any] = {}
        self._made: dict[int, Any] = {}  # by position: computed here, another waits for it
        self._twins: dict[int, int] = {}  # position → an earlier one of the same key
        self._awaited: frozenset[int] = frozenset()  # those earlier ones
        self._put: set[int] = set()  # of those, what was taken to be written
        self._denied: set[int] = set()
        self._claim: HeldClaim | None = None
        self._lacks_inputs = False
        self._taken: deque[tuple[int, int, Any]] = deque()  # (position, element, small value)
        self._handed = _clock()
        self._handing = threading.Lock()

    # before the elements run

    def prepare(self, find: Find, items: Sequence[Any] | None = None) -> None:
        """Look all elements up, and claim those that are not there.

        ``items``: what alone differs between the elements, where that is known.
        """
        self.make_keys(find, items)
        look_up_together([self])

    def make_keys(self, find: Find, items: Sequence[Any] | None = None) -> bool:
        """Make the keys; return whether the inputs of all elements were there."""
        began = _clock()
        self._make_keys(find, items)
        self.spent_s += _clock() - began
        return not self._lacks_inputs

    def _make_keys(self, find: Find, items: Sequence[Any] | None) -> None:
        if self.caching.why_not is not None:
            self._note_why(self._indexes[0], self.caching.why_not)
        with within_script(self.caching.script):
            if items is None or not self._fill_from(items, find):
                self._fill_keys(find)
        self._awaited = frozenset(self._twins.values())

    def _fill_from(self, items: Sequence[Any], find: Find) -> bool:
        """Make all keys from the one argument that differs; False where that is not the way."""
        if self._maker is None or self._known or len(items) != len(self._indexes):
            return False
        try:
            args, kwargs = find(0, self._indexes[0])
        except BaseException:  # user values, or an input is not there: the element tells of it
            return False
        keys = self._maker.column(items, args, kwargs)
        if keys is None:
            return False
        self._keys[:] = keys
        if len(set(keys)) < len(keys):
            first: dict[bytes, int] = {}
            for at, key in enumerate(keys):
                twin = first.setdefault(key, at)
                if twin != at:
                    self._twins[at] = twin
        return True

    def _fill_keys(self, find: Find) -> None:
        first: dict[bytes, int] = {}
        for at, index in enumerate(self._indexes):
            key = self._known.get(index)
            if key is None and self._maker is not None:
                key = self._key(at, index, find)
            if key is not None:
                self._keys[at] = key
                twin = first.setdefault(key, at)
                if twin != at:
                    self._twins[at] = twin

    def _key(self, at: int, index: int, find: Find) -> bytes | None:
        assert self._maker is not None
        try:
            args, kwargs = find(at, index)
        except BaseException:  # user values, or an input is not there: the element tells of it
            self._lacks_inputs = True
            return None
        try:
            context = None
            if self._maker.recipe.user:
                context = TaskRunContext(self._run, self._code, index, 1, None, args, kwargs)
            return self._maker.key(args, kwargs, context)
        except (NotCacheable, DefinitionTypeError) as error:
            self._note_why(index, str(error))
            return None

    def _note_why(self, index: int, why: str) -> None:
        if not self.reasons:
            self._log(index, logging.WARNING, why)
        if len(self.reasons) < _EXPLAINED:
            self.reasons[index] = why

    # what the look-up asks and tells (``look_up.py``)

    def to_look_up(self) -> tuple[list[tuple[Keeper, int]], list[bytes]]:
        """Return the elements to look up, as (this, position), and their keys."""
        found = {at: key for at, key in enumerate(self._keys)
                 if key is not None and at not in self._twins}
        return list(zip(repeat(self), found)), list(found.values())

    @property
    def looks_away(self) -> bool:
        """Whether what is kept does not count (``refresh_cache``)."""
        return self.caching.refresh and not self._known

    @property
    def reads_back(self) -> bool:
        """Whether elements are only to be read: nothing is to be claimed."""
        return bool(self._known)

    def take_in(self, position: int, entry: Entry, value: Any) -> None:
        """Note what was found."""
        self._entries[position] = entry
        if self.wants_values:
            self._values[position] = value

    def deny(self, position: int) -> None:
        """Note that somebody else computes an element's result."""
        self._denied.add(position)

    def hold(self, held: HeldClaim) -> None:
        """Note the claim, which other parts of the batch may share."""
        self._claim = held

    def _keys_at(self, positions: Sequence[int]) -> list[bytes]:
        return [key for at in positions if (key := self._keys[at]) is not None]

    # one element

    @property
    def idle(self) -> bool:
        """Whether nothing was found and nothing is waited for: all elements run."""
        return not (self._entries or self._denied or self._twins)

    def waits(self, position: int) -> float | None:
        """Return after how many seconds to look again, None where nothing is waited for.

        Somebody else computes the result: in another batch, or earlier in this one.
        """
        twin = self._twins.get(position)
        if twin is not None:
            done = twin in self._entries or twin in self._made
            return None if done else AGAIN_S if twin in self._denied else 0.0
        return AGAIN_S if position in self._denied else None

    def found(self, position: int) -> bool:
        """Tell whether the result is there."""
        position = self._twins.get(position, position)
        return position in self._entries or position in self._made

    def value(self, position: int) -> Any:
        """Return a result that is there; None where values are not wanted."""
        key = self._keys[position]
        source = self._twins.get(position, position)
        if source in self._made:
            if key is not None and source in self._put:
                self.shelf.when_written((self, (position,), (key,)))
            return self._made[source]
        if key is not None:
            self.note_kept((position,), (key,))
        return self._values.get(source)

    def all_values(self) -> list[Any] | None:
        """Return the results of all elements, None unless every one was found."""
        if len(self._entries) < len(self._indexes):
            return None
        self._kept[:] = b"".join(self._keys_at(range(len(self._indexes))))
        values = self._values
        return [values.get(at) for at in range(len(self._indexes))]

    def origin(self, position: int) -> Origin | None:
        """Return which run computed a result that was found."""
        entry = self._entries.get(self._twins.get(position, position))
        if entry is None:
            return None
        try:
            return self.shelf.results.origin(self.caching.place, entry)
        except ResultStorageError:
            return None

    def keep(self, position: int, index: int, value: Any) -> None:
        """Take a result that was computed; it is written with others."""
        if self._awaited and position in self._awaited:
            self._made[position] = value
        elif type(value) in _SMALL and (type(value) not in _SIZED or len(value) < _SHORT):
            taken = self._taken
            taken.append((position, index, value))
            if len(taken) >= _TOGETHER or _clock() - self._handed > _HAND_OVER_S:
                self._hand_over()
            return
        if index in self._known or self.shelf.broken is not None:
            return
        key = self._key_for(position, index)
        if key is None:
            return
        began = _clock()
        try:
            self.shelf.put(key, value, index, self._code, self._run,
                           (self, (position,), (key,)))
            if position in self._awaited:
                self._put.add(position)
        except Exception as error:  # user values: serialising may raise anything
            self._tell_refused(index, error)
        self.tell_broken()
        self.spent_s += _clock() - began

    def _key_for(self, position: int, index: int) -> bytes | None:
        key = self._keys[position]
        if key is None and self._run is not None:
            key = own_key(self._run.shown_flow_run_id, self._code.call, index)
        return key

    def _hand_over(self) -> None:
        """Put small results on the shelf, many at once; from any thread."""
        began = _clock()
        with self._handing:
            self._handed = began
            taken = [self._taken.popleft() for _ in range(len(self._taken))]
        known, made = self._known, self._keys
        rows = [(position, index, value, key) for position, index, value in taken
                if index not in known
                and (key := made[position] or self._key_for(position, index)) is not None]
        if rows and self.shelf.broken is None:
            positions, indexes, values, keys = zip(*rows, strict=True)
            refused = self.shelf.put_many(keys, values, indexes, self._code, self._run, self,
                                          positions)
            for at, error in refused.items():
                self._tell_refused(indexes[at], error)
        if taken:
            self.tell_broken()
            self.spent_s += _clock() - began

    def _tell_refused(self, index: int, error: Exception) -> None:
        self._log(index, logging.WARNING,
                  f"The result is not kept in {self.caching.storage.location}: "
                  f"{type(error).__name__}: {text_of(error)}")

    def note_kept(self, positions: Sequence[int], keys: Sequence[bytes]) -> None:
        """Note that results of elements are safe under their keys."""
        first, count = positions[0], len(positions)
        if tuple(positions) == tuple(range(first, first + count)):  # as they mostly come
            self._kept[16 * first : 16 * (first + count)] = b"".join(keys)
            return
        for position, key in zip(positions, keys, strict=True):
            self._kept[16 * position : 16 * position + 16] = key

    # after them

    def flush(self) -> None:
        """Write what was taken, so that it may be reported; safe from any thread."""
        self._hand_over()
        self.shelf.flush()
        self.tell_broken()

    def narrow(self, positions: Sequence[int]) -> None:
        """Claim these elements alone: the others are handed back."""
        if self._claim is not None:
            kept = set(positions)
            self._claim.let_go(self._keys_at([
                at for at in range(len(self._keys)) if at not in kept]))

    def settle(self) -> None:
        """Write what is left and let go of the claim."""
        self.flush()
        if self._claim is not None:
            self._claim.let_go(self._keys_at(range(len(self._keys))))
            self._claim = None

    def tell_broken(self) -> None:
        """Say, once for all, why results are not kept."""
        error = self.shelf.to_be_said()
        if error is not None:
            self._log(self._indexes[0], logging.WARNING,
                      f"Results of task {self._code.task.name!r} are not kept: {error}")

    def keys_of(self, at: slice) -> bytes | None:
        """Return the keys under which elements are kept, None where none is."""
        stop = None if at.stop is None else 16 * at.stop
        part = bytes(self._kept[16 * (at.start or 0) : stop])
        return part if part.count(0) < len(part) else None

    def origins(self) -> tuple[str, ...]:
        """Return the ids of the runs that computed what was found, each once."""
        packs: dict[str, int] = {}
        for at, entry in self._entries.items():
            packs.setdefault(entry.pack, at)
        found = (self.origin(at) for at in packs.values())
        return tuple(dict.fromkeys(each.run_id for each in found if each is not None))


def read_back(caching: Caching, keys: Sequence[bytes]) -> list[Any]:
    """Return values by the keys under which they are kept, :data:`NOWHERE` for what is not there.

    Raises
    ------
    ResultStorageError
        The storage cannot be read.
    """
    results, place = results_at(caching.storage), caching.place
    found = results.find(place, list(keys), 0.0, fresh=True)  # expired or not: it is this very one
    values = iter(results.load(place, [entry for entry in found if entry is not None]))
    out = [NOWHERE if entry is None else next(values) for entry in found]
    return [NOWHERE if isinstance(value, CorruptResult) else value for value in out]


class _Nowhere:
    pass


NOWHERE: Any = _Nowhere()
"""Stands for a value that is not kept any more."""


def keeper_of(code: CallCode, run: RunInfo | None, indexes: Sequence[int], shelf: Shelf, log: Log,
              known: dict[int, bytes] | None = None, *, wanted: bool = True) -> Keeper:
    """Return what keeps the results of a call's elements; parameters as for :class:`Keeper`."""
    if code.task.caching.named is not None:
        from dataflow.worker.keeping_named import NamedKeeper

        return NamedKeeper(code, run, indexes, shelf, log, known, wanted=wanted)
    return Keeper(code, run, indexes, shelf, log, known, wanted=wanted)


def _maker_of(recipe: KeyRecipe, code: CallCode) -> KeyMaker:
    maker = KeyMaker(recipe)
    if code.mapped:
        for name, source in (*zip(code.names, code.args, strict=False), *code.kwargs.items()):
            if type(source) is Const:
                maker.constant(name, source.value)
    return maker


def cached_message(origin: Origin | None) -> str | None:
    """Return what the state of a cached task run says of where it comes from."""
    if origin is None or not origin.run_id:
        return None
    when = datetime.fromtimestamp(origin.created_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (f"Result of task {origin.task_name!r} in flow run {origin.run_name!r} "
            f"({origin.run_id}) of {when}")
