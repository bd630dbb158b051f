"""The engine against a naive model: any graph, any order of events, workers that die.

The real worker code runs each batch; only the runner is played. What the model
says of an element must be what the engine recorded, once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflow.batch import (
    Aligned,
    Block,
    CallCode,
    Const,
    Items,
    One,
    RunInfo,
    Source,
    TaskCode,
    Whole,
)
from dataflow.engine import Engine
from dataflow.engine.messages import CallAdded, Event, HandleDropped, Pulled, Tick
from dataflow.graph import CallOptions, CallSpec, CallView, Dep, Mapped
from dataflow.outcomes import FIRST_FINAL, MOVES, Code
from dataflow.runner import BatchDone, BatchLost, Capacity
from dataflow.worker.batch import run_batch
from dataflow.worker.control import Control

RUN = RunInfo("cb83fe37-b343-4a0b-a575-5bc9aa6d0eef", "run", "flow", None, {}, (), 0.0)


def reachable(code: Code) -> set[Code]:
    """Return where an element may get to from a code in any number of legal moves."""
    found, edge = {code}, [code]
    while edge:
        new = MOVES[edge.pop()] - found
        found |= new
        edge += new
    return found


REACHABLE = {code: reachable(code) for code in MOVES}


class Flaky(Exception):
    """Raised by elements that the plan lets fail."""


@dataclass
class Plan:
    """One call of a generated graph."""

    kind: str  # "map", "generator", "aligned", "whole", "submit", "one"
    width: int
    parent: int
    fails: frozenset[int]  # elements that fail for good
    flaky: frozenset[int]  # elements that fail once, then succeed
    ratio: float


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    out: list[Plan] = []
    for n in range(draw(st.integers(1, 7))):
        kinds = ["map", "generator", "submit"] + (["aligned", "whole", "one"] if n else [])
        kind = draw(st.sampled_from(kinds))
        parent = draw(st.integers(0, n - 1)) if n else 0
        if kind == "aligned" and out[parent].kind in ("submit", "one", "whole"):
            kind = "one"
        if kind == "one" and out[parent].width == 0:
            kind = "whole"
        if kind in ("map", "generator"):
            width = draw(st.integers(0, 40))
        else:
            width = out[parent].width if kind == "aligned" else 1
        elements = st.frozensets(st.integers(0, max(width - 1, 0)), max_size=4)
        out.append(Plan(kind, width, parent, draw(elements), draw(elements),
                        draw(st.sampled_from([1.0, 1.0, 0.5]))))
    return out


class Stops(Control):
    """Stops a batch after a number of elements."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    @property
    def stopped(self) -> bool:  # type: ignore[override]
        self._left -= 1
        return self._left < 0

    @stopped.setter
    def stopped(self, value: bool) -> None:
        pass


