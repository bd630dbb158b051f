"""Futures and lists of them: asking, waiting, being told."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest

from tests.acceptance.parity.face import as_completed, flow, task, wait
from tests.acceptance.parity.support import await_notes, note, notes


@task
def inc(x: int) -> int:
    return x + 1


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@task
def gated(path: str, x: Any = None) -> Any:
    """Wait until a note was made, a bounded time."""
    await_notes(path)
    return x


@task
def first_fails_last(path: str, x: int) -> int:
    """Fail: 2 at once, 0 after a note; 1 is fine."""
    if x == 0:
        await_notes(path)
    if x in (0, 2):
        raise ValueError(f"at {x}")
    return x


# one future

def test_result_gives_the_value_again_and_again(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = inc.submit(1)
        return {"found": (future.result(), future.result(), future.result(timeout=0))}

    assert run() == {"found": (2, 2, 2)}


def test_result_raises_the_tasks_exception(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(ValueError, match="^boom 1"):
            boom.submit(1).result()
        return 1

    assert run() == 1


def test_result_gives_the_exception_where_failures_are_not_raised(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        error = boom.submit(1).result(raise_on_failure=False)
        return {"found": (type(error), str(error))}

    assert run() == {"found": (ValueError, "boom 1")}


def test_result_in_time_raises_timeout_error_and_waits_on(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        future = gated.submit(ledger, 7)
        with pytest.raises(TimeoutError, match="did not complete within"):
            future.result(timeout=0.05)
        note(ledger, "go")
        return {"found": future.result(timeout=20)}

    assert run() == {"found": 7}


def test_wait_returns_none_and_never_raises(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        future, bad = gated.submit(ledger), boom.submit()
        early = future.wait(timeout=0.05)
        open_before = future.state.is_final()
        note(ledger, "go")
        return {"found": (early, open_before, future.wait(), bad.wait(),
                          future.state.is_completed(), bad.state.is_failed())}

    assert run() == {"found": (None, False, None, None, True, True)}


def test_state_is_not_final_before_and_final_after(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        future = gated.submit(ledger)
        before = future.state
        note(ledger, "go")
        future.wait()
        return {"found": (before.is_pending() or before.is_running() or before.is_scheduled(),
                          before.is_final(), future.state.is_final(), future.state.name)}

    assert run() == {"found": (True, False, True, "Completed")}


def test_task_run_id_is_a_uuid_of_its_own(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        futures = [inc.submit(1), *inc.map([1, 2])]
        return {"found": [str(f.task_run_id) for f in futures]}

    found = run()["found"]
    assert len({uuid.UUID(each) for each in found}) == 3


@pytest.mark.differs("the state may not be final yet when the callback comes", sometimes=True)
def test_callback_is_told_of_success_and_failure_with_the_future(runner: Any) -> None:
    told: dict[Any, bool] = {}
    both = threading.Event()

    def tell(future: Any) -> None:
        told[str(future.task_run_id)] = future.state.is_completed()
        if len(told) == 2:
            both.set()

    @flow(task_runner=runner)
    def run() -> Any:
        good, bad = inc.submit(1), boom.submit()
        for future in (good, bad):
            future.add_done_callback(tell)
        good.wait()
        bad.wait()
        assert both.wait(10)
        return {"found": (told[str(good.task_run_id)], told[str(bad.task_run_id)])}

    assert run() == {"found": (True, False)}


def test_callback_on_a_done_future_is_called_too(runner: Any) -> None:
    called = threading.Event()

    @flow(task_runner=runner)
    def run() -> Any:
        future = inc.submit(1)
        future.wait()
        future.add_done_callback(lambda _: called.set())
        return called.wait(10)

    assert run() is True


# lists of them

def test_results_of_a_list_come_in_the_order_of_the_inputs(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map([3, 1, 2]).result()}

    assert run() == {"found": [4, 2, 3]}


def test_list_raises_the_first_failure_to_happen_not_the_lowest(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        futures = first_fails_last.map(ledger, [0, 1, 2])
        try:
            futures.result(timeout=20)
        except ValueError as error:
            return {"found": str(error), "at that time": notes(ledger)}
        finally:
            note(ledger, "go")
        return None

    assert run() == {"found": "at 2", "at that time": []}


def test_list_gives_exceptions_where_failures_are_not_raised(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        found = boom.map([1, 2]).result(raise_on_failure=False)
        return {"found": [str(error) for error in found]}

    assert run() == {"found": ["boom 1", "boom 2"]}


def test_list_wait_never_raises_on_timeout_nor_failure(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        futures = gated.map([ledger, ledger])
        early = futures.wait(timeout=0.05)
        note(ledger, "go")
        bad = boom.map([1])
        return {"found": (early, futures.wait(), bad.wait())}

    assert run() == {"found": (None, None, None)}


def test_list_result_raises_timeout_error(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        futures = gated.map([ledger, ledger], [1, 2])
        with pytest.raises(TimeoutError):
            futures.result(timeout=0.05)
        note(ledger, "go")
        return {"found": futures.result(timeout=20)}

    assert run() == {"found": [1, 2]}


def test_list_result_refuses_a_negative_timeout(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        futures = inc.map([1])
        with pytest.raises(ValueError):
            futures.result(timeout=-1)
        return {"found": futures.result()}

    assert run() == {"found": [2]}


def test_list_is_used_like_any_list(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        futures, one = inc.map([1, 2, 3]), inc.submit(9)
        first, *rest = futures
        gathered: list[Any] = []
        gathered += futures
        gathered.extend(inc.map([5]))
        return {"found": (
            len(futures), futures[0].result(), futures[-1].result(),
            [f.result() for f in futures[1:]], first.result(), len(rest),
            [f.result() for f in futures + [one]], [f.result() for f in [one] + futures],
            [f.result() for f in gathered], [f.result() for f in reversed(futures)],
            bool(futures), futures[1] in futures)}

    assert run() == {"found": (3, 2, 4, [3, 4], 2, 2, [2, 3, 4, 10], [10, 2, 3, 4],
                               [2, 3, 4, 6], [4, 3, 2], True, True)}


def test_futures_are_told_apart_and_hashed_by_their_run(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        a, b = inc.submit(1), inc.submit(1)
        mapped = inc.map([1, 2])
        return {"found": (a == a, a == b, len({a, b, a}), mapped[0] == mapped[0],
                          {mapped[0]: "x"}[mapped[0]])}

    assert run() == {"found": (True, False, 2, True, "x")}


# several

def test_wait_gives_the_done_and_the_not_done(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        quick, bad, late = inc.submit(1), boom.submit(), gated.submit(ledger)
        quick.wait()
        bad.wait()
        some = wait([quick, bad, late], timeout=0.05)
        note(ledger, "go")
        done, not_done = wait([quick, bad, late])
        return {"found": (some.done == {quick, bad}, some.not_done == {late}, len(done),
                          not_done)}

    assert run() == {"found": (True, True, 3, set())}


def test_wait_takes_lists_of_maps_and_futures_together(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        one, many = inc.submit(1), inc.map([1, 2])
        done, not_done = wait([one, *many])
        only, none = wait(many)
        return {"found": (len(done), len(not_done), len(only), len(none), len(wait([]).done))}

    assert run() == {"found": (3, 0, 2, 0, 0)}


def test_as_completed_gives_them_in_the_order_they_end(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        late = gated.submit(ledger, "late")
        found = []
        for future in as_completed([late, inc.submit(1)]):
            found.append(future.result())
            note(ledger, "go")
        return {"found": found}

    assert run() == {"found": [2, "late"]}


def test_as_completed_gives_each_once_and_failures_too(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        one, bad, many = inc.submit(1), boom.submit(), inc.map([1, 2])
        found = list(as_completed([one, bad, one, *many, many[0]]))
        return {"found": (len(found), set(found) == {one, bad, *many})}

    assert run() == {"found": (4, True)}


def test_as_completed_in_time_says_how_many_are_unfinished(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        late, quick = gated.submit(ledger), inc.submit(1)
        quick.wait()
        try:
            with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
                list(as_completed([late, quick], timeout=0.2))
        finally:
            note(ledger, "go")
        return 1

    assert run() == 1


def test_futures_given_twice_are_waited_for_once_and_found_twice(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        one = inc.submit(1)
        return {"found": inc.map([one, one]).result()}

    assert run() == {"found": [3, 3]}


def test_large_values_come_through_unharmed(runner: Any) -> None:
    @task
    def big(n: int) -> bytes:
        return b"x" * n

    @task
    def size(data: bytes) -> int:
        return len(data)

    @flow(task_runner=runner)
    def run() -> Any:
        made = big.submit(3_000_000)
        return {"found": (size.submit(made).result(), len(made.result()))}

    assert run() == {"found": (3_000_000, 3_000_000)}


@pytest.mark.differs("futures cannot be cancelled")
def test_a_future_can_be_cancelled(pooled: Any, ledger: str) -> None:
    @flow(task_runner=pooled)
    def run() -> Any:
        blocked = gated.submit(ledger)
        after = inc.submit(blocked)
        after.cancel()
        note(ledger, "go")
        blocked.wait()
        after.wait()
        return {"found": (blocked.state.name, after.state.name)}

    assert run() == {"found": ("Completed", "Cancelled")}


# what did not run

def test_downstream_of_a_failure_is_not_ready_and_says_so(runner: Any, ledger: str) -> None:
    @task
    def write(x: Any) -> None:
        note(ledger, "ran")

    @flow(task_runner=runner)
    def run() -> Any:
        second = write.submit(boom.submit())
        third = write.submit(second)
        second.wait()
        third.wait()
        return {"found": [(f.state.type.value, f.state.name, f.state.message)
                          for f in (second, third)]}

    (kind, name, message), third = run()["found"]
    assert (kind, name) == third[:2] == ("PENDING", "NotReady")
    assert message.startswith("Upstream task run '")
    assert message.endswith("did not reach a 'COMPLETED' state.")
    assert notes(ledger) == []


@pytest.mark.differs("`UnfinishedRun` without a cause (#12028)")
def test_result_of_what_did_not_run_names_and_chains_the_root(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        third = inc.submit(inc.submit(boom.submit("root")))
        with pytest.raises(RuntimeError) as caught:
            third.result()
        cause = caught.value.__cause__
        return {"found": ("boom" in str(caught.value), type(cause), str(cause))}

    assert run() == {"found": (True, ValueError, "boom root")}


def test_result_of_what_did_not_run_is_an_unfinished_run(runner: Any) -> None:
    from tests.acceptance.parity.face import UnfinishedRun

    @flow(task_runner=runner)
    def run() -> Any:
        after = inc.submit(boom.submit())
        with pytest.raises(UnfinishedRun):
            after.result()
        return 1

    assert run() == 1


def test_wait_for_takes_one_a_list_a_map_and_nested_ones(runner: Any, ledger: str) -> None:
    @task
    def write(path: str, what: Any) -> None:
        note(path, what)

    @flow(task_runner=runner)
    def run() -> Any:
        first = write.map(ledger, ["a", "b"])
        second = write.submit(ledger, "c", wait_for=first)
        third = write.submit(ledger, "d", wait_for=second)
        fourth = write.submit(ledger, "e", wait_for=[[third], {"k": second}])
        write(ledger, "f", wait_for=[fourth])
        return notes(ledger)

    found = run()
    assert sorted(found[:2]) == ["a", "b"] and found[2:] == ["c", "d", "e", "f"]


def test_wait_for_a_failure_makes_submit_and_call_not_ready(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        bad = boom.submit()
        submitted = inc.submit(1, wait_for=[bad])
        submitted.wait()
        called = inc(1, wait_for=[bad], return_state=True)
        return {"found": (submitted.state.name, called.name)}

    assert run() == {"found": ("NotReady", "NotReady")}


def test_wait_for_takes_states_too(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        good, bad = inc.submit(1, return_state=True), boom.submit(return_state=True)
        states = [inc.submit(1, wait_for=[s], return_state=True) for s in (good, bad)]
        return {"found": [s.name for s in states]}

    assert run() == {"found": ["Completed", "NotReady"]}
