"""The engine against the naive model where functions are async: batches told piece by piece.

The real worker code runs each batch to its end; what it told is then held back
in part, as if elements had outlasted their batch, and told by batches that
collect, some of which find the worker gone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.batch import Batch, Block, Column
from dataflow.graph import CallSpec
from dataflow.outcomes import Code, Report, Span
from dataflow.runner import BatchDone, BatchLost
from dataflow.worker.batch import run_batch
from dataflow.worker.control import Control
from tests.property.test_engine import RUN, Plan, World, check, plans, play, spec_of, trees


@dataclass
class Pieces:
    """What a batch came to and was not told yet: by group the spans, and the values."""

    report: Report
    groups: list[list[Span]]
    values: dict[tuple[int, int], Any]


@dataclass
class AsyncWorld(World):
    """A played runner whose async batches are told piece by piece."""

    held: dict[int, Pieces] = field(default_factory=dict)

    def land_one(self, number: int) -> None:
        """Let a flying batch come to some end."""
        batch, inputs = self.flying[number]
        if not batch.at_once:
            super().land_one(number)
            return
        del self.flying[number]
        if self.losses < 3 and self.rng.random() < 0.1:
            self.losses += 1
            if batch.collect is not None and self.rng.random() < 0.5:
                empty = Report(batch.id, "w", 0.0, [], remote=True)
                self.hear(BatchDone(number, empty, None))  # the worker that ran it is gone
            else:
                self.hear(BatchLost(number, "worker died", blame=self.rng.random() < 0.7))
            return
        pieces = self.held[batch.collect] if batch.collect else self._run(batch, inputs)
        report, block = self._tell(batch, pieces)
        if block is not None:
            self.blocks[number] = block
        self.hear(BatchDone(number, report, number if block is not None else None))

    def _run(self, batch: Batch, inputs: list[Block]) -> Pieces:
        report, block = run_batch(batch, inputs, RUN, worker="w", control=Control(), remote=True,
                                  may_split=False)
        spans = iter(report.spans)
        groups = [[next(spans) for _ in group.parts] for group in batch.groups]
        values = {} if block is None else {
            (call, index): value for call, column in block.columns.items()
            for index, value in zip(column.indexes, column.values, strict=True)}
        self.held[batch.id] = Pieces(report, groups, values)
        return self.held[batch.id]

    def _tell(self, batch: Batch, pieces: Pieces) -> tuple[Report, Block | None]:
        """Report a part of the elements, the others as RUNNING; keep these."""
        spans, rest, columns = [], [], {}
        for group in pieces.groups:
            count = len(group[0].codes)
            slow = {at for at in range(count) if self.rng.random() < 0.3}
            for span in group:
                spans.append(told(span, slow))
                self._take(span, slow, pieces.values, columns)
            if slow:
                rest.append([cut(span, sorted(slow)) for span in group])
        pieces.groups = rest
        report = replace(pieces.report, batch=batch.id, spans=spans, wall_s=0.1, busy_s=0.01)
        return report, Block(columns) if columns else None

    def _take(self, span: Span, slow: set[int], values: dict[tuple[int, int], Any],
              columns: dict[int, Column]) -> None:
        indexes = [i for at, i in enumerate(span.indexes)
                   if at not in slow and (span.call, i) in values]
        if indexes:
            columns[span.call] = Column(indexes, [values[span.call, i] for i in indexes])


def told(span: Span, slow: Iterable[int]) -> Span:
    """Return a span in which the slow ones are RUNNING."""
    codes = bytearray(span.codes)
    for at in slow:
        codes[at] = Code.RUNNING
    details = {i: d for at, i in enumerate(span.indexes)
               if at not in set(slow) and (d := span.details.get(i)) is not None}
    return Span(span.call, span.indexes, codes, span.started[:], span.elapsed[:], details)


def cut(span: Span, positions: list[int]) -> Span:
    """Return a span of some positions alone."""
    indexes = [span.indexes[at] for at in positions]
    return Span(span.call, indexes, bytearray([span.codes[at] for at in positions]),
                array("f", [span.started[at] for at in positions]),
                array("f", [span.elapsed[at] for at in positions]),
                {i: span.details[i] for i in indexes if i in span.details})


def async_spec(call: int, plan: Plan, world: World) -> CallSpec:
    """Make the call that a plan says; two of three functions are async."""
    spec = spec_of(call, plan, world)
    task = spec.code.task
    if world.rng.random() < 0.67:
        plain = task.fn

        async def fn(*args: Any) -> Any:
            return plain(*args)

        task.fn, task.kind, task.concurrency = fn, "async", (1, 3, 1000)[call % 3]
        task.token = f"async-{task.token}-{task.concurrency}"
    if spec.mapped and world.rng.random() < 0.3:
        spec.options = replace(spec.options, max_in_flight=2)
    return spec


def check_all_landed(world: World) -> None:
    """Nothing counts as under way when nothing is."""
    inner = world.engine.world
    assert (inner.beside.flights, inner.beside.fresh) == (0, 0)
    assert not any(inner.beside.at_once.values())
    assert not any(node.at_once or node.batches for node in inner.nodes.values())


@settings(max_examples=150, deadline=None)
@given(plans(), st.integers(0, 2**32))
def test_any_graph_of_async_functions_ends_as_the_model_says_and_is_recorded_once(
    plan_list: list[Plan], seed: int
) -> None:
    world = play(plan_list, seed, burst=False, kind=AsyncWorld, made=async_spec)
    check(world, plan_list)
    check_all_landed(world)


@settings(max_examples=100, deadline=None)
@given(trees(), st.integers(0, 2**32))
def test_any_tree_of_async_submits_ends_as_the_model_says_and_is_recorded_once(
    plan_list: list[Plan], seed: int
) -> None:
    world = play(plan_list, seed, burst=True, kind=AsyncWorld, made=async_spec)
    check(world, plan_list)
    check_all_landed(world)
