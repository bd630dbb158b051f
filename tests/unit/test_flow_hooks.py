"""Hooks of flows, on the inline runner with records in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from dataflow import State, flow, get_run_logger, runtime, tags, task
from dataflow.exceptions import MissingContextError
from dataflow.flow_hooks import KINDS
from dataflow.states import Cancelled
from dataflow.stores.memory import MemoryStore


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryStore]:
    store = MemoryStore()
    monkeypatch.setattr("dataflow.stores.open_store", lambda location=None: store)
    monkeypatch.setattr(store, "close", lambda: None)
    monkeypatch.setenv("DATAFLOW_TASK_RUNNER", "inline")
    yield store


@task
def same(x: Any) -> Any:
    return x


class Heard:
    """Hooks of every kind, and what they were called for."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []
        self.options: dict[str, Any] = {kind: [self._hook(kind)] for kind in KINDS}

    def _hook(self, kind: str) -> Any:
        def hook(flow: Any, flow_run: Any, state: State) -> None:
            assert (flow_run.state, flow_run.state_name) == (state, state.name)
            self.states.append((kind, state.name))

        return hook


def ending(how: Any) -> Any:
    def body() -> Any:
        if isinstance(how, BaseException):
            raise how
        return how

    return body


@pytest.mark.parametrize("how, heard", [
    (1, ("on_completion", "Completed")), (ValueError("x"), ("on_failure", "Failed")),
    (Cancelled(), ("on_cancellation", "Cancelled")),
    (KeyboardInterrupt(), ("on_cancellation", "Cancelled")),
    (SystemExit(1), ("on_crashed", "Crashed")),
])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_end_calls_its_hooks(how: Any, heard: tuple[str, str], kind: str) -> None:
    hooks = Heard()
    body = ending(how)

    async def later() -> Any:
        return body()

    try:
        if kind == "sync":
            flow(body, **hooks.options)()
        else:
            asyncio.run(flow(later, **hooks.options)())
    except BaseException as error:
        assert not isinstance(error, AssertionError)
    assert hooks.states == [("on_running", "Running"), heard]


def test_hooks_are_told_of_each_attempt_and_of_the_last_failure_only() -> None:
    hooks = Heard()
    with pytest.raises(ValueError):
        flow(ending(ValueError("x")), retries=2, **hooks.options)()
    assert hooks.states == [("on_running", "Running"), ("on_running", "Retrying"),
                            ("on_running", "Retrying"), ("on_failure", "Failed")]


def test_parameters_that_do_not_fit_are_a_failure() -> None:
    hooks = Heard()

    def body(x: int) -> None: ...

    with pytest.raises(TypeError):
        flow(body, **hooks.options)("x")
    assert hooks.states == [("on_failure", "Failed")]


def test_hook_is_given_flow_run_and_state() -> None:
    found: list[Any] = []

    @flow(name="shop", version="3", flow_run_name="r-{x}")
    def shop(x: int) -> int:
        return x + 1

    @shop.on_completion
    def done(flow: Any, flow_run: Any, state: State) -> None:
        found.extend([flow is shop, flow_run.name, flow_run.flow_name, flow_run.flow_version,
                      flow_run.parameters, list(flow_run.tags), flow_run.run_count,
                      flow_run.state_type.value, state.result(), flow_run.parent_flow_run_id,
                      flow_run.id == runtime.flow_run.id, flow_run.start_time is not None])
        get_run_logger().info("said by a hook")

    with tags("t"):
        shop(4)
    assert found == [True, "r-4", "shop", "3", {"x": 4}, ["t"], 1, "COMPLETED", 5, None, True, True]
    assert done.__name__ == "done" and shop.on_completion_hooks == [done]


def test_failing_hook_is_logged_and_disturbs_nobody(store: MemoryStore) -> None:
    called: list[str] = []

    def breaks(flow: Any, flow_run: Any, state: State) -> None:
        raise KeyError("k")

    async def later(flow: Any, flow_run: Any, state: State) -> None:
        await asyncio.sleep(0)
        called.append(state.name)

    f = flow(lambda: 1, name="f", on_running=[breaks], on_completion=[breaks, later])
    assert f() == 1 and called == ["Completed"]
    lines = [line for line in store.logs(store.find_flow_run("last").id)
             if line.level == logging.ERROR]
    assert len(lines) == 2 and "Hook 'breaks' raised" in lines[0].message
    assert "KeyError" in lines[0].message


def test_async_hook_of_an_async_flow_runs_on_its_loop() -> None:
    loops: list[Any] = []

    @flow
    async def f() -> None:
        loops.append(asyncio.get_running_loop())

    @f.on_completion
    async def hook(flow: Any, flow_run: Any, state: State) -> None:
        loops.append(asyncio.get_running_loop())

    asyncio.run(f())
    assert len(loops) == 2 and loops[0] is loops[1]


def test_hook_of_the_end_cannot_add_to_the_run() -> None:
    errors: list[Exception] = []

    def hook(flow: Any, flow_run: Any, state: State) -> None:
        try:
            same.submit(1)
        except Exception as error:
            errors.append(error)

    flow(lambda: 1, name="f", on_completion=[hook])()
    assert isinstance(errors[0], MissingContextError) and "has ended" in str(errors[0])


def test_state_is_recorded_before_its_hooks_are_called(store: MemoryStore) -> None:
    ends: list[str] = []

    def hook(flow: Any, flow_run: Any, state: State) -> None:
        ends.append(state.name)

    with pytest.raises(SystemExit):
        flow(ending(SystemExit(3)), name="f", on_crashed=[hook])()
    assert ends == ["Crashed"] and store.find_flow_run("last").state_name == "Crashed"


def test_with_options_replaces_hooks() -> None:
    first, second = Heard(), Heard()
    base = flow(lambda: 1, name="f", **first.options)
    changed = base.with_options(**second.options)
    assert changed.on_failure_hooks == second.options["on_failure"]
    assert base.on_failure_hooks == first.options["on_failure"]
    changed.on_failure(print)
    assert len(changed.on_failure_hooks) == 2 and len(base.on_failure_hooks) == 1
    assert base.with_options(on_failure=[]).on_failure_hooks == []
