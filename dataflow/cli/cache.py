"""``dataflow cache``: ls, du, verify, gc, pin, unpin.

Lives here: what is asked of a result storage and what of it is shown. Does not
live here: checking and removing (``dataflow.packs.housekeeping``), which runs
still need results (``cache_needs.py``), layout (``rendering.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from dataflow.cli.cache_needs import needs
from dataflow.cli.options import Output, limit_option, output_option
from dataflow.cli.quantities import Age, Size, size_text
from dataflow.cli.records import opened_store
from dataflow.cli.rendering import local_time, print_fields, print_json, print_table
from dataflow.exceptions import RunNotFound
from dataflow.packs.collecting import Budget
from dataflow.packs.entries import checked_partition
from dataflow.packs.housekeeping import Collected, collect, verify
from dataflow.packs.pins import read_pins, write_pins
from dataflow.packs.survey import PackFile, quarantined, survey
from dataflow.result_storage import ResultStorage
from dataflow.storages import open_storage
from dataflow.storages.local import FolderStorage

Command = Callable[..., Any]


def storage_option(command: Command) -> Command:
    """Add ``--storage``."""
    return click.option(
        "--storage", "location", metavar="PLACE",
        help="Folder or URL of results.  [default: the setting, else `results` in DATAFLOW_HOME]",
    )(command)


def _opened(location: str | None) -> ResultStorage:
    """Open the storage that was asked for; a folder that somebody names has to be there."""
    storage = open_storage(location)
    if location is not None and isinstance(storage, FolderStorage) and not storage.exists():
        raise click.ClickException(f"There is no folder of results {storage.location}.")
    return storage


@click.group()
def cache() -> None:
    """Look after results that are kept: list, measure, check, remove, pin."""


@dataclass(slots=True)
class _Group:
    """Results of one task that one run computed, in one partition."""

    partition: str | None
    task: str
    run_id: str
    run_name: str
    results: int = 0
    files: int = 0
    size_bytes: int = 0
    created_s: float = 0.0
    pinned: bool = False
    names: list[str] = field(default_factory=list)  # of results that users named


@cache.command()
@storage_option
@click.option("--partition", metavar="NAME", help="Only of this folder.")
@click.option("--task", metavar="NAME", help="Only of the task of this name.")
@click.option("--flow-run", "-f", metavar="REF", help="Only what this run computed: id or name.")
@limit_option(50, "rows")
@output_option
def ls(
    location: str | None, partition: str | None, task: str | None, flow_run: str | None,
    limit: int, output: Output,
) -> None:
    """List what is kept by task and run, newest first."""
    storage = _opened(location)
    place = "" if partition is None else checked_partition(partition)
    pins = read_pins(storage)
    groups = [
        group for group in _grouped(survey(storage, place))
        if task in (None, group.task)
        and (flow_run is None or group.run_id.startswith(flow_run) or group.run_name == flow_run)
    ]
    for group in groups:
        group.pinned = group.partition in pins.partitions or group.run_id in pins.runs
    if not groups and (partition, task, flow_run) != (None, None, None):
        click.echo(f"Nothing that is kept in {storage.location} fits.", err=True)
    groups = sorted(groups, key=lambda each: each.created_s, reverse=True)[:limit]
    if output == "json":
        print_json([{**asdict(each), "created": _moment(each.created_s)} for each in groups])
        return
    print_table(
        ("task", "run", "results", "size", "created", "where", "pinned"),
        [
            (
                each.task, each.run_name or each.run_id[:8], f"{each.results:,}",
                size_text(each.size_bytes), local_time(_moment(each.created_s)),
                each.partition or ", ".join(each.names[:3]), "yes" if each.pinned else "",
            )
            for each in groups
        ],
    )


@cache.command()
@storage_option
@output_option
def du(location: str | None, output: Output) -> None:
    """Show how much is kept in each folder, the largest first."""
    storage = _opened(location)
    rows: dict[str, list[int]] = {}
    for file in survey(storage):
        row = rows.setdefault(file.partition or "(named)", [0, 0, 0])
        for at, more in enumerate((file.entries, 1, file.size_bytes)):
            row[at] += more
    aside, aside_bytes = quarantined(storage)
    total = sum(row[2] for row in rows.values())
    if output == "json":
        print_json({
            "location": storage.location, "size_bytes": total,
            "quarantine": {"files": aside, "size_bytes": aside_bytes},
            "partitions": [
                {"partition": name, "results": row[0], "files": row[1], "size_bytes": row[2]}
                for name, row in rows.items()
            ],
        })
        return
    ordered = sorted(rows.items(), key=lambda each: each[1][2], reverse=True)
    print_table(
        ("where", "results", "files", "size"),
        [(name, f"{row[0]:,}", f"{row[1]:,}", size_text(row[2])) for name, row in ordered],
    )
    quarantine = f", and {size_text(aside_bytes)} in quarantine" if aside else ""
    click.echo(f"{size_text(total)} in {storage.location}{quarantine}")


@cache.command("verify")
@storage_option
@click.option("--dry-run", is_flag=True, help="Only tell: put nothing aside.")
@output_option
def verify_(location: str | None, dry_run: bool, output: Output) -> int:
    """Read everything and compare all checksums; put aside what is damaged.

    Exit code 1 where something is.
    """
    storage = _opened(location)
    checked = verify(storage, dry_run=dry_run)
    if output == "json":
        print_json({**asdict(checked), "location": storage.location, "dry_run": dry_run})
    else:
        if checked.findings:
            print_table(
                ("file", "what", "lost results", "put aside"),
                [
                    (each.name, each.why, f"{each.lost:,}" if each.lost else "",
                     "yes" if each.damaged and not dry_run else "no")
                    for each in checked.findings
                ],
            )
        click.echo(
            f"{checked.entries:,} results in {checked.files:,} files "
            f"({size_text(checked.size_bytes)}): {len(checked.damaged):,} damaged")
    return 1 if checked.damaged else 0


@cache.command()
@storage_option
@click.option("--max-size", type=Size(), help="What may stay in all, e.g. 20G; the oldest go.")
@click.option("--max-age", type=Age(), help="How old results may be, e.g. 30d.")
@click.option("--drop-failed", is_flag=True,
              help="Also what runs computed that failed, crashed or were cancelled.")
@click.option("--grace", type=Age(), default="60s", show_default=True,
              help="Leave younger files alone.")
@click.option("--dry-run", is_flag=True, help="Only tell: remove nothing.")
@output_option
def gc(
    location: str | None, max_size: int | None, max_age: float | None, drop_failed: bool,
    grace: float, dry_run: bool, output: Output,
) -> None:
    """Remove what has expired or was replaced, and what the budget does not allow.

    Small files are merged into larger ones. What is pinned stays, and so does what a run
    of this run store computed or found that goes on, or could be resumed or retried.
    """
    storage = _opened(location)
    with opened_store() as store:
        runs, keys = needs(store, drop_failed=drop_failed)
    budget = Budget(now_s=time.time(), max_size_bytes=max_size, max_age_s=max_age, grace_s=grace,
                    needed_runs=runs, needed_keys=keys)
    done = collect(storage, budget, dry_run=dry_run)
    if output == "json":
        print_json({**asdict(done), "location": storage.location, "dry_run": dry_run})
    else:
        _print_collected(done, dry_run)


def _print_collected(done: Collected, dry_run: bool) -> None:
    print_fields({
        "expired": done.expired, "replaced": done.superseded, "too old": done.aged,
        "beyond the budget": done.over, "files removed": done.deleted_files,
        "files merged": f"{done.merged_files} into {done.written_files}",
        "files protected": done.protected_files,
        "before": size_text(done.before_bytes), "after": size_text(done.after_bytes),
    })
    if dry_run:
        click.echo("Nothing was removed (--dry-run).")


@cache.command()
@storage_option
@click.option("--partition", metavar="NAME", help="All results in this folder (see `ls`).")
@click.option("--flow-run", "-f", metavar="REF", help="All that this run computed.")
@output_option
def pin(
    location: str | None, partition: str | None, flow_run: str | None, output: Output
) -> None:
    """Keep results whatever the budget; without options, show what is pinned."""
    _change(location, partition, flow_run, output, add=True)


@cache.command()
@storage_option
@click.option("--partition", metavar="NAME", help="A folder that is pinned.")
@click.option("--flow-run", "-f", metavar="REF", help="A run that is pinned.")
@output_option
def unpin(
    location: str | None, partition: str | None, flow_run: str | None, output: Output
) -> None:
    """Take a pin away."""
    if partition is None and flow_run is None:
        raise click.UsageError("Say what to unpin: --partition or --flow-run.")
    _change(location, partition, flow_run, output, add=False)


def _change(
    location: str | None, partition: str | None, flow_run: str | None, output: Output, *, add: bool
) -> None:
    storage = _opened(location)
    pins = read_pins(storage)
    if partition is not None or flow_run is not None:
        run = None if flow_run is None else _run_id(flow_run, pins.runs)
        if partition is not None and add and partition not in pins.partitions:
            _check_there(storage, partition)
        pins = (pins.with_ if add else pins.without)(partition=partition, run=run)
        write_pins(storage, pins)
    if output == "json":
        print_json({"partitions": sorted(pins.partitions), "runs": sorted(pins.runs)})
        return
    print_table(("pinned", "what"), [
        *(("folder", name) for name in sorted(pins.partitions)),
        *(("flow run", name) for name in sorted(pins.runs)),
    ])


def _check_there(storage: ResultStorage, partition: str) -> None:
    """Refuse a folder that no result is in."""
    if next(storage.list(checked_partition(partition)), None) is None:
        raise click.ClickException(
            f"No results are in a folder {partition!r} of {storage.location}: "
            "`dataflow cache ls` shows the folders.")


def _run_id(ref: str, pinned: Iterable[str]) -> str:
    """Return the id of a run; one that is pinned needs no record any more."""
    if ref in pinned:
        return ref
    with opened_store() as store:
        try:
            return store.find_flow_run(ref).id
        except RunNotFound:
            matching = [each for each in pinned if each.startswith(ref)]
            if len(matching) != 1:
                raise
            return matching[0]


def _grouped(files: Iterable[PackFile]) -> list[_Group]:
    groups: dict[tuple[str | None, str, str], _Group] = {}
    for file in files:
        if file.tail is None:
            continue
        origins, numbers = file.tail.metadata.origins, file.tail.columns.origins
        for number, origin in enumerate(origins):
            share = file.entries if numbers is None else int((numbers == number).sum())
            if not share:
                continue
            key = file.partition, origin.task_name, origin.run_id
            group = groups.setdefault(key, _Group(*key, origin.run_name))
            group.results += share
            group.files += 1
            group.size_bytes += file.size_bytes * share // file.entries
            group.created_s = max(group.created_s, origin.created_s)
            if file.partition is None:
                group.names.append(file.name)
    return list(groups.values())


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
