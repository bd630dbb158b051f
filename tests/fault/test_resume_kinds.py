"""Resume of every kind of call: the driver kills itself at a known point and another goes on.

Each flow dies once, with SIGKILL, as soon as so many outcomes are recorded; the
ledger tells what was executed before and after.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.stores import open_store
from tests.nursery import Nursery
from tests.resume_support import Case
from tests.run_support import Recorded, ledger, recorded


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


@pytest.fixture(params=["threads", "inline"])
def case(nursery: Nursery, tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    return Case(nursery, tmp_path, request.param)


def only_run() -> Any:
    """Return the one run there is that no flow called."""
    store = open_store()
    try:
        rows = [row for row in store.flow_runs(limit=None) if row.parent_task_run_id is None]
        assert len(rows) == 1
        return rows[0]
    finally:
        store.close()


def completed(story: Recorded) -> dict[str, int]:
    """Return how many task runs of each task completed or were cached; nothing else is there."""
    out = {}
    for name, counts in story.counts.items():
        assert set(counts) <= {"Completed", "Cached"}, (name, counts)
        out[name] = sum(counts.values())
    return out


# direct calls, submits

def test_direct_calls_that_ended_are_not_executed_again(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def step(x):
        done(f"step {x}")
        return 2 * x

    @flow(task_runner=RUNNER)
    def main():
        values = [step(x) for x in range(3)]
        die(3)
        return values + [step(x) for x in range(3, 6)]
    """)
    assert value == [0, 2, 4, 6, 8, 10]
    assert case.after == Counter({f"step {x}": 1 for x in (3, 4, 5)})
    assert completed(case.story) == {"step": 6}
    assert (only_run().state_type, only_run().resumed) == ("COMPLETED", 1)


def test_direct_calls_whose_results_are_not_kept_are_computed_again_and_counted(
        case: Case) -> None:
    value = case.died_then("""
    @task
    def step(x):
        done(f"step {x}")
        return 2 * x

    @flow(task_runner=RUNNER)
    def main():
        values = [step(x) for x in range(3)]
        die(3)
        return values + [step(3)]
    """)
    assert value == [0, 2, 4, 6]
    assert case.after == Counter({f"step {x}": 1 for x in range(4)})
    assert completed(case.story) == {"step": 4}
    assert case.output.count("computed again") == 1
    assert "3 task runs that had completed were computed again" in case.output


def test_direct_call_after_one_that_called_the_same_task_itself_gets_its_own_result(
        case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def inner(x):
        done(f"inner {x}")
        return x

    @task(**KEPT)
    def outer(x):
        done(f"outer {x}")
        return 10 * inner(x)

    @flow(task_runner=RUNNER)
    def main():
        first = outer(1)
        second = inner(5)
        die(3)
        return [first, second, inner(7)]
    """)
    assert value == [10, 5, 7]
    assert case.after == Counter({"inner 7": 1})
    assert completed(case.story) == {"outer": 1, "inner": 3}


def test_direct_parent_that_had_not_ended_runs_again_with_what_its_children_came_to(
        case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def inner(x):
        done(f"inner {x}")
        return x

    @task(**KEPT)
    def outer(x):
        done(f"outer {x}")
        values = [inner(x), inner(x + 1)]
        die(2)
        return values

    @flow(task_runner=RUNNER)
    def main():
        return [outer(1), inner(5)]
    """)
    assert value == [[1, 2], 5]
    assert case.after == Counter({"outer 1": 1, "inner 5": 1})
    assert completed(case.story) == {"outer": 1, "inner": 3}


