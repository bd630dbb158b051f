"""``runtime``: what a run may know of itself."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    PREFECT,
    MissingContextError,
    flow,
    get_run_logger,
    runtime,
    tags,
    task,
)

MOCK = "PREFECT__RUNTIME__" if PREFECT else "DATAFLOW__RUNTIME__"


@task(name="Teller", tags=["own"], task_run_name="tell-{x}")
def tell(x: Any, y: int = 2) -> dict[str, Any]:
    me = runtime.task_run
    return {"id": me.id, "name": me.name, "tags": sorted(me.tags), "parameters": me.parameters,
            "run_count": me.run_count, "task_name": me.task_name,
            "flow": (runtime.flow_run.name, runtime.flow_run.flow_name,
                     runtime.flow_run.parameters, str(runtime.flow_run.id))}


@flow(name="The flow", version="v3", flow_run_name="run-{n}")
def telling(n: int, m: str = "m") -> Any:
    return {"task": tell.submit(5).result(), "id": str(runtime.flow_run.id)}


@pytest.mark.parametrize("how", ["submit", "map", "call"])
def test_a_task_run_knows_itself(runner: Any, how: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        if how == "call":
            return {"found": tell(5)}
        future = tell.submit(5) if how == "submit" else tell.map([5])[0]
        return {"found": future.result(), "id": future.task_run_id}

    answer = run()
    found = answer["found"]
    assert uuid.UUID(str(found["id"]))
    assert str(answer.get("id", found["id"])) == str(found["id"])
    assert (found["name"], found["tags"], found["parameters"], found["run_count"],
            found["task_name"]) == ("tell-5", ["own"], {"x": 5, "y": 2}, 1, "Teller")


def test_a_task_knows_its_flow_run_on_every_runner(runner: Any) -> None:
    found = telling.with_options(task_runner=runner)(7)
    name, flow_name, parameters, id = found["task"]["flow"]
    assert (name, flow_name, parameters, id) == (
        "run-7", "The flow", {"n": 7, "m": "m"}, found["id"])


def test_a_flow_run_knows_itself(runner: Any) -> None:
    @flow(task_runner=runner, name="Me", version="v1", flow_run_name="mine")
    def run(x: int, y: int = 3) -> Any:
        me = runtime.flow_run
        return {"found": (me.name, me.flow_name, me.flow_version, me.parameters, me.run_count,
                          sorted(me.tags), me.parent_flow_run_id, str(me.root_flow_run_id) ==
                          str(me.id), me.scheduled_start_time is not None,
                          runtime.task_run.id, runtime.task_run.name)}

    with tags("t"):
        assert run(1) == {"found": ("mine", "Me", "v1", {"x": 1, "y": 3}, 1, ["t"], None, True,
                                    True, None, None)}


def test_parameters_of_a_task_run_are_resolved_values(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        first = tell.submit(1)
        return {"found": tell.submit(first, y=3).result()["parameters"]["x"]["task_name"]}

    assert run() == {"found": "Teller"}


def test_everything_is_empty_outside_of_runs() -> None:
    me, run = runtime.task_run, runtime.flow_run
    assert (me.id, me.name, me.task_name, list(me.tags), me.parameters) == (
        None, None, None, [], {})
    assert (run.id, run.name, run.flow_name, list(run.tags), run.parameters,
            run.parent_flow_run_id) == (None, None, None, [], {}, None)
    assert not me.run_count and not run.run_count


def test_deployment_is_empty_outside_of_one() -> None:
    from tests.acceptance.parity.face import PACKAGE

    assert (runtime.deployment.id, runtime.deployment.name) == (None, None), PACKAGE
    assert runtime.deployment.parameters == {}


def test_an_attribute_that_is_none_of_its_own_is_refused() -> None:
    with pytest.raises(AttributeError):
        runtime.flow_run.nothing_of_the_kind  # noqa: B018  # reading it is what is tested


def test_values_are_mocked_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{MOCK}FLOW_RUN__NAME", "mocked")
    monkeypatch.setenv(f"{MOCK}TASK_RUN__TASK_NAME", "also")
    assert runtime.flow_run.name == "mocked"
    assert runtime.task_run.task_name == "also"


def test_a_task_outside_a_flow_knows_itself_and_no_flow() -> None:
    found = tell(5)
    assert (found["name"], found["task_name"], found["run_count"]) == ("tell-5", "Teller", 1)
    assert found["flow"][:2] == (None, None)


def test_what_a_task_reads_is_its_own_beside_others(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        found = tell.map(range(8)).result()
        return {"ids": len({str(f["id"]) for f in found}),
                "names": [f["name"] for f in found]}

    assert run() == {"ids": 8, "names": [f"tell-{x}" for x in range(8)]}


def test_the_flow_reads_its_own_after_a_task_and_a_subflow(runner: Any) -> None:
    @flow
    def inner() -> Any:
        return {"name": runtime.flow_run.flow_name}

    @flow(task_runner=runner)
    def outer() -> Any:
        tell(1)
        found = inner()["name"]
        return {"found": (found, runtime.flow_run.flow_name, runtime.task_run.id)}

    assert outer() == {"found": ("inner", "outer", None)}


def test_tags_are_those_at_the_place_of_the_call(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        with tags("a") as now:
            inside = tell.submit(1)
            seen = sorted(now)
        outside = tell.submit(2)
        return {"found": (seen, inside.result()["tags"], outside.result()["tags"])}

    assert run() == {"found": (["a"], ["a", "own"], ["own"])}


def test_a_logger_outside_of_runs_is_a_missing_context() -> None:
    with pytest.raises(MissingContextError) as caught:
        get_run_logger()
    assert isinstance(caught.value, RuntimeError)
