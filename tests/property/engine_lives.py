"""One flow run in several lives: played, cut off, read back from a store, gone on with.

Lives here: the player of ``test_engine_accidents.py`` with a store, and what is
watched while a life goes on. Does not live here: how a run comes to its end
alone, and what is asserted of the whole (``test_engine_resume.py``).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from dataflow.batch import Batch, ItemOf, One
from dataflow.call_inputs import with_inputs
from dataflow.engine import Engine
from dataflow.engine.messages import CallAdded, CancelAll, Tick
from dataflow.graph import CallSpec, CallView, Mapped, Recorded
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code
from dataflow.recorder import by_run
from dataflow.resumption import Resumption
from dataflow.runner import BatchDone, BatchLost, Capacity, RunnerLost
from dataflow.store import FlowRunRecord, Gulp
from dataflow.stores.memory import MemoryStore
from dataflow.worker.batch import run_batch
from tests.property.test_engine import RUN, Stops
from tests.property.test_engine_accidents import (
    Accidents,
    Call,
    drop_one,
    expected,
    graphs,
    spec_of,
)

ITEMS = "items of"  # a map over the value of one future: two numbers
ID = RUN.flow_run_id
Place = tuple[int, int]


@dataclass(frozen=True)
class Ending:
    """How a life ends."""

    after: int  # steps
    how: str  # "killed", "runner lost", "cancelled"
    lost: int = 0  # gulps that were not written yet
    retry: bool = False  # the next life lets failures begin anew


endings = st.builds(
    Ending, st.integers(0, 120), st.sampled_from(["killed", "killed", "runner lost", "cancelled"]),
    st.integers(0, 4), st.booleans())
_REOPENED = (Code.CRASHED, Code.CANCELLED, Code.NOT_READY)
_FAILURES = (Code.FAILED, Code.TIMED_OUT)


@st.composite
def longer_graphs(draw: st.DrawFn) -> list[Call]:
    """Graphs with maps over the values of single futures too."""
    calls: list[Call] = draw(graphs())
    return [
        replace(call, kind=ITEMS) if call.kind in ("one", "flat list") and draw(st.booleans())
        and calls[call.parent].kind in ("submit", "one", ITEMS) else call
        for call in calls
    ]


class _Telling(Engine):
    """An engine whose gulps are kept until they are written."""

    def __init__(self, capacity: Capacity, flow_run_id: str) -> None:
        super().__init__(capacity, flow_run_id)
        self.gulps: list[Gulp] = []

    def take_gulp(self) -> Gulp:
        self.gulps.append(super().take_gulp())
        return self.gulps[-1]


@dataclass
class Life(Accidents):
    """One process of a run, which takes over what the ones before have recorded."""

    engine: _Telling = field(default_factory=lambda: _Telling(Capacity(2, 2), ID))
    found: dict[int, Recorded] = field(default_factory=dict)
    asked: set[Place] = field(default_factory=set)  # values that were asked for
    sent: set[Place] = field(default_factory=set)
    before: Counter[Place] = field(default_factory=Counter)  # executions in earlier lives

    def once_only(self, number: int) -> bool:
        return super().once_only(number) if number < len(self.calls) else False

    def standing(self, place: Place) -> Code:
        """Return what stood of an element when this life began."""
        recorded = self.found.get(place[0])
        there = recorded is not None and place[1] < len(recorded.codes)
        return Code(recorded.codes[place[1]]) if there else Code.PENDING

    def hear(self, event: Any) -> None:
        for call, index in getattr(event, "elements", ()) or ():
            self.asked.add((call, index))
        super().hear(event)

    def _record(self, call: int, index: int, code: int) -> None:
        assert self.standing((call, index)) < FIRST_FINAL, f"{(call, index)} is recorded again"
        super()._record(call, index, code)

    def land_one(self, number: int) -> None:
        """Let a flying batch come to some end, in this thread."""
        batch, inputs = self.flying.pop(number)
        if self.losses < 3 and self.rng.random() < 0.1:
            self.losses += 1
            self.hear(BatchLost(number, "worker died", blame=self.rng.random() < 0.7))
            return
        after = self.rng.choice([1, 2, 5, 10_000, 10_000])
        report, block = run_batch(batch, inputs, RUN, worker="w", control=Stops(after),
                                  remote=True, may_split=False)
        if block is not None:
            self.blocks[number] = block
        self.hear(BatchDone(number, report, number if block is not None else None))

    def act(self) -> None:
        flying = set(self.flying)
        super().act()
        for number in self.flying.keys() - flying:
            self._sent(self.flying[number][0])

    def _sent(self, batch: Batch) -> None:
        for group in batch.groups:
            for part in group.parts:
                for index in group.indexes:
                    self._check_sent((part.code.call, index), part.attempts.get(index, 0))

    def _check_sent(self, place: Place, before: int) -> None:
        """What stands is sent for its value alone; a retry is sent in its time."""
        call, index = place
        node, stands = self.engine.world.nodes[call], self.standing(place)
        if stands in SUCCEEDED:
            assert index in node.restoring, f"{place} stands, and is sent"
            needed = (node.waiting.get(index) or place in self.asked
                      or any(each.parent == call and each.kind in ("flat", ITEMS)
                             for each in self.calls))
            assert needed, f"nobody needs the value of {place}"
        assert stands < FIRST_FINAL or stands in SUCCEEDED, f"{place} failed, and is sent"
        if stands == Code.AWAITING_RETRY and place not in self.sent:
            recorded = self.found[call]
            assert self.now >= recorded.due[index], f"{place} is sent before its time"
            assert before == recorded.attempts.get(index, 1) == 1
        self.sent.add(place)


def call_spec(number: int, call: Call, world: Accidents) -> CallSpec:
    """Make the call that a plan says."""
    if call.kind != ITEMS:
        return spec_of(number, call, world)
    spec = spec_of(number, replace(call, kind="one"), world)
    spec.kind, spec.code.mapped, spec.deps = "map", True, ()
    spec.code.args = (ItemOf(call.parent, 0),)
    spec.code.task.token = f"t{number}"
    spec.mapped = (Mapped("x", 0, item_of=One(call.parent, 0)),)
    return spec


@dataclass
class Run:
    """A run of several lives, and the store that outlives them."""

    calls: list[Call]
    rng: random.Random
    store: MemoryStore = field(default_factory=MemoryStore)
    tries: Counter[Place] = field(default_factory=Counter)
    now: float = 1000.0
    retry: bool = False
    open: set[int] = field(default_factory=set)  # calls that had failed as a whole

    def __post_init__(self) -> None:
        self.store.write(ID, Gulp(flow_run=FlowRunRecord(id=ID, name="r", flow_name="f")))

    def begin(self, *, calm: bool) -> tuple[Life, Resumption]:
        """Begin a life with what is recorded; a calm one has no accidents."""
        self.open = {each.record.call for each in self.store.recorded(ID) if each.record.fault}
        resumption = Resumption(self.store, ID, 0, retry=self.retry)
        self.store.reopen(ID, _REOPENED + _FAILURES * self.retry, resumption.taken_along)
        life = Life(random.Random(self.rng.random()), calls=self.calls, tries=self.tries,
                    before=self.tries.copy(), now=self.now)
        if calm:
            life.losses = life.lost_blocks = 3
        return life, resumption

    def live(self, ending: Ending | None, *, calm: bool = False) -> Life:
        """Play until the end of all calls, or until a life is cut off; write what it recorded."""
        life, resumption = self.begin(calm=calm)
        waiting = list(enumerate(self.calls))
        to_cancel = [n for n, call in waiting if call.cancelled] if not calm else []
        steps = 0
        while waiting or life.engine.open_calls or life.flying:
            steps += 1
            assert steps < 3000, "the engine does not come to an end"
            if ending is not None and steps > ending.after:
                break
            self._step(life, waiting, to_cancel, resumption)
        self._end(life, ending if ending is not None and steps > ending.after else None)
        self.retry = ending is not None and ending.retry
        return life

    def _step(self, life: Life, waiting: list[tuple[int, Call]], to_cancel: list[int],
              resumption: Resumption) -> None:
        chance = life.rng.random()
        if waiting and chance < 0.4:
            self._add(life, *waiting.pop(0), resumption)
        elif chance < 0.45 and life.views:
            life.ask_for_a_lost_value()
        elif chance < 0.5:
            life.lose_a_block()
        elif chance < 0.55 and to_cancel and to_cancel[0] < len(life.views):
            life.cancel(to_cancel.pop(0))
        elif chance < 0.6 and life.views:
            drop_one(life, [call.parent for _, call in waiting])
        elif life.flying:
            life.land()
        else:
            life.now += 1
            life.hear(Tick())
        life.act()

    def _add(self, life: Life, number: int, call: Call, resumption: Resumption) -> None:
        spec = call_spec(number, call, life)
        spec.facts = with_inputs(spec.facts, spec)
        lengths = {len(m.items) for m in spec.mapped if m.items is not None}
        name = spec.code.task.name
        spec.recorded = resumption.find(None, name, spec.kind, spec.facts, lengths)
        if spec.recorded is not None:
            assert spec.recorded.call == number
            life.found[number] = spec.recorded
        view = CallView(number, name, spec.kind, None, bytearray())
        life.views.append(view)
        life.hear(CallAdded(spec, view))
        self._check_waiting(life, number)
        self._check_standing(life, number, call)

    def _check_standing(self, life: Life, number: int, call: Call) -> None:
        """What stands was made from what stands."""
        ended = [index for index, code in enumerate(life.found[number].codes)
                 if code >= FIRST_FINAL] if number in life.found else []
        if call.kind in ("map", "generator", "beside", "submit") or not ended:
            return
        above = life.found.get(call.parent)
        codes = b"" if above is None else above.codes
        if call.kind == "aligned":
            codes = bytes(codes[index] for index in ended)
        elif call.kind in ("one", ITEMS):
            codes = codes[:1]
        else:
            assert call.parent not in self.open, f"{number} stands, and its parent had no end"
        assert all(code >= FIRST_FINAL for code in codes), (
            f"{number} stands, and what it was made from begins anew")

    def _check_waiting(self, life: Life, number: int) -> None:
        """A retry keeps its time and its attempts."""
        recorded, node = life.found.get(number), life.engine.world.nodes[number]
        for index, due in () if recorded is None else recorded.due.items():
            if index < len(node.codes) and node.codes[index] == Code.AWAITING_RETRY:
                assert node.due[index] == due and node.view.attempts[index] == 1

    def _end(self, life: Life, ending: Ending | None) -> None:
        if ending is not None and ending.how == "runner lost":
            life.hear(RunnerLost("the test"))
        elif ending is not None and ending.how == "cancelled":
            life.hear(CancelAll("the test"))
        if ending is None or ending.how != "killed":
            life.act()
        gulps = life.engine.gulps
        if ending is not None and ending.how == "killed":
            gulps = gulps[: max(0, len(gulps) - ending.lost)]
        while gulps:  # a recorder writes several at once
            count = self.rng.randint(1, 5)
            some, gulps = gulps[:count], gulps[count:]
            self.store.write(ID, by_run([(ID, gulp) for gulp in some])[ID])
        self.now = life.now


def said(life: Life, calls: list[Call], number: int) -> list[Code] | None:
    """Return what the elements of a call come to by the rules; None: it has none at all."""
    call = calls[number]
    if call.kind != ITEMS:
        return expected(life, calls, number)
    above = life.views[call.parent].codes
    if above[0] not in SUCCEEDED:
        return None
    return [Code.FAILED if index in call.fails else Code.COMPLETED for index in range(2)]
