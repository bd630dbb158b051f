"""Asking for runs, and waiting for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dataflow.agenda import NewDeployment
from dataflow.exceptions import ParameterTypeError
from dataflow.service.asking import ask, waited
from dataflow.store import Store
from dataflow.stores import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(str(tmp_path / "dataflow.db"))
    made.agenda().put(NewDeployment(name="f/d", flow_name="f", digest="d",
                                    spec={"entrypoint": "f.py:f"}), 1.0)
    yield made
    made.close()


@pytest.mark.parametrize(("value", "said"), [
    (datetime(2026, 1, 1, tzinfo=UTC), "datetime"),
    ({1, 2}, "set"),
    (float("nan"), "nan"),
    ({"a": [object()]}, "object"),
])
def test_parameters_that_are_no_json_are_named_and_make_no_run(
        store: Store, value: Any, said: str) -> None:
    with pytest.raises(ParameterTypeError, match=rf"parameters\.x.*{said}"):
        ask(store, "f/d", {"x": value}, 1.0)
    assert store.flow_runs() == []


def test_waiting_goes_on_without_a_pause_between_looks(store: Store) -> None:
    flow_run_id = ask(store, "f/d", {}, time.time())
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            store.agenda().ask_to_cancel(flow_run_id, time.time())

    assert waited(store, flow_run_id, None, 0.0, sleep).state_name == "Cancelled"
    assert len(looks) == 3 and min(looks) > 0
