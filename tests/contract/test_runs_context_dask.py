"""Dask clients and Dask collections in tasks and flows."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import dask.bag
import pytest

from dataflow import flow, task
from dataflow.exceptions import MissingContextError
from dataflow.worker.sizes import size_bytes
from runners import (
    DaskTaskRunner,
    InlineTaskRunner,
    ThreadPoolTaskRunner,
    get_async_dask_client,
    get_dask_client,
)
from runners.dask.cluster import current_client
from tests.runner_support import Play

if TYPE_CHECKING:
    from distributed import Client, LocalCluster


@pytest.fixture(params=["threads", "processes"])
def on_dask(request: pytest.FixtureRequest) -> Play:
    """Return what runs a function as a flow on a Dask cluster of two slots."""
    if request.param == "threads":
        return Play(DaskTaskRunner(client=request.getfixturevalue("threads_client")))
    return Play(DaskTaskRunner(address=request.getfixturevalue("dask_cluster").scheduler_address))


def double(x: int) -> int:
    return 2 * x


@dask.delayed
def slow_sum(numbers: list[int]) -> int:
    return sum(numbers)


def spread(count: int) -> Any:
    """Return a delayed sum over several Dask tasks."""
    return slow_sum([dask.delayed(double)(x) for x in range(count)])


@task
def summed(count: int) -> int:
    with get_dask_client(timeout="20s") as client:
        assert client.scheduler is not None
        return int(spread(count).compute()) + client.submit(double, 1, pure=False).result()


# clients

@pytest.mark.dask
@pytest.mark.timeout(60)
def test_every_slot_waits_for_the_cluster_at_once_without_deadlock(on_dask: Play) -> None:
    def body() -> Any:
        singles = [summed.submit(n) for n in (2, 3, 4, 5)]
        return [f.result() for f in singles], summed.map([3] * 12).result()

    assert on_dask(body) == ([2 + n * (n - 1) for n in (2, 3, 4, 5)], [8] * 12)


@pytest.mark.dask
@pytest.mark.timeout(60)
def test_slots_of_the_workers_are_as_many_as_before(dask_cluster: LocalCluster,
                                                    dask_client: Client) -> None:
    play = Play(DaskTaskRunner(address=dask_cluster.scheduler_address))
    play(lambda: summed.map([4] * 20).result())

    def threads(dask_worker: Any) -> int:
        until = time.monotonic() + 10
        while True:
            pool = dask_worker.executor
            alive = [t for t in pool._threads if t.is_alive()]
            if (len(alive) <= 1 and not pool._rejoin_list) or time.monotonic() > until:
                return len(alive)
            time.sleep(0.05)

    assert max(dask_client.run(threads).values()) <= 1


def nap(x: int) -> int:
    time.sleep(0.4)
    return x


@pytest.mark.dask
@pytest.mark.timeout(90)
def test_an_element_that_outlasts_its_batch_leaves_the_slot_of_the_batch_that_waits_for_it(
    on_dask: Play
) -> None:
    @task
    def waits(x: int) -> int:
        if x % 16 != 9:
            return x
        with get_dask_client() as client:
            return sum(client.gather([client.submit(nap, x, pure=False) for _ in range(4)]))

    assert on_dask(lambda: waits.map(range(64)).result()) == [
        4 * x if x % 16 == 9 else x for x in range(64)]


@pytest.mark.dask
@pytest.mark.timeout(90)
def test_tasks_inside_of_tasks_have_a_client_and_leave_their_parents_slot(on_dask: Play) -> None:
    @task
    def outer(x: int) -> Any:
        inner = summed.map([x, x])
        return inner.result(), summed(x), summed.submit(x).result()

    assert on_dask(lambda: outer.map([2, 3, 4]).result()) == [
        ([n] * 2, n, n) for n in (4, 8, 14)]


@pytest.mark.dask
def test_client_in_a_task_is_the_workers_own_and_current(on_dask: Play) -> None:
    @task
    def ask(x: int) -> Any:
        from distributed import Client, get_worker

        with get_dask_client() as client, get_dask_client() as again:
            return client is again is Client.current(), (
                client.scheduler.address == get_worker().scheduler.address)

    assert on_dask(lambda: (ask.submit(1).result(), ask.map([1, 2]).result())) == (
        (True, True), [(True, True)] * 2)


@pytest.mark.dask
def test_client_with_keywords_is_made_for_the_block(on_dask: Play) -> None:
    @task
    def ask() -> Any:
        with get_dask_client(name="mine") as client:
            inside = client.id, client.submit(double, 4, pure=False).result()
        return *inside, client.status

    id, eight, status = on_dask(lambda: ask.submit().result())
    assert id.startswith("Client-mine-") and (eight, status) == (8, "closed")


@pytest.mark.dask
def test_client_in_a_flow_uses_the_cluster_of_its_runner(on_dask: Play) -> None:
    def body() -> Any:
        before = dask.config.get("scheduler", None)
        with get_dask_client() as client:
            value = spread(4).compute(), client.submit(double, 3, pure=False).result()
            workers = len(client.nthreads())
            assert dask.config.get("scheduler", None) == before  # which is the whole process's
        return value, workers > 0, client.status, summed(3), summed.submit(3).result()

    assert on_dask(body) == ((12, 6), True, "closed", 8, 8)


@pytest.mark.dask
@pytest.mark.timeout(90)
def test_client_in_a_flow_starts_the_runners_own_cluster_once() -> None:
    @flow(task_runner=DaskTaskRunner(cluster_kwargs={
        "n_workers": 1, "threads_per_worker": 1, "processes": False}))
    def body() -> Any:
        with get_dask_client() as client:
            first = client.scheduler.address, client.submit(double, 3).result()
        return first, summed.submit(3).result(), where.submit().result()

    before = current_client()
    (address, six), eight, there = body()
    assert (six, eight, there) == (6, 8, address)
    assert current_client() is before  # that of the cluster's worker is gone with the cluster


@task
def where() -> str:
    with get_dask_client() as client:
        return str(client.scheduler.address)


@pytest.mark.dask
@pytest.mark.timeout(60)
def test_async_client_is_awaited_in_tasks_and_flows(on_dask: Play) -> None:
    @task
    async def summed_async(count: int) -> int:
        async with get_async_dask_client() as client:
            return int(await client.compute(spread(count)))

    @flow(task_runner=on_dask.runner)
    async def body() -> Any:
        async with get_async_dask_client(timeout=10) as client:
            here = await client.submit(double, 2, pure=False)
        futures = summed_async.map([2, 3, 4])
        return here, futures.result(), await summed_async(3)

    assert asyncio.run(body()) == (4, [2, 6, 12], 6)


@pytest.mark.parametrize("runner", [InlineTaskRunner(), ThreadPoolTaskRunner()],
                         ids=["inline", "threads"])
def test_other_runners_have_no_client_and_say_so(runner: Any) -> None:
    def flow_asks() -> Any:
        with pytest.raises(MissingContextError, match="needs the Dask task runner, and flow run"):
            with get_dask_client():
                raise AssertionError("not reached")
        return where.submit().result()

    with pytest.raises(MissingContextError, match="task run 'where.*runs on no Dask worker"):
        flow(task_runner=runner)(flow_asks)()


@pytest.mark.dask
def test_outside_of_runs_it_is_the_active_client_or_an_error(
    dask_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    with monkeypatch.context() as nothing:  # workers of other tests in this process have one
        nothing.setattr("runners.dask.cluster.current_client", lambda: None)
        with pytest.raises(MissingContextError, match=r"finds no Dask here"):
            with get_dask_client():
                raise AssertionError("not reached")
    with Client(dask_cluster) as active:
        with get_dask_client() as client:
            assert client is active
        assert active.status == "running"


# collections

@task
def bag(numbers: list[int]) -> Any:
    return dask.bag.from_sequence(numbers, npartitions=2).map(double)


@task
def array(count: int) -> Any:
    return dask.array.arange(count, chunks=5)


@task
def delayed(x: int) -> Any:
    return dask.delayed(double)(x)


@task
def total(collection: Any) -> Any:
    assert dask.is_dask_collection(collection)
    return int(collection.sum().compute())


@task
def value_of(collection: Any) -> Any:
    assert dask.is_dask_collection(collection)
    return collection.compute()


@pytest.mark.timeout(60)
def test_collections_stay_lazy_from_task_to_task_and_come_back(play: Play) -> None:
    def body() -> Any:
        made = bag.submit([1, 2, 3]), array.submit(20), delayed.submit(4)
        results = total.submit(made[0]), total.submit(made[1]), value_of.submit(made[2])
        back = [f.result() for f in made]
        assert all(map(dask.is_dask_collection, back))
        return [f.result() for f in results], [
            back[0].compute(scheduler="sync"), int(back[1].sum().compute(scheduler="sync")),
            back[2].compute(scheduler="sync")]

    assert play(body) == ([12, 190, 8], [[2, 4, 6], 190, 8])
    assert play.records.states("total") == ["Completed"] * 2


@pytest.mark.timeout(60)
def test_collections_are_arguments_alone_in_containers_and_mapped(play: Play) -> None:
    @task
    def both(pair: dict[str, Any], x: Any) -> Any:
        assert all(map(dask.is_dask_collection, (*pair["a"], x)))
        return [each.compute() for each in (*pair["a"], x)]

    def body() -> Any:
        lazy = [dask.delayed(double)(n) for n in range(3)]
        return (value_of.submit(lazy[1]).result(), value_of.map(lazy).result(),
                both.submit({"a": [lazy[1], delayed.submit(5)]}, x=lazy[2]).result(),
                total.submit(dask.array.ones(10, chunks=3)).result(), value_of(lazy[2]))

    assert play(body) == (2, [0, 2, 4], [2, 10, 4], 10, 4)


@pytest.mark.timeout(60)
def test_mapped_collections_go_on_element_by_element(play: Play) -> None:
    def body() -> Any:
        made = delayed.map([1, 2, 3])
        return value_of.map(made).result(), [m.compute(scheduler="sync") for m in made.result()]

    assert play(body) == ([2, 4, 6], [2, 4, 6])


@pytest.mark.parametrize("runner", [InlineTaskRunner(), ThreadPoolTaskRunner()],
                         ids=["inline", "threads"])
def test_local_runners_pass_the_very_same_collection(runner: Any) -> None:
    seen = []

    @task
    def same(collection: Any) -> Any:
        seen.append(collection)
        return collection

    @flow(task_runner=runner)
    def body() -> Any:
        lazy = dask.delayed(double)(3)
        first = same.submit(lazy)
        second = same.submit(first)
        return lazy, second.result(), first.result()

    lazy, second, first = body()
    assert lazy is first is second and all(each is lazy for each in seen)


@pytest.mark.dask
@pytest.mark.timeout(60)
def test_nothing_is_computed_before_somebody_asks(play: Play, tmp_path: Path) -> None:
    def leave_mark(folder: str) -> int:
        Path(folder, "computed").touch()
        return 7

    @task
    def lazy(folder: str) -> Any:
        return dask.delayed(leave_mark)(folder)

    def body() -> Any:
        made = lazy.submit(str(tmp_path))
        made.result()
        before = list(tmp_path.iterdir())
        return before, value_of.submit(made).result()

    assert play(body) == ([], 7)


@pytest.mark.dask
@pytest.mark.timeout(60)
def test_a_collection_is_computed_on_the_cluster_and_persisted_there(on_dask: Play) -> None:
    @task
    def persisted(count: int) -> Any:
        with get_dask_client() as client:
            return client.persist(dask.array.arange(count, chunks=5))

    @task
    def summed_up(collection: Any) -> int:
        with get_dask_client():
            return int(collection.sum().compute())

    def body() -> Any:
        made = persisted.submit(20)
        there = summed_up.submit(made).result()
        with get_dask_client():
            return there, int(made.result().sum().compute())

    assert on_dask(body) == (190, 190)


@pytest.mark.dask
def test_a_flow_returns_a_collection(play: Play) -> None:
    lazy = play(lambda: delayed(4))
    assert dask.is_dask_collection(lazy) and lazy.compute(scheduler="sync") == 8


@pytest.mark.dask
def test_a_collection_weighs_what_it_is_not_what_it_stands_for(on_dask: Play) -> None:
    @task
    def enormous() -> Any:
        return dask.array.ones((10**6, 10**6), chunks=10**5)  # 8 TB, where it computed

    @task
    def corner(collection: Any) -> float:
        with get_dask_client():
            return float(collection[:2, :2].sum().compute())

    lazy = dask.array.ones((10**6, 10**6), chunks=10**5)
    assert on_dask(lambda: (corner.submit(enormous.submit()).result(),
                            corner.submit(lazy).result())) == (4.0, 4.0)
    assert size_bytes(lazy) < 1_000_000
