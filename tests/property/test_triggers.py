"""Counting, silences and files held against naive models, however events come in turns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dataflow.agenda import DeploymentRow
from dataflow.event_log import EventRow
from dataflow.triggers import Absence, OnEvent, OnFile
from dataflow.triggers.looking import Sight
from dataflow.triggers.sightings import Watching
from tests.unit.triggers.trigger_support import MADE_S, Turns, deployment, event

GAPS = st.lists(st.integers(0, 12), max_size=40)
CUTS = st.lists(st.integers(0, 40), max_size=8)


def stream(gaps: Sequence[int], names: str = "x") -> list[EventRow]:
    """Return events so far apart."""
    at, found = 0, []
    for number, gap in enumerate(gaps):
        at += gap
        found.append(event(names[number % len(names)], at, payload={"who": number % 3}))
    return found


def in_turns(row: DeploymentRow, events: Sequence[EventRow], cuts: Sequence[int],
             until: float) -> list[str]:
    """Judge events in turns that end at some cuts; return the keys of the runs in their order."""
    turns = Turns([row])
    found = []
    places = [0, *sorted(min(each, len(events)) for each in cuts), len(events)]
    for low, high in pairwise(places):
        some = events[low:high]
        # time has passed to just before the event that comes next
        passed = events[high].occurred_s - MADE_S if high < len(events) else until
        made = turns.turn(*some, at=passed if high == len(events) else max(
            [passed - 0.5, *(each.occurred_s - MADE_S for each in some)]))
        found += made.runs
    return [str(each.idempotency_key) for each in found]


@given(GAPS, CUTS, st.integers(1, 5), st.integers(1, 30))
def test_count_within_a_time_is_the_naive_count(
        gaps: list[int], cuts: list[int], count: int, within: int) -> None:
    events = stream(gaps)
    trigger = OnEvent("x", count=count, within=within) if count > 1 else OnEvent("x")
    window: list[float] = []
    expected = []
    for each in events:
        window = [one for one in window if one > each.occurred_s - within] + [each.occurred_s]
        if len(window) >= count:
            expected.append(f"trigger:event:{each.key}")
            window = []
    assert in_turns(deployment(trigger), events, cuts, 1e4) == expected


@given(GAPS, CUTS, st.integers(2, 4))
def test_counts_for_each_value_are_apart(gaps: list[int], cuts: list[int], count: int) -> None:
    events = stream(gaps)
    expected = []
    for who in range(3):
        mine = [each for each in events if each.payload["who"] == who]
        expected += [f"trigger:event:{each.key}" for each in mine[count - 1::count]]
    found = in_turns(deployment(OnEvent("x", count=count, for_each="who")), events, cuts, 1e4)
    assert sorted(found) == sorted(expected)


@given(GAPS, CUTS, st.integers(1, 15), st.sampled_from(["registered", "first"]))
def test_each_silence_is_told_of_once(
        gaps: list[int], cuts: list[int], within: int, armed: str) -> None:
    events = stream(gaps)
    until = 500.0
    moments = [each.occurred_s for each in events]
    starts = [MADE_S, *moments] if armed == "registered" else moments
    expected = [f"trigger:absence:absence::{start!r}"
                for start, end in pairwise([*starts, MADE_S + until]) if end - start >= within]
    trigger = Absence("x", within=within, armed=armed)  # type: ignore[arg-type]
    assert in_turns(deployment(trigger), events, cuts, until) == expected


@given(GAPS, CUTS, st.integers(1, 15))
def test_what_does_not_follow_within_its_time_is_told_of(
        gaps: list[int], cuts: list[int], within: int) -> None:
    events = stream(gaps, "ab")
    expected, open_at = [], None
    for name, moment in [*((each.name, each.occurred_s) for each in events), ("-", MADE_S + 500)]:
        if open_at is not None and moment >= open_at + within:
            expected.append(f"trigger:absence:absence::{open_at!r}")
            open_at = None
        if name == "b":
            open_at = None
        elif name == "a" and open_at is None:
            open_at = moment
    trigger = Absence("b", within=within, after="a")
    assert in_turns(deployment(trigger), events, cuts, 500.0) == expected


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 4)),
                max_size=40), st.integers(0, 3), st.sets(st.integers(0, 40), max_size=4))
def test_each_state_of_a_file_that_stays_is_one_event(
        steps: list[tuple[str, int, int]], settle: int, restarts: set[int]) -> None:
    """Files are written in steps, size 0 takes one away; the one who looks may be begun anew."""
    sizes: dict[str, int] = {}
    kept: dict[str, str] = {}
    since: dict[str, float] = {}
    made: list[tuple[str, int]] = []
    expected: list[tuple[str, int]] = []
    told: dict[str, int] = {}
    now = 2000.0

    def begun() -> Watching:
        return Watching("w", OnFile("/in", settle=settle), 1000.0, kept)

    mine = begun()
    for number, (name, size, pause) in enumerate(steps):
        if number in restarts:
            mine = begun()
            since = {}  # what has been settling settles anew
        now += pause
        if size:
            if sizes.get(name) != size:
                since.pop(name, None)
            sizes[name] = size
        else:
            sizes.pop(name, None)
            since.pop(name, None)
        for each, there in sizes.items():
            if told.get(each) != there and now - since.setdefault(each, now) >= settle:
                expected.append((each, there))
                told[each] = there
        events = mine.looked({each: Sight(url=each, size=there, mtime_s=1.0, arrived_s=1500.0)
                              for each, there in sizes.items()}, now)
        for one in events:
            assert one.sighting is not None
            kept[one.sighting[1]] = one.sighting[2]
            if not one.name.endswith("Watched"):
                made.append((str(one.resource), one.payload["size"]))
        mine.note(events)
    assert made == expected
