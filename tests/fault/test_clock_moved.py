"""The clock is set an hour forward or back while runs, claims, results and retries count on it.

A process renews what it holds by the new clock, and others of its host wait for that. Not
covered: a claim whose owner has not renewed it since the clock went forward (10 s at most) is
given to who asks, so that a result may be computed twice; its key has one value all the same.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, run_lease, task
from dataflow.cache_policies import INPUTS
from dataflow.claiming.memory_claims import MemoryClaims
from dataflow.claiming.sqlite_claims import SqliteClaims
from dataflow.claims import _owner, owner_of_this_process
from dataflow.engine.messages import CallAdded, Tick
from dataflow.exceptions import RunOwned
from dataflow.graph import CallView
from dataflow.ids import new_run_id
from dataflow.outcomes import Code
from dataflow.store import FlowRunRecord, Gulp
from dataflow.stores.memory import MemoryStore
from runners import InlineTaskRunner, ThreadPoolTaskRunner
from tests.fault.test_two_drivers import completed, the_run
from tests.nursery import Nursery
from tests.property.engine_lives import Life, call_spec
from tests.property.test_engine_accidents import Call
from tests.run_support import ledger, note, recorded, script_of

HOUR = 3600.0
ways = pytest.mark.parametrize("moved", [HOUR, -HOUR], ids=["forward", "back"])

SCRIPT = """
    import sys, time
    from pathlib import Path
    BOOK, HOW = sys.argv[1], sys.argv[2]
    real, moved = time.time, Path(BOOK + ".moved")
    time.time = lambda: real() + (float(moved.read_text()) if moved.exists() else 0.0)

    from dataflow import flow, run_lease, task
    from dataflow.exceptions import RunFenced, RunOwned
    from tests.run_support import note, wait_until
    run_lease.LEASE_S, run_lease.RENEW_S = 3.0, 1.0

    @task(persist_result=True)
    def step(x):
        if x >= 5:
            wait_until(Path(BOOK + ".gate").exists, "the gate is open", 60)
        note(BOOK, x)
        return x

    @flow(task_runner="threads")
    def shared():
        return sum(step.with_options(batch_size=1, max_in_flight=1).map(range(10)).result())

    if __name__ == "__main__":
        try:
            assert (shared() if HOW == "first" else shared.resume("last")) == 45
        except (RunFenced, RunOwned) as error:
            print(type(error).__name__, error, flush=True)
            sys.exit(7)
"""


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(tmp_path) as nursery:
        yield nursery


@pytest.fixture
def neighbour() -> Iterator[tuple[str, Callable[[], None]]]:
    """Return the owner that a living process of this host is, and what ends that process."""
    process = subprocess.Popen(["sleep", "60"])

    def end() -> None:
        process.kill()
        process.wait()

    yield _owner(process.pid), end
    end()


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what sets the clock of this process, seen from the true one."""
    real, by = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + by[0])

    def set_clock(seconds: float) -> None:
        by[0] = seconds

    return set_clock


@ways
def test_lease_of_a_living_process_is_not_stolen_when_the_clock_is_set(
    tmp_path: Path, nursery: Nursery, moved: float
) -> None:
    script, book = script_of(tmp_path, SCRIPT), tmp_path / "book"
    first = nursery.start(script, book, "first")
    first.until(lambda: completed() == 5, 20)
    Path(f"{book}.moved").write_text(str(moved))
    refused = nursery.start(script, book, "refused")
    refused.wait(20)
    assert (refused.code, the_run().epoch) == (7, 1), refused.out.read_text()
    assert "RunOwned" in refused.out.read_text() and f":{first.pid}:" in refused.out.read_text()
    Path(f"{book}.gate").touch()
    first.wait(20)
    assert first.code == 0, first.out.read_text()
    assert recorded().counts == {"step": {"Completed": 10}}
    assert ledger(book) == {str(x): 1 for x in range(10)}


def test_lease_that_is_over_since_the_clock_was_set_is_left_to_a_process_that_renews_it(
    neighbour: tuple[str, Callable[[], None]], move: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_lease, "RENEW_S", 1.0)
    store, (other, _), now = MemoryStore(), neighbour, time.time()
    run_id = new_run_id()
    store.write(run_id, Gulp(flow_run=FlowRunRecord(
        id=run_id, name="r", flow_name="f", epoch=1, owner=other, lease_until_s=now + 30)))
    move(HOUR)
    renewal = threading.Timer(0.3, lambda: store.renew(run_id, 1, time.time() + 30))
    renewal.start()
    with pytest.raises(RunOwned):
        run_lease.take(store, run_id)
    renewal.join()
    assert store.find_flow_run(run_id).epoch == 1
    move(2 * HOUR)  # and it says nothing any more, as one that is stopped
    assert run_lease.take(store, run_id) == 2


