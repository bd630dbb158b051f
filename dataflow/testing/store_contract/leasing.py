"""Who drives a run: leases, and fences before writes."""

from __future__ import annotations

import pytest

from dataflow.claims import owner_of_this_process
from dataflow.exceptions import RunFenced, RunNotFound, RunOwned
from dataflow.ids import new_run_id
from dataflow.store import (
    FlowRunRecord,
    Gulp,
    Store,
)
from dataflow.testing.store_contract.records import (
    RUN,
    T0,
    call,
    flow_run,
    span,
    with_map,
)

A, B = "host-a:1:0", "host-b:2:0"


class Leasing:
    """One owner at a time; who lost the run writes nothing more."""

    def test_a_lease_has_an_epoch_an_owner_and_an_end(self, store: Store) -> None:
        with_map(store)
        assert store.lease(RUN, A, now_s=T0, until_s=T0 + 30) == 1
        store.renew(RUN, 1, T0 + 60)
        with_map(store, Gulp(flow_run=flow_run(state_name="Retrying")))
        (row,) = store.flow_runs()
        assert (row.state_name, row.epoch, row.owner, row.lease_until_s) == (
            "Retrying", 1, A, T0 + 60)
        store.give_up_lease(RUN, 1)
        (row,) = store.flow_runs()
        assert (row.epoch, row.owner, row.lease_until_s) == (1, None, None)

    def test_a_run_begins_with_a_lease_where_its_first_record_has_one(self, store: Store) -> None:
        store.write(RUN, Gulp(flow_run=flow_run(epoch=1, owner=A, lease_until_s=T0 + 30), fence=1))
        with pytest.raises(RunOwned):
            store.lease(RUN, B, now_s=T0, until_s=T0 + 40)
        store.write(RUN, Gulp(calls=[call()], fence=1))
        assert store.lease(RUN, A, now_s=T0, until_s=T0 + 50) == 2

    def test_a_run_with_a_live_lease_is_refused_with_its_owner_and_nothing_moves(
        self, store: Store
    ) -> None:
        with_map(store)
        store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
        before = store.flow_runs()
        with pytest.raises(RunOwned, match=A) as caught:
            store.lease(RUN, B, now_s=T0 + 29, until_s=T0 + 99)
        assert (caught.value.flow_run_id, caught.value.owner, caught.value.until_s) == (
            RUN, A, T0 + 30)
        assert store.flow_runs() == before
        assert store.lease(RUN, B, now_s=T0 + 31, until_s=T0 + 60) == 2
        assert store.lease(RUN, A, now_s=T0 + 31, until_s=T0 + 60, take_over=True) == 3

    def test_a_lease_of_a_process_that_is_dead_on_this_host_is_over(self, store: Store) -> None:
        with_map(store)
        host, pid, start = owner_of_this_process().split(":")
        store.lease(RUN, f"{host}:{pid}:{start}9", now_s=T0, until_s=T0 + 30)
        assert store.lease(RUN, B, now_s=T0, until_s=T0 + 60) == 2

    def test_a_lease_that_was_given_up_is_taken_at_once(self, store: Store) -> None:
        with_map(store)
        store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
        store.give_up_lease(RUN, 1)
        store.write(RUN, Gulp(calls=[call(1)], fence=1))
        assert store.lease(RUN, B, now_s=T0, until_s=T0 + 60) == 2
        store.give_up_lease(RUN, 1)
        assert store.flow_runs()[0].owner == B

    def test_a_gulp_of_an_older_epoch_is_refused_and_nothing_is_written(self, store: Store) -> None:
        with_map(store)
        first = store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
        store.write(RUN, Gulp(spans=[span(range(2))], fence=first))
        second = store.lease(RUN, B, now_s=T0 + 31, until_s=T0 + 60)
        late = Gulp(flow_run=flow_run(state_type="COMPLETED", state_name="Completed"),
                    spans=[span(range(2, 4), at_s=T0 + 1)], fence=first)
        before = store.flow_runs(), store.calls(RUN), store.task_runs(RUN)
        with pytest.raises(RunFenced, match=B) as caught:
            store.write(RUN, late)
        assert (caught.value.flow_run_id, caught.value.owner) == (RUN, B)
        with pytest.raises(RunFenced, match=B):
            store.renew(RUN, first, T0 + 99)
        assert (store.flow_runs(), store.calls(RUN), store.task_runs(RUN)) == before
        store.write(RUN, Gulp(spans=[span(range(2, 4), at_s=T0 + 1)], fence=second))
        assert len(store.task_runs(RUN)) == 4

    def test_of_many_gulps_those_of_fenced_runs_are_left_out_and_the_others_written(
        self, store: Store
    ) -> None:
        other = new_run_id()
        with_map(store)
        store.write(other, Gulp(flow_run=flow_run(other)))
        store.lease(RUN, A, now_s=T0, until_s=T0 + 30, take_over=True)
        with pytest.raises(RunFenced) as caught:
            store.write_all([
                (RUN, Gulp(spans=[span(range(2))], fence=0)),
                (other, Gulp(calls=[call()], spans=[span(range(3))], fence=0)),
            ])
        assert caught.value.flow_run_id == RUN
        assert [row.flow_run_id for row in store.task_runs()] == [other] * 3

    @pytest.mark.parametrize("kind", ["task", "flow"])
    def test_a_run_without_a_lease_goes_by_the_epoch_of_the_run_around_it(
        self, store: Store, kind: str
    ) -> None:
        with_map(store)
        inside = new_run_id()
        record = FlowRunRecord(kind=kind, id=inside, name="n", flow_name="f",
                               parent_flow_run_id=RUN, parent_task_run_id=new_run_id())
        first = store.lease(RUN, A, now_s=T0, until_s=T0 + 30)
        for _ in range(2):
            store.write_all([(inside, Gulp(flow_run=record, calls=[call()], fence=first))])
        store.lease(RUN, B, now_s=T0 + 31, until_s=T0 + 60)
        later = [(inside, Gulp(spans=[span(range(2))], fence=first)),
                 (new_run_id(), Gulp(flow_run=record, fence=first))]
        for gulp in later:
            with pytest.raises(RunFenced):
                store.write_all([gulp])
        assert store.task_runs(inside) == []

    def test_a_run_that_is_not_there_cannot_be_leased(self, store: Store) -> None:
        for ask in (lambda: store.lease(RUN, A, now_s=T0, until_s=T0),
                    lambda: store.renew(RUN, 1, T0), lambda: store.put_inputs(RUN, b"x")):
            with pytest.raises(RunNotFound):
                ask()
        store.give_up_lease(RUN, 1)
        assert (store.inputs(RUN), list(store.recorded(RUN))) == (None, [])
        assert store.keys(RUN, 0, [0]) == {}
