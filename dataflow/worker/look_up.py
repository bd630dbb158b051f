"""One look-up and one claim for the parts of a batch that keep results in the same place.

Lives here: the order of the two, shared by a map's part and by many submits.
Does not live here: keys and what is done with what is found (``keeping.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflow.exceptions import CorruptResult, ResultStorageError
from dataflow.script_name import within_script
from dataflow.worker.claiming import claim
from dataflow.worker.shelves import NOT_SHARED

if TYPE_CHECKING:
    from dataflow.worker.keeping import Keeper


@dataclass(frozen=True, slots=True)
class _Asked:
    """Elements, and their keys beside them."""

    places: list[tuple[Keeper, int]]  # whose, and at which position
    keys: list[bytes]

    def where(self, holds: Callable[[Keeper, int], bool]) -> _Asked:
        """Return those for which something holds."""
        rows = [(place, key) for place, key in zip(self.places, self.keys, strict=True)
                if holds(*place)]
        return _Asked([place for place, _ in rows], [key for _, key in rows])



def look_up_together(keepers: Sequence[Keeper]) -> None:
    """Look all elements up that have a key, and claim those that are not there.

    Parameters
    ----------
    keepers
        Of any calls; those that keep results in one place are served together.
    """
    by_shelf: dict[int, list[Keeper]] = {}
    for keeper in keepers:
        by_shelf.setdefault(id(keeper.shelf), []).append(keeper)
    for group in by_shelf.values():
        shelf = group[0].shelf
        broken = shelf.broken
        if broken is not None and broken.reason == NOT_SHARED:
            group[0].tell_broken()
            continue
        try:
            _of_one_shelf(group)
        except ResultStorageError as error:
            shelf.fails(error)
            group[0].tell_broken()


def _of_one_shelf(keepers: list[Keeper]) -> None:
    asked = _Asked([], [])
    for keeper in keepers:
        places, keys = keeper.to_look_up()
        asked.places.extend(places)
        asked.keys.extend(keys)
    missing = _missing(keepers, asked, fresh=False)
    if any(keeper.reads_back for keeper in keepers):
        missing = missing.where(lambda keeper, at: not keeper.reads_back)
    if missing.places:
        _claim(keepers, missing)


def _missing(keepers: list[Keeper], asked: _Asked, *, fresh: bool) -> _Asked:
    """Take in what is there; return what is not."""
    wanted = asked
    if any(keeper.looks_away for keeper in keepers):
        wanted = asked.where(lambda keeper, at: not keeper.looks_away)
    if not wanted.places:
        return asked
    results, place = keepers[0].shelf.results, keepers[0].caching.place
    found = results.find(place, wanted.keys, time.time(), fresh=fresh)
    if not any(found):
        return asked
    hits = [(keeper, at, entry) for (keeper, at), entry in zip(wanted.places, found, strict=True)
            if entry is not None]
    to_load = [hit for hit in hits if hit[0].wants_values]
    if to_load:
        began = time.perf_counter()
        with within_script(keepers[0].caching.script):
            values = results.load(place, [entry for _, _, entry in to_load])
        to_load[0][0].spent_s += time.perf_counter() - began
        for (keeper, at, entry), value in zip(to_load, values, strict=True):
            if not isinstance(value, CorruptResult):
                keeper.take_in(at, entry, value)
    for keeper, at, entry in hits:
        if not keeper.wants_values:
            keeper.take_in(at, entry, None)
    return asked.where(lambda keeper, at: not keeper.found(at))


def _claim(keepers: list[Keeper], missing: _Asked) -> None:
    first = keepers[0]
    held = claim(first.caching.claims, first.caching.place, missing.keys,
                 first.caching.lock_manager)
    granted = missing
    if held.denied:
        for place in held.denied:
            keeper, at = missing.places[place]
            keeper.deny(at)
        stay = [place for place in range(len(missing.places)) if place not in held.denied]
        granted = _Asked([missing.places[place] for place in stay],
                         [missing.keys[place] for place in stay])
    for keeper in dict.fromkeys(keeper for keeper, _ in granted.places):
        keeper.hold(held)
    left = _missing(keepers, granted, fresh=True)  # may have ended between look-up and claim
    if len(left.places) < len(granted.places):
        held.narrow(left.keys)
