"""Which runs are taken, held against a model that looks at all of them each time."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.agenda import Agenda, NewDeployment, NewRun
from dataflow.ids import new_run_id
from dataflow.stores import open_store
from dataflow.stores.agenda import taking

NOW = 1_000_000.0
TAGS = ("a", "b", "a/b")
QUEUES = ("p", "q", "r")
POOLS = ("one", "two")


@dataclass
class Modelled:
    """A run as the model knows it."""

    id: str
    number: int
    deployment: str
    tags: frozenset[str]
    pool: str
    queue: str
    priority: int
    due_s: float
    phase: str = "waiting"


@dataclass
class Model:
    """All there is, and the rule, read from the port's text."""

    runs: list[Modelled] = field(default_factory=list)
    deployments: dict[str, tuple[int | None, str]] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    pools: dict[str, int] = field(default_factory=dict)
    queues: dict[tuple[str, str], tuple[int, int | None]] = field(default_factory=dict)

    def going_on(self, which: Any) -> int:
        return sum(which(run) for run in self.runs if run.phase == "taken")

    def take(self, pool: str, room: int, queues: list[str] | None, now_s: float) -> list[str]:
        taken = []
        for run in sorted(self.runs, key=self._rank):
            if (run.phase, run.pool) != ("waiting", pool) or run.due_s > now_s or (
                    queues is not None and run.queue not in queues):
                continue
            if len(taken) >= room or self._full(pool, lambda each: each.pool == pool):
                break
            if self._waits(run):
                continue
            limit, collision = self.deployments[run.deployment]
            name = run.deployment
            if limit is not None and self.going_on(
                    lambda each, name=name: each.deployment == name) >= limit:
                if collision == "CANCEL_NEW":
                    run.phase = "ended"
                continue
            run.phase = "taken"
            taken.append(run.id)
        return taken

    def _rank(self, run: Modelled) -> tuple[float, ...]:
        return (-self.queues.get((run.pool, run.queue), (0, None))[0], -run.priority, run.due_s,
                run.number)

    def _full(self, pool: str, which: Any) -> bool:
        return pool in self.pools and self.going_on(which) >= self.pools[pool]

    def _waits(self, run: Modelled) -> bool:
        _, limit = self.queues.get((run.pool, run.queue), (0, None))
        place = (run.pool, run.queue)
        if limit is not None and self.going_on(
                lambda each: (each.pool, each.queue) == place) >= limit:
            return True
        return any(self.going_on(lambda each, tag=tag: tag in each.tags) >= limit
                   for tag, limit in self.tags.items() if tag in run.tags)


def _limit(chance: random.Random) -> int | None:
    return chance.choice([None, None, 0, 1, 2, 5])


def _set_up(agenda: Agenda, model: Model, chance: random.Random) -> None:
    for number in range(4):
        limit = chance.choice([None, 1, 2, 4])
        collision = chance.choice(["ENQUEUE", "ENQUEUE", "CANCEL_NEW"])
        name = f"f/d{number}"
        agenda.put(NewDeployment(
            name=name, flow_name="f", digest="d", limit=limit, collision=collision,  # type: ignore[arg-type]
            spec={"tags": chance.sample(TAGS, chance.randrange(3))},
            pool=chance.choice(POOLS), queue=chance.choice(QUEUES),
            priority=chance.randrange(3)), NOW)
        model.deployments[name] = (limit, collision)


def _change_limits(agenda: Agenda, model: Model, chance: random.Random) -> None:
    tag, pool, queue = chance.choice(TAGS), chance.choice(POOLS), chance.choice(QUEUES)
    for known, key, kind, name in (
        (model.tags, tag, "tag", tag), (model.pools, pool, "pool", pool),
    ):
        limit = _limit(chance)
        agenda.set_limit(kind, name, limit)  # type: ignore[arg-type]
        known.pop(key, None)
        if limit is not None:
            known[key] = limit
    priority, limit = chance.randrange(-1, 3), _limit(chance)
    agenda.put_queue(pool, queue, priority=priority, limit=limit)
    model.queues[pool, queue] = (priority, limit)


def _ask(agenda: Agenda, model: Model, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 15)):
        deployment = agenda.deployment(f"f/d{chance.randrange(4)}")
        tags = chance.sample(TAGS, chance.randrange(2))
        run = Modelled(
            id=new_run_id(), number=len(model.runs), deployment=deployment.name,
            tags=frozenset([*tags, *deployment.spec["tags"]]), pool=deployment.pool,
            queue=deployment.queue, priority=chance.choice([deployment.priority, 0, 5]),
            due_s=NOW + chance.choice([0, 0, 1, 2, chance.random() * 3]))
        agenda.queue(NewRun(
            flow_run_id=run.id, name="n", deployment=run.deployment, parameters={},
            due_s=run.due_s, tags=tags, priority=run.priority), NOW)
        model.runs.append(run)


def _end(agenda: Agenda, model: Model, chance: random.Random) -> None:
    for run in model.runs:
        if run.phase == "taken" and chance.random() < 0.4:
            agenda.end(run.id)
            run.phase = "ended"


@pytest.mark.parametrize("queues", [1, 100], ids=["sorted", "lanes"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_taken_is_what_the_model_takes(queues: int, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(taking, "_PAGE", chance.choice([1, 2, 3, 50]))
        patch.setattr(taking, "_QUEUES", queues)
        store = open_store(str(Path(folder) / "dataflow.db"))
        try:
            agenda = store.agenda()
            _set_up(agenda, model, chance)
            for step in range(12):
                chance.choice([_ask, _ask, _end, _change_limits])(agenda, model, chance)
                pool, room = chance.choice(POOLS), chance.randrange(1, 8)
                names = chance.choice([None, None, chance.sample(QUEUES, 2)])
                now_s = NOW + step / 4
                taken = agenda.take(pool, "w", room, now_s=now_s, until_s=now_s + 30,
                                    queues=names)
                assert [run.flow_run_id for run in taken] == model.take(pool, room, names, now_s)
            phases = Counter()
            for run in model.runs:
                found = agenda.queued(run.id)
                assert found is not None and found.phase == run.phase
                phases[found.phase] += 1
        finally:
            store.close()
