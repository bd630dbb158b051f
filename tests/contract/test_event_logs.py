"""The event log of a store: what every store in a database promises of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from dataflow.agenda import NewDeployment, NewRun
from dataflow.alerts.outbox import Parcel
from dataflow.alerts.text import Text
from dataflow.event_log import EventLog, Findings, NewEvent
from dataflow.exceptions import StoreError
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
def log(store: Store) -> EventLog:
    return store.events()


def event(name: str = "sale.made", **fields: Any) -> NewEvent:
    return NewEvent(**{"id": new_run_id(), "name": name, "occurred_s": NOW, **fields})


def flow_run(store: Store, state: str, name: str | None = None, run_id: str | None = None,
             **fields: Any) -> str:
    """Write a flow run in a state; return its id."""
    record = FlowRunRecord(**{
        "id": run_id or new_run_id(), "name": "tidy-owl", "flow_name": "etl", "state_type": state,
        "state_name": name or state.capitalize(), "created_s": NOW, **fields})
    store.write(record.id, Gulp(flow_run=record))
    return record.id


def names(log: EventLog, **wanted: Any) -> list[str]:
    return [each.name for each in log.events(**wanted)]


# changes of state


def test_each_change_of_state_is_an_event_and_a_row_written_again_is_none(
    store: Store, log: EventLog,
) -> None:
    run_id = flow_run(store, "PENDING", tags=("prod", "a"))
    for _ in range(3):
        flow_run(store, "RUNNING", run_id=run_id, run_count=1, start_time_s=NOW + 1, tags=("prod",))
    flow_run(store, "FAILED", run_id=run_id, run_count=1, start_time_s=NOW + 1,
             end_time_s=NOW + 9, message="no", tags=("prod",))
    found = log.events(flow_run_id=run_id)
    assert [(each.name, each.state_type, each.occurred_s) for each in found] == [
        ("dataflow.flow-run.Failed", "FAILED", NOW + 9),
        ("dataflow.flow-run.Running", "RUNNING", NOW + 1),
        ("dataflow.flow-run.Pending", "PENDING", NOW)]
    last = found[0]
    assert (last.flow_name, last.flow_run_name, last.tags, last.message, last.resource) == (
        "etl", "tidy-owl", ("prod",), "no", f"dataflow.flow-run.{run_id}")


def test_the_inside_of_a_task_run_makes_no_event(store: Store, log: EventLog) -> None:
    flow_run(store, "RUNNING", kind="task")
    assert log.events() == []


def test_runs_that_a_statement_ends_are_events_too(store: Store, log: EventLog) -> None:
    agenda = store.agenda()
    agenda.put(NewDeployment(name="etl/nightly", flow_name="etl", digest="d", spec={}), NOW)
    ids = [agenda.queue(NewRun(flow_run_id=new_run_id(), name=f"run-{at}", parameters={},
                               deployment="etl/nightly", due_s=NOW), NOW) for at in range(3)]
    agenda.mark_late(NOW + 60, 15)
    agenda.ask_to_cancel(ids[0], NOW + 70)
    agenda.crash(ids[1], "gone", NOW + 80)
    assert names(log, name="*.Scheduled") == ["dataflow.flow-run.Scheduled"] * 3
    assert names(log, name="*.Late") == ["dataflow.flow-run.Late"] * 3
    assert [(each.name, each.occurred_s, each.deployment) for each in log.events(limit=2)] == [
        ("dataflow.flow-run.Crashed", NOW + 80, "etl/nightly"),
        ("dataflow.flow-run.Cancelled", NOW + 70, "etl/nightly")]


# events that are emitted


def test_an_event_is_read_as_it_was_emitted(log: EventLog) -> None:
    payload = {"amount": 3, "what": ["é", "\u2028", None], "deep": {"a": 1.5}}
    one = event(resource="shop.1", payload=payload, flow_run_id="r1")
    assert log.emit([one]) == 1
    [found] = log.events()
    assert (found.id, found.name, found.resource, found.occurred_s, found.payload,
            found.flow_run_id, found.state_type) == (
        one.id, "sale.made", "shop.1", NOW, payload, "r1", None)


def test_the_same_id_is_the_same_event(log: EventLog) -> None:
    one = event()
    assert log.emit([one, one]) == 1
    assert log.emit([one, event()]) == 1
    assert len(log.events()) == 2


def test_what_was_seen_so_makes_no_event(log: EventLog) -> None:
    def sight(mark: str) -> int:
        return log.emit([event(sighting=("inbox", "a.csv", mark))])

    assert [sight("1"), sight("1"), sight("2"), sight("2")] == [1, 0, 1, 0]
    assert log.seen("inbox") == {"a.csv": "2"}
    assert log.seen("outbox") == {}
    together = [event(sighting=("inbox", thing, "3")) for thing in ("a.csv", "b.csv", "a.csv")]
    assert log.emit([*together, event("beside")]) == 3
    assert log.seen("inbox") == {"a.csv": "3", "b.csv": "3"}
    assert names(log, limit=3) == ["beside", "sale.made", "sale.made"]


def test_what_two_watchers_see_at_the_same_time_is_one_event(another: Open) -> None:
    logs = [another().events() for _ in range(4)]
    found: list[int] = []

    def sight(log: EventLog) -> None:
        found.append(log.emit([event(sighting=("inbox", f"{n}.csv", "1")) for n in range(50)]))

    threads = [threading.Thread(target=sight, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(found), len(logs[0].events(limit=500))) == (50, 50)


def test_events_since_a_moment_are_all_there_in_whichever_order_they_came(log: EventLog) -> None:
    log.emit([event(f"at {n}", occurred_s=NOW + n) for n in (5, 0, 3, 9, 1, 4)])
    assert names(log, since_s=NOW + 4) == ["at 4", "at 9", "at 5"]
    assert names(log, since_s=NOW + 4, limit=1) == ["at 4"]
    assert names(log, since_s=NOW + 9.5) == []


@pytest.mark.parametrize(("pattern", "expected"), [
    ("sale.*", ["sale.made"]), ("*made", ["sale.made"]), ("sale.mad?", ["sale.made"]),
    ("SALE.*", []), ("sale_made", []), ("sale%", []), ("[s]ale.made", []), ("sale.made", [
        "sale.made"]), ("*", ["back\\slash", "100%_[x]", "sale.made"]),
    ("100%_[x]", ["100%_[x]"]), ("back\\*", ["back\\slash"])])
def test_globs_mean_what_they_say(log: EventLog, pattern: str, expected: list[str]) -> None:
    log.emit([event("sale.made"), event("100%_[x]"), event("back\\slash")])
    assert names(log, name=pattern) == expected


def test_pages_follow_each_other(log: EventLog) -> None:
    log.emit([event(f"e{at}", occurred_s=NOW + at) for at in range(5)])
    first = log.events(limit=2)
    second = log.events(limit=2, before=first[-1].key)
    assert [each.name for each in (*first, *second)] == ["e4", "e3", "e2", "e1"]
    assert [each.name for each in log.events(after=first[-1].key)] == ["e4"]
    assert names(log, since_s=NOW + 3) == ["e4", "e3"]


# what follows


def test_consequences_are_written_once(store: Store, log: EventLog) -> None:
    store.agenda().put(NewDeployment(name="etl/nightly", flow_name="etl", digest="d", spec={}), NOW)
    log.emit([event()])
    pending = log.pending()
    run = NewRun(flow_run_id=new_run_id(), name="one", parameters={"a": 1}, due_s=NOW,
                 deployment="etl/nightly", cause="sale.made")
    gone = NewRun(flow_run_id=new_run_id(), name="two", parameters={}, due_s=NOW,
                  deployment="etl/gone")
    findings = Findings(handled=[each.key for each in pending.events], memory={"a": "1"},
                        runs=[run, gone], events=[event("next")])
    assert log.settle(pending.version, findings, NOW)
    assert not log.settle(pending.version, findings, NOW)
    queued = store.agenda().queued(run.flow_run_id)
    assert queued is not None and queued.cause == "sale.made"
    assert store.agenda().queued(gone.flow_run_id) is None
    after = log.pending()
    assert (after.version, after.memory) == (pending.version + 1, {"a": "1"})
    assert [each.name for each in after.events] == ["next", "dataflow.flow-run.Scheduled"][::-1]


def test_many_runs_that_follow_are_queued_in_their_order_each_once(
        store: Store, log: EventLog) -> None:
    for name in ("etl/a", "etl/b"):
        store.agenda().put(NewDeployment(name=name, flow_name="etl", spec={}, digest="d"), NOW)

    def run(deployment: str, key: str | None) -> NewRun:
        return NewRun(flow_run_id=new_run_id(), name=f"{deployment} {key}", deployment=deployment,
                      parameters={}, due_s=NOW, idempotency_key=key)

    def settle(*runs: NewRun) -> list[str]:
        assert log.settle(log.pending().version, Findings(runs=runs), NOW)
        ids = {each.id: each.name for each in store.flow_runs(limit=None)}
        with store._reading() as connection:  # type: ignore[attr-defined]  # of the adapter
            return [ids[each] for each in connection.exec_driver_sql(
                "SELECT flow_run_id FROM queued_runs ORDER BY key").scalars()]

    first = ["etl/b 1", "etl/a 1", "etl/b None", "etl/b None", "etl/b 2"]
    assert settle(run("etl/b", "1"), run("etl/a", "1"), run("gone", "1"), run("etl/b", None),
                  run("etl/b", None), run("b", "1"), run("etl/b", "2")) == first
    assert settle(run("etl/a", "1"), run("etl/b", "1"), run("etl/a", "2")) == [*first, "etl/a 2"]


def test_of_many_who_judge_the_same_one_writes(another: Open) -> None:
    log = another().events()
    log.emit([event(f"e{at}") for at in range(40)])
    logs = [another().events() for _ in range(4)]
    gate = threading.Barrier(len(logs))
    written: list[list[int]] = []

    def judge(mine: EventLog) -> None:
        gate.wait()
        while (pending := mine.pending(3)).events:
            keys = [each.key for each in pending.events]
            if mine.settle(pending.version, Findings(handled=keys), NOW):
                written.append(keys)

    threads = [threading.Thread(target=judge, args=(each,)) for each in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [key for each in written for key in each]
    assert len(keys) == 40 == len(set(keys))


def test_memory_is_forgotten_by_name(log: EventLog) -> None:
    log.settle(0, Findings(memory={"a": "1", "b": "2"}), NOW)
    log.settle(1, Findings(memory={"a": None, "b": "3"}), NOW)
    assert log.pending().memory == {"b": "3"}


def test_what_follows_may_cancel_and_pause(store: Store, log: EventLog) -> None:
    agenda = store.agenda()
    agenda.put(NewDeployment(name="etl/nightly", flow_name="etl", digest="d", spec={}), NOW)
    run_id = agenda.queue(NewRun(flow_run_id=new_run_id(), name="one", parameters={}, due_s=NOW,
                                 deployment="etl/nightly"), NOW)
    assert log.settle(0, Findings(cancel=[run_id], pause=[("etl/nightly", True), ("x/y", True)]),
                      NOW)
    assert store.find_flow_run(run_id).state_type == "CANCELLED"
    assert agenda.deployment("etl/nightly").paused


def test_what_happened_before_anybody_watched_can_be_passed_over(log: EventLog) -> None:
    log.emit([event(occurred_s=NOW - 10), event(occurred_s=NOW)])
    assert log.pass_over(NOW) == 1
    assert [each.occurred_s for each in log.pending().events] == [NOW]
    assert len(log.events()) == 2


def test_what_waits_is_not_forgotten(log: EventLog) -> None:
    log.emit([event("old", occurred_s=NOW - 100), event("waits", occurred_s=NOW - 100)])
    pending = log.pending(1)
    log.settle(0, Findings(handled=[pending.events[0].key]), NOW)
    assert log.forget(NOW) == 1
    assert names(log) == ["waits"]
    log.emit([event("new")])
    assert log.events(limit=1)[0].key > pending.events[0].key + 1


# runs and their past


def test_facts_of_a_run_are_its_own_and_its_deployments(store: Store, log: EventLog) -> None:
    store.agenda().put(NewDeployment(
        name="etl/nightly", flow_name="etl", digest="d",
        spec={"alerts": [{"on": ["failed"]}, {"on": ["late"]}]}), NOW)
    queued = store.agenda().queue(NewRun(
        flow_run_id=new_run_id(), name="one", parameters={}, due_s=NOW + 7,
        deployment="etl/nightly"), NOW)
    flow_run(store, "RUNNING", run_id=queued, alerts='[{"on": ["failed"]}]')
    alone = flow_run(store, "RUNNING")
    found = log.facts([queued, alone, "nobody"])
    assert set(found) == {queued, alone}
    assert found[queued].alerts == [{"on": ["failed"]}, {"on": ["late"]}]
    assert (found[queued].deployment, found[queued].due_s) == ("etl/nightly", NOW + 7)
    assert (found[alone].deployment, found[alone].alerts, found[alone].due_s) == (None, [], None)


def test_the_past_is_that_of_the_flow_before_a_moment(store: Store, log: EventLog) -> None:
    for at, state in enumerate(["COMPLETED", "FAILED", "COMPLETED", "CRASHED"]):
        last = flow_run(store, state, start_time_s=NOW + 10 * at, end_time_s=NOW + 10 * at + at)
    flow_run(store, "COMPLETED", flow_name="other", start_time_s=NOW, end_time_s=NOW + 5)
    flow_run(store, "RUNNING", start_time_s=NOW)
    past = log.past("etl", None, NOW + 100)
    assert (past.ended, past.durations_s, past.last_completed_s) == (
        ["CRASHED", "COMPLETED", "FAILED", "COMPLETED"], [2.0, 0.0], NOW + 22)
    assert log.past("etl", None, NOW + 100, without=last).ended[0] == "COMPLETED"
    assert log.past("etl", None, NOW + 20).ended == ["FAILED", "COMPLETED"]
    assert log.past("etl", "etl/nightly", NOW + 100).ended == []


# messages


def parcel(name: str, channel: str = "ops", **fields: Any) -> Parcel:
    return Parcel(**{"id": name, "channel": channel, "alert": "failed",
                     "text": Text(title="t", body="b", severity="failure"),
                     "created_s": NOW, "due_s": NOW, **fields})


def test_parcels_go_out_one_of_a_channel_at_a_time(log: EventLog) -> None:
    log.settle(0, Findings(parcels=[parcel("a"), parcel("b"), parcel("c", "mail"),
                                    parcel("d", "later", due_s=NOW + 50)]), NOW)
    log.settle(1, Findings(parcels=[parcel("a")]), NOW)  # made again after a crash
    outbox = log.outbox()
    assert {each.id for each in outbox.take(NOW, 40, [], 10)} == {"a", "c"}
    assert [each.id for each in outbox.take(NOW + 1, 40, [], 10)] == ["b"]
    outbox.done("a", NOW + 2)
    outbox.failed("c", NOW + 2, "refused", None)
    outbox.failed("b", NOW + 2, "away", NOW + 30)
    assert [each.id for each in outbox.take(NOW + 30, 40, ["later"], 10)] == ["b"]
    rows = {each.parcel.id: each for each in log.parcels()}
    assert {name: row.status for name, row in rows.items()} == {
        "a": "delivered", "b": "waiting", "c": "given up", "d": "waiting"}
    assert (rows["b"].parcel.attempts, rows["b"].parcel.error) == (1, "away")
    assert [each.parcel.id for each in log.parcels("delivered")] == ["a"]


def test_a_parcel_whose_taker_died_goes_out_again(log: EventLog) -> None:
    log.settle(0, Findings(parcels=[parcel("a")]), NOW)
    assert log.outbox().take(NOW, 40, [], 10)
    assert not log.outbox().take(NOW + 39, 40, [], 10)
    assert log.outbox().take(NOW + 40, 40, [], 10)


# who leads


def test_one_leads_until_its_time_is_over_or_it_gives_up(log: EventLog) -> None:
    assert log.leader("watch", NOW) is None
    assert log.lead("watch", "a", NOW, NOW + 10)
    assert not log.lead("watch", "b", NOW + 5, NOW + 15)
    assert log.lead("watch", "a", NOW + 9, NOW + 19)
    assert log.leader("watch", NOW + 12) == "a"
    assert log.lead("other", "b", NOW, NOW + 10)
    assert log.lead("watch", "a", NOW + 12, NOW)  # gives up
    assert log.lead("watch", "b", NOW + 12, NOW + 22)


def test_a_lead_that_a_clock_took_which_was_set_back_since_is_over(log: EventLog) -> None:
    log.lead("watch", "a", NOW + 3600, NOW + 3610)  # and is killed
    assert log.leader("watch", NOW) is None
    assert log.lead("watch", "b", NOW, NOW + 10)
    assert not log.lead("watch", "c", NOW + 5, NOW + 15)


def test_a_store_in_memory_has_no_events() -> None:
    with pytest.raises(StoreError, match="DATAFLOW_STORE"):
        open_store("memory:").events()


def test_a_gulp_that_is_written_again_makes_no_event_again(store: Store, log: EventLog) -> None:
    base = {"id": new_run_id(), "name": "n", "flow_name": "etl", "created_s": NOW}
    gulp = Gulp(
        passed=[FlowRunRecord(**base),
                FlowRunRecord(**base, state_type="RUNNING", state_name="Running", run_count=1)],
        flow_run=FlowRunRecord(**base, state_type="COMPLETED", state_name="Completed",
                               run_count=1, end_time_s=NOW + 1))
    for _ in range(3):
        store.write(base["id"], gulp)
    assert [each.state_name for each in log.events()] == ["Completed", "Running", "Pending"]


def test_what_a_deployments_files_were_goes_with_it(store: Store, log: EventLog) -> None:
    agenda, ids = store.agenda(), []
    for name in ("etl/a", "etl/b"):
        row, _ = agenda.put(NewDeployment(name=name, flow_name="etl", digest="d", spec={}), NOW)
        ids.append(row.id)
        log.emit([event(sighting=(f"file:{row.id}:inbox:p", "x.csv", "1"))])
    agenda.delete("etl/a", NOW)
    assert [log.seen(f"file:{each}:inbox:p") for each in ids] == [{}, {"x.csv": "1"}]
