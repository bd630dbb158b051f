"""Checking a storage, and making room in it.

Lives here: :func:`verify` and :func:`collect`. Does not live here: what may go
(``collecting.py``), the command line (``cli/cache.py``).

A pack is replaced by writing the new one first: whoever dies in between leaves
both, and the entries are the same. Readers that still hold the name of the old
one look the key up again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dataflow.exceptions import ResultStorageError
from dataflow.packs.collecting import Budget, Part, Plan, plan
from dataflow.packs.contents import Items, Metadata, Origin
from dataflow.packs.entries import QUARANTINE, new_pack_name
from dataflow.packs.format import BadPack
from dataflow.packs.index import short
from dataflow.packs.opening import damaged_slots, put_aside
from dataflow.packs.pins import read_pins
from dataflow.packs.salvage import salvage, whole_items
from dataflow.packs.survey import PackFile, survey
from dataflow.packs.writing import write_pack
from dataflow.result_storage import ResultStorage

_SWEEP_S = 3600.0  # older temporary files have nobody who writes them


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not as it should be."""

    name: str
    why: str
    damaged: bool  # False: it is left alone (another's file, or a newer version's)
    lost: int  # results


@dataclass(slots=True)
class Checked:
    """What :func:`verify` found."""

    files: int = 0
    entries: int = 0
    size_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def damaged(self) -> list[Finding]:
        """Return what was put aside."""
        return [finding for finding in self.findings if finding.damaged]


def verify(storage: ResultStorage, *, dry_run: bool = False) -> Checked:
    """Read everything and compare all checksums; put aside what is damaged.

    Parameters
    ----------
    dry_run
        Only tell.
    """
    out = Checked()
    for file in survey(storage):
        out.files += 1
        out.entries += file.entries
        out.size_bytes += file.size_bytes
        finding = _finding(storage, file, dry_run)
        if finding is not None:
            out.findings.append(finding)
    return out


def _finding(storage: ResultStorage, file: PackFile, dry_run: bool) -> Finding | None:
    if file.tail is None:
        if file.damaged and not dry_run:
            put_aside(storage, file.name, file.why or "")
        return Finding(file.name, file.why or "", file.damaged, 0)
    try:
        damaged = damaged_slots(storage, file.name, file.tail.columns)
        why = f"{len(damaged)} of {file.entries} results do not have their checksum"
    except BadPack as error:  # its beginning: the rest is judged by itself
        damaged, why = [], str(error)
    except FileNotFoundError:
        return None
    else:
        if not damaged:
            return None
    if not dry_run:
        if file.partition is None:
            put_aside(storage, file.name, why)
        else:
            for _ in salvage(storage, file.name, file.tail, damaged):
                pass
    return Finding(file.name, why, True, len(damaged))


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What :func:`collect` did, or would do."""

    expired: int
    superseded: int
    aged: int
    over: int
    deleted_files: int
    merged_files: int
    written_files: int
    swept_files: int
    quarantine_files: int
    protected_files: int
    before_bytes: int
    after_bytes: int


def collect(storage: ResultStorage, budget: Budget, *, dry_run: bool = False) -> Collected:
    """Drop what has expired or is superseded, what is too old, then the oldest until it fits.

    Small packs are merged into larger ones. What is pinned (``pins.json``), what
    ``budget.needed_runs`` computed and what is younger than ``budget.grace_s`` stays whole.

    Raises
    ------
    ResultStorageError
        The storage failed midway, or its pins cannot be read. No result that was to stay is lost.
    """
    pins = read_pins(storage)
    budget = replace(budget, pins=replace(
        pins, partitions=pins.partitions | budget.pins.partitions,
        runs=pins.runs | budget.pins.runs))
    files = list(survey(storage))
    chosen = plan(files, budget)
    old = _old_quarantine(storage, budget)
    swept = written = 0
    if not dry_run:
        written = _perform(storage, chosen)
        for name in old:
            storage.delete(name)
        swept = storage.sweep(budget.now_s - _SWEEP_S)
    merged = sum(map(len, chosen.merge))
    return Collected(
        expired=chosen.expired, superseded=chosen.superseded, aged=chosen.aged, over=chosen.over,
        deleted_files=len(chosen.delete) - merged, merged_files=merged,
        written_files=len(chosen.merge) if dry_run else written, swept_files=swept,
        quarantine_files=len(old), protected_files=chosen.protected,
        before_bytes=sum(file.size_bytes for file in files), after_bytes=chosen.kept_bytes)


def _perform(storage: ResultStorage, chosen: Plan) -> int:
    """Write, then delete: older files first, so that what they had is not found again.

    On a full disk what can go without a merge goes first.
    """
    written, left, gone = 0, list(chosen.merge), set[str]()
    for _ in range(2):
        stuck: list[list[Part]] = []
        for group in left:
            try:
                _merge(storage, group)
                written += 1
            except FileNotFoundError:  # another housekeeper was faster
                stuck.append(group)
            except ResultStorageError as error:
                if error.reason != "full":
                    raise
                stuck.append(group)
        kept = {file.name for group in stuck for file, _ in group}
        _delete(storage, chosen.delete, kept, gone)
        left = stuck
    return written


def _delete(
    storage: ResultStorage, files: Sequence[PackFile], kept: set[str], gone: set[str]
) -> None:
    """Delete files but for ``kept``, and those that hide what is in kept ones; note them."""
    hidden: set[int] = set()
    for file in sorted(files, key=lambda each: (each.created_s, each.name)):
        keys = [] if file.tail is None else short(file.tail.columns.keys).tolist()
        if file.name in kept:
            hidden.update(keys)
        elif file.name not in gone and hidden.isdisjoint(keys):
            storage.delete(file.name)
            gone.add(file.name)


def _merge(storage: ResultStorage, group: Sequence[Part]) -> None:
    items = Items()
    origins: dict[Origin, int] = {}
    classes: dict[bytes, bytes] = {}
    metadata: Metadata | None = None
    for file, slots in group:
        assert file.tail is not None
        metadata = file.tail.metadata
        classes.update(metadata.classes)
        taken = whole_items(storage, file.name, file.tail, slots)
        if len(taken) < len(slots):
            raise ResultStorageError(
                f"{storage.location}/{file.name} is damaged. What to do: `dataflow cache verify` "
                "puts it aside; nothing of it was removed.",
                location=storage.location, reason="damaged")
        numbers = [origins.setdefault(origin, len(origins)) for origin in metadata.origins]
        items.keys += taken.keys
        items.payloads += taken.payloads
        items.indexes += taken.indexes
        items.expires += taken.expires
        items.origins += [numbers[number] for number in taken.origins]
    assert metadata is not None
    partition = group[0][0].partition
    newest = max(origin.created_s for origin in origins)
    write_pack(storage, f"{partition}/{new_pack_name(newest)}",
               replace(metadata, origins=tuple(origins), classes=tuple(classes.items())), items)


def _old_quarantine(storage: ResultStorage, budget: Budget) -> list[str]:
    """Return the files in quarantine that are older than what may stay."""
    if budget.max_age_s is None:
        return []
    return [found.name for found in storage.list(QUARANTINE, deep=True)
            if found.modified_s < budget.now_s - budget.max_age_s]
