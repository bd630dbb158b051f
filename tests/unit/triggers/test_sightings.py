"""Which files are new, or other than they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dataflow.event_log import NewEvent
from dataflow.triggers import OnFile
from dataflow.triggers.file_globs import base_of, regex_of
from dataflow.triggers.looking import Sight
from dataflow.triggers.sightings import Watching

SINCE = 1000.0


def sight(url: str, size: int = 1, at: float = 2000.0, arrived: float | None = None) -> Sight:
    return Sight(url=url, size=size, mtime_s=at, arrived_s=at if arrived is None else arrived)


def of(*sights: Sight) -> dict[str, Sight]:
    return {each.url: each for each in sights}


class Log:
    """What an event log keeps of sightings."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def put(self, watching: Watching, events: list[NewEvent]) -> list[tuple[str, str]]:
        """Put events down; return kind and thing of those about files."""
        for event in events:
            assert event.sighting is not None
            _, thing, mark = event.sighting
            assert self.seen.get(thing) != mark
            self.seen[thing] = mark
        watching.note(events)
        return [(each.name.rpartition(".")[2], str(each.resource)) for each in events
                if not each.name.endswith("Watched")]


def watch(log: Log, **options: Any) -> Watching:
    return Watching("w", OnFile("/in", **{"settle": 0, **options}), SINCE, log.seen)


def looked(log: Log, watching: Watching, found: Mapping[str, Sight],
           now: float = 3000.0) -> list[tuple[str, str]]:
    return log.put(watching, watching.looked(found, now))


def test_a_file_is_one_event_and_another_one_when_it_changes() -> None:
    log = Log()
    mine = watch(log)
    assert looked(log, mine, of(sight("a"))) == [("Appeared", "a")]
    assert looked(log, mine, of(sight("a"))) == []
    assert looked(log, mine, of(sight("a", size=2), sight("b"))) == [
        ("Changed", "a"), ("Appeared", "b")]
    assert looked(log, mine, of()) == []
    assert looked(log, mine, of(sight("b"))) == []  # it comes back as it was
    assert looked(log, watch(log), of(sight("a", size=2), sight("b"))) == []  # after a restart


def test_what_was_there_is_skipped_until_it_changes() -> None:
    log = Log()
    there = of(sight("old", at=500.0), sight("kept", at=SINCE - 0.01))
    mine = watch(log)
    assert looked(log, mine, there) == []
    for again in (mine, watch(log)):
        assert looked(log, again, there) == []
    assert looked(log, watch(log), of(sight("old", at=3100.0))) == [("Changed", "old")]
    assert looked(log, watch(log), of(sight("old", at=3100.0))) == []


def test_what_came_between_registering_and_the_first_look_is_not_skipped() -> None:
    log = Log()
    moved = sight("moved", at=500.0, arrived=SINCE + 1)  # written long ago, moved here since
    assert looked(log, watch(log), of(sight("old", at=500.0), moved)) == [("Appeared", "moved")]


def test_what_was_there_runs_where_that_is_wanted() -> None:
    log = Log()
    assert looked(log, watch(log, existing="run"), of(sight("old", at=500.0))) == [
        ("Appeared", "old")]
    assert looked(log, watch(log, existing="run"), of(sight("old", at=500.0))) == []


def test_a_file_that_grows_counts_when_it_has_stopped() -> None:
    log = Log()
    mine = watch(log, settle=2)
    assert looked(log, mine, of(sight("a", 1)), 3000) == []
    assert mine.next_s(3000) == 3002
    assert looked(log, mine, of(sight("a", 2)), 3002) == []
    assert looked(log, mine, of(sight("a", 2)), 3003.9) == []
    assert mine.next_s(3003.9) == 3004
    assert looked(log, mine, of(sight("a", 2)), 3004) == [("Appeared", "a")]
    assert mine.next_s(3004) == 3014
    assert looked(log, mine, of(sight("a", 3)), 3014) == []
    assert looked(log, mine, of(sight("a", 3)), 3016) == [("Changed", "a")]


def test_a_file_that_goes_and_comes_settles_anew() -> None:
    log = Log()
    mine = watch(log, settle=2)
    looked(log, mine, of(sight("a")), 3000)
    looked(log, mine, of(), 3001)
    assert looked(log, mine, of(sight("a")), 3002) == []
    assert looked(log, mine, of(sight("a")), 3004) == [("Appeared", "a")]


def test_events_that_were_not_put_down_are_made_again() -> None:
    mine = watch(Log())
    names = [each.resource for each in mine.looked(of(sight("a")), 3000)]
    assert [each.resource for each in mine.looked(of(sight("a")), 3001)] == names == ["/in", "a"]


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    log = Log()
    mine = watch(log, settle=2)
    looked(log, mine, of(sight("a")), 9000)
    looked(log, mine, of(sight("a")), 3000)
    assert looked(log, mine, of(sight("a")), 3002) == [("Appeared", "a")]


def test_an_etag_tells_a_change_whatever_the_time() -> None:
    one = Sight(url="s3://b/a", size=1, mtime_s=1.0, arrived_s=1.0, etag="x")
    same = Sight(url="s3://b/a", size=1, mtime_s=2.0, arrived_s=2.0, etag="x")
    other = Sight(url="s3://b/a", size=1, mtime_s=2.0, arrived_s=2.0, etag="y")
    assert one.mark == same.mark != other.mark


def test_the_event_says_what_there_is_to_know() -> None:
    events = watch(Log()).looked(of(sight("/in/a.csv", 7, 2000.5)), 3000)
    assert events[1].payload == {
        "url": "/in/a.csv", "path": "/in/a.csv", "name": "a.csv", "size": 7, "mtime": 2000.5,
        "etag": None, "watch": "w"}


@pytest.mark.parametrize("glob, path, fits", [
    ("in/*.csv", "in/a.csv", True), ("in/*.csv", "in/x/a.csv", False),
    ("in/*.csv", "in/a.tsv", False),
    ("in/**/*.csv", "in/a.csv", True), ("in/**/*.csv", "in/x/y/a.csv", True),
    ("in/**", "in/x/y", True), ("in/?.csv", "in/ab.csv", False), ("in/[ab].csv", "in/b.csv", True),
    ("in/[!ab].csv", "in/b.csv", False), ("in/[!ab].csv", "in/c.csv", True),
    ("in/a[.csv", "in/a[.csv", True), ("in/a.csv", "in/aXcsv", False), ("in/*", "in/é\n", True),
    ("i*/a", "in/a", True),
])
def test_globs_of_paths(glob: str, path: str, fits: bool) -> None:
    assert bool(regex_of(glob).fullmatch(path)) == fits


@pytest.mark.parametrize("path, base", [
    ("/in/*.csv", "/in/"), ("/in/x-*/y", "/in/"), ("*.csv", ""), ("/in/a", "/in/a"),
])
def test_a_glob_begins_with_a_folder(path: str, base: str) -> None:
    assert base_of(path) == base