def test_async_calls_that_ended_out_of_order_get_their_own_results(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    async def step(x):
        if x < 2 and first():
            await asyncio.sleep(60)
        done(f"step {x}")
        return x

    @flow(task_runner=RUNNER)
    async def main():
        calls = [asyncio.ensure_future(step(x)) for x in range(4)]
        if first():
            await asyncio.gather(*calls[2:])
            await asyncio.to_thread(die, 2)
        return await asyncio.gather(*calls)
    """)
    assert value == [0, 1, 2, 3]
    assert case.after == Counter({"step 0": 1, "step 1": 1})
    assert completed(case.story) == {"step": 4}


@pytest.mark.parametrize("options, again", [("**KEPT", {}), ("", {"step 3": 2})])
def test_submits_in_another_order_get_their_own_results(
        case: Case, options: str, again: dict[str, int]) -> None:
    """As behind ``as_completed``: which call comes first is not the same in the next process."""
    value = case.died_then("""
    @task(OPTIONS)
    def step(x):
        done(f"step {x}")
        return x

    @flow(task_runner=RUNNER)
    def main():
        order = [3, 1, 2] if first() else [1, 2, 3]
        got = {}
        for x in order:
            got[x] = step.submit(x)
            if x == 3 and first():
                got[x].wait()
                die(1)
        return [got[x].result() for x in (1, 2, 3)]
    """.replace("OPTIONS", options))
    assert value == [1, 2, 3]
    assert case.done == {"step 1": 1, "step 2": 1, "step 3": 1, **again}
    assert completed(case.story) == {"step": 3}


def test_chain_of_submits_goes_on_behind_the_last_that_ended(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def step(x):
        done(f"step {x}")
        return x + 1

    @flow(task_runner=RUNNER)
    def main():
        future = step.submit(0)
        for n in range(9):
            future = step.submit(future)
            if n == 4:
                future.wait()
                die(6)
        return future.result()
    """)
    assert value == 10
    assert case.after == Counter({f"step {x}": 1 for x in range(6, 10)})
    assert completed(case.story) == {"step": 10}


def test_submits_behind_as_completed_are_told_by_the_futures_that_they_take(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def load(x):
        return x

    @task
    def effect(x):
        done(f"effect {x}")

    @flow(task_runner=RUNNER)
    def main():
        loaded = load.map(range(4))
        order = [2, 0, 1, 3] if first() else [0, 1, 2, 3]
        for x in order:
            last = effect.submit(loaded[x])
            if x == 2 and first():
                last.wait()
                die(5)
        last.wait()
        return 1
    """)
    assert value == 1
    assert case.done == {f"effect {x}": 1 for x in range(4)}
    assert completed(case.story) == {"load": 4, "effect": 4}


# maps

MAPS = """
    @task(**KEPT)
    def load(x):
        done(f"load {x}")
        return [x, x + 100]

    @task(**KEPT)
    def clean(x):
        if x == 4 and first():
            die(11)
        done(f"clean {x}")
        return x

    @task(**KEPT)
    def total(xs):
        done("total")
        return sum(xs)
"""


def test_map_of_a_map_flattened_goes_on_with_the_elements_that_are_left(case: Case) -> None:
    value = case.died_then(MAPS + """
    @flow(task_runner=RUNNER)
    def main():
        rows = load.map(range(8))
        cleaned = clean.with_options(batch_size=1).map(flatten(rows))
        return total(cleaned)
    """)
    assert value == 2 * sum(range(8)) + 800
    assert max(case.done.values()) <= 2
    assert not [what for what in case.after if what.startswith("load")]
    assert len(case.after) <= 16 - 3 + 1
    assert completed(case.story) == {"load": 8, "clean": 16, "total": 1}


def test_map_over_a_generator_goes_on_from_the_recorded_position(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def step(x):
        if x == 50:
            die(40)
        done(f"step {x}")
        return x

    @flow(task_runner=RUNNER)
    def main():
        return sum(step.with_options(batch_size=5).map(x for x in range(100)).result())
    """)
    assert value == sum(range(100))
    assert sorted(case.done, key=lambda what: int(what.split()[1])) == [
        f"step {x}" for x in range(100)]
    assert max(case.done.values()) <= 2 and sum(case.done.values()) <= 120
    assert not {f"step {x}" for x in range(40)} & set(case.after)
    assert completed(case.story) == {"step": 100}


def test_elements_whose_results_are_not_kept_are_computed_again_only_where_needed(
        case: Case) -> None:
    value = case.died_then("""
    @task
    def load(x):
        done(f"load {x}")
        return x

    @task
    def clean(x):
        if x >= 5:
            die(15)
        done(f"clean {x}")
        return x

    @flow(task_runner=RUNNER)
    def main():
        loaded = load.with_options(batch_size=10).map(range(10))
        loaded.wait()
        cleaned = clean.with_options(batch_size=1, max_in_flight=1).map(loaded)
        cleaned.wait()
        return cleaned[9].result()
    """)
    assert value == 9
    assert case.after == Counter(
        {f"load {x}": 1 for x in range(5, 10)} | {f"clean {x}": 1 for x in range(5, 10)})
    assert completed(case.story) == {"load": 10, "clean": 10}
    assert ("5 task runs that had completed were computed again for their values, which are not "
            "kept: 5 of task 'load'.") in case.output, case.output


