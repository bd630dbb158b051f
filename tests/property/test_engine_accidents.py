"""The engine under accidents: cancelled calls, lost values, dropped handles, delays of retries.

Also maps over what is flattened and over a generator beside a list. What a call came to is held
against the rules, given what the calls above it really came to: a cancellation may come first or
last, and both are right.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.batch import Aligned, Block, CallCode, Const, Flat, Items, One, TaskCode, Whole
from dataflow.context import current_task
from dataflow.engine.messages import CallAdded, CancelAsked, HandleDropped, Tick, ValueLost
from dataflow.graph import CallOptions, CallSpec, CallView, Dep, FlatPart, Mapped
from dataflow.outcomes import FIRST_FINAL, Code
from dataflow.retry import RetryPolicy
from tests.property.test_engine import Flaky, World

MAPS = ("map", "generator", "beside", "aligned", "flat")


@dataclass
class Call:
    """One call of a generated graph."""

    kind: str  # of MAPS, or "submit", "one", "whole", "flat list"
    width: int  # of what the flow's process has
    parent: int
    fails: frozenset[int]
    flaky: frozenset[int]
    ratio: float
    delay_s: float
    cancelled: bool  # somebody asks for that, at some time
    allow: bool  # failures of the parent are allowed


@st.composite
def graphs(draw: st.DrawFn) -> list[Call]:
    out: list[Call] = []
    for n in range(draw(st.integers(1, 7))):
        kinds = ["map", "generator", "beside", "submit"]
        parent = draw(st.integers(0, n - 1)) if n else 0
        if n:
            kinds += ["whole", "flat list"]
            kinds += ["aligned", "flat"] * 2 if out[parent].kind in MAPS else ["one"]
        kind = draw(st.sampled_from(kinds))
        elements = st.frozensets(st.integers(0, 30), max_size=3)
        out.append(Call(
            kind, draw(st.integers(0, 25)) if kind in MAPS else 1, parent, draw(elements),
            draw(elements), draw(st.sampled_from([1.0, 1.0, 0.5])),
            draw(st.sampled_from([0.0, 0.0, 0.5])), draw(st.integers(0, 5)) == 0,
            draw(st.integers(0, 3)) == 0))
    return out


@dataclass
class Accidents(World):
    """A played runner that loses values too."""

    calls: list[Call] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)
    lost_blocks: int = 0

    def once_only(self, number: int) -> bool:
        """Tell whether a call's values cannot be made again: a generator's items are not kept."""
        call = self.calls[number]
        return call.kind in ("generator", "beside") or (
            call.kind not in ("map", "submit") and self.once_only(call.parent))

    def lose_a_block(self) -> None:
        """Let a worker with finished values die: who needs one finds that it is missing."""
        there = [b for b, block in sorted(self.blocks.items())
                 if not any(map(self.once_only, block.columns))]
        if there and self.lost_blocks < 3:
            self.lost_blocks += 1
            self.blocks[self.rng.choice(there)] = Block({})

    def ask_for_a_lost_value(self) -> None:
        """Let the flow ask for a value that is not where it should be."""
        call = self.rng.randrange(len(self.views))
        view = self.views[call]
        there = [i for i, code in enumerate(view.codes) if code == Code.COMPLETED]
        if (there and call not in self.dropped and self.lost_blocks < 3
                and not self.once_only(call)):
            self.lost_blocks += 1
            self.hear(ValueLost(((call, self.rng.choice(there)),)))

    def cancel(self, call: int) -> None:
        """Cancel a call, or one element of it."""
        view = self.views[call]
        index = self.rng.randrange(len(view.codes)) if view.codes and self.rng.random() < 0.5 \
            else None
        if index is None and not view.is_done():
            self.hear(CancelAsked(call, None, "asked"))
        elif index is not None and not view.is_done(index):
            self.hear(CancelAsked(call, index, "asked"))


def spec_of(number: int, call: Call, world: Accidents) -> CallSpec:
    """Make the call that a plan says; its values are lists of two numbers."""

    def work(*args: Any) -> list[int]:
        found = current_task.get()
        assert found is not None
        index = found.index
        world.tries[number, index] += 1
        if index in call.fails or (index in call.flaky and world.tries[number, index] == 1):
            raise Flaky(index)
        return [number, index]

    token = "submit" if call.kind in ("submit", "one") else f"t{number}"
    task = TaskCode(token, work, f"task{number}", retries=1,
                    retry_delay=RetryPolicy((call.delay_s,)) if call.delay_s else None)
    parent, allow = call.parent, call.allow
    args: tuple[Any, ...] = (Items(),)
    mapped: tuple[Mapped, ...] = ()
    deps: tuple[Dep, ...] = ()
    match call.kind:
        case "map":
            mapped = (Mapped("x", 0, items=list(range(call.width))),)
        case "generator":
            world.sources[number] = list(range(call.width))
            mapped = (Mapped("x", 0, iterator=iter(())),)
        case "beside":
            world.sources[number] = list(range(call.width))
            args = (Items(), Items())
            mapped = (Mapped("x", 0, iterator=iter(())),
                      Mapped("y", 1, items=list(range(call.width))))
        case "aligned":
            args, mapped = (Aligned(parent, allow),), (Mapped("x", 0, aligned=parent),)
            deps = (Dep(parent, aligned=True, allow_failure=allow),)
        case "flat":
            mapped = (Mapped("x", 0, flat=[[7], FlatPart(parent, None, 1, allow)]),)
            deps = (Dep(parent, None, allow_failure=allow),)
        case "whole" | "flat list":
            whole = Whole(parent, allow)
            args = (whole if call.kind == "whole" else Flat(whole, "a map", True),)
            deps = (Dep(parent, None, allow_failure=allow),)
        case "one":
            args, deps = (One(parent, 0, allow),), (Dep(parent, 0, allow_failure=allow),)
        case _:
            args = (Const(1),)
    code = CallCode(number, task, args, {}, ("x", "y")[: len(args)], bool(mapped))
    return CallSpec(code, "map" if mapped else "submit", f"task{number}", mapped, deps, None,
                    CallOptions(min_success_ratio=call.ratio))


def play(calls: list[Call], seed: int) -> Accidents:
    """Let a graph run to its end, with accidents that the seed decides."""
    world = Accidents(random.Random(seed), calls=calls)
    waiting, to_cancel = list(enumerate(calls)), [n for n, c in enumerate(calls) if c.cancelled]
    steps = 0
    while waiting or world.engine.open_calls or world.flying:
        steps += 1
        assert steps < 3000, "the engine does not come to an end"
        chance = world.rng.random()
        if waiting and chance < 0.4:
            number, call = waiting.pop(0)
            spec = spec_of(number, call, world)
            view = CallView(number, spec.code.task.name, spec.kind, None, bytearray())
            world.views.append(view)
            world.hear(CallAdded(spec, view))
        elif chance < 0.45 and world.views:
            world.ask_for_a_lost_value()
        elif chance < 0.5:
            world.lose_a_block()
        elif chance < 0.55 and to_cancel and to_cancel[0] < len(world.views):
            world.cancel(to_cancel.pop(0))
        elif chance < 0.6 and world.views:
            drop_one(world, [call.parent for _, call in waiting])
        elif world.flying:
            world.land()
        else:
            world.now += 1
            world.hear(Tick())
        world.act()
    return world


def drop_one(world: Accidents, still_used: list[int]) -> None:
    """Let go of the futures of a call that nothing made later takes."""
    free = [n for n in range(len(world.views)) if n not in still_used and n not in world.dropped]
    if free:
        call = world.rng.choice(free)
        world.dropped.add(call)
        world.hear(HandleDropped(call))


def expected(world: Accidents, calls: list[Call], number: int) -> list[Code] | None:
    """Return what the elements of a call come to if nobody cancels; None: it has none at all."""
    call = calls[number]
    above = world.views[call.parent] if number else None
    codes = [Code(c) for c in above.codes] if above is not None else []
    good = codes.count(Code.COMPLETED)
    share = calls[call.parent].ratio
    enough = call.allow or (
        above is not None and above.fault is None
        and (good == len(codes) or (share < 1 and good / len(codes) >= share)))
    match call.kind:
        case "aligned":
            if above is not None and above.fault is not None and not codes:
                return None
            ready = [call.allow or code == Code.COMPLETED for code in codes]
        case "flat":
            if not enough:
                return None
            lost = len(codes) - good if call.allow else 0
            faults = int(call.allow and above is not None and above.fault is not None)
            ready = [True] * (1 + 2 * good + lost + faults)
        case "one":
            ready = [call.allow or codes[0] == Code.COMPLETED]
        case "whole" | "flat list":
            ready = [enough]
        case _:
            ready = [True] * call.width
    return [Code.NOT_READY if not there else
            Code.FAILED if index in call.fails else Code.COMPLETED
            for index, there in enumerate(ready)]


@settings(max_examples=300, deadline=None)
@given(graphs(), st.integers(0, 2**32))
def test_any_graph_with_any_accidents_ends_by_the_rules_and_is_recorded_once(
    calls: list[Call], seed: int
) -> None:
    world = play(calls, seed)
    assert set(world.recorded.values()) <= {1}
    for number, call in enumerate(calls):
        view = world.views[number]
        codes = [Code(code) for code in view.codes]
        assert all(code >= FIRST_FINAL for code in codes) and view.width == len(codes)
        rules = expected(world, calls, number)
        if rules is None:
            assert codes == [] and (view.fault is not None or call.cancelled)
            continue
        above = world.views[call.parent].codes if number else b""
        in_time = {Code.COMPLETED, Code.FAILED} if Code.CANCELLED in above else set()
        own = {Code.CANCELLED} if call.cancelled else set()
        if not own:
            assert len(codes) == len(rules)
        # what went along with an element that was cancelled under way may have run already
        assert all(code in {rule} | in_time | own
                   for code, rule in zip(codes, rules, strict=False)), (number, call)
        assert {(number, i): c for i, c in enumerate(codes)} == {
            key: code for key, code in world.codes.items() if key[0] == number}
    for number in range(len(calls)):
        if number not in world.dropped:
            world.hear(HandleDropped(number))
    world.act()
    again = {n.id for n in world.engine.world.nodes.values() if n.restored}
    kept = [b for b in world.blocks if not again & world.engine.world.holders.get(b, set())]
    assert not kept, "blocks are kept that nobody can ask for"


def test_value_of_a_generators_element_that_is_lost_ends_what_needs_it_and_says_why() -> None:
    calls = [Call("generator", 3, 0, frozenset(), frozenset(), 1.0, 0.0, False, False),
             Call("whole", 1, 0, frozenset(), frozenset(), 1.0, 0.0, False, False)]
    world = Accidents(random.Random(0), calls=calls)
    for number, call in enumerate(calls):
        spec = spec_of(number, call, world)
        view = CallView(number, spec.code.task.name, spec.kind, None, bytearray())
        world.views.append(view)
        world.hear(CallAdded(spec, view))
        while not world.views[0].is_done():
            world.act()
            world.losses = 3
            while world.flying:
                world.land()
        for batch in world.blocks:
            world.blocks[batch] = Block({})
    while world.engine.open_calls:
        world.hear(Tick())
        world.act()
        while world.flying:
            world.land()
    error = world.views[1].error_of(0)
    assert [Code(c) for c in world.views[1].codes] == [Code.CRASHED] and error is not None
    assert error.type_name == "dataflow.exceptions.BlockLost" and "generator" in error.message