@dataclass
class World:
    """A played runner and everything that was recorded."""

    rng: random.Random
    engine: Engine = field(default_factory=lambda: Engine(Capacity(2, 2), RUN.flow_run_id))
    views: list[CallView] = field(default_factory=list)
    flying: dict[int, tuple[Any, list[Block]]] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    released: set[int] = field(default_factory=set)
    recorded: Counter[tuple[int, int]] = field(default_factory=Counter)
    codes: dict[tuple[int, int], int] = field(default_factory=dict)
    tries: Counter[tuple[int, int]] = field(default_factory=Counter)
    sources: dict[int, list[Any]] = field(default_factory=dict)
    now: float = 1000.0
    losses: int = 0

    def hear(self, event: Event) -> None:
        self.now += 0.01
        before = [bytes(view.codes) for view in self.views]
        self.engine.hear(event, self.now)
        for view, old in zip(self.views, before, strict=True):
            for was, now in zip(old, view.codes, strict=False):  # a map may have grown
                assert now in REACHABLE[Code(was)], (Code(was), Code(now))

    def act(self) -> None:
        """Let the engine decide, perform its commands, take its records."""
        self.engine.decide(self.now)
        commands = self.engine.take_commands()
        for batch in commands.release:
            self.released.add(batch)
            self.blocks.pop(batch, None)
        for batch in commands.send:
            self.flying[batch.id] = (batch, [self.blocks[b] for b in batch.inputs])
        gulp = self.engine.take_gulp()
        for record in gulp.spans:
            for index, code in zip(record.span.indexes, record.span.codes, strict=True):
                if code >= FIRST_FINAL:
                    self._record(record.span.call, index, code)
        for spread in gulp.ranges:
            for index in range(spread.start, spread.stop):
                self._record(spread.call, index, spread.code)
        for row in gulp.elements:
            view = self.views[row.call]
            alone = view.kind == "submit" or row.code in (Code.NOT_READY, Code.CANCELLED) or (
                row.code == Code.CRASHED and row.started_s is None)
            if row.code >= FIRST_FINAL and alone:
                self._record(row.call, row.index, row.code)
        for pull in commands.pull:
            items = self.sources[pull.call]
            taken = [items.pop(0) for _ in range(min(pull.count, len(items)))]
            self.hear(Pulled(pull.call, {0: taken}, exhausted=not items))

    def _record(self, call: int, index: int, code: int) -> None:
        self.recorded[call, index] += 1
        self.codes[call, index] = code

    def land(self) -> None:
        """Let one flying batch come to some end."""
        self.land_one(self.rng.choice(sorted(self.flying)))

    def land_one(self, number: int) -> None:
        """Let a flying batch come to some end."""
        batch, inputs = self.flying.pop(number)
        if self.losses < 3 and self.rng.random() < 0.1:
            self.losses += 1
            self.hear(BatchLost(number, "worker died", blame=self.rng.random() < 0.7))
            return
        after = self.rng.choice([1, 2, 5, 10_000, 10_000])
        report, block = run_batch(batch, inputs, RUN, worker="w", control=Stops(after),
                                  remote=True)
        if block is not None:
            self.blocks[number] = block
        self.hear(BatchDone(number, report, number if block is not None else None))


def spec_of(call: int, plan: Plan, world: World) -> CallSpec:
    """Make the call that a plan says."""

    def work(value: Any, index: int) -> tuple[int, int]:
        world.tries[call, index] += 1
        if index in plan.fails or (index in plan.flaky and world.tries[call, index] == 1):
            raise Flaky(index)
        return (call, index)

    if plan.kind in ("map", "generator"):
        fn = lambda x: work(None, x)  # noqa: E731
    elif plan.kind == "aligned":
        fn = lambda x: work(None, x[1])  # noqa: E731
    else:
        fn = lambda *x: work(None, 0)  # noqa: E731
    # submits share what is known of a function, so that they are cut into subtrees
    token = f"t{call}" if plan.kind in ("map", "generator", "aligned", "whole") else "submit"
    task = TaskCode(token, fn, f"task{call}", retries=1)
    options = CallOptions(min_success_ratio=plan.ratio)
    parent = plan.parent
    args: tuple[Source, ...]
    mapped: tuple[Mapped, ...] = ()
    deps: tuple[Dep, ...] = ()
    match plan.kind:
        case "map":
            args, mapped = (Items(),), (Mapped("x", 0, items=list(range(plan.width))),)
        case "generator":
            world.sources[call] = list(range(plan.width))
            args, mapped = (Items(),), (Mapped("x", 0, iterator=iter(())),)
        case "aligned":
            args, mapped = (Aligned(parent),), (Mapped("x", 0, aligned=parent),)
        case "whole":
            args, deps = (Whole(parent),), (Dep(parent),)
        case "one":
            args, deps = (One(parent, 0),), (Dep(parent, 0),)
        case _:
            args = (Const(1),)
    code = CallCode(call, task, args, {}, ("x",) * len(args), bool(mapped))
    return CallSpec(code, "map" if mapped else "submit", f"task{call}", mapped, deps, None, options)