# retries

def test_retry_that_was_waited_for_keeps_its_time_and_its_attempts(case: Case) -> None:
    case.write("""
    @task(retries=3, retry_delay_seconds=4, **KEPT)
    def step(x):
        done(f"step {x} {time.time()} {runtime.task_run.run_count}")
        if x == 1:
            raise ValueError(f"no {x}")
        return x

    @flow(task_runner=RUNNER)
    def main():
        if first():
            threading.Thread(target=die, args=(4,)).start()
        futures = step.map([0, 1, 2])
        submitted = step.submit(1)
        return [f.result(raise_on_failure=False) if f.state.is_completed() else
                [f.state.name, f.task_run_id] for f in [*futures, submitted]]
    """)
    assert case.go("start") is None
    before = case.story
    due = {row.call: row.due_s for row in before.task_runs if row.state_name == "AwaitingRetry"}
    assert len(due) == 2 and all(due.values())
    driver = case.start("resume")
    driver.until(lambda: sum(what.startswith("step 1 ") for what in case.done) == 4, 20)
    at = sorted(float(what.split()[2]) for what in case.done if what.startswith("step 1 "))
    assert min(at[2:]) >= min(due.values()) - 0.05  # type: ignore[type-var]
    assert max(at[2:]) <= max(due.values()) + 2.0  # type: ignore[type-var]
    driver.kill()
    driver = case.start("resume")
    driver.wait(30)
    rows = [row for row in case.story.task_runs if row.state_name == "Failed"]
    assert [row.run_count for row in rows] == [4, 4]
    tries = Counter(what.split()[3] for what in case.done if what.startswith("step 1 "))
    assert (tries["1"], tries["3"], tries["4"]) == (2, 2, 2) and tries["2"] in (2, 3, 4), tries
    assert len([what for what in case.done if what.startswith("step 0 ")]) == 1


def test_direct_call_whose_retry_was_waited_for_goes_on_with_the_next_attempt(case: Case) -> None:
    value = case.died_then("""
    @task(retries=2, retry_delay_seconds=1.5, **KEPT)
    def step():
        done("step")
        note(BOOK + ".times", time.time())
        if first():
            raise ValueError("not yet")
        return "good"

    @flow(task_runner=RUNNER)
    def main():
        if first():
            threading.Thread(target=die, args=(1,)).start()
        return step()
    """)
    assert value == "good"
    assert case.done["step"] == 2
    times = [float(line) for line in ledger(f"{case.book}.times")]
    assert max(times) - min(times) >= 1.45
    (row,) = case.story.task_runs
    assert (row.state_name, row.run_count) == ("Completed", 2)


# subflows

SUBFLOWS = """
    @task(**KEPT)
    def step(x):
        done(f"step {x}")
        return x

    @flow
    def child(x):
        done(f"child {x}")
        first_ = step.submit(x).result()
        if x == 20:
            die(3)
        return [first_, step.submit(x + 1).result()]

    @flow(task_runner=RUNNER)
    def main():
        return [child(10), child(20), step(30)]
"""


def test_subflows_go_on_under_the_same_ids(case: Case) -> None:
    case.write(SUBFLOWS)
    assert case.go("start") is None
    store = open_store()
    ids = {row.id for row in store.flow_runs(limit=None)}
    store.close()
    case.before = case.done
    value = case.go("resume")
    assert value == [[10, 11], [20, 21], 30], case.output
    store = open_store()
    rows = store.flow_runs(limit=None)
    store.close()
    assert {row.id for row in rows} == ids
    assert {row.state_type for row in rows} == {"COMPLETED"}
    assert {what: many for what, many in case.after.items() if what.startswith("step")} == {
        "step 21": 1, "step 30": 1}
    for row in rows:
        counts = completed(recorded(row.id))
        assert counts == ({"step": 1, "child": 2} if row.flow_name == "main" else {"step": 2})


