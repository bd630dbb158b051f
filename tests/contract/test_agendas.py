"""The agenda of a store: what every store in a database promises of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dataflow.agenda import (
    Agenda,
    Decision,
    DeploymentRow,
    NewDeployment,
    NewRun,
    NewSchedule,
    QueueLength,
    RunClaim,
    ScheduleRow,
    SlotRun,
    WorkerRow,
)
from dataflow.exceptions import DeploymentNotFound, RunFenced, StoreError
from dataflow.ids import new_run_id
from dataflow.records import FlowRunRecord, Gulp
from dataflow.store import Store
from dataflow.stores import open_store

NOW = 1_000_000.0
Open = Callable[[], Store]


@pytest.fixture
def store(another: Open) -> Store:
    return another()


@pytest.fixture
def agenda(store: Store) -> Agenda:
    return store.agenda()


def deployment(name: str = "etl/nightly", **fields: Any) -> NewDeployment:
    fields = {"digest": "d1", "spec": {"entrypoint": "etl.py:etl"}, **fields}
    return NewDeployment(name=name, flow_name=name.partition("/")[0], **fields)


def run(name: str = "etl/nightly", **fields: Any) -> NewRun:
    fields = {"due_s": NOW, "parameters": {}, **fields}
    return NewRun(flow_run_id=new_run_id(), name="tidy-owl", deployment=name, **fields)


def every_minute(row: ScheduleRow, owner: DeploymentRow, active: int) -> Decision:
    """Make the one run of the slot that has come."""
    assert row.next_s is not None
    return Decision(
        runs=[run(owner.name, due_s=row.next_s, slot_s=row.next_s, serial=True)],
        handled_s=row.next_s, next_s=row.next_s + 60)


def take(agenda: Agenda, room: int = 100, worker: str = "w1", now_s: float = NOW,
         **fields: Any) -> list[str]:
    taken = agenda.take("default", worker, room, now_s=now_s, until_s=now_s + 30, **fields)
    return [each.flow_run_id for each in taken]


def claim(flow_run_id: str, **fields: Any) -> RunClaim:
    fields = {"worker": "w1", "until_s": NOW + 30, "tries": 1, "owner": None,
              "lease_until_s": None, **fields}
    return RunClaim(flow_run_id=flow_run_id, **fields)


# deployments


def test_putting_the_same_deployment_again_changes_nothing(agenda: Agenda) -> None:
    first, changed = agenda.put(deployment(), NOW)
    assert changed and first.version == 1
    again, changed = agenda.put(deployment(), NOW + 5)
    assert not changed and again == first


def test_another_digest_makes_another_version_and_the_old_one_stays(agenda: Agenda) -> None:
    agenda.put(deployment(label="a"), NOW)
    row, changed = agenda.put(
        deployment(digest="d2", label="b", spec={"entrypoint": "other.py:etl"}), NOW + 1)
    assert changed and (row.version, row.label) == (2, "b")
    versions = agenda.versions("etl/nightly")
    assert [(each.number, each.label, each.digest) for each in versions] == [
        (2, "b", "d2"), (1, "a", "d1")]
    assert versions[1].spec == {"entrypoint": "etl.py:etl"}


def test_a_change_that_is_none_of_the_version_is_a_change_all_the_same(agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    row, changed = agenda.put(deployment(limit=3), NOW + 1)
    assert changed and (row.version, row.limit) == (1, 3)


def test_a_waiting_run_keeps_the_version_it_was_made_with(agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    agenda.queue(run(), NOW)
    agenda.put(deployment(digest="d2", spec={"entrypoint": "other.py:etl"}), NOW)
    (taken,) = agenda.take("default", "w", 1, now_s=NOW, until_s=NOW + 30)
    assert (taken.version, taken.spec) == (1, {"entrypoint": "etl.py:etl"})


def test_deployments_are_found_by_name_its_second_part_and_id(agenda: Agenda) -> None:
    row, _ = agenda.put(deployment(), NOW)
    assert agenda.deployment("etl/nightly") == row
    assert agenda.deployment("nightly") == row
    assert agenda.deployment(row.id) == row


def test_names_that_mean_none_or_several_deployments_are_refused(agenda: Agenda) -> None:
    agenda.put(deployment("etl/nightly"), NOW)
    agenda.put(deployment("report/nightly"), NOW)
    with pytest.raises(DeploymentNotFound, match="several.*etl/nightly, report/nightly"):
        agenda.deployment("nightly")
    with pytest.raises(DeploymentNotFound, match="'etl/nightly' meant"):
        agenda.deployment("etl/nightlies")
    with pytest.raises(DeploymentNotFound):
        agenda.deployment("%")


def test_a_deleted_deployment_takes_its_waiting_runs_along_and_leaves_history(
        store: Store, agenda: Agenda) -> None:
    old, _ = agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    ended, waiting = run(), run()
    agenda.queue(ended, NOW)
    assert take(agenda) == [ended.flow_run_id] and agenda.end(ended.flow_run_id, "w1")
    agenda.queue(waiting, NOW)
    assert agenda.delete("etl/nightly", NOW) == 1
    assert agenda.deployments() == [] and agenda.schedules() == []
    with pytest.raises(DeploymentNotFound):
        agenda.queue(run(), NOW)
    row = store.find_flow_run(waiting.flow_run_id)
    assert (row.state_name, row.message) == ("Cancelled", "Its deployment was deleted")
    kept = agenda.queued(ended.flow_run_id)
    assert kept is not None and kept.deployment == "etl/nightly" and kept.version == 1
    new, _ = agenda.put(deployment(), NOW + 1)
    assert new.id != old.id and agenda.versions("nightly")[0].number == 1


# schedules


def test_each_slot_makes_one_run_whoever_takes_turns(another: Open, agenda: Agenda) -> None:
    for number in range(60):
        agenda.put(deployment(f"etl/d{number}", schedules=[
            NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    agendas = [another().agenda() for _ in range(4)]
    made: list[str] = []
    gate = threading.Barrier(len(agendas))

    def turn(mine: Agenda) -> None:
        gate.wait()
        for _ in range(3):
            made.extend(mine.turn(NOW + 1, every_minute, 25))

    threads = [threading.Thread(target=turn, args=(each,)) for each in agendas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made += agenda.turn(NOW + 1, every_minute)
    assert len(set(made)) == len(made) == 60
    assert {row.next_s for row in agenda.schedules()} == {NOW + 60}
    assert agenda.next_slot_s() == NOW + 60


def test_a_slot_that_has_a_run_makes_no_other_though_it_is_decided_on_again(
        agenda: Agenda) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    assert len(agenda.turn(NOW, every_minute)) == 1
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={"a": 1}, next_s=NOW)]), NOW)
    assert agenda.turn(NOW, every_minute) == []


def test_a_schedule_that_stays_the_same_keeps_what_it_handled(agenda: Agenda) -> None:
    both = [NewSchedule(slug="a", spec={"n": 1}, next_s=NOW),
            NewSchedule(slug="b", spec={"n": 2}, next_s=NOW)]
    agenda.put(deployment(schedules=both), NOW)
    agenda.turn(NOW, every_minute)
    other = replace(both[1], spec={"n": 3}, next_s=NOW + 7)
    _, changed = agenda.put(deployment(schedules=[both[0], other]), NOW + 1)
    assert changed
    rows = {row.slug: (row.handled_s, row.next_s) for row in agenda.schedules("nightly")}
    assert rows == {"a": (NOW, NOW + 60), "b": (None, NOW + 7)}
    agenda.put(deployment(schedules=[both[0]]), NOW + 2)
    assert [row.slug for row in agenda.schedules()] == ["a"]


@pytest.mark.parametrize("which", ["deployment", "schedule"])
def test_slots_within_a_pause_are_not_handled(agenda: Agenda, which: str) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)

    def pause(paused: bool, now_s: float) -> None:
        if which == "deployment":
            agenda.pause("nightly", paused, now_s)
        else:
            agenda.pause_schedule("nightly", "s", paused, now_s)

    pause(True, NOW)
    assert agenda.turn(NOW + 600, every_minute) == [] and agenda.next_slot_s() is None
    pause(False, NOW + 600)
    (row,) = agenda.schedules()
    assert (row.handled_s, row.next_s) == (NOW + 600, NOW + 600)
    pause(False, NOW + 900)  # it goes on already
    assert agenda.schedules() == [row]


def test_a_pause_by_hand_stays_when_the_same_is_put_again(agenda: Agenda) -> None:
    new = deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)])
    agenda.put(new, NOW)
    agenda.pause("nightly", True, NOW)
    agenda.pause_schedule("nightly", "s", True, NOW)
    row, changed = agenda.put(new, NOW + 1)
    assert not changed and row.paused and not agenda.schedules()[0].active
    row, changed = agenda.put(replace(new, limit=2), NOW + 1)
    assert changed and row.paused


def test_a_pause_that_is_put_otherwise_than_before_counts(agenda: Agenda) -> None:
    def put(paused: bool) -> bool:
        spec = {"entrypoint": "etl.py:etl", "paused": paused}
        return agenda.put(deployment(paused=paused, spec=spec), NOW)[0].paused

    assert [put(False), put(True), put(False)] == [False, True, False]


def test_a_schedule_that_is_not_there_is_named(agenda: Agenda) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    with pytest.raises(DeploymentNotFound, match="'t'. It has: s"):
        agenda.pause_schedule("nightly", "t", True, NOW)


def test_a_decision_that_raises_leaves_all_as_it_was(agenda: Agenda) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)

    def broken(row: ScheduleRow, owner: DeploymentRow, active: int) -> Decision:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        agenda.turn(NOW, broken)
    assert len(agenda.turn(NOW, every_minute)) == 1


def test_the_decision_hears_how_many_runs_are_active_and_may_cancel_them(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    (first,) = agenda.turn(NOW, every_minute)
    heard: list[int] = []

    def replacing(row: ScheduleRow, owner: DeploymentRow, active: int) -> Decision:
        heard.append(active)
        return replace(every_minute(row, owner, active), cancel_active=True)

    (second,) = agenda.turn(NOW + 60, replacing)
    assert heard == [1] and store.find_flow_run(first).state_name == "Cancelled"
    assert take(agenda, now_s=NOW + 60) == [second]


# the queue


def test_a_queued_run_is_seen_among_the_flow_runs(store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(label="v7", spec={"entrypoint": "e", "tags": ["prod"]}), NOW)
    new = run(parameters={"day": "2026-01-01"}, tags=["extra"])
    assert agenda.queue(new, NOW) == new.flow_run_id
    row = store.find_flow_run(new.flow_run_id)
    assert (row.state_type, row.state_name, row.flow_name, row.flow_version) == (
        "SCHEDULED", "Scheduled", "etl", "v7")
    assert row.tags == ("extra", "prod") and row.parameters == '{"day": "2026-01-01"}'


def test_the_same_idempotency_key_is_the_same_run(agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    agenda.put(deployment("etl/other"), NOW)
    first = agenda.queue(run(idempotency_key="k"), NOW)
    assert agenda.queue(run(idempotency_key="k"), NOW + 1) == first
    assert agenda.queue(run("etl/other", idempotency_key="k"), NOW) != first
    assert len(agenda.queue_of("etl/nightly")) == 1


def test_runs_are_taken_by_priority_then_time_and_not_before_they_are_due(
        agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    late, early, urgent, tomorrow = (
        run(due_s=NOW - 1), run(due_s=NOW - 2), run(due_s=NOW, priority=5),
        run(due_s=NOW + 86400, priority=9))
    for each in (late, early, urgent, tomorrow):
        agenda.queue(each, NOW)
    assert take(agenda, 2) == [urgent.flow_run_id, early.flow_run_id]
    assert take(agenda) == [late.flow_run_id]
    assert take(agenda) == []


def test_each_run_is_taken_by_one_worker(another: Open, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    queued = [agenda.queue(run(), NOW) for _ in range(120)]
    agendas = [another().agenda() for _ in range(4)]
    gate = threading.Barrier(len(agendas))
    taken: list[str] = []

    def work(number: int) -> None:
        gate.wait()
        while some := take(agendas[number], 7, f"w{number}"):
            taken.extend(some)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(queued)


def test_a_deployments_limit_holds_over_workers_and_others_pass_it(
        another: Open, agenda: Agenda) -> None:
    agenda.put(deployment(limit=2), NOW)
    agenda.put(deployment("etl/free"), NOW)
    mine = [agenda.queue(run(priority=1), NOW) for _ in range(30)]
    free = agenda.queue(run("etl/free"), NOW)
    assert take(agenda, 3) == [*mine[:2], free]
    assert take(another().agenda(), 3, "w2") == []
    agenda.end(mine[0], "w1")
    assert take(agenda, 3, "w2") == [mine[2]]


def test_a_pools_limit_holds_and_a_paused_pool_gives_nothing(agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    queued = [agenda.queue(run(), NOW) for _ in range(4)]
    agenda.put_pool("default", limit=3)
    assert take(agenda, 2) == queued[:2]
    assert take(agenda, 2) == queued[2:3]
    agenda.put_pool("default", paused=True)
    assert take(agenda, 2) == []
    agenda.put_pool("default")
    assert take(agenda, 2) == queued[3:]


def test_runs_above_a_limit_are_cancelled_where_the_deployment_says_so(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(limit=1, collision="CANCEL_NEW"), NOW)
    queued = [agenda.queue(run(), NOW) for _ in range(5)]
    assert take(agenda, 2) == queued[:1]
    assert take(agenda, 10) == []
    states = [store.find_flow_run(each).state_name for each in queued]
    assert states == ["Scheduled"] + ["Cancelled"] * 4
    assert "limit" in str(store.find_flow_run(queued[1]).message)


def test_runs_of_a_schedule_follow_each_other_where_it_says_so(agenda: Agenda) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    (first,) = agenda.turn(NOW, every_minute)
    (second,) = agenda.turn(NOW + 60, every_minute)
    assert take(agenda, now_s=NOW + 60) == [first]
    assert take(agenda, now_s=NOW + 60) == []
    agenda.end(first, "w1")
    assert take(agenda, now_s=NOW + 60) == [second]


def test_a_worker_gets_runs_of_its_queues_alone(agenda: Agenda) -> None:
    agenda.put(deployment(queue="slow"), NOW)
    queued = agenda.queue(run(), NOW)
    assert take(agenda, queues=["fast"]) == []
    assert take(agenda, queues=["fast", "slow"]) == [queued]


def test_holding_a_run_moves_its_end_and_hears_of_cancels(agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    mine, other = agenda.queue(run(), NOW), agenda.queue(run(due_s=NOW + 0.1), NOW)
    assert take(agenda, 1) == [mine]
    assert take(agenda, 1, "w2", NOW + 1) == [other]
    assert agenda.hold("w1", [mine, other], now_s=NOW + 20, until_s=NOW + 50) == {mine: False}
    assert agenda.claims() == [claim(mine, until_s=NOW + 50),
                               claim(other, worker="w2", until_s=NOW + 31)]
    assert agenda.ask_to_cancel(mine, NOW + 40)
    assert agenda.hold("w1", [mine], now_s=NOW + 40, until_s=NOW + 70) == {mine: True}


def test_a_run_that_ended_is_nobodys(agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    mine = agenda.queue(run(), NOW)
    take(agenda)
    assert not agenda.end(mine, "w2")
    assert agenda.end(mine, "w1")
    assert not agenda.end(mine, "w1")
    assert not agenda.give_back(mine, "w1", NOW)
    assert not agenda.ask_to_cancel(mine, NOW)
    assert agenda.hold("w1", [mine], now_s=NOW, until_s=NOW + 30) == {}
    assert take(agenda) == []


def test_a_run_that_is_given_back_waits_again_and_counts_its_tries(agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    mine = agenda.queue(run(), NOW)
    take(agenda)
    assert agenda.give_back(mine, "w1", NOW + 10)
    assert take(agenda, now_s=NOW + 9) == []
    (taken,) = agenda.take("default", "w2", 1, now_s=NOW + 10, until_s=NOW + 40)
    assert (taken.flow_run_id, taken.tries, taken.worker) == (mine, 2, "w2")


def test_a_waiting_run_that_is_cancelled_never_begins(store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    mine = agenda.queue(run(), NOW)
    assert agenda.ask_to_cancel(mine, NOW)
    assert take(agenda) == [] and store.find_flow_run(mine).state_name == "Cancelled"
    assert not agenda.ask_to_cancel(new_run_id(), NOW)


def test_runs_that_wait_too_long_are_late(store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    old, fresh = agenda.queue(run(), NOW), agenda.queue(run(due_s=NOW + 50), NOW)
    assert agenda.mark_late(NOW + 60, 15) == 1
    assert agenda.mark_late(NOW + 60, 15) == 0
    assert [store.find_flow_run(each).state_name for each in (old, fresh)] == [
        "Late", "Scheduled"]


def begun(store: Store, flow_run_id: str, until_s: float) -> int:
    """Let a process drive a run, as far as records tell."""
    epoch = store.lease(flow_run_id, "far:1:2", now_s=NOW, until_s=until_s)
    store.write(flow_run_id, Gulp(fence=epoch, flow_run=FlowRunRecord(
        id=flow_run_id, name="tidy-owl", flow_name="etl", state_type="RUNNING",
        state_name="Running")))
    return epoch


def test_a_run_that_a_process_drives_is_not_crashed_before_its_lease_is_over(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    mine = agenda.queue(run(), NOW)
    epoch = begun(store, mine, NOW + 30)
    assert not agenda.crash(mine, "gone", NOW + 20)
    assert store.find_flow_run(mine).state_name == "Running"
    assert agenda.crash(mine, "gone", NOW + 31)
    row = store.find_flow_run(mine)
    assert (row.state_name, row.message, row.owner) == ("Crashed", "gone", None)
    with pytest.raises(RunFenced):  # what it still writes
        store.write(mine, Gulp(fence=epoch, flow_run=FlowRunRecord(
            id=mine, name="tidy-owl", flow_name="etl", state_type="COMPLETED")))
    assert not agenda.crash(mine, "again", NOW + 99)


def test_a_run_whose_process_is_known_to_be_dead_is_crashed_at_once(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    mine = agenda.queue(run(), NOW)
    begun(store, mine, NOW + 30)
    assert not agenda.crash(mine, "gone", NOW, "another:1:2")
    assert agenda.crash(mine, "gone", NOW, "far:1:2")


# workers and pools


def test_workers_are_listed_the_last_one_seen_first(agenda: Agenda) -> None:
    def worker(name: str, seen_s: float) -> WorkerRow:
        return WorkerRow(name=name, pool="default", kind="process", limit=None, host="h", pid=1,
                         started_s=NOW, seen_s=seen_s, status="online")

    agenda.put_worker(worker("a", NOW))
    agenda.put_worker(worker("b", NOW + 1))
    agenda.hold("a", [], now_s=NOW + 2, until_s=NOW + 32)
    assert agenda.workers() == [worker("a", NOW + 2), worker("b", NOW + 1)]
    gone = replace(worker("a", NOW + 3), status="gone")
    agenda.put_worker(gone)
    assert agenda.workers()[0] == gone


def test_a_store_in_memory_keeps_no_agenda() -> None:
    with pytest.raises(StoreError, match="keeps no deployments"):
        open_store("memory:").agenda()


# several at the same moment


def all_at_once(another: Open, act: Callable[[Agenda], Any], many: int = 6) -> list[Any]:
    """Return what several processes get that do the same at the same moment."""
    agendas = [another().agenda() for _ in range(many)]
    ready, got = threading.Barrier(many), []

    def go(one: Agenda) -> None:
        ready.wait()
        try:
            got.append(act(one))
        except Exception as error:
            got.append(error)

    threads = [threading.Thread(target=go, args=(one,)) for one in agendas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_the_same_put_by_several_at_once_is_one(another: Open, agenda: Agenda) -> None:
    new = deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)])
    got = all_at_once(another, lambda one: one.put(new, NOW)[0].version)
    assert got == [1] * 6
    assert len(agenda.deployments()) == len(agenda.schedules()) == 1
    ids = all_at_once(another, lambda one: one.queue(run(idempotency_key="k"), NOW))
    assert len(set(ids)) == 1 and len(agenda.queue_of("etl/nightly")) == 1
    row = WorkerRow(name="w", pool="default", kind="process", limit=None, host="h", pid=1,
                    started_s=NOW, seen_s=NOW, status="online")
    assert all_at_once(another, lambda one: one.put_worker(row)) == [None] * 6
    assert all_at_once(another, lambda one: one.put_pool("p", limit=3)) == [None] * 6


def test_a_limit_holds_where_several_take_at_once(another: Open, agenda: Agenda) -> None:
    for number in range(8):
        name, pool = f"etl/d{number}", f"pool{number}"
        agenda.put(deployment(name, limit=1, pool=pool), NOW)
        for _ in range(6):
            agenda.queue(run(name), NOW)
        got = all_at_once(another, lambda one, pool=pool: one.take(
            pool, "w", 1, now_s=NOW, until_s=NOW + 30), many=4)
        assert sum(len(each) for each in got) == 1, got


def test_a_run_that_is_given_back_is_free_of_the_lease_of_who_is_gone(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    flow_run_id = agenda.queue(run(), NOW)
    take(agenda)
    store.lease(flow_run_id, "there:1:2", now_s=NOW, until_s=NOW + 30)
    assert agenda.give_back(flow_run_id, "w1", NOW + 2, "there:1:2")
    assert store.find_flow_run(flow_run_id).owner is None
    store.lease(flow_run_id, "elsewhere:5:6", now_s=NOW + 2, until_s=NOW + 40)


def test_a_run_that_somebody_wants_cancelled_is_not_given_back(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    flow_run_id = agenda.queue(run(), NOW)
    take(agenda)
    assert agenda.ask_to_cancel(flow_run_id, NOW)
    assert not agenda.give_back(flow_run_id, "w1", NOW + 2)
    assert agenda.crash(flow_run_id, "it was told to end", NOW, cancelled=True)
    assert store.find_flow_run(flow_run_id).state_name == "Cancelled"


def test_what_a_deployment_missed_while_it_was_paused_is_not_made_up_for_when_it_is_put(
        agenda: Agenda) -> None:
    new = deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)])
    agenda.put(new, NOW - 10)
    agenda.put(replace(new, paused=True, spec={**new.spec, "paused": True}), NOW - 5)
    _, changed = agenda.put(new, NOW + 600)
    (row,) = agenda.schedules()
    assert changed and not row.paused
    assert (row.handled_s, row.next_s) == (NOW + 600, NOW + 600)


def test_the_runs_of_a_schedule_that_is_gone_are_not_those_of_the_next_one(
        agenda: Agenda) -> None:
    schedules = [NewSchedule(slug="s", spec={}, next_s=NOW)]
    agenda.put(deployment(schedules=schedules), NOW)
    assert len(agenda.turn(NOW, every_minute)) == 1
    take(agenda)
    agenda.delete("etl/nightly", NOW)
    agenda.put(deployment("other/nightly", schedules=schedules), NOW)
    heard: list[int] = []

    def decide(row: ScheduleRow, owner: DeploymentRow, active: int) -> Decision:
        heard.append(active)
        return every_minute(row, owner, active)

    assert len(agenda.turn(NOW, decide)) == 1
    assert heard == [0]


def test_claims_tell_the_last_words_of_worker_and_process(store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    mine, ended, waiting = (agenda.queue(run(due_s=NOW + at), NOW) for at in range(3))
    assert take(agenda, now_s=NOW + 1) == [mine, ended] and agenda.end(ended, "w1")
    store.lease(mine, "there:1:2", now_s=NOW, until_s=NOW + 300)
    assert agenda.claims() == [
        claim(mine, until_s=NOW + 31, owner="there:1:2", lease_until_s=NOW + 300)]
    assert agenda.queued(waiting) is not None


def test_a_run_that_has_ended_waits_once_more_as_it_was_made(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    flow_run_id = agenda.queue(run(parameters={"x": 1}), NOW)
    assert not agenda.again(flow_run_id, NOW, retry=True)  # it waits
    assert take(agenda) == [flow_run_id]
    assert not agenda.again(flow_run_id, NOW, retry=True)  # it goes on
    epoch = begun(store, flow_run_id, NOW + 30)
    assert agenda.crash(flow_run_id, "it died", NOW + 1, "far:1:2")
    agenda.ask_to_cancel(flow_run_id, NOW + 1)
    agenda.put(deployment(digest="d2", spec={"entrypoint": "other.py:etl"}), NOW + 2)
    assert agenda.again(flow_run_id, NOW + 3, retry=True)
    assert not agenda.again(flow_run_id, NOW + 3, retry=False)
    assert not agenda.end(flow_run_id, "w1")  # its worker comes late
    row = store.find_flow_run(flow_run_id)
    assert (row.state_name, row.message, row.end_time, row.owner, row.epoch > epoch) == (
        "Scheduled", "To be retried", None, None, True)
    (taken,) = agenda.take("default", "w2", 1, now_s=NOW + 3, until_s=NOW + 33)
    assert (taken.flow_run_id, taken.parameters, taken.version, taken.tries, taken.cancel,
            taken.retry) == (flow_run_id, {"x": 1}, 1, 1, False, True)
    assert agenda.give_back(flow_run_id, "w2", NOW + 4)  # it had not begun
    assert agenda.queued(flow_run_id) == replace(
        taken, phase="waiting", worker=None, taken_until_s=None, due_s=NOW + 4)
    assert not agenda.again("nobody", NOW, retry=True)


def test_a_retried_run_whose_process_died_goes_on_without_running_failures_once_more(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    flow_run_id = agenda.queue(run(), NOW)
    assert take(agenda) == [flow_run_id] and agenda.crash(flow_run_id, "it died", NOW)
    assert agenda.again(flow_run_id, NOW, retry=True) and take(agenda) == [flow_run_id]
    begun(store, flow_run_id, NOW + 30)
    assert agenda.give_back(flow_run_id, "w1", NOW + 2, "far:1:2")
    now = agenda.queued(flow_run_id)
    assert now is not None and (now.phase, now.retry) == ("waiting", False)


# slots


def test_runs_are_found_by_the_slots_that_they_stand_for(agenda: Agenda) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    agenda.put(deployment("etl/other"), NOW)
    (made,) = agenda.turn(NOW, every_minute)
    before = agenda.queue(run(slot_s=NOW - 60, schedule="s"), NOW)
    again = agenda.queue(run(slot_s=NOW, schedule="s", parent_flow_run_id="p"), NOW)
    twin = agenda.queue(run(slot_s=NOW, schedule="t"), NOW)
    agenda.queue(run(), NOW)  # asked for: of no slot
    agenda.queue(run("etl/other", slot_s=NOW, schedule="s"), NOW)
    assert take(agenda, 1) == [made] and agenda.crash(made, "it died", NOW)

    def found(slot_s: float, slug: str, flow_run_id: str, state: str = "Scheduled",
              parent: str | None = None) -> SlotRun:
        return SlotRun(slot_s=slot_s, schedule=slug, flow_run_id=flow_run_id,
                       state_type=state.upper(), state_name=state, parent_flow_run_id=parent)

    assert agenda.slots("nightly", NOW - 60, NOW + 60) == [
        found(NOW - 60, "s", before), found(NOW, "s", made, "Crashed"),
        found(NOW, "s", again, parent="p"), found(NOW, "t", twin)]
    assert [each.flow_run_id for each in agenda.slots("nightly", NOW - 60, NOW)] == [before]
    kept = agenda.queued(again)
    assert kept is not None and (kept.schedule, kept.slot_s, kept.due_s) == ("s", NOW, NOW)


def test_the_run_of_a_slot_stays_known_when_its_schedule_is_gone(agenda: Agenda) -> None:
    agenda.put(deployment(schedules=[NewSchedule(slug="s", spec={}, next_s=NOW)]), NOW)
    (made,) = agenda.turn(NOW, every_minute)
    instead = agenda.queue(run(slot_s=NOW, schedule="s"), NOW)
    agenda.put(deployment(schedules=[]), NOW)
    assert [(each.schedule, each.flow_run_id) for each in agenda.slots("nightly", NOW, NOW + 1)
            ] == [(None, made), ("s", instead)]


def test_a_slot_for_which_a_run_stands_already_makes_no_other(agenda: Agenda) -> None:
    schedules = [NewSchedule(slug=slug, spec={}, next_s=NOW) for slug in ("s", "t")]
    agenda.put(deployment(schedules=schedules), NOW)
    agenda.put(deployment("etl/other", schedules=schedules[:1]), NOW)
    agenda.queue(run(slot_s=NOW, schedule="s"), NOW)
    made = [agenda.queued(each) for each in agenda.turn(NOW, every_minute)]
    assert sorted((each.deployment, each.schedule) for each in made if each) == [
        ("etl/nightly", "t"), ("etl/other", "s")]
    assert all((each.handled_s, each.next_s) == (NOW, NOW + 60) for each in agenda.schedules())


def test_a_run_in_the_place_of_a_schedules_own_is_never_late(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    flow_run_id = agenda.queue(run(slot_s=NOW - 86_400, schedule="s"), NOW)
    assert agenda.mark_late(NOW + 600, 15.0) == 0
    assert store.find_flow_run(flow_run_id).state_name == "Scheduled"


def test_only_runs_that_wait_are_cancelled_where_that_is_asked(
        store: Store, agenda: Agenda) -> None:
    agenda.put(deployment(), NOW)
    taken, waiting = run(), run(due_s=NOW + 1)
    for each in (taken, waiting):
        agenda.queue(each, NOW)
    assert take(agenda) == [taken.flow_run_id]
    assert not agenda.ask_to_cancel(taken.flow_run_id, NOW, only_waiting=True)
    assert agenda.hold("w1", [taken.flow_run_id], now_s=NOW, until_s=NOW + 30) == {
        taken.flow_run_id: False}
    assert agenda.ask_to_cancel(waiting.flow_run_id, NOW, only_waiting=True)
    assert store.find_flow_run(waiting.flow_run_id).state_name == "Cancelled"


# pages


def test_pages_of_deployments_and_schedules_are_the_lists(agenda: Agenda) -> None:
    for name in ("a/x", "b/y", "c/z"):
        agenda.put(deployment(name, schedules=[
            NewSchedule(slug=slug, spec={}, next_s=NOW) for slug in ("s1", "s2")]), NOW)
    assert [row.name for row in agenda.deployments(limit=2)] == ["a/x", "b/y"]
    assert [row.name for row in agenda.deployments(limit=2, after="b/y")] == ["c/z"]
    every = [(row.deployment, row.slug) for row in agenda.schedules()]
    assert len(every) == 6
    for at, last in enumerate(every):
        assert [(row.deployment, row.slug) for row in agenda.schedules(
            limit=2, after=last)] == every[at + 1:at + 3]
    assert [row.slug for row in agenda.schedules("b/y", after=("b/y", "s1"))] == ["s2"]


def test_pages_of_runs_of_a_deployment_are_the_list(store: Store, agenda: Agenda) -> None:
    for name in ("etl/nightly", "etl/other"):
        agenda.put(deployment(name), NOW)
        for number in range(5):
            agenda.queue(run(name, due_s=NOW + number // 2), NOW + number // 3)
    every = agenda.queue_of("etl/nightly")
    assert len(every) == 5
    for at, last in enumerate(every):
        assert agenda.queue_of("etl/nightly", limit=2, before=last.flow_run_id) == (
            every[at + 1:at + 3])
    rows = store.flow_runs(deployment="etl/nightly")
    assert {row.id for row in rows} == {each.flow_run_id for each in every}
    assert store.flow_runs(deployment="etl/nightly", before=rows[2].id) == rows[3:]
    assert store.flow_runs(deployment="etl/nobody") == []


def test_the_queue_is_read_by_pages_and_counted_by_pool(agenda: Agenda) -> None:
    agenda.put(deployment("etl/a", queue="fast"), NOW)
    agenda.put(deployment("etl/b", pool="big"), NOW)
    for number in range(4):
        agenda.queue(run("etl/a", due_s=NOW + 60 * (number // 2)), NOW)
    agenda.queue(run("etl/b", due_s=NOW - 5), NOW)
    first = take(agenda, room=1)
    every = agenda.in_queue()
    assert [(each.deployment, each.due_s - NOW) for each in every] == [
        ("etl/b", -5), *[("etl/a", due) for due in (0, 0, 60, 60)]]
    for at, last in enumerate(every):
        assert agenda.in_queue(limit=2, after=(last.due_s, last.flow_run_id)) == (
            every[at + 1:at + 3])
    assert [each.flow_run_id for each in agenda.in_queue(phase="taken")] == first
    assert [each.pool for each in agenda.in_queue(pool="big")] == ["big"]
    assert agenda.queue_lengths(NOW) == [
        QueueLength(pool="big", queue="default", waiting=1, due=1, taken=0),
        QueueLength(pool="default", queue="fast", waiting=3, due=1, taken=1)]
    assert agenda.end(first[0]) and first[0] not in {
        each.flow_run_id for each in agenda.in_queue()}
