"""What is refused before a run of a deployment is queued, and waiting for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.deployments import DeploymentSpec, run_deployment
from dataflow.exceptions import DefinitionTypeError, ParameterTypeError
from dataflow.service.asking import LEAST_POLL_S, ask, waited
from dataflow.service.deploying import register
from dataflow.store import Store
from dataflow.stores import open_store

DEEP: list[Any] = []
for _ in range(80):
    DEEP = [DEEP]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("DATAFLOW_HOME", str(tmp_path))
    store = open_store(None)
    spec = DeploymentSpec(name="d", flow_name="f", entrypoint="f.py:f")
    register(store.agenda(), spec, 1000.0)
    yield store
    store.close()


@pytest.mark.parametrize("parameters", [
    [1], {1: 2}, {"x": object()}, {"x": float("nan")}, {"x": {1, 2}}, {"x": "a\0b"},
    {"x": "\ud800"}, {"x": DEEP}, {"x": 1 << 3000},
])
def test_parameters_that_no_store_can_hold_are_refused(store: Store, parameters: Any) -> None:
    with pytest.raises(ParameterTypeError):
        ask(store, "f/d", parameters, 1000.0)
    assert store.flow_runs() == []


@pytest.mark.parametrize("options", [
    {"priority": "x"}, {"priority": 1 << 70}, {"priority": True}, {"tags": [1]}, {"tags": "x"},
    {"flow_run_name": 3}, {"flow_run_name": "a\0b"}, {"idempotency_key": 5}, {"timeout": "a"},
    {"poll_interval": "a"}, {"name": None}, {"name": ""}, {"flow_run_name": ""},
    {"flow_run_name": "  "}, {"idempotency_key": ""}, {"tags": ["a", ""]},
])
def test_options_of_another_kind_and_empty_ones_are_refused_before_a_run_is_made(
    store: Store, options: dict[str, Any]
) -> None:
    with pytest.raises(DefinitionTypeError):
        run_deployment(**{"name": "f/d", "timeout": 0, **options})
    assert store.flow_runs() == []


def test_an_error_shows_large_values_shortened(store: Store) -> None:
    spec = DeploymentSpec(name="e", flow_name="f", entrypoint="f.py:f", parameter_schema={
        "properties": {"x": {"type": "integer"}}})
    register(store.agenda(), spec, 1000.0)
    with pytest.raises(ParameterTypeError, match="is not of type 'integer'") as caught:
        ask(store, "f/e", {"x": "9" * 100_000}, 1000.0)
    assert len(str(caught.value)) < 1000


def test_a_poll_interval_of_zero_waits_all_the_same(store: Store) -> None:
    flow_run_id = ask(store, "f/d", {}, 1000.0)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        store.agenda().crash(flow_run_id, "gone", 1001.0)

    assert waited(store, flow_run_id, None, 0.0, sleep).state_type == "CRASHED"
    assert slept == [LEAST_POLL_S]


def test_a_name_that_no_list_could_show_is_refused(store: Store) -> None:
    with pytest.raises(DefinitionTypeError, match="201 characters: 200 at most"):
        ask(store, "f/d", {}, 1.0, run_name="n" * 201)
    assert store.flow_runs() == []
