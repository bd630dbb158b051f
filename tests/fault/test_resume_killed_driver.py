"""kill -9 of the driver at random points of a three-level map, and resume, until it is through.

Asserted after each kill, against a ledger of what was really executed: what is
recorded was executed and is kept; what the next driver executes again had
neither been recorded nor kept, and that is no older than what was in flight.

``DATAFLOW_CHAOS=1`` (``make chaos``) kills ten times as often.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataflow.outcomes import SUCCEEDED
from dataflow.packs.survey import survey
from dataflow.storages import open_storage
from dataflow.stores import open_store
from tests.nursery import Child, Nursery
from tests.run_support import recorded, script_of

CHAOS = bool(os.environ.get("DATAFLOW_CHAOS"))

SCRIPT = """
    import sys, time
    from dataflow import flow, task
    from dataflow.cache_policies import INPUTS
    from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner
    from tests.run_support import note

    BOOK, RUNNER, HOW, N = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    KEPT = dict(cache_policy=INPUTS, persist_result=True)

    def done(name, index):
        note(BOOK, f"{name} {index} {time.monotonic()}")

    @task(**KEPT)
    def load(i):
        done("load", i)
        return i

    @task(**KEPT)
    def clean(x):
        done("clean", x)
        return 2 * x

    @task(**KEPT)
    def score(x):
        done("score", x // 2)
        return x + 1

    @task(**KEPT)
    def total(scores):
        done("total", 0)
        return sum(scores)

    @task(**KEPT)
    def single(i):
        done("single", i)
        return i

    @flow(task_runner=eval(RUNNER))
    def scored(n):
        singles = [single.submit(i) for i in range(10)]
        whole = total.submit(score.map(clean.map(load.map(range(n)))))
        return single.submit(whole).result() + sum(each.result() for each in singles)

    if __name__ == "__main__":
        value = scored(N) if HOW == "start" else scored.resume("last")
        assert value == N * N + 45, value
        note(BOOK, f"value {value} 0")
"""

RUNNERS = {
    "threads": "ThreadPoolTaskRunner(4)",
    "inline": "InlineTaskRunner()",
    "dask": "DaskTaskRunner(cluster_kwargs=dict(n_workers=2, threads_per_worker=1, "
            "silence_logs=50))",
}
LEVELS = ("load", "clean", "score")
IN_FLIGHT_S = 3.0  # batches of 0.1 s on loaded cores, results written each 0.25 s
Element = tuple[str, int]


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(tmp_path) as nursery:
        yield nursery


@dataclass
class Story:
    """What was seen of a run that is killed again and again."""

    book: Path
    kills: int = 0
    seen: int = 0  # lines of the ledger before the driver at hand
    executed: dict[Element, float] = field(default_factory=dict)  # when, for the last time
    lost: set[Element] = field(default_factory=set)  # executed, and neither recorded nor kept
    ages: dict[Element, float] = field(default_factory=dict)  # of those, of the last driver
    again: list[int] = field(default_factory=list)  # executed once more, of each resume

    def lines(self) -> list[list[str]]:
        try:
            return [line.split() for line in self.book.read_text().split("\n")[:-1]]
        except FileNotFoundError:
            return []

    def count(self) -> int:
        try:
            return self.book.read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def after_driver(self) -> None:
        """A driver is gone: look at what it executed, and at what is left of it."""
        new = self.lines()[self.seen :]
        self.seen += len(new)
        of_this = Counter((name, int(index)) for name, index, _ in new)
        assert max(of_this.values(), default=1) == 1, "one driver executed something twice"
        repeated = of_this.keys() & self.executed.keys()
        assert repeated <= self.lost, sorted(repeated - self.lost)[:5]
        self.again.append(len(repeated))
        before = self.lost - of_this.keys()
        self.executed |= {(name, int(index)): float(when) for name, index, when in new}
        stored, kept = stored_elements(), kept_elements()
        assert stored <= self.executed.keys(), "recorded without having been executed"
        assert stored <= kept, "recorded as completed, and the result is not kept"
        lost = {each for each in of_this if each[0] in LEVELS and each not in kept}
        self.ages = {each: self.executed[each] for each in lost}
        # the singles are few and cheap: what is lost of them is not told apart by index
        self.lost = before | lost | {each for each in of_this if each[0] not in LEVELS}

    def after_kill(self, died: float) -> None:
        self.kills += 1
        self.after_driver()
        oldest = died - min(self.ages.values(), default=died)
        assert oldest < IN_FLIGHT_S, f"lost {len(self.ages)}, the oldest {oldest:.2f} s old"


def stored_elements() -> set[Element]:
    """Return the elements of the maps that are recorded as completed."""
    store = open_store()
    try:
        rows = store.flow_runs()
        found: set[Element] = set()
        for call in store.recorded(rows[0].id) if rows else ():
            if call.record.task_name in LEVELS:
                found |= {(call.record.task_name, index)
                          for index, code in enumerate(call.codes) if code in SUCCEEDED}
        return found
    finally:
        store.close()


def kept_elements() -> set[Element]:
    """Return the elements of the maps whose results are in the storage."""
    found: set[Element] = set()
    for file in survey(open_storage(None)):
        assert file.tail is not None, f"{file.name}: {file.why}"
        name = (file.partition or "").rpartition("-")[0]
        if name in LEVELS:
            found |= {(name, int(index)) for index in file.tail.columns.indexes}
    return found


def killed_at_random(driver: Child, story: Story, chance: random.Random, left: int) -> bool:
    """Kill a driver at a point of its progress, or some time after it got going; False: it ended.

    ``left``: executions that are to come.
    """
    base = story.count()
    if chance.random() < 0.6:
        goal = base + chance.randrange(max(1, left))
        driver.until(lambda: story.count() >= goal or driver.ended(), 60)
    else:
        driver.until(lambda: story.count() > base or driver.ended(), 60)
        longest_s = 0.5 if story.kills else 0.1  # the first is to come before the end
        until = time.monotonic() + longest_s * chance.random()
        driver.until(lambda: time.monotonic() > until or driver.ended(), 60)
    if driver.ended():
        return False
    driver.kill()
    story.after_kill(time.monotonic())
    return True


def the_value(story: Story) -> list[str]:
    return [value for name, value, _ in story.lines() if name == "value"]


CASES = [("threads", 10_000, 12, 25.0, seed) for seed in (1, 2, 3)] + [
    ("inline", 5_000, 12, 20.0, 4), ("dask", 3_000, 5, 20.0, 5)]
if CHAOS:
    CASES = [(runner, width, kills, 60.0, seed + 10 * more)
             for runner, width, kills, _, seed in CASES for more in range(10)]


@pytest.mark.timeout(600 if CHAOS else 120)
@pytest.mark.parametrize("runner, width, kills, limit_s, seed", CASES)
def test_chaos_driver_killed_at_random_points_loses_what_was_in_flight_at_most(
    tmp_path: Path, nursery: Nursery, runner: str, width: int, kills: int, limit_s: float,
    seed: int,
) -> None:
    chance, story = random.Random(seed), Story(tmp_path / "book")
    script = script_of(tmp_path, SCRIPT)
    began, through, told = time.monotonic(), False, True
    while not through and story.kills < kills and time.monotonic() - began < limit_s:
        how = "resume" if story.kills and open_runs() else "start"
        driver = nursery.start(script, story.book, RUNNERS[runner], how, width)
        through = not killed_at_random(driver, story, chance, 2 * 3 * width // kills)
        if not through and completed():  # killed between its last record and its last word
            through, told = True, False
    assert story.kills
    if not through:
        how = "resume" if open_runs() else "start"
        driver = nursery.start(script, story.book, RUNNERS[runner], how, width)
        driver.wait(90)
    value = [str(width * width + 45)] if told else []
    assert the_value(story) == value, driver.out.read_text()[-3000:]
    check_the_whole(story, width)
    print(f"{runner}: {story.kills} kills in {time.monotonic() - began:.1f} s, executed again "
          f"{sum(story.again)} of {3 * width}: {story.again}")


def open_runs() -> bool:
    store = open_store()
    try:
        return bool(store.flow_runs())
    finally:
        store.close()


def completed() -> bool:
    store = open_store()
    try:
        return any(row.state_type == "COMPLETED" for row in store.flow_runs())
    finally:
        store.close()


def check_the_whole(story: Story, width: int) -> None:
    """Assert one outcome per element, none missing, in one run."""
    elements = {(name, index) for name in LEVELS for index in range(width)}
    done = {(name, int(index)) for name, index, _ in story.lines() if name in LEVELS}
    assert done == elements
    told = recorded()
    assert told.run.state_type == "COMPLETED"
    assert told.run.resumed >= story.kills - 1
    store = open_store()
    assert len(store.flow_runs()) == 1
    store.close()
    names = {"load": width, "clean": width, "score": width, "total": 1, "single": 11}
    assert {name: sum(counts.values()) for name, counts in told.counts.items()} == names
    assert {state for counts in told.counts.values() for state in counts} <= {
        "Completed", "Cached"}
    assert Counter(row.task_name for row in told.task_runs) == names
    assert {(row.task_name, row.map_index) for row in told.task_runs
            if row.task_name in LEVELS} == elements
