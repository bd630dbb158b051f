"""Limits of tags, queues, pools and deployments, and the order in which runs are taken."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from dataflow.agenda import Agenda, LimitRow, NewDeployment, NewRun
from dataflow.exceptions import DeploymentNotFound
from dataflow.ids import new_run_id
from dataflow.store import Store
from dataflow.stores.agenda import taking

NOW = 1_000_000.0
Open = Callable[[], Store]


@pytest.fixture
def agenda(another: Open) -> Agenda:
    return another().agenda()


def put(agenda: Agenda, name: str = "etl/a", tags: tuple[str, ...] = (), **fields: Any) -> None:
    agenda.put(NewDeployment(name=name, flow_name=name.partition("/")[0], digest="d",
                             spec={"tags": list(tags)}, **fields), NOW)


def ask(agenda: Agenda, name: str = "etl/a", **fields: Any) -> str:
    fields = {"due_s": NOW, "parameters": {}, **fields}
    return agenda.queue(NewRun(flow_run_id=new_run_id(), name="n", deployment=name, **fields), NOW)


def take(agenda: Agenda, room: int = 100, pool: str = "default", worker: str = "w",
         now_s: float = NOW) -> list[str]:
    return [each.flow_run_id for each in agenda.take(
        pool, worker, room, now_s=now_s, until_s=now_s + 30)]


def test_a_tags_limit_holds_over_deployments_and_pools(agenda: Agenda) -> None:
    put(agenda, "etl/a", ("db", "prod"))
    put(agenda, "etl/b", pool="other")
    agenda.set_limit("tag", "db", 3)
    mine = [ask(agenda) for _ in range(2)]
    theirs = [ask(agenda, "etl/b", tags=("db",)) for _ in range(2)]
    free = ask(agenda, "etl/b", tags=("d", "database", "DB"))
    assert take(agenda) == mine
    assert take(agenda, pool="other") == [theirs[0], free]
    assert take(agenda, pool="other") == []
    agenda.end(mine[0], "w")
    assert take(agenda, pool="other") == [theirs[1]]


@pytest.mark.parametrize("tag", ["a/b", "a%b", "ä_", "a\"b", "/", "%2F", "x y", "'; --"])
def test_a_tag_is_itself_whatever_is_in_it(agenda: Agenda, tag: str) -> None:
    put(agenda, "etl/a", (tag,))
    put(agenda, "etl/b", (f"{tag}x", f"x{tag}", "a", "b", "2F"))
    agenda.set_limit("tag", tag, 0)
    kept, free = ask(agenda), ask(agenda, "etl/b")
    assert take(agenda) == [free]
    agenda.set_limit("tag", tag, None)
    assert take(agenda) == [kept]


def test_a_limit_that_comes_later_counts_runs_that_wait_and_go_on(agenda: Agenda) -> None:
    put(agenda, "etl/a", ("db",))
    first, _second = ask(agenda), ask(agenda)
    assert take(agenda, 1) == [first]
    agenda.set_limit("tag", "db", 1)
    assert take(agenda) == []


def test_a_queues_limit_is_its_own_and_others_pass_it(agenda: Agenda) -> None:
    put(agenda, "etl/a", queue="fast")
    put(agenda, "etl/b")
    put(agenda, "etl/c", queue="fast", pool="other")
    agenda.set_limit("queue", "default/fast", 2)
    fast = [ask(agenda) for _ in range(4)]
    slow, elsewhere = ask(agenda, "etl/b"), [ask(agenda, "etl/c") for _ in range(3)]
    assert take(agenda) == [*fast[:2], slow]
    assert take(agenda, pool="other") == elsewhere


def test_the_queue_with_the_greater_priority_goes_first_whatever_its_runs_have(
        agenda: Agenda) -> None:
    put(agenda, "etl/slow", queue="slow")
    put(agenda, "etl/some")
    put(agenda, "etl/fast", queue="fast")
    agenda.put_queue("default", "fast", priority=5, limit=3)
    agenda.put_queue("default", "slow", priority=-1)
    slow = ask(agenda, "etl/slow", priority=100)
    some = ask(agenda, "etl/some", priority=50)
    late, early = ask(agenda, "etl/fast"), ask(agenda, "etl/fast", due_s=NOW - 1)
    urgent = ask(agenda, "etl/fast", priority=1)
    assert take(agenda) == [urgent, early, late, some, slow]


@pytest.mark.parametrize("many_queues", [False, True])
def test_a_thousand_runs_of_one_minute_start_in_order_of_priority(
        agenda: Agenda, monkeypatch: pytest.MonkeyPatch, many_queues: bool) -> None:
    if many_queues:
        monkeypatch.setattr(taking, "_QUEUES", 2)
    chance = random.Random(7)
    for number in range(4):
        put(agenda, f"etl/q{number}", queue=f"q{number}")
    for number in range(3):
        agenda.put_queue("default", f"q{number}", priority=number // 2)
    runs: list[tuple[tuple[float, ...], str]] = []
    for number in range(1000):
        queue, priority = chance.randrange(4), chance.randrange(-3, 4)
        due = NOW + chance.choice([0, 0.5, chance.random() * 60])
        run = ask(agenda, f"etl/q{queue}", priority=priority, due_s=due)
        runs.append(((-(queue // 2 if queue < 3 else 0), -priority, due, number), run))
    assert take(agenda, now_s=NOW - 1) == []
    begun: list[str] = []
    while taken := take(agenda, 37, now_s=NOW + 60):
        begun += taken
    assert begun == [run for _, run in sorted(runs)]


def test_runs_due_later_are_not_taken_though_their_priority_is_greater(agenda: Agenda) -> None:
    put(agenda)
    later = ask(agenda, priority=9, due_s=NOW + 10)
    now = ask(agenda)
    assert take(agenda) == [now]
    assert take(agenda, now_s=NOW + 10) == [later]


def test_limits_are_listed_with_what_goes_on(agenda: Agenda) -> None:
    put(agenda, "etl/a", ("db",), queue="fast", limit=7)
    for _ in range(3):
        ask(agenda)
    assert len(take(agenda, 2)) == 2
    assert agenda.limits() == [LimitRow(kind="deployment", name="etl/a", limit=7, running=2)]
    assert agenda.set_limit("tag", "db", 3)
    assert agenda.set_limit("queue", "default/fast", 4)
    assert agenda.set_limit("pool", "default", 5)
    assert agenda.set_limit("deployment", "etl/a", 6)
    assert not agenda.set_limit("deployment", "a", 6)
    assert [(row.kind, row.name, row.limit, row.running) for row in agenda.limits()] == [
        ("deployment", "etl/a", 6, 2), ("pool", "default", 5, 2), ("queue", "default/fast", 4, 2),
        ("tag", "db", 3, 2)]
    for kind, name in (("tag", "db"), ("queue", "default/fast"), ("pool", "default"),
                       ("deployment", "etl/a")):
        assert agenda.set_limit(kind, name, None)  # type: ignore[arg-type]
        assert not agenda.set_limit(kind, name, None)  # type: ignore[arg-type]
    assert agenda.limits() == []
    with pytest.raises(DeploymentNotFound):
        agenda.set_limit("deployment", "nobody", 1)


def test_a_deployments_limit_that_was_set_stays_until_another_one_is_put(agenda: Agenda) -> None:
    def put_limit(limit: int | None) -> None:
        agenda.put(NewDeployment(name="etl/a", flow_name="etl", digest="d",
                                 spec={"limit": limit}, limit=limit), NOW)

    put_limit(3)
    agenda.set_limit("deployment", "etl/a", 1)
    put_limit(3)
    assert agenda.deployment("etl/a").limit == 1
    put_limit(4)
    assert agenda.deployment("etl/a").limit == 4


def test_a_pool_is_kept_with_its_template_and_goes_with_its_queues(agenda: Agenda) -> None:
    agenda.put_pool("docker", kind="command", template={"command": ["docker", "run"]}, limit=3)
    agenda.put_queue("docker", "fast", priority=2)
    agenda.put_queue("default", "fast", limit=2)
    (row,) = agenda.pools()
    assert (row.kind, row.template, row.limit) == ("command", {"command": ["docker", "run"]}, 3)
    assert agenda.delete_pool("docker") and not agenda.delete_pool("docker")
    assert agenda.pools() == []
    assert [(each.pool, each.name, each.limit) for each in agenda.queues()] == [
        ("default", "fast", 2)]


def test_limits_hold_where_several_take_of_several_pools_at_once(
        another: Open, agenda: Agenda) -> None:
    for pool in ("one", "two"):
        for number in range(3):
            put(agenda, f"{pool}/d{number}", ("db",) if number else (), pool=pool,
                queue=f"q{number % 2}", limit=3 if number == 2 else None)
        for number in (2, 0, 1):
            for _ in range(15):
                ask(agenda, f"{pool}/d{number}")
    agenda.set_limit("tag", "db", 7)
    agenda.set_limit("queue", "one/q0", 8)
    agenda.set_limit("pool", "two", 9)
    taken: list[Any] = []
    gate = threading.Barrier(6)

    def work(number: int) -> None:
        mine = another().agenda()
        gate.wait()
        for _ in range(4):
            taken.extend(mine.take(("one", "two")[number % 2], f"w{number}", 5, now_s=NOW,
                                   until_s=NOW + 30))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.flow_run_id for run in taken}) == len(taken)
    pools = Counter(run.pool for run in taken)
    assert sum("db" in run.spec["tags"] for run in taken) == 7
    assert sum(run.pool == "one" and run.queue == "q0" for run in taken) == 8
    assert pools["two"] == 9
    assert max(Counter(run.deployment for run in taken if run.deployment.endswith("d2"))
               .values()) == 3


def test_many_that_there_is_no_room_for_are_cancelled_some_at_a_time(
        another: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_REFUSED", 4)
    store = another()
    agenda = store.agenda()
    put(agenda, limit=1, collision="CANCEL_NEW")
    put(agenda, "etl/b")
    first, *rest = [ask(agenda) for _ in range(8)]
    other = ask(agenda, "etl/b")
    assert take(agenda) == [first]
    assert take(agenda) == [other]
    assert [store.find_flow_run(run).state_name for run in rest] == ["Cancelled"] * 7
