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
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dataflow.batch import CallCode, Const, RunInfo
from dataflow.cache_keys import KeyRecipe, own_key
from dataflow.caching import Caching
from dataflow.context import TaskRunContext
from dataflow.exceptions import CorruptResult, DefinitionTypeError, NotCacheable, ResultStorageError
from dataflow.failures import text_of
from dataflow.hashing import within_script
from dataflow.key_maker import KeyMaker
from dataflow.packs import Entry, Origin, results_at
from dataflow.worker.claiming import HeldClaim, claim
from dataflow.worker.shelves import NOT_SHARED, Shelf

_clock = time.perf_counter
AGAIN_S = 0.1
"""What somebody else computes is looked up again after so long, in seconds."""

_EXPLAINED = 10  # elements of a part whose state says why they are not cacheable

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
        self._shelf, self._log = shelf, log
        self._known = known or {}
        self._wanted = wanted
        self._maker = None if caching.recipe is None else _maker_of(caching.recipe, code)
        self._keys: list[bytes | None] = [None] * len(indexes)
        self._kept = bytearray(16 * len(indexes))
        self._entries: dict[int, Entry] = {}  # by position: what was found
        self._values: dict[int, Any] = {}
        self._made: dict[int, Any] = {}  # by position: computed here, another waits for it
        self._twins: dict[int, int] = {}  # position → an earlier one of the same key
        self._awaited: frozenset[int] = frozenset()  # those earlier ones
        self._put: set[int] = set()  # of those, what was taken to be written
        self._denied: frozenset[int] = frozenset()
        self._claim: HeldClaim | None = None

    # before the elements run

    def prepare(self, find: Find) -> None:
        """Look all elements up, and claim those that are not there."""
        began = _clock()
        try:
            self._make_keys(find)
            self.spent_s += _clock() - began
            broken = self._shelf.broken
            if broken is not None and broken.reason == NOT_SHARED:
                self._tell_broken()
                return
            positions = [at for at, key in enumerate(self._keys)
                         if key is not None and at not in self._twins]
            missing = self._look_up(positions, fresh=False)
            if missing and not self._known:
                self._take_claim(missing)
        except ResultStorageError as error:
            self._shelf.fails(error)
            self._tell_broken()

    def _make_keys(self, find: Find) -> None:
        if self.caching.why_not is not None:
            self._note_why(self._indexes[0], self.caching.why_not)
        recipe = self.caching.recipe
        with within_script(None if recipe is None else recipe.script):
            self._fill_keys(find)
        self._awaited = frozenset(self._twins.values())

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

    def _look_up(self, positions: list[int], *, fresh: bool) -> list[int]:
        """Take in what is there; return the positions of what is not."""
        if not positions or (self.caching.refresh and not self._known):
            return positions
        results, place = self._shelf.results, self.caching.place
        found = results.find(place, self._keys_at(positions), time.time(), fresh=fresh)
        hits = [(at, entry) for at, entry in zip(positions, found, strict=True)
                if entry is not None]
        if self._wanted and hits:
            began = _clock()
            values = results.load(place, [entry for _, entry in hits])
            self.spent_s += _clock() - began
            for (at, entry), value in zip(hits, values, strict=True):
                if not isinstance(value, CorruptResult):
                    self._entries[at], self._values[at] = entry, value
        else:
            self._entries.update(hits)
        return [at for at in positions if at not in self._entries]

    def _take_claim(self, missing: list[int]) -> None:
        held = claim(self.caching.claims, self.caching.place, self._keys_at(missing),
                     self.caching.lock_manager)
        self._claim = held
        self._denied = frozenset(missing[place] for place in held.denied)
        granted = [at for at in missing if at not in self._denied]
        left = self._look_up(granted, fresh=True)  # may have ended between look-up and claim
        if len(left) < len(granted):
            held.narrow(self._keys_at(left))

    def _keys_at(self, positions: Sequence[int]) -> list[bytes]:
        return [key for at in positions if (key := self._keys[at]) is not None]

    # one element

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
                self._shelf.when_written(partial(self._note_kept, position, key))
            return self._made[source]
        if key is not None:
            self._note_kept(position, key)
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
            return self._shelf.results.origin(self.caching.place, entry)
        except ResultStorageError:
            return None

    def keep(self, position: int, index: int, value: Any) -> None:
        """Take a result that was computed; it is written with others."""
        if position in self._awaited:
            self._made[position] = value
        if index in self._known or self._shelf.broken is not None:
            return
        key = self._keys[position]
        if key is None:
            if self._run is None:
                return
            key = own_key(self._run.shown_flow_run_id, self._code.call, index)
        began = _clock()
        try:
            self._shelf.put(key, value, index, self._code, self._run,
                            partial(self._note_kept, position, key))
            if position in self._awaited:
                self._put.add(position)
        except Exception as error:  # user values: serialising may raise anything
            self._log(index, logging.WARNING,
                      f"The result is not kept in {self.caching.storage.location}: "
                      f"{type(error).__name__}: {text_of(error)}")
        self._tell_broken()
        self.spent_s += _clock() - began

    def _note_kept(self, position: int, key: bytes) -> None:
        self._kept[16 * position : 16 * position + 16] = key

    # after them

    def flush(self) -> None:
        """Write what was taken, so that it may be reported; safe from any thread."""
        self._shelf.flush()
        self._tell_broken()

    def narrow(self, positions: Sequence[int]) -> None:
        """Claim these elements alone: the others are handed back."""
        if self._claim is not None:
            self._claim.narrow(self._keys_at([
                at for at in positions if at not in self._denied and at not in self._entries]))

    def settle(self) -> None:
        """Write what is left and let go of the claim."""
        self.flush()
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _tell_broken(self) -> None:
        error = self._shelf.to_be_said()
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