def model(plan_list: list[Plan]) -> dict[tuple[int, int], Code]:
    """Say what each element must come to, by the rules alone."""
    said: dict[tuple[int, int], Code] = {}
    for call, plan in enumerate(plan_list):
        for index in range(plan.width):
            ready = True
            if plan.kind == "aligned":
                ready = said[plan.parent, index] == Code.COMPLETED
            elif plan.kind == "one":
                ready = said[plan.parent, 0] == Code.COMPLETED
            elif plan.kind == "whole":
                ready = enough(plan_list[plan.parent], plan.parent, said)
            if not ready:
                said[call, index] = Code.NOT_READY
            else:
                said[call, index] = Code.FAILED if index in plan.fails else Code.COMPLETED
    return said


def enough(parent: Plan, call: int, said: dict[tuple[int, int], Code]) -> bool:
    good = sum(said[call, i] == Code.COMPLETED for i in range(parent.width))
    if good == parent.width:
        return True
    return parent.ratio < 1 and good / parent.width >= parent.ratio


@example([Plan("map", 5, 0, frozenset({0, 1}), frozenset(), 0.5),
          Plan("whole", 1, 0, frozenset(), frozenset(), 1.0),
          *[Plan("map", 0, 0, frozenset(), frozenset(), 1.0)] * 3], 0, False)
@st.composite
def trees(draw: st.DrawFn) -> list[Plan]:
    """Submits of one function, behind a first one that makes it known."""
    out = [Plan("submit", 1, 0, frozenset(), frozenset(), 1.0)]
    for n in range(1, draw(st.integers(2, 14))):
        kind = draw(st.sampled_from(["submit", "one", "one", "one"]))
        parent = draw(st.integers(max(1, n - 3), n - 1)) if n > 1 else 0
        elements = st.sampled_from([frozenset(), frozenset(), frozenset(), frozenset({0})])
        out.append(Plan(kind if n > 1 else "submit", 1, parent, draw(elements), draw(elements),
                        1.0))
    return out


def play(plan_list: list[Plan], seed: int, *, burst: bool, kind: type[World] = World,
         made: Callable[[int, Plan, World], CallSpec] = spec_of) -> World:
    """Let a graph run to its end, in an order and with accidents that the seed decides."""
    world = kind(random.Random(seed))
    waiting = list(enumerate(plan_list))
    steps = 0
    while waiting or world.engine.open_calls or world.flying:
        steps += 1
        assert steps < 3000, "the engine does not come to an end"
        known = not burst or len(waiting) == len(plan_list) or not world.engine.open_calls
        if waiting and (known and (burst or world.rng.random() < 0.5)):
            for call, plan in waiting[: len(waiting) if burst and world.views else 1]:
                waiting.pop(0)
                spec = made(call, plan, world)
                view = CallView(call, spec.code.task.name, spec.kind, None, bytearray())
                world.views.append(view)
                world.hear(CallAdded(spec, view))
        elif world.flying:
            world.land()
        else:
            world.now += 1
            world.hear(Tick())
        world.act()
    return world


def check(world: World, plan_list: list[Plan]) -> None:
    """Hold what was recorded against the model."""
    expected = model(plan_list)
    assert world.codes == expected
    assert set(world.recorded.values()) <= {1}
    for call, plan in enumerate(plan_list):
        assert world.views[call].width == plan.width
        assert [Code(c) for c in world.views[call].codes] == [
            expected[call, i] for i in range(plan.width)
        ]


@settings(max_examples=1000, deadline=None)
@given(plans(), st.integers(0, 2**32), st.booleans())
def test_any_graph_in_any_order_ends_as_the_model_says_and_is_recorded_once(
    plan_list: list[Plan], seed: int, drop: bool
) -> None:
    world = play(plan_list, seed, burst=False)
    check(world, plan_list)
    if drop:
        for call in range(len(plan_list)):
            world.hear(HandleDropped(call))
        world.act()
        assert not world.blocks, "blocks are kept that nobody can ask for"


@settings(max_examples=500, deadline=None)
@given(trees(), st.integers(0, 2**32))
def test_any_tree_of_submits_ends_as_the_model_says_and_is_recorded_once(
    plan_list: list[Plan], seed: int
) -> None:
    check(play(plan_list, seed, burst=True), plan_list)