def test_subflows_side_by_side_are_told_by_their_parameters(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    async def step(x):
        done(f"step {x}")
        return x

    @flow
    async def child(x):
        if x < 2 and first():
            await asyncio.sleep(60)
        return await step(x)

    @flow(task_runner=RUNNER)
    async def main():
        order = [2, 3, 0, 1] if first() else [0, 1, 2, 3]
        calls = {x: asyncio.ensure_future(child(x)) for x in order}
        if first():
            await asyncio.gather(calls[2], calls[3])
            await asyncio.to_thread(die, 4)
        return [await calls[x] for x in range(4)]
    """)
    assert value == [0, 1, 2, 3]
    assert case.after == Counter({"step 0": 1, "step 1": 1})
    store = open_store()
    rows = store.flow_runs(limit=None)
    store.close()
    assert len(rows) == 5 and {row.state_type for row in rows} == {"COMPLETED"}


def test_generators_are_consumed_anew_and_recorded_once(case: Case) -> None:
    value = case.died_then("""
    @task
    def numbers(n):
        for x in range(n):
            done(f"made {x}")
            yield x

    @task(**KEPT)
    def step(x):
        done(f"step {x}")
        return x

    @flow(task_runner=RUNNER)
    def main():
        got = list(numbers(2))
        for x in numbers(4):
            got.append(step(x))
            if x == 2:
                die(4)
        return got
    """)
    assert value == [0, 1, 0, 1, 2, 3]
    assert {what: many for what, many in case.after.items() if what.startswith("step")} == {
        "step 3": 1}
    assert completed(case.story) == {"numbers": 2, "step": 4}
    assert len(case.story.task_runs) == 6


def test_retry_of_a_parent_that_failed_keeps_its_children(case: Case) -> None:
    case.write("""
    @task(**KEPT)
    def leaf(x):
        done(f"leaf {x}")
        return x

    @task(**KEPT)
    def parent(x):
        done(f"parent {x}")
        got = [leaf(x), leaf(x + 1)]
        if not Path(BOOK + ".good").exists():
            raise ValueError("not yet")
        return got

    @flow(task_runner=RUNNER)
    def main():
        return parent(1)
    """)
    assert case.go("start") is None
    Path(f"{case.book}.good").touch()
    case.before = case.done
    assert case.go("retry") == [1, 2], case.output
    assert case.after == Counter({"parent 1": 1})
    assert completed(case.story) == {"parent": 1, "leaf": 2}
    assert len(case.story.task_runs) == 3


# tasks inside of tasks

def test_parent_that_had_not_ended_runs_again_and_one_that_had_does_not(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def leaf(x):
        done(f"leaf {x}")
        return x

    @task(**KEPT)
    def parent(x):
        done(f"parent {x}")
        values = leaf.map([x, x + 1]).result()
        if x == 10:
            die(1)
        return values

    @flow(task_runner=RUNNER)
    def main():
        a = parent.submit(0)
        a.wait()
        b = parent.submit(10)
        return [a.result(), b.result(), leaf.submit(50).result()]
    """)
    assert value == [[0, 1], [10, 11], 50]
    assert case.after["parent 10"] == 1 and case.after["parent 0"] == 0
    assert case.after["leaf 0"] == 0
    story = case.story
    assert story.run.state_type == "COMPLETED"
    assert sum(story.counts["parent"].values()) == 2


# the flow function's own end

def test_flow_that_raised_goes_on_where_it_raised(case: Case) -> None:
    case.write("""
    @task(**KEPT)
    def step(x):
        done(f"step {x}")
        return x

    @flow(task_runner=RUNNER)
    def main():
        values = step.map(range(3)).result()
        if first():
            Path(BOOK + ".died").touch()
            raise RuntimeError("a bug in the flow")
        return values + [step(9)]
    """)
    assert case.go("start") is None
    assert case.story.run.state_type == "FAILED"
    case.before = case.done
    assert case.go("resume") == [0, 1, 2, 9], case.output
    assert case.after == Counter({"step 9": 1})
    run = case.story.run
    assert (run.state_type, run.message, run.error_type, run.error_message) == (
        "COMPLETED", None, None, None)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_run_that_was_interrupted_goes_on(case: Case, how: signal.Signals) -> None:
    case.write(f"""
    @task(**KEPT)
    def step(x):
        done(f"step {{x}}")
        if x == 5 and first():
            die(5, signal.Signals({int(how)}))
        return x

    @flow(task_runner=RUNNER)
    def main():
        one = step.with_options(batch_size=1, max_in_flight=1)
        return sum(one.map(range(10)).result()) + step(10)
    """)
    case.before = Counter()
    driver = case.start("start")
    driver.wait(30)
    before = case.story
    assert before.run.state_type == ("CANCELLED" if how == signal.SIGINT else
                                     before.run.state_type)
    case.before = case.done
    assert case.go("resume") == 55, case.output
    assert case.after == Counter({f"step {x}": 1 for x in range(5, 11)})
    assert completed(case.story) == {"step": 11}
    assert len(case.story.task_runs) == 11


