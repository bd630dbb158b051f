"""A run that is on record before a process drives it, and one whose process died early."""

from __future__ import annotations

import pytest

from dataflow import flow
from dataflow.ids import new_run_id
from dataflow.records import FlowRunRecord, Gulp
from dataflow.stores import open_store


@flow
def adding(x: int, y: int = 1) -> int:
    return x + y


@pytest.mark.parametrize(("pid", "resumed"), [(None, 0), (77, 1)])
def test_a_scheduled_run_begins_and_one_that_a_process_had_goes_on(
        pid: int | None, resumed: int) -> None:
    run = new_run_id()
    store = open_store()
    store.write(run, Gulp(flow_run=FlowRunRecord(
        id=run, name="tidy-owl", flow_name="adding", state_type="SCHEDULED",
        state_name="Resuming" if pid else "Scheduled", created_s=5.0, pid=pid,
        parent_flow_run_id="p")))
    assert adding.resume(run, parameters={"x": 2}) == 3
    row = store.find_flow_run(run)
    assert (row.state_name, row.resumed, row.run_count) == ("Completed", resumed, 1)
    assert (row.name, row.created.timestamp(), row.parent_flow_run_id) == ("tidy-owl", 5.0, "p")
    store.close()
