"""Events that flows and tasks emit, as they stand in the store afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import emit_event, flow, get_run_logger, task
from dataflow.exceptions import DefinitionTypeError
from dataflow.stores import open_store
from runners.inline import InlineTaskRunner
from runners.threads import ThreadPoolTaskRunner


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path,
          monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    place = (str(tmp_path / "dataflow.db") if request.param == "sqlite"
             else request.getfixturevalue("postgres_url"))
    monkeypatch.setenv("DATAFLOW_STORE", place)
    yield place


def emitted(place: str) -> list[Any]:
    store = open_store(place)
    found = [each for each in store.events().events(limit=100_000) if each.state_type is None]
    store.close()
    return found[::-1]


@task
def sold(amount: int) -> int:
    emit_event("sale.made", resource=f"shop.{amount}", payload={"amount": amount})
    get_run_logger().info("sold %d", amount)
    return amount


@task
def busy() -> list[int]:
    return [sold(each) for each in range(3)]


def dask_runner() -> Any:
    from runners.dask import DaskTaskRunner

    return DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1,
                                          "processes": True, "dashboard_address": None})


@pytest.mark.parametrize("runner", [InlineTaskRunner, ThreadPoolTaskRunner, dask_runner])
def test_events_of_flow_tasks_and_what_tasks_call_come_with_the_runs_records(
    place: str, runner: Any,
) -> None:
    @flow(task_runner=runner())
    def shop() -> None:
        emit_event("shop.opened")
        assert sold.map(range(4)).result() == [0, 1, 2, 3]
        busy.submit().result()

    state = shop(return_state=True)
    found = emitted(place)
    assert sorted((each.name, each.payload.get("amount")) for each in found if
                  each.name == "sale.made") == [
        ("sale.made", amount) for amount in (0, 0, 1, 1, 2, 2, 3)]
    assert [each.name for each in found].count("shop.opened") == 1
    assert len(found) == 8
    assert {each.flow_run_id for each in found} == {str(state.state_details.flow_run_id)}
    assert {each.flow_name for each in found} == {"shop"}
    store = open_store(place)
    messages = [line.message for _, line in store.nested_logs(found[0].flow_run_id or "")]
    store.close()
    assert sorted(each for each in messages if each.startswith("sold")) == [
        f"sold {each}" for each in (0, 0, 1, 1, 2, 2, 3)]
    assert not any("shop.opened" in each for each in messages)


def test_many_events_of_one_task_are_all_kept(place: str) -> None:
    @task
    def chatty() -> None:
        for at in range(3000):
            emit_event("tick", payload={"at": at, "text": "x" * 20})

    @flow(task_runner=ThreadPoolTaskRunner())
    def talk() -> None:
        chatty.submit().result()
        for at in range(3000):
            emit_event("tock", payload={"at": at})

    talk()
    found = emitted(place)
    for name in ("tick", "tock"):
        assert [each.payload["at"] for each in found if each.name == name] == list(range(3000))


def test_outside_of_runs_an_event_is_in_the_store_at_once(place: str) -> None:
    made = emit_event("sale.made", {"prefect.resource.id": "shop.1", "region": "eu"}, {"a": 1})
    emit_event(event="sale.made", id=made.id)
    [found] = emitted(place)
    assert (found.id, found.resource, found.flow_run_id) == (made.id, "shop.1", None)
    assert found.payload == {"a": 1, "resource_labels": {"region": "eu"}}


def test_a_dry_run_puts_nothing_down(place: str) -> None:
    @flow
    def shop() -> None:
        emit_event("shop.opened", payload={"amount": sold(1)})

    shop.graph()
    assert emitted(place) == []


@pytest.mark.parametrize(("given", "said"), [
    ({}, "the name"), ({"name": "a", "event": "a"}, "once"), ({"name": " "}, "the name"),
    ({"name": 3}, "the name"), ({"name": "dataflow.flow-run.Failed"}, "changes of state"),
    ({"name": "dataflow.trigger.Failed"}, "begins as"), ({"name": "a", "id": "s12"}, "id 's12'"),
    ({"name": "a", "resource": 3}, "resource"), ({"name": "a", "resource": {"x": "y"}}, "its id"),
    ({"name": "a", "payload": [1]}, "mapping"), ({"name": "a", "payload": {"x": object()}},
                                                 "payload.x"),
    ({"name": "a", "payload": {"x": float("nan")}}, "payload.x"),
    ({"name": "a\0b"}, "NUL"), ({"name": "a", "occurred": 3}, "datetime"),
    ({"name": "a", "payload": {"x": "y" * 300_000}}, "characters"),
])
def test_what_cannot_be_put_down_is_refused(place: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionTypeError, match=said):
        emit_event(**given)
    assert emitted(place) == []




def test_each_state_of_a_run_is_an_event_however_short_it_was(place: str) -> None:
    @flow(retries=1)
    def shaky() -> None:
        raise ValueError("no")

    @flow
    def quick() -> None:
        quicker()

    @flow
    def quicker() -> None:
        pass

    shaky(return_state=True)
    quick()
    store = open_store(place)
    found = store.events().events(limit=100)[::-1]
    store.close()

    def states(flow_name: str) -> list[str | None]:
        return [each.state_name for each in found if each.flow_name == flow_name]

    assert states("shaky") == ["Pending", "Running", "AwaitingRetry", "Retrying", "Failed"]
    assert states("quick") == states("quicker") == ["Pending", "Running", "Completed"]
