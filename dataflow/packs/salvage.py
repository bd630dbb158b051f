"""What of a damaged pack is whole is kept; the pack goes to the quarantine.

Lives here: the rewriting. Does not live here: how damage is found (``opening.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dataflow.exceptions import ResultStorageError
from dataflow.packs.contents import Items
from dataflow.packs.entries import new_pack_name
from dataflow.packs.format import Tail
from dataflow.packs.opening import put_aside, read_pieces
from dataflow.packs.writing import write_pack
from dataflow.result_storage import ResultStorage


def salvage(
    storage: ResultStorage, name: str, tail: Tail, damaged: Sequence[int]
) -> Iterator[tuple[str, Tail]]:
    """Write the whole entries of a pack anew, and put the pack aside.

    Yields the new pack, if there is one. Other damaged entries found on the way are left
    out as well. Where the storage cannot be written all stays as it is.
    """
    gone = set(damaged)
    left = [slot for slot in range(len(tail.columns.lengths)) if slot not in gone]
    why = f"{len(damaged)} of {len(tail.columns.lengths)} values do not have their checksum"
    try:
        new = _rewritten(storage, name, tail, left)
    except FileNotFoundError:
        return  # another process was faster
    except ResultStorageError:
        new = None
    if new is not None:
        yield new
    put_aside(storage, name, why)


def _rewritten(
    storage: ResultStorage, name: str, tail: Tail, slots: Sequence[int]
) -> tuple[str, Tail] | None:
    items = whole_items(storage, name, tail, slots)
    if not items:
        return None
    folder = name.rpartition("/")[0]
    new = f"{folder}/{new_pack_name(max(each.created_s for each in tail.metadata.origins))}"
    return new, write_pack(storage, new, tail.metadata, items)


def whole_items(
    storage: ResultStorage, name: str, tail: Tail, slots: Sequence[int]
) -> Items:
    """Return entries of a pack as they are to be written again; damaged ones are left out.

    Parameters
    ----------
    slots
        In ascending order.
    """
    columns, items = tail.columns, Items()
    for pieces in read_pieces(storage, name, columns, np.asarray(slots, np.int64)):
        for place, slot in enumerate(slots[pieces.at]):
            if place in pieces.damaged:
                continue
            until = 0.0 if columns.expires is None else float(columns.expires[slot])
            items.add(columns.key(slot), bytes(pieces.data[place]), int(columns.indexes[slot]),
                      until, 0 if columns.origins is None else int(columns.origins[slot]))
    return items
