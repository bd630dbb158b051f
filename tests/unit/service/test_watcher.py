"""The watcher: who leads, what counts, that consequences come once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.agenda import NewDeployment, NewRun
from dataflow.event_log import Findings, NewEvent, Pending
from dataflow.ids import new_run_id
from dataflow.service.leading import LEAD_S
from dataflow.service.watcher import BATCH, Watcher
from dataflow.store import Store
from dataflow.stores import open_store


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


class Listing:
    """Notes the names of the events it is shown, and remembers how many there were."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def judge(self, pending: Pending, now_s: float) -> Findings:
        self.names += [each.name for each in pending.events]
        count = int(pending.memory.get("count", 0)) + len(pending.events)
        return Findings(memory={"count": str(count)} if pending.events else {})


class Failing:
    def judge(self, pending: Pending, now_s: float) -> Findings:
        raise RuntimeError("no")


class Starting:
    """Has each event start a run."""

    def judge(self, pending: Pending, now_s: float) -> Findings:
        return Findings(runs=[
            NewRun(flow_run_id=new_run_id(), name="r", deployment="etl/nightly", parameters={},
                   due_s=now_s, idempotency_key=str(each.key))
            for each in pending.events if each.state_type is None])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "dataflow.db")
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def emit(store: Store, name: str, at_s: float, count: int = 1) -> None:
    store.events().emit([NewEvent(id=new_run_id(), name=name, occurred_s=at_s)
                         for _ in range(count)])


def test_what_happened_before_anybody_watched_has_no_consequences(
        store: Store, clock: Clock) -> None:
    emit(store, "old", clock.now_s - 1)
    emit(store, "new", clock.now_s)
    listing = Listing()
    watcher = Watcher(store, [listing], clock=clock)
    assert watcher.turn() == 1
    assert listing.names == ["new"]
    clock.now_s += 50
    late = Listing()
    emit(store, "later", clock.now_s - 20)  # while nobody was there, but somebody had been
    Watcher(store, [late], clock=clock).turn()
    assert late.names == ["later"]


def test_one_leads_and_another_follows_when_it_is_gone(store: Store, clock: Clock) -> None:
    first, second = (Watcher(store, [Listing()], clock=clock) for _ in range(2))
    first.turn()
    emit(store, "a", clock.now_s)
    assert second.turn() == 0 and not second.leads
    assert first.turn() == 1 and first.leads
    clock.now_s += LEAD_S / 2
    first.turn()
    clock.now_s += LEAD_S * 0.7  # after the first lead was over, had it not been renewed
    emit(store, "b", clock.now_s)
    assert second.turn() == 0
    clock.now_s += LEAD_S
    assert second.turn() == 1
    assert first.turn() == 0 and not first.leads


def test_more_than_a_batch_is_handled_in_one_turn(store: Store, clock: Clock) -> None:
    listing = Listing()
    watcher = Watcher(store, [listing], clock=clock)
    watcher.turn()
    emit(store, "a", clock.now_s, BATCH + 3)
    assert watcher.turn() == BATCH + 3
    assert store.events().pending().memory["count"] == str(BATCH + 3)


def test_the_lead_is_kept_while_a_long_list_is_gone_through(store: Store, clock: Clock) -> None:
    class Slow(Listing):
        def judge(self, pending: Pending, now_s: float) -> Findings:
            clock.now_s += LEAD_S * 0.6
            assert not store.events().lead("watch", "another", clock.now_s, clock.now_s + LEAD_S)
            return super().judge(pending, now_s)

    slow = Slow()
    watcher = Watcher(store, [slow], clock=clock)
    watcher.turn()
    emit(store, "a", clock.now_s, BATCH * 3)
    assert watcher.turn() == BATCH * 3


def test_a_judge_that_fails_keeps_nobody_from_the_others(
        store: Store, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    listing = Listing()
    watcher = Watcher(store, [Failing(), listing], clock=clock)
    watcher.turn()
    emit(store, "a", clock.now_s)
    assert watcher.turn() == 1
    assert listing.names == ["a"]
    (event,) = store.events().events()
    assert f"Failing failed on event {event.id} (a)" in caplog.text


class Choosy(Listing):
    """Fails wherever one of the events is a bad one."""

    def judge(self, pending: Pending, now_s: float) -> Findings:
        if any(each.name == "bad" for each in pending.events):
            raise ValueError("bad")
        return super().judge(pending, now_s)


def test_an_event_at_which_a_judge_fails_takes_no_other_along(
        store: Store, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    choosy, listing = Choosy(), Listing()
    watcher = Watcher(store, [choosy, listing], clock=clock)
    watcher.turn()
    for name in ("a", "b", "bad", "c", "d"):
        emit(store, name, clock.now_s)
    assert watcher.turn() == 5
    assert choosy.names == ["a", "b", "c", "d"]
    assert caplog.text.count("Choosy failed on event") == 1
    emit(store, "later", clock.now_s, 3)
    assert watcher.turn() == 3 and choosy.names[4:] == ["later"] * 3
    assert store.events().pending().events == []


def test_a_turn_in_which_nothing_happens_writes_nothing(store: Store, clock: Clock) -> None:
    watcher = Watcher(store, [Listing()], clock=clock)
    watcher.turn()
    before = store.events().pending().version
    for _ in range(3):
        clock.now_s += 0.1
        watcher.turn()
    assert store.events().pending().version == before


def test_runs_that_follow_are_queued_once_whoever_watches(store: Store, clock: Clock) -> None:
    store.agenda().put(NewDeployment(
        name="etl/nightly", flow_name="etl", digest="d", spec={}), clock.now_s)
    made = threading.Event()
    watchers = [Watcher(store, [Starting()], made=made.set, clock=clock) for _ in range(3)]
    watchers[0].turn()
    for _ in range(5):
        emit(store, "go", clock.now_s, 7)
        for watcher in watchers:
            clock.now_s += LEAD_S * 2  # each takes the lead from the one before
            watcher.turn()
    assert made.is_set()
    assert len(store.agenda().queue_of("etl/nightly", limit=100)) == 35


def test_old_events_are_forgotten_after_their_days(store: Store, clock: Clock) -> None:
    watcher = Watcher(store, [Listing()], clock=clock, kept_days=2.0)
    emit(store, "a", clock.now_s)
    watcher.turn()
    clock.now_s += 86_400
    watcher.turn()
    assert len(store.events().events()) == 1
    clock.now_s += 86_400 + 1
    watcher.turn()
    assert store.events().events() == []


def test_more_old_events_than_go_at_once_are_forgotten_soon(
        store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.service.watcher._AT_ONCE", 4)
    emit(store, "a", clock.now_s, 10)
    watcher = Watcher(store, [], clock=clock, kept_days=1.0)
    watcher.turn()
    clock.now_s += 2 * 86_400
    left = []
    for _ in range(4):
        watcher.turn()
        left.append(len(store.events().events()))
        clock.now_s += 6
    assert left == [6, 2, 0, 0]


def test_a_stopped_watcher_gives_up_the_lead(store: Store) -> None:
    watcher = Watcher(store, [])
    watcher.start()
    emit(store, "a", 2e9)
    while store.events().pending().events:
        pass
    watcher.stop()
    second = Watcher(store, [])
    second.turn()
    assert second.leads
