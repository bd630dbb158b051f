"""Flows that ask for runs of deployments: a dry run of one asks for none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, task
from dataflow.agenda import NewDeployment, NewSchedule
from dataflow.deployments import backfill, run_deployment
from dataflow.flow_plan import PlanRow
from dataflow.schedules import Cron
from dataflow.stores import open_store


@pytest.fixture(autouse=True)
def _deployed(dataflow_home: Path) -> None:
    store = open_store()
    store.agenda().put(NewDeployment(
        name="f/d", flow_name="f", digest="d", spec={"entrypoint": "f.py:f"},
        schedules=[NewSchedule(slug="s", spec=Cron("0 4 * * *").to_json())]), 1.0)
    store.close()


@task
def size() -> Any:
    raise AssertionError("a dry run calls no task")


@task
def use(row: Any) -> Any:
    raise AssertionError("a dry run calls no task")


@flow
def asking() -> Any:
    row = run_deployment("f/d", {"n": size()}, idempotency_key="once")
    assert row.state_type == "COMPLETED"
    return use(row)


@flow
def filling() -> None:
    assert backfill("f/d", "2026-01-01", "2026-01-03").run is None


def queued() -> list[Any]:
    store = open_store()
    try:
        assert store.flow_runs() == []
        return store.agenda().queue_of("f/d")
    finally:
        store.close()


def test_a_graph_of_a_flow_that_asks_for_a_run_shows_it_and_queues_none() -> None:
    graph = asking.graph()
    assert [(node.name, node.kind) for node in graph.nodes] == [
        ("size", "direct"), ("deployment f/d", "flow"), ("use", "direct")]
    assert graph.edges == [(0, 1), (1, 2)]
    assert queued() == []


def test_a_plan_of_a_flow_that_asks_for_a_run_counts_it_and_queues_none() -> None:
    plan = asking.plan()
    assert plan.stopped is None
    assert PlanRow("deployment f/d", 0, 1, 0, False, "each run asks for one") in plan.rows
    assert queued() == []


def test_a_backfill_in_a_dry_run_makes_nothing_and_stands_in_the_plan() -> None:
    assert [row.task_name for row in filling.plan().rows] == ["backfill f/d"]
    assert queued() == []
