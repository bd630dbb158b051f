"""One look-up and one claim for the parts of a batch that keep results in the same place.

Lives here: the order of the two, shared by a map's part and by many submits.
Does not live here: keys and what is done with what is found (``keeping.py``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataflow.exceptions import CorruptResult, ResultStorageError
from dataflow.worker.claiming import claim
from dataflow.worker.shelves import NOT_SHARED

if TYPE_CHECKING:
    from dataflow.worker.keeping import Keeper

Places = list[tuple["Keeper", int]]
"""Elements: whose, and at which position."""


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
    asked = [(keeper, at) for keeper in keepers for at in keeper.positions()]
    missing = [(keeper, at) for keeper, at in _missing(asked, fresh=False)
               if not keeper.reads_back]
    if missing:
        _claim(missing)


def _missing(asked: Places, *, fresh: bool) -> Places:
    """Take in what is there; return what is not."""
    wanted = [(keeper, at) for keeper, at in asked if not keeper.looks_away]
    if not wanted:
        return asked
    keeper = wanted[0][0]
    results, place = keeper.shelf.results, keeper.caching.place
    found = results.find(place, [keeper.key_at(at) for keeper, at in wanted], time.time(),
                         fresh=fresh)
    if not any(found):
        return asked
    hits = [(keeper, at, entry) for (keeper, at), entry in zip(wanted, found, strict=True)
            if entry is not None]
    to_load = [hit for hit in hits if hit[0].wants_values]
    if to_load:
        began = time.perf_counter()
        values = results.load(place, [entry for _, _, entry in to_load])
        to_load[0][0].spent_s += time.perf_counter() - began
        for (keeper, at, entry), value in zip(to_load, values, strict=True):
            if not isinstance(value, CorruptResult):
                keeper.take_in(at, entry, value)
    for keeper, at, entry in hits:
        if not keeper.wants_values:
            keeper.take_in(at, entry, None)
    return [(keeper, at) for keeper, at in asked if not keeper.found(at)]


def _claim(missing: Places) -> None:
    first = missing[0][0]
    held = claim(first.caching.claims, first.caching.place,
                 [keeper.key_at(at) for keeper, at in missing], first.caching.lock_manager)
    granted = missing
    if held.denied:
        granted = [each for place, each in enumerate(missing) if place not in held.denied]
    for place in held.denied:
        keeper, at = missing[place]
        keeper.deny(at)
    for keeper in {id(keeper): keeper for keeper, _ in granted}.values():
        keeper.hold(held)
    left = _missing(granted, fresh=True)  # may have ended between look-up and claim
    if len(left) < len(granted):
        held.narrow([keeper.key_at(at) for keeper, at in left])
