"""A run that goes on in another process, against the rules: any graph, cut off at any points.

The engine is played until it is cut off: killed, with its last gulps not
written, or with its runner lost, or cancelled. What was written is read back and
handed to a new engine with the same calls, again and again; the last one goes to
the end. Pure: the store is in memory, batches run in the test.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.outcomes import FIRST_FINAL, Code
from tests.property.engine_lives import (
    ID,
    ITEMS,
    Ending,
    Life,
    Run,
    endings,
    longer_graphs,
    said,
)
from tests.property.test_engine_accidents import Call


def check_by_rules(life: Life, calls: list[Call]) -> None:
    """Hold what elements came to against the rules."""
    for number, call in enumerate(calls):
        view = life.views[number]
        codes = [Code(code) for code in view.codes]
        assert all(code >= FIRST_FINAL for code in codes) and view.width == len(codes)
        rules = said(life, calls, number)
        if rules is None:
            assert codes == [] and (view.fault is not None or call.cancelled), (number, call)
            continue
        # what went along with an element that was cancelled under way may have run already
        in_time = {Code.COMPLETED, Code.FAILED} if calls[call.parent].cancelled else set()
        own = {Code.CANCELLED} if call.cancelled else set()
        if not own:
            assert len(codes) == len(rules), (number, call)
        assert all(code in {rule} | in_time | own
                   for code, rule in zip(codes, rules, strict=False)), (number, call, codes, rules)


def check_records(run: Run, life: Life) -> None:
    """Hold what is recorded, by all lives, against what the last one says."""
    found = {each.record.call: each for each in run.store.recorded(ID)}
    rows = {(row.call, row.map_index or 0): row for row in run.store.task_runs(ID, limit=None)}
    cancelled = any(call.cancelled for call in run.calls)
    for number, view in enumerate(life.views):
        each = found[number]
        if cancelled and len(view.codes) < len(each.codes):
            continue  # cut short before it had taken over all that stands, which stays recorded
        assert each.codes == view.codes, (number, list(each.codes), list(view.codes))
        assert each.record.width == view.width
        assert sum(each.record.counts.values()) == len(view.codes), (number, each.record.counts)
        for index, code in enumerate(view.codes):
            row = rows.pop((number, index))
            assert row.state_name.upper() == Code(code).name.replace("_", "")
            if code == Code.FAILED:
                assert row.run_count == 2, "attempts were lost or made twice"
    assert cancelled or not rows


def play(calls: list[Call], ends: list[Ending], calm: bool, seed: int) -> Life:
    """Let a run go through some lives to its end, and hold it against the rules."""
    run = Run(calls, random.Random(seed))
    for ending in ends:
        run.live(ending)
    life = run.live(None, calm=calm)
    assert set(life.recorded.values()) <= {1}
    check_by_rules(life, calls)
    check_records(run, life)
    return life


@settings(max_examples=300, deadline=None)
@given(longer_graphs(), st.lists(endings, min_size=1, max_size=3), st.booleans(),
       st.integers(0, 2**32))
def test_run_that_is_cut_off_at_any_points_ends_by_the_rules_and_records_each_element_once(
    calls: list[Call], ends: list[Ending], calm: bool, seed: int
) -> None:
    life = play(calls, ends, calm, seed)
    if calm:  # what was let go of may be needed once more, by who comes later
        again = life.tries - life.before
        assert max((times for place, times in again.items()
                    if life.standing(place) >= FIRST_FINAL), default=0) <= len(calls)


def call(kind: str, width: int = 1, parent: int = 0, **more: Any) -> Call:
    given = {"fails": frozenset(), "flaky": frozenset(), "ratio": 1.0, "delay_s": 0.0,
             "cancelled": False, "allow": False, **more}
    return Call(kind, width, parent, **given)


FAILS = frozenset({1, 2, 3})


@pytest.mark.parametrize("calls", [
    # its length is asked for: cancelled before that is known, it must not stay empty
    [call("submit"), call(ITEMS, parent=0, fails=frozenset({1}))],
    # it follows a generator: cut short, it must not stay as short as it was
    [call("generator", 5), call("aligned", parent=0), call("flat", parent=1)],
    # the generator's list beside it is longer than the map was when it was cut short
    [call("beside", 5), call("whole", parent=0)],
    # neighbours that end in a range, cancelled in one life and not ready in the next
    [call("map", 5, fails=FAILS), call("aligned", parent=0)],
    # rows of retries that wait, in the middle of what is cancelled
    [call("map", 5, fails=FAILS, flaky=frozenset({0, 4}), delay_s=3.0)],
    # a map that is all recorded tells its length to who waits for it
    [call("map", 2), call("flat", parent=0), call("flat", parent=1)],
    # values of a generator's elements, of which nobody holds the future any more
    [call("generator", 4), call("aligned", parent=0), call("flat list", parent=1)],
], ids=["items", "follows", "beside", "ranges", "retries", "lengths", "generator"])
@pytest.mark.parametrize("how", ["killed", "cancelled", "runner lost"])
def test_small_graph_that_is_cut_off_twice_after_any_step_ends_by_the_rules(
    calls: list[Call], how: str
) -> None:
    for first in range(0, 24, 2):
        play(calls, [Ending(first, how), Ending(first // 2, how, lost=1)], True, seed=first)
