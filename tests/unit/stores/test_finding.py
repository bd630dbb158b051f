"""What a store answers where a search has a bound."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from dataflow.exceptions import RunNotFound
from dataflow.ids import task_run_id
from dataflow.outcomes import Code, Span
from dataflow.store import CallRecord, ElementRecord, FlowRunRecord, Gulp, SpanRecord
from dataflow.stores import finding, open_store

RUN = "11111111-2222-4333-8444-555555555555"


def test_a_prefix_is_searched_in_rows_first_and_no_further_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "dataflow.db")
    zeros = array("f", bytes(400))
    store.write(RUN, Gulp(
        flow_run=FlowRunRecord(id=RUN, name="n", flow_name="f"),
        calls=[CallRecord(call=0, task_name="t", task_key="t", kind="map", width=200)],
        spans=[SpanRecord(Span(0, range(100), bytearray([8]) * 100, zeros, zeros), 0.0, "w")],
        elements=[ElementRecord(0, 150, int(Code.FAILED), 0.0, 1.0, 1, "w")],
    ))
    monkeypatch.setattr(finding, "_SEARCHED_ELEMENTS", 50)
    assert store.find_task_run(task_run_id(RUN, 0, 150)[:12]).map_index == 150
    assert store.find_task_run(task_run_id(RUN, 0, 10)[:12]).map_index == 10
    with pytest.raises(RunNotFound, match="among the last 50 elements"):
        store.find_task_run(task_run_id(RUN, 0, 90)[:12])
    assert store.find_task_run(task_run_id(RUN, 0, 90)).map_index == 90
    store.close()
