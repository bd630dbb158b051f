"""Which entry of which pack has a key: sorted arrays in memory, 24 bytes an entry.

Lives here: building them, merging small ones into larger ones, looking many keys
up at once; pure. Does not live here: files, or which packs there are
(``partition.py``).

Only 8 bytes made of a key are held (``short``). The packs hold the whole of it,
and whoever uses what is found compares it. Of two keys with the same 8 bytes one
is not found: it is computed again, once in 2**64.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLOT_BITS = 32
_ALIKE = 4  # runs of about the same length before they are merged: less work, slower look-ups
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SLOTS = np.uint64((1 << _SLOT_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Run:
    """Entries in the order of their keys, each key once."""

    keys: NDArray[np.uint64]  # short ones
    places: NDArray[np.uint64]  # number of the pack, slot in it
    created: NDArray[np.float64]  # epoch seconds


def short(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 8 bytes of each key, whole keys being two numbers one after the other.

    Both halves count: keys need not be digests to differ here.
    """
    return keys[::2] + keys[1::2] * _ODD


def run_of(keys: NDArray[np.uint64], number: int, created: NDArray[np.float64] | float) -> Run:
    """Return the run of one pack; of entries with one key the newest stays, then the last.

    Parameters
    ----------
    keys
        Short keys in the order of the slots.
    number
        Of the pack.
    created
        Of each entry, or of all.
    """
    places = np.arange(len(keys), dtype=np.uint64) | np.uint64(number << _SLOT_BITS)
    return _sorted(keys, places, np.broadcast_to(np.asarray(created, np.float64), len(keys)))


def merged(runs: Sequence[Run]) -> Run:
    """Return one run of several; of entries with one key the newest stays, then the last run's."""
    if len(runs) == 1:
        return runs[0]
    return _sorted(
        np.concatenate([run.keys for run in runs]),
        np.concatenate([run.places for run in runs]),
        np.concatenate([run.created for run in runs]),
    )


def levelled(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return runs of which few are of about the same length, so that there are few in all."""
    out = list(runs)
    while len(out) >= _ALIKE and len(out[-_ALIKE].keys) < _ALIKE * len(out[-1].keys):
        out[-_ALIKE:] = [merged(out[-_ALIKE:])]
    return tuple(out)


def without(runs: Sequence[Run], numbers: Collection[int]) -> tuple[Run, ...]:
    """Return runs without the entries of some packs."""
    gone = np.fromiter(numbers, np.uint64)
    out = []
    for run in runs:
        stay = ~np.isin(run.places >> np.uint64(_SLOT_BITS), gone)
        if stay.all():
            out.append(run)
        elif stay.any():
            out.append(Run(run.keys[stay], run.places[stay], run.created[stay]))
    return tuple(out)


def look_up(
    runs: Sequence[Run], keys: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return of the keys that are there: their positions, packs and slots; the newest of each.

    Parameters
    ----------
    keys
        Short ones.
    """
    order = np.argsort(keys)  # in order they are found several times faster in large runs
    keys = keys[order]
    places = np.zeros(len(keys), np.uint64)
    newest = np.full(len(keys), -np.inf)
    for run in runs:
        at = np.searchsorted(run.keys, keys)
        at[at == len(run.keys)] = 0
        hits = np.flatnonzero(run.keys[at] == keys)
        if len(hits):
            found = at[hits]
            better = run.created[found] >= newest[hits]  # a later run's pack has the later name
            hits, found = hits[better], found[better]
            places[hits], newest[hits] = run.places[found], run.created[found]
    positions = np.flatnonzero(newest > -np.inf)
    back = np.argsort(order[positions])
    positions, places = order[positions][back], places[positions][back]
    return (positions, (places >> np.uint64(_SLOT_BITS)).astype(np.intp),
            (places & _SLOTS).astype(np.intp))


def _sorted(
    keys: NDArray[np.uint64], places: NDArray[np.uint64], created: NDArray[np.float64]
) -> Run:
    order = np.argsort(keys, kind="stable")
    keys, places, created = keys[order], places[order], created[order]
    if len(keys) > 1 and (keys[1:] == keys[:-1]).any():
        order = np.lexsort((created, keys))  # stable as well
        # the arrays are by key already: this only orders equal ones by their date
        keys, places, created = keys[order], places[order], created[order]
        last = np.append(keys[1:] != keys[:-1], True)
        keys, places, created = keys[last], places[last], created[last]
    return Run(keys, places, np.ascontiguousarray(created))
