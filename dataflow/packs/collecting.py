"""Which results may go: expired, superseded, too old, beyond the budget.

Lives here: the decision, pure. Does not live here: doing it
(``housekeeping.py``), what files say (``survey.py``).

An entry that has expired may hide an older one of its key: it goes only when
that goes as well, else the older one would be found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dataflow.packs.pins import Pins
from dataflow.packs.survey import PackFile
from dataflow.packs.writing import ALONE_BYTES, PACK_BYTES

_SMALL_BYTES = 8 << 20
_FEW = 4  # small packs that may stay small
_MAX_ORIGINS = 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may stay.

    Parameters
    ----------
    grace_s
        Files that are younger are left alone: a run may be writing beside them.
    needed_runs
        Ids of runs whose results stay: they run, or could be resumed.
    needed_keys
        Keys whose results stay, whoever computed them: what such runs found there.
    """

    now_s: float
    max_size_bytes: int | None = None
    max_age_s: float | None = None
    grace_s: float = 60.0
    needed_runs: frozenset[str] = frozenset()
    needed_keys: frozenset[bytes] = frozenset()
    pins: Pins = Pins()

    def protects(self, file: PackFile) -> bool:
        """Tell whether nothing may be taken from a file."""
        return (
            file.tail is None  # not ours, or not for us to judge
            or file.partition in self.pins.partitions
            or bool(file.run_ids & (self.needed_runs | self.pins.runs))
            or self.now_s - file.modified_s < self.grace_s
            or self._needs_keys(file)
        )

    def _needs_keys(self, file: PackFile) -> bool:
        if not self.needed_keys or file.tail is None:
            return False
        raw = file.tail.columns.keys.tobytes()
        return any(raw[at : at + 16] in self.needed_keys for at in range(0, len(raw), 16))


Masks = dict[str, np.ndarray]
"""Name of a file → of each of its entries, yes or no."""

Part = tuple[PackFile, list[int]]
"""A file and the slots that stay."""


@dataclass(slots=True)
class Plan:
    """What is to be done: first write each group as one pack, then delete."""

    delete: list[PackFile] = field(default_factory=list)
    merge: list[list[Part]] = field(default_factory=list)
    expired: int = 0
    superseded: int = 0
    aged: int = 0
    over: int = 0
    kept_bytes: int = 0
    protected: int = 0


def plan(files: Sequence[PackFile], budget: Budget) -> Plan:
    """Decide what goes."""
    out = Plan()
    open_files = [file for file in files if not budget.protects(file)]
    out.protected = len(files) - len(open_files)
    masks, hiding = _alive(files, open_files, budget, out)
    sizes = {file.name: _size(file, masks.get(file.name)) for file in files}
    total = sum(sizes.values())
    if budget.max_size_bytes is not None:
        for file in sorted(open_files, key=lambda each: (each.created_s, each.name)):
            if total <= budget.max_size_bytes:
                break
            before, left = masks[file.name], masks[file.name] & hiding[file.name]
            out.over += int(before.sum() - left.sum())
            total -= sizes[file.name] - _size(file, left)
            masks[file.name] = left
    out.kept_bytes = total
    _arrange(open_files, masks, out)
    return out


def _alive(
    files: Sequence[PackFile], open_files: Sequence[PackFile], budget: Budget, out: Plan
) -> tuple[Masks, Masks]:
    """Return for each file that may be touched which of its entries stay, and which hide others."""
    masks: Masks = {}
    hiding: Masks = {}
    by_partition: dict[str, list[PackFile]] = {}
    for file in files:
        if file.partition is not None and file.tail is not None:
            by_partition.setdefault(file.partition, []).append(file)
    free = {file.name for file in open_files}
    for folder in by_partition.values():
        _judge(folder, free, budget, out, masks, hiding)
    for file in open_files:
        if file.partition is None:
            gone, why = _dead(file, budget)
            out.expired += int((gone & (why == 1)).sum())
            out.aged += int((gone & (why == 2)).sum())
            masks[file.name] = ~gone
            hiding[file.name] = np.zeros(file.entries, bool)
    return masks, hiding


