"""What of a damaged pack is whole is kept; the pack goes to the quarantine.

Lives here: the rewriting. Does not live here: how damage is found (``opening.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dataflow.exceptions import ResultStorageError
from dataflow.packs.entries import new_pack_name
from dataflow.packs.format import Item, Tail
from dataflow.packs.opening import put_aside, read_payloads
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
    kept = [(slot, data) for slot, data in read_payloads(storage, name, tail.columns, slots)
            if data is not None]
    if not kept:
        return None
    items = [item_of(tail, slot, bytes(data)) for slot, data in kept]
    origins = tail.columns.origins
    numbers = None if origins is None else [int(origins[slot]) for slot, _ in kept]
    folder = name.rpartition("/")[0]
    new = f"{folder}/{new_pack_name(max(each.created_s for each in tail.metadata.origins))}"
    return new, write_pack(storage, new, tail.metadata, items, numbers)


def item_of(tail: Tail, slot: int, data: bytes) -> Item:
    """Return an entry of a pack as it is to be written again."""
    columns = tail.columns
    until = 0.0 if columns.expires is None else float(columns.expires[slot])
    return Item(columns.key(slot), data, int(columns.indexes[slot]), until)
