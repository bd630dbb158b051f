"""Any tree of calls, submits, maps and flows inside of tasks: what is recorded is what ran."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow import flow, task
from dataflow.stores import open_store
from runners import InlineTaskRunner, ThreadPoolTaskRunner

WAYS = ("call", "submit", "map", "forget", "flow", "fails")


@dataclass
class Tree:
    """One task run: how it is called, and what it runs itself, one after another."""

    way: str
    inside: list[Tree] = field(default_factory=list)
    label: int = 0

    def numbered(self, numbers: Iterator[int]) -> Tree:
        return Tree(self.way, [], next(numbers)) if self.way == "fails" else Tree(
            self.way, [each.numbered(numbers) for each in self.inside], next(numbers))


def trees() -> st.SearchStrategy[Tree]:
    leaves = st.builds(Tree, st.sampled_from(WAYS))
    return st.recursive(
        leaves, lambda inner: st.builds(Tree, st.sampled_from(WAYS), st.lists(inner, max_size=3)),
        max_leaves=8)


class Ran:
    """What really ran: label → label of the task run that ran it."""

    def __init__(self) -> None:
        self.parents: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def note(self, label: str, parent: str | None) -> None:
        with self._lock:
            assert label not in self.parents, "ran twice"
            self.parents[label] = parent


@pytest.mark.parametrize("runner", [InlineTaskRunner(), ThreadPoolTaskRunner(max_workers=2)],
                         ids=["inline", "two-threads"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(roots=st.lists(trees(), min_size=1, max_size=3))
def test_recorded_tree_is_the_one_that_ran(runner: Any, roots: list[Tree]) -> None:
    numbers = count()
    forest = [root.numbered(numbers) for root in roots]
    ran = Ran()

    def step(tree: Tree, parent: str | None) -> int:
        match tree.way:
            case "call":
                return int(node(tree, parent))
            case "submit":
                return int(node.submit(tree, parent).result())
            case "map":
                return sum(node.map([tree], parent).result())
            case "forget":
                node.submit(tree, parent)
                return 0
            case "flow":
                return int(around(tree, parent))
            case _:
                assert node.submit(tree, parent, return_state=True).is_failed()
                return 0

    @flow(validate_parameters=False)
    def around(tree: Tree, parent: str | None) -> int:
        return int(node.submit(tree, parent).result())

    @task(task_run_name="n-{tree.label}")
    def node(tree: Tree, parent: str | None) -> int:
        label = f"n-{tree.label}"
        ran.note(label, parent)
        if tree.way == "fails":
            raise ValueError(label)
        return 1 + sum(step(each, label) for each in tree.inside)

    @flow(task_runner=runner, name="forest")
    def whole() -> None:
        for tree in forest:
            step(tree, None)

    whole()
    assert recorded_parents() == ran.parents


def recorded_parents() -> dict[str, str | None]:
    """Return each recorded task run's name with that of the nearest task run around it."""
    store = open_store()
    try:
        top = next(row for row in store.flow_runs() if row.flow_name == "forest")
        rows, flow_runs = {}, [top.id]
        while flow_runs:
            for row in store.task_runs(flow_runs.pop(), limit=None):
                rows[row.id] = row
                if row.kind == "flow":
                    flow_runs += [run.id for run in store.flow_runs(parent=row.id)]
        calls_flow = {run.id: run.parent_task_run_id for run in store.flow_runs(limit=None)}
    finally:
        store.close()

    def around(row: Any) -> str | None:
        parent = row.parent_task_run_id or calls_flow.get(row.flow_run_id)
        while parent is not None and rows[parent].kind == "flow":
            parent = rows[parent].parent_task_run_id
        return None if parent is None else str(rows[parent].name)

    return {row.name: around(row) for row in rows.values() if row.kind != "flow"}
