"""Every runner: what a future can be asked, waited for in turn, together and in a coroutine."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from dataflow import as_completed, flow, quote, task, wait
from dataflow.exceptions import CancelledRun, UpstreamTaskError
from dataflow.futures import PrefectFuture, PrefectFutureList
from dataflow.states import Completed, Failed, Running, State
from tests.dask_support import open_gate, pass_gate
from tests.runner_support import Play


@task
def double(x: Any) -> Any:
    return x * 2


@task
def gated(x: Any, folder: str, gate: str = "gate") -> Any:
    pass_gate(folder, gate)
    return x


@task
def fails(x: Any) -> Any:
    raise ValueError(f"no {x}")


@task
def fails_behind(x: int, folder: str) -> int:
    """Fail, element 0 only once its gate is open."""
    if x == 0:
        pass_gate(folder, "gate")
    if x < 2:
        raise ValueError(f"element {x}")
    return x


def test_names_of_prefect_are_there_for_type_checks(play: Play) -> None:
    def body() -> Any:
        one, many = double.submit(1), double.map([1])
        return (isinstance(one, PrefectFuture), isinstance(many, PrefectFutureList),
                isinstance(many[0], PrefectFuture))

    assert play(body) == (True, True, True)


def test_late_future_says_what_did_not_complete_and_goes_on(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    def body() -> Any:
        one, many = gated.submit(1, folder), gated.map([1, 2], folder)
        texts = []
        for late in (one, many):
            with pytest.raises(TimeoutError) as caught:
                late.result(timeout=0.05)
            texts.append(str(caught.value))
            assert late.wait(timeout=0) is None
        states = one.state.is_final(), one.done(), many.done()
        open_gate(tmp_path, "gate")
        one.wait()
        return one.name, texts, states, one.result(timeout=0), many.result()

    name, (one, many), states, *values = play_along(body)
    assert one == f"Task run {name!r} did not complete within 0.05 seconds"
    assert many == ("Timed out waiting for all futures: the map of task 'gated' did not complete "
                    "within 0.05 seconds")
    assert states == (False, False, False) and values == [1, [1, 2]]


def test_first_to_fail_in_time_is_raised_while_others_still_run(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    def body() -> Any:
        futures = fails_behind.map([0, 1, 2], folder)
        with pytest.raises(ValueError, match="element 1"):
            futures.result()
        early = futures[0].done()
        open_gate(tmp_path, "gate")
        return early, [repr(x) for x in futures.result(raise_on_failure=False)]

    assert play_along(body) == (
        False, ["ValueError('element 0')", "ValueError('element 1')", "2"])


def test_negative_timeouts_are_refused_everywhere(play: Play) -> None:
    def body() -> Any:
        one, many = double.submit(1), double.map([1])
        for call in (one.result, one.wait, many.result, many.wait,
                     lambda timeout: wait([one], timeout=timeout),
                     lambda timeout: as_completed([one], timeout=timeout)):
            with pytest.raises(ValueError, match="negative"):
                call(timeout=-1)
        with pytest.raises(ValueError, match="negative"):
            asyncio.run(one.result_async(timeout=-1))
        return one.result()

    assert play(body) == 2


# together


def test_wait_takes_lists_states_and_duplicates(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def body() -> Any:
        one, many, late = double.submit(1), double.map([2, 3]), gated.submit(4, folder)
        state, own = double.submit(5, return_state=True), Completed(data=1)
        many.wait()
        one.wait()
        done, not_done = wait([one, one, many, many[0], state, own, late], timeout=0.05)
        open_gate(tmp_path, "gate")
        after = wait(many), wait(late)
        return (len(done), not_done == {late}, own in done, one in done, many[1] in done,
                after[0].not_done, after[1].done == {late})

    assert play_along(body) == (5, True, True, True, True, set(), True)


def test_as_completed_mixes_lists_and_states_and_counts_what_is_left(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    def body() -> Any:
        late, many, own = gated.submit(0, folder), double.map([1, 2]), Completed(data=9)
        order = []
        with pytest.raises(TimeoutError, match=r"1 \(of 4\) futures unfinished"):
            for ended in as_completed([late, many, own, many[0]], timeout=1.0):
                order.append(ended.result())
        open_gate(tmp_path, "gate")
        return order[0], sorted(order[1:]), [f.result() for f in as_completed(late)]

    assert play_along(body) == (9, [2, 4], [0])


@pytest.mark.parametrize("odd", [7, "text", None, [1]])
def test_what_is_no_future_is_refused_by_name(play: Play, odd: Any) -> None:
    def body() -> Any:
        for call in (wait, as_completed):
            with pytest.raises(TypeError, match=type(odd).__name__):
                call([double.submit(1), odd])
        with pytest.raises(TypeError, match="pass the run's future"):
            wait([Running()])
        return 1

    assert play(body) == 1


def test_waiting_for_thousands_of_submits_takes_no_time_that_grows_with_their_square(
    play: Play,
) -> None:
    def body() -> Any:
        futures = [double.submit(n) for n in range(3000)]
        wait(futures).done.pop().result()
        began = time.perf_counter()
        done, _ = wait(futures)
        return len(done), time.perf_counter() - began

    count, seconds = play(body)
    assert count == 3000 and seconds < 2


# in a coroutine


async def _ticks(stop: asyncio.Event) -> int:
    """Count turns of the event loop until told to stop."""
    count = 0
    while not stop.is_set():
        count += 1
        await asyncio.sleep(0.002)
    return count


def test_awaiting_gives_values_in_order_and_raises_what_was_raised(play: Play) -> None:
    async def inside() -> Any:
        one, many, bad = double.submit(1), double.map(range(40)), fails.submit("x")
        after = double.submit(bad)
        out = [await one, await many, await asyncio.gather(*many[:3], one),
               await many[5:7], await one.result_async(timeout=5)]
        for failed, kind in ((bad, ValueError), (after, UpstreamTaskError)):
            with pytest.raises(kind, match="no x"):
                await failed
        with pytest.raises(ValueError, match="no 1"):
            await fails.map([1])
        out += [repr(await bad.result_async(raise_on_failure=False)),
                await double.map([]), await one.wait_async()]
        ended = [await each for each in asyncio.as_completed([one, many[1]])]
        return [*out, sorted(ended)]

    assert play(lambda: asyncio.run(inside())) == [
        2, [2 * n for n in range(40)], [0, 2, 4, 2], [10, 12], 2, "ValueError('no x')", [], None,
        [2, 2]]


def test_event_loop_goes_on_while_futures_are_awaited(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    async def inside() -> Any:
        one, many = gated.submit(1, folder), gated.map([2, 3], folder)
        stop = asyncio.Event()
        ticking = asyncio.create_task(_ticks(stop))
        waiting = asyncio.gather(one, many)
        for _ in range(5):
            await asyncio.sleep(0.005)
        pending = not waiting.done()
        open_gate(tmp_path, "gate")
        values = await waiting
        stop.set()
        return pending, values, await ticking >= 3

    assert play_along(lambda: asyncio.run(inside())) == (True, [1, [2, 3]], True)


def test_awaiting_with_a_timeout_ends_in_time_and_the_task_goes_on(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    async def inside() -> Any:
        one, many = gated.submit(1, folder), gated.map([2, 3], folder)
        for late in (one, many):
            with pytest.raises(TimeoutError, match=r"did not complete within 0\.02 seconds"):
                await late.result_async(timeout=0.02)
            assert await late.wait_async(timeout=0) is None
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(many.result_async(), 0.02)
        open_gate(tmp_path, "gate")
        return await one, await many

    assert play_along(lambda: asyncio.run(inside())) == (1, [2, 3])


def test_list_awaited_raises_the_first_to_fail_while_others_still_run(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    async def inside() -> Any:
        futures = fails_behind.map([0, 1, 2], folder)
        with pytest.raises(ValueError, match="element 1"):
            await futures
        early = futures[0].done()
        open_gate(tmp_path, "gate")
        return early, [repr(x) for x in await futures.result_async(raise_on_failure=False)]

    assert play_along(lambda: asyncio.run(inside())) == (
        False, ["ValueError('element 0')", "ValueError('element 1')", "2"])


def test_hundreds_of_futures_are_awaited_at_once(play: Play) -> None:
    async def inside() -> Any:
        singles = [double.submit(n) for n in range(200)]
        return await asyncio.gather(*singles, *double.map(range(300)))

    values = play(lambda: asyncio.run(inside()))
    assert values == [2 * n for n in range(200)] + [2 * n for n in range(300)]


def test_awaiting_a_task_that_is_tried_again_waits_for_its_last_attempt(
    play: Play, tmp_path: Path
) -> None:
    folder = tmp_path

    @task(retries=2, retry_delay_seconds=0.02)
    def flaky() -> int:
        (folder / str(time.time_ns())).touch()
        if len(list(folder.iterdir())) < 3:
            raise ValueError("again")
        return 5

    async def inside() -> Any:
        return await flaky.submit()

    assert play(lambda: asyncio.run(inside())) == 5


def test_cancelled_future_raises_when_awaited(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    async def inside() -> Any:
        first = gated.submit(1, folder)
        after = double.submit(first)
        waiting = asyncio.ensure_future(after.result_async(raise_on_failure=False))
        await asyncio.sleep(0)
        assert after.cancel()
        open_gate(tmp_path, "gate")
        return repr(type(await waiting)), await first

    assert play_along(lambda: asyncio.run(inside())) == (repr(CancelledRun), 1)


def test_map_cancelled_before_it_had_elements_is_no_empty_map(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    def body() -> Any:
        late = gated.submit([1, 2], folder)
        many = double.map(late)
        after = double.submit(many)
        assert many.cancel()
        with pytest.raises(CancelledRun, match="before it had any element"):
            many.result()
        open_gate(tmp_path, "gate")
        return late.result(), double.submit(after, return_state=True).name

    assert play_along(body) == ([1, 2], "NotReady")


# states


def test_states_are_taken_wherever_futures_are(play: Play) -> None:
    @flow
    def part() -> int:
        return 4

    def body() -> Any:
        one = double.submit(1, return_state=True)
        many = double.map([1, 2], return_state=True)
        below: State = part(return_state=True)
        return (double.submit(one).result(), double.map(many).result(), double(one),
                double.submit([one, {"k": many[0]}], wait_for=many).result(),
                double.submit(below).result(), double.map([one, below]).result(),
                double.map(double.submit([1, 2], return_state=True)).result(),
                double.submit(1, wait_for=[one, many]).result(), double(1, wait_for=one))

    assert play(body) == (4, [4, 8], 4, [2, {"k": 2}] * 2, 8, [4, 8], [2, 4, 2, 4], 2, 2)


def test_state_of_a_failure_keeps_downstream_from_running(play: Play) -> None:
    def body() -> Any:
        bad = fails.submit("s", return_state=True)
        names = [double.submit(bad, return_state=True).name, double(bad, return_state=True).name,
                 double.submit(1, wait_for=[bad], return_state=True).name,
                 *(state.name for state in double.map([bad, 1], return_state=True))]
        return quote((names, double.submit(bad).result(raise_on_failure=False)))

    names, error = play(body).value
    assert names == ["NotReady", "NotReady", "NotReady", "NotReady", "Completed"]
    assert isinstance(error, UpstreamTaskError) and isinstance(error.__cause__, ValueError)


def test_failed_state_of_a_subflow_leaves_downstream_not_ready(play: Play) -> None:
    @flow
    def broken() -> None:
        raise ValueError("in the subflow")

    def body() -> Any:
        state = broken(return_state=True)
        downstream = [
            double.submit(state), double.map([state, 1])[0], double.submit(1, wait_for=[state]),
            double.submit(Failed(message="by hand")),
        ]
        causes = [future.result(raise_on_failure=False).__cause__ for future in downstream]
        return [future.state.name for future in downstream], [str(cause) for cause in causes]

    names, causes = play(body)
    assert names == ["NotReady"] * 4
    assert causes == ["in the subflow"] * 3 + ["by hand"]
    rows = play.records.store.task_runs(limit=None)
    assert {row.task_name for row in rows} == {"double", "broken"}