def test_lease_of_another_host_whose_clock_is_minutes_behind_is_left_to_who_renews_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_lease, "RENEW_S", 1.0)
    store, run_id, behind_s = MemoryStore(), new_run_id(), time.time() - 600
    store.write(run_id, Gulp(flow_run=FlowRunRecord(
        id=run_id, name="r", flow_name="f", epoch=1, owner="there:1:2",
        lease_until_s=behind_s + 30)))
    renewal = threading.Timer(0.3, lambda: store.renew(run_id, 1, behind_s + 60))
    renewal.start()
    with pytest.raises(RunOwned):
        run_lease.take(store, run_id)
    renewal.join()
    assert store.find_flow_run(run_id).epoch == 1
    assert run_lease.take(store, run_id) == 2  # it says nothing any more


@ways
def test_run_of_a_process_that_died_is_free_at_once_when_the_clock_was_set(
    tmp_path: Path, nursery: Nursery, moved: float
) -> None:
    script, book = script_of(tmp_path, SCRIPT), tmp_path / "book"
    first = nursery.start(script, book, "first")
    first.until(lambda: completed() == 5, 20)
    first.kill()
    Path(f"{book}.moved").write_text(str(moved))
    Path(f"{book}.gate").touch()
    second = nursery.start(script, book, "second")
    second.wait(20)
    assert second.code == 0, second.out.read_text()
    assert recorded().run.state_type == "COMPLETED"
    assert ledger(book) == {str(x): 1 for x in range(10)}


@ways
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_claim_of_a_living_process_stands_by_the_new_clock_and_ends_with_it(
    tmp_path: Path, neighbour: tuple[str, Callable[[], None]], kind: str, moved: float
) -> None:
    claims = MemoryClaims() if kind == "memory" else SqliteClaims(tmp_path / "claims.db")
    (other, end), me, key, now = neighbour, owner_of_this_process(), bytes(16), time.time()
    grant = claims.take("p", [key], other, now_s=now, lease_s=30.0)
    assert grant.id is not None
    if moved > 0:
        claims.renew([grant.id], now + moved + 30.0)  # as it does each 10 s
    for after in (0.0, 9.0, 25.0):
        denied = claims.take("p", [key], me, now_s=now + moved + after, lease_s=30.0)
        assert (denied.id, denied.denied) == (None, {0})
    end()
    assert claims.take("p", [key], me, now_s=now + moved, lease_s=30.0).denied == frozenset()
    claims.close()


@ways
def test_run_that_sees_the_clock_set_ends_in_time_and_does_nothing_twice(
    tmp_path: Path, move: Callable[[float], None], moved: float
) -> None:
    book = tmp_path / "book"

    @task(cache_policy=INPUTS, retries=1, retry_delay_seconds=1)
    def element(x: int) -> int:
        note(book, x)
        if x == 20:
            move(moved)
        if x % 10 == 5 and ledger(book)[str(x)] == 1:
            raise ValueError("the first time")
        return x

    @flow(task_runner=ThreadPoolTaskRunner(2))
    def through() -> int:
        return sum(element.map(range(40)).result())

    began = time.monotonic()
    assert through() == sum(range(40))
    assert time.monotonic() - began < 10
    assert recorded().counts == {"element": {"Completed": 40}}
    assert ledger(book) == {str(x): 2 if x % 10 == 5 else 1 for x in range(40)}


def test_cached_result_expires_by_the_clock_of_now(
    tmp_path: Path, move: Callable[[float], None]
) -> None:
    book = tmp_path / "book"

    @task(cache_policy=INPUTS, cache_expiration=timedelta(minutes=30))
    def element(x: int) -> int:
        note(book, x)
        return x

    @flow(task_runner=InlineTaskRunner())
    def cached() -> dict[str, int]:
        assert element.map(range(3)).result() == [0, 1, 2]
        return {}

    def times() -> set[int]:
        cached()
        return set(ledger(book).values())

    assert times() == {1}
    move(-HOUR)
    assert times() == {1}, "not expired, and computed again"
    move(HOUR)
    assert times() == {2}, "expired, and taken"
    move(0)
    assert times() == {2}
    move(HOUR + 60)
    assert times() == {2}
    assert recorded().counts == {"element": {"Cached": 3}}


@ways
def test_retry_that_is_due_stays_as_far_away_when_the_clock_is_set_back(moved: float) -> None:
    nobody: frozenset[int] = frozenset()
    plan = Call("map", 1, 0, nobody, frozenset({0}), 1.0, 5.0, False, False)
    life = Life(rng=_Calm(), calls=[plan])  # type: ignore[arg-type]  # no accidents
    spec = call_spec(0, plan, life)
    view = CallView(0, "task0", "map", None, bytearray())
    life.views.append(view)
    life.hear(CallAdded(spec, view))
    life.act()
    life.land()
    life.act()
    assert view.codes[0] == Code.AWAITING_RETRY
    before = life.now
    life.now += moved
    life.hear(Tick())
    life.act()
    assert bool(life.flying) == (moved > 0)  # an hour has passed
    if moved < 0:
        life.now = before + moved + 4.9
        life.hear(Tick())
        life.act()
        assert not life.flying
        life.now = before + moved + 5.2
        life.hear(Tick())
        life.act()
    life.land()
    assert (view.codes[0], view.attempts[0]) == (Code.COMPLETED, 2)
    assert life.tries[0, 0] == 2


class _Calm:
    """Chance without accidents."""

    def random(self) -> float:
        return 0.99

    def choice(self, among: Any) -> Any:
        return among[-1]
