"""The worker's looks, without processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.service.deploying import order_of
from dataflow.service.processes import Processes
from dataflow.service.worker import Worker
from dataflow.stores import open_store

NOW = 1_000_000.0


def test_a_clock_that_is_set_back_does_not_keep_a_worker_silent(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "prepare", lambda processes: None)
    store = open_store(str(tmp_path / "dataflow.db"))
    try:
        worker = Worker(store, "default", order_of=order_of)
        store.agenda().put_worker(worker.row)
        for now_s in (NOW, NOW - 3600):
            worker._turn(now_s)
            (row,) = store.agenda().workers()
            assert row.seen_s == now_s
    finally:
        store.close()
