"""Graphs of flows: dry, from records, as text and as Mermaid, on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dataflow import flow, get_run_logger, task
from dataflow.cli import main
from dataflow.exceptions import ParameterBindError, ParameterTypeError, RunNotFound
from dataflow.flow_graph import ALIKE, FlowGraph, GraphNode
from dataflow.stores import open_store


@task
def load(path: Any) -> Any:
    raise AssertionError("a dry run calls no task")


@task
def clean(x: Any) -> Any:
    raise AssertionError("a dry run calls no task")


@task(viz_return_value={"rows": [1, 2]})
def rows(x: Any) -> Any:
    raise AssertionError("a dry run calls no task")


@task
def add(x: int, y: int = 1) -> int:
    if x < 0:
        raise ValueError("negative")
    return x + y


def edges(graph: FlowGraph) -> set[tuple[str, str]]:
    return {(graph.nodes[a].name, graph.nodes[b].name) for a, b in graph.edges}


def test_dry_run_draws_submits_maps_and_direct_calls_without_calling_them() -> None:
    @flow
    def etl(n: int) -> Any:
        pages = load.map(range(n))
        table = rows(clean.map(pages))
        return clean.with_options(name="last").submit([table["rows"], table])

    graph = etl.graph("3")
    assert [(node.name, node.kind, node.elements) for node in graph.nodes] == [
        ("load", "map", 3), ("clean", "map", 3), ("rows", "direct", 1), ("last", "submit", 1)]
    assert edges(graph) == {("load", "clean"), ("clean", "rows"), ("rows", "last")}
    assert all(not node.counts for node in graph.nodes)


def test_dry_run_leaves_no_record_no_line_and_calls_no_hook(
        capfd: pytest.CaptureFixture[str]) -> None:
    called: list[Any] = []

    @flow(retries=3, on_completion=[lambda *given: called.append(given)], task_runner="dask",
          timeout_seconds=5)
    def f() -> None:
        get_run_logger().warning("said in a dry run")
        load.submit(1)

    assert len(f.graph().nodes) == 1
    assert open_store(None).flow_runs() == [] and called == []
    assert "said" not in capfd.readouterr().err


def test_placeholder_takes_part_in_what_a_flow_does_with_values() -> None:
    @flow
    def f() -> Any:
        value = load.submit(1).result()
        first, = value.items
        total = 2 * first["a"].mean() + 1 - abs(value) / len(value)
        if total > 3 and value and int(total) == 1:
            for item in value:
                clean.submit({"deep": [(item, total)]})
        return clean.map(value)

    assert edges(f.graph()) == {("load", "clean")}
    assert [node.kind for node in f.graph().nodes] == ["submit", "submit", "map"]


def test_flow_inside_is_one_node_and_its_value_comes_from_it() -> None:
    @flow(task_runner="dask")
    def child(x: int) -> Any:
        return clean(x)

    @flow
    def parent() -> Any:
        return clean.with_options(name="last").submit(child(load.submit(1)))

    graph = parent.graph()
    assert [(node.name, node.kind) for node in graph.nodes] == [
        ("load", "submit"), ("child", "flow"), ("last", "submit")]
    assert edges(graph) == {("load", "child"), ("child", "last")}


def test_tasks_and_flows_of_all_kinds_can_be_drawn() -> None:
    @task
    async def later(x: Any) -> Any: ...

    @task
    def items(x: Any) -> Iterator[int]:
        yield 1

    @flow
    async def f() -> Any:
        a = await later(1)
        return list(items(await later(a)))

    @flow
    def endless() -> Iterator[Any]:
        while True:
            yield load(1)

    @flow
    async def endless_later() -> AsyncIterator[Any]:
        while True:
            yield await later(1)

    assert edges(f.graph()) == {("later", "later"), ("later", "items")}
    assert len(endless.graph().nodes) == 1 and len(endless_later.graph().nodes) == 1

    async def within_a_loop() -> FlowGraph:
        return f.graph()

    assert len(asyncio.run(within_a_loop()).nodes) == 3


def test_dry_run_that_cannot_go_on_says_what_to_do() -> None:
    @flow
    def f(x: int) -> None:
        {1: 2}[load(x)]

    with pytest.raises(KeyError) as caught:
        f.graph(1)
    assert "viz_return_value" in caught.value.__notes__[0]
    with pytest.raises(ParameterBindError):
        f.graph()
    with pytest.raises(ParameterTypeError):
        f.graph("x")


def test_tasks_run_again_after_a_dry_run() -> None:
    @flow(task_runner="inline")
    def f() -> int:
        return add(1)

    f.graph()
    assert f() == 2
    f.graph()
    assert f() == 2


# from records


@flow(task_runner="inline")
def recorded() -> None:
    many = add.map([1, 2, -1])
    add.with_options(name="whole").submit(1, wait_for=[many])
    for number in range(ALIKE + 1):
        add.with_options(name="single").submit(number)


def test_recorded_run_is_drawn_with_counts_by_state(capsys: pytest.CaptureFixture[str]) -> None:
    recorded()
    graph = recorded.graph(run="last")
    assert graph.nodes == [
        GraphNode("add", "map", 3, {"Completed": 2, "Failed": 1}),
        GraphNode("whole", "submit", 1, {"NotReady": 1}),
        GraphNode("single", "submit", ALIKE + 1, {"Completed": ALIKE + 1}),
    ]
    assert graph.edges == [(0, 1)]
    run = open_store(None).find_flow_run("last")
    assert [" ".join(line.split()) for line in str(graph).splitlines()] == [
        f"flow recorded, run {run.name}: Completed", "1 add map of 3 2 Completed, 1 Failed",
        "2 whole NotReady ← 1 add", f"3 single × {ALIKE + 1} {ALIKE + 1} Completed"]
    assert graph.mermaid().splitlines()[:5] == [
        "flowchart TD",
        '    n0[["add<br/>map of 3<br/>2 Completed, 1 Failed"]]:::Failed',
        '    n1["whole<br/>NotReady"]:::NotReady',
        f'    n2["single<br/>× {ALIKE + 1}<br/>{ALIKE + 1} Completed"]:::Completed',
        "    n0 --> n1",
    ]
    assert graph._repr_markdown_() == f"```mermaid\n{graph.mermaid()}\n```"
    assert str(recorded.graph(run=run.id[:6])) == str(recorded.graph(run=run.name)) == str(graph)
    capsys.readouterr()
    assert main(["flow-run", "graph", run.name]) == 0
    assert capsys.readouterr().out == f"{graph}\n"
    assert main(["flow-run", "graph", "--mermaid"]) == 0
    assert capsys.readouterr().out == f"{graph.mermaid()}\n"
    assert main(["flow-run", "graph", "--output", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["title"], facts["edges"]) == (graph.title, [[0, 1]])
    assert facts["nodes"][0] == {"name": "add", "kind": "map", "elements": 3,
                                 "counts": {"Completed": 2, "Failed": 1}}


def test_flow_without_a_run_has_no_graph_of_one() -> None:
    recorded()
    with pytest.raises(RunNotFound, match="'other'"):
        flow(lambda: 1, name="other").graph(run="last")
    with pytest.raises(RunNotFound):
        recorded.graph(run="nobody")


def test_names_cannot_break_out_of_a_mermaid_node() -> None:
    graph = FlowGraph("t", [GraphNode('a"]; <b>\nc', "submit", 1, {})], [])
    assert graph.mermaid().splitlines()[1] == '    n0["a#quot;]; #lt;b#gt; c"]'


def test_visualize_prints_the_graph(capsys: pytest.CaptureFixture[str]) -> None:
    f = flow(lambda: load.submit(1), name="f")
    graph = f.visualize()
    assert capsys.readouterr().out == "flow f, not run\n  1 load\n" == f"{graph}\n"