def test_flow_retry_keeps_what_its_last_try_finished(case: Case) -> None:
    value = case.died_then("""
    @task(cache_policy=INPUTS, **KEPT)
    def step(x):
        done(f"step {x}")
        return x

    @flow(task_runner=RUNNER, retries=2)
    def main():
        values = step.map(range(3)).result()
        if not Path(BOOK + ".tried").exists():
            Path(BOOK + ".tried").touch()
            raise RuntimeError("once more")
        values += step.map(range(3, 6)).result()
        die(6)
        return values + [step(9)]
    """)
    assert value == [0, 1, 2, 3, 4, 5, 9]
    assert case.after == Counter({"step 9": 1})
    run = case.story.run
    assert (run.state_type, run.run_count) == ("COMPLETED", 2)


# retry: only what failed

RETRIES = """
    @task(**KEPT)
    def step(x):
        done(f"step {x}")
        if x in (2, 3) and not Path(f"{BOOK}.good{x}").exists():
            raise ValueError(f"no {x}")
        return x

    @task(**KEPT)
    def after(x):
        done(f"after {x}")
        return 10 * x

    @flow(task_runner=RUNNER)
    def main():
        futures = after.map(step.map(range(5)))
        alone = after.submit(step.submit(3))
        return [f.result() for f in futures] + [alone.result()]
"""


def test_retry_runs_what_failed_and_its_downstream_and_replaces_the_outcomes(case: Case) -> None:
    case.write(RETRIES)
    assert case.go("start")[0] == "UpstreamTaskError"
    assert case.story.counts == {
        "step": {"Completed": 3, "Failed": 3},
        "after": {"Completed": 3, "NotReady": 3}}
    Path(f"{case.book}.good2").touch()
    case.before = case.done
    assert case.go("retry")[0] == "UpstreamTaskError", case.output
    assert case.after == Counter({"step 2": 1, "step 3": 2, "after 2": 1})
    assert case.story.counts == {
        "step": {"Completed": 4, "Failed": 2},
        "after": {"Completed": 4, "NotReady": 2}}
    assert Counter(row.state_name for row in case.story.task_runs) == {
        "Completed": 8, "Failed": 2, "NotReady": 2}
    Path(f"{case.book}.good3").touch()
    case.before = case.done
    assert case.go("retry") == [0, 10, 20, 30, 40, 30], case.output
    assert case.after == Counter({"step 3": 1, "after 3": 1}), "the other has it cached"
    story = case.story
    assert completed(story) == {"step": 6, "after": 6}
    assert len(story.task_runs) == 12
    assert not [row for row in story.task_runs if row.error_type or row.cause]
    assert story.run.resumed == 2


def test_resume_leaves_failures_as_they_are(case: Case) -> None:
    case.write(RETRIES)
    assert case.go("start")[0] == "UpstreamTaskError"
    before = {(r.call, r.map_index): (r.state_name, r.error_type, r.error_message, r.end_time)
              for r in case.story.task_runs}
    Path(f"{case.book}.good2").touch()
    Path(f"{case.book}.good3").touch()
    case.before = case.done
    assert case.go("resume")[0] == "UpstreamTaskError", case.output
    assert not case.after
    story = case.story
    assert {(r.call, r.map_index): (r.state_name, r.error_type, r.error_message)
            for r in story.task_runs} == {place: told[:3] for place, told in before.items()}
    failed = {place: told for place, told in before.items() if told[0] in ("Failed", "Completed")}
    assert {(r.call, r.map_index): (r.state_name, r.error_type, r.error_message, r.end_time)
            for r in story.task_runs if r.state_name in ("Failed", "Completed")} == failed