def _judge(
    folder: Sequence[PackFile], free: set[str], budget: Budget, out: Plan, masks: Masks,
    hiding: Masks,
) -> None:
    ordered = sorted(folder, key=lambda file: (file.created_s, file.name))
    tails = [file.tail for file in ordered if file.tail is not None]
    keys = np.concatenate([tail.columns.keys.reshape(-1, 2) for tail in tails])
    created = np.concatenate([file.created() for file in ordered])
    dead, why = (np.concatenate(each) for each in zip(*(_dead(f, budget) for f in ordered),
                                                      strict=True))
    may = np.concatenate([np.full(file.entries, file.name in free) for file in ordered])
    order = np.lexsort((created, keys[:, 1], keys[:, 0]))
    same = np.zeros(len(order), bool)  # the entry before it in the order has the same key
    same[1:] = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    newest = np.ones(len(order), bool)
    newest[:-1] = ~same[1:]
    superseded = np.zeros(len(order), bool)
    superseded[order[~newest]] = True
    stay = ~may | ~(dead | superseded)
    stays = stay[order]
    hides = np.zeros(len(order), bool)  # an older one of its key stays
    for at in np.flatnonzero(same):  # few: keys with more than one entry
        hides[at] = hides[at - 1] or stays[at - 1]
    held = np.zeros(len(order), bool)  # it hides one that stays
    held[order[hides & newest]] = True
    stay |= held
    out.superseded += int((~stay & superseded).sum())
    out.expired += int((~stay & ~superseded & (why == 1)).sum())
    out.aged += int((~stay & ~superseded & (why == 2)).sum())
    begin = 0
    for file in ordered:
        if file.name in free:
            masks[file.name] = stay[begin : begin + file.entries]
            hiding[file.name] = held[begin : begin + file.entries]
        begin += file.entries


def _dead(file: PackFile, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Return which entries have had their time, and why: 1 expired, 2 too old."""
    assert file.tail is not None
    why = np.zeros(file.entries, np.int8)
    if budget.max_age_s is not None:
        why[file.created() < budget.now_s - budget.max_age_s] = 2
    until = file.tail.columns.expires
    if until is not None:
        why[(until != 0) & (until <= budget.now_s)] = 1
    return why > 0, why


def _size(file: PackFile, mask: np.ndarray | None) -> int:
    """Return what a file takes when it is written anew with these entries, roughly."""
    if mask is None or file.tail is None or mask.all():
        return file.size_bytes
    if not mask.any():
        return 0
    values = int(file.tail.columns.lengths[mask].sum())
    return values + int(mask.sum()) * 40 + 200


def _arrange(files: Sequence[PackFile], masks: dict[str, np.ndarray], out: Plan) -> None:
    """Put into groups what is written anew, and say what is deleted."""
    small: dict[object, list[PackFile]] = {}
    for file in files:
        mask = masks[file.name]
        if not mask.any():
            out.delete.append(file)
            continue
        assert file.tail is not None
        if file.partition is None:
            continue
        lengths = file.tail.columns.lengths
        left = int(lengths[mask].sum())
        if left <= _SMALL_BYTES and not (len(lengths) == 1 and left > ALONE_BYTES):
            metadata = file.tail.metadata
            kind = file.partition, metadata.serializer, metadata.pickled
            small.setdefault(kind, []).append(file)
        elif left < int(lengths.sum()) // 2:
            out.merge.append([_part(file, mask)])
    for group in small.values():
        group.sort(key=lambda each: (each.created_s, each.name))
        whole = [file for file in group if masks[file.name].all()]
        chosen = group if len(group) > _FEW else [file for file in group if file not in whole]
        out.merge += _packed([_part(file, masks[file.name]) for file in chosen])
    out.delete += [file for group in out.merge for file, _ in group]


def _part(file: PackFile, mask: np.ndarray) -> Part:
    return file, np.flatnonzero(mask).tolist()


def _packed(parts: Sequence[Part]) -> list[list[Part]]:
    """Return groups that fit into one pack each."""
    groups: list[list[Part]] = []
    size = origins = 0
    for file, slots in parts:
        assert file.tail is not None
        more, froms = file.size_bytes, len(file.tail.metadata.origins)
        if not groups or size + more > PACK_BYTES or origins + froms > _MAX_ORIGINS:
            groups.append([])
            size = origins = 0
        groups[-1].append((file, slots))
        size, origins = size + more, origins + froms
    return [group for group in groups if len(group) > 1 or len(group[0][1]) < group[0][0].entries]
