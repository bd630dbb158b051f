"""Transactions around task runs, on every runner: what commits, what is undone, what runs again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, get_run_logger, task
from dataflow.cache_policies import INPUTS
from dataflow.transactions import CommitMode, atransaction, get_transaction, transaction
from tests.ledger import Broken, Ledger
from tests.runner_support import Play, note, noted


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


# ---- direct calls


def test_direct_calls_commit_in_order_when_the_block_ends(play: Play, ledger: Ledger) -> None:
    a, b = ledger.task("a"), ledger.task("b")

    def body() -> list[str]:
        with transaction():
            a()
            b()
            ledger.add("end")
        return ledger.lines

    assert play(body) == ["run a", "run b", "end", "commit a", "commit b"]


def test_a_failure_undoes_what_completed_from_the_last_to_the_first(
    play: Play, ledger: Ledger
) -> None:
    a, b, c = (ledger.task(name) for name in "abc")

    def body() -> None:
        with transaction():
            a()
            b()
            c("fail")

    state = play.state(body)
    assert state.is_failed() and isinstance(state.result(raise_on_failure=False), Broken)
    assert ledger.lines == ["run a", "run b", "run c", "undo b", "undo a"]
    assert "Task rolled back as part of transaction" in play.records.messages()


def test_only_the_last_attempt_counts(play: Play, ledger: Ledger) -> None:
    a, tries = ledger.task("a"), []

    @task(retries=1, on_commit=[ledger.hook("commit b")])
    def b() -> None:
        tries.append(get_transaction())
        if len(tries) == 1:
            raise Broken

    def body() -> None:
        with transaction():
            a()
            b()

    play(body)
    assert ledger.lines == ["run a", "commit a", "commit b"]
    assert tries[0] is tries[1] is not None


def test_a_failure_that_is_caught_rolls_the_block_back_all_the_same(
    play: Play, ledger: Ledger
) -> None:
    a, b = ledger.task("a"), ledger.task("b")

    def body() -> tuple[Any, Any]:
        with transaction() as txn:
            a()
            with pytest.raises(Broken):
                b("fail")
        with transaction() as other:
            a()
            assert b("fail", return_state=True).is_failed()
        return txn.is_rolled_back(), other.is_rolled_back()

    assert play(body) == (True, True)
    assert ledger.lines == 2 * ["run a", "run b", "undo a"]


def test_nested_blocks_end_with_the_one_around(play: Play, ledger: Ledger) -> None:
    a, b, c = (ledger.task(name) for name in "abc")

    def body() -> None:
        with transaction() as txn:
            txn.set("folder", "here")
            a()
            with transaction() as inner:
                assert inner.get("folder") == "here"
                b()
            assert not inner.is_committed()
            c("fail")

    assert play.state(body).is_failed()
    assert ledger.lines == ["run a", "run b", "run c", "undo b", "undo a"]


@pytest.mark.parametrize("mode, lines", [
    (CommitMode.EAGER, ["run a", "commit a", "run b", "end", "commit b"]),
    (CommitMode.OFF, ["run a", "run b", "end", "undo b", "undo a"]),
])
def test_modes_say_when_a_block_commits(
    play: Play, ledger: Ledger, mode: CommitMode, lines: list[str]
) -> None:
    a, b = ledger.task("a"), ledger.task("b")

    def body() -> None:
        with transaction(commit_mode=mode):
            a()
            later = b.submit()
            later.wait()
            ledger.add("end")

    play(body)
    assert ledger.lines == lines


def test_what_a_task_sets_is_there_for_its_hooks(play: Play, ledger: Ledger) -> None:
    @task
    def writes(path: str) -> None:
        get_transaction().set("path", path)
        Path(path).touch()

    @writes.on_rollback
    def clean_up(txn: Any) -> None:
        Path(txn.get("path")).unlink()

    def body(path: str = f"{ledger.path}.file") -> None:
        with transaction():
            writes(path)
            assert Path(path).exists()
            raise Broken

    assert play.state(body).is_failed()
    assert not Path(f"{ledger.path}.file").exists()
    assert [hook.__name__ for hook in writes.on_rollback_hooks] == ["clean_up"]


def test_calls_of_a_task_run_stand_or_fall_with_it(play: Play, ledger: Ledger) -> None:
    inner, other = ledger.task("inner"), ledger.task("other")

    @task(on_rollback=[ledger.hook("undo outer")])
    def outer() -> None:
        inner()
        other.submit().wait()

    def body() -> None:
        with transaction():
            outer()
            raise Broken

    assert play.state(body).is_failed()
    assert ledger.lines == ["run inner", "run other", "undo outer", "undo other", "undo inner"]


def test_flows_called_in_a_block_take_part_in_it(play: Play, ledger: Ledger) -> None:
    a, b = ledger.task("a"), ledger.task("b")

    @flow
    def inner() -> None:
        a()
        b.submit().wait()

    def body() -> None:
        with transaction():
            inner()
            raise Broken

    assert play.state(body).is_failed()
    assert ledger.lines == ["run a", "run b", "undo b", "undo a"]


def test_a_generator_takes_part_when_it_has_ended(play: Play, ledger: Ledger) -> None:
    @task(on_commit=[ledger.hook("commit")], on_rollback=[ledger.hook("undo")])
    def items(fails: bool = False) -> Any:
        yield 1
        if fails:
            raise Broken

    def body() -> list[bool]:
        ended = []
        with transaction() as txn:
            assert list(items()) == [1]
            ledger.add("end")
        ended.append(txn.is_committed())
        with transaction() as txn:
            list(items())
            with pytest.raises(Broken):
                list(items(fails=True))
        ended.append(txn.is_committed())
        list(items())
        return ended

    assert play(body) == [True, False]
    assert ledger.lines == ["end", "commit", "undo", "commit"]


# ---- async


def test_awaited_calls_join_an_async_block(play: Play, ledger: Ledger) -> None:
    async def undo(txn: Any) -> None:
        await asyncio.sleep(0)
        ledger.add(f"undo {txn.get('x')}")

    @task(on_rollback=[undo])
    async def does(x: int) -> int:
        await asyncio.sleep(0)
        get_transaction().set("x", x)
        return x

    async def body() -> None:
        async with atransaction():
            await does(1)
            found = await asyncio.gather(does(2), does(3))
            assert found == [2, 3]
            futures = does.submit(4)
            assert await futures == 4
            raise Broken

    async def main() -> Any:
        return await flow(task_runner=play.runner)(body)(return_state=True)

    assert asyncio.run(main()).is_failed()
    assert sorted(ledger.lines[1:]) == ["undo 1", "undo 2", "undo 3"] or (
        ledger.lines[-1] == "undo 1")


# ---- submits and maps


def test_the_end_of_a_block_waits_for_what_was_submitted_in_it(
    play: Play, ledger: Ledger
) -> None:
    a, b = ledger.task("a"), ledger.task("b")

    def body() -> list[str]:
        with transaction():
            a.submit(1)
            b.map([1, 2])
        return ledger.lines

    lines = play(body)
    assert sorted(lines[:3]) == ["run a", "run b", "run b"]
    assert lines[3:] == ["commit a", "commit b", "commit b"]


def test_what_was_submitted_is_undone_with_the_block(play: Play, ledger: Ledger) -> None:
    a, b = ledger.task("a"), ledger.task("b")

    def body() -> tuple[Any, Any]:
        try:
            with transaction():
                one, many = a.submit(1), b.map([1, 2])
                raise Broken
        except Broken:
            return (one.state.type.value, one.state.name, one.result()), [
                state.name for state in many.states]

    assert play(body) == (("COMPLETED", "RolledBack", 1), ["RolledBack", "RolledBack"])
    assert ledger.lines[-3:] == ["undo b", "undo b", "undo a"]
    assert play.records.messages().count("Task rolled back as part of transaction") == 3


@pytest.mark.parametrize("how", ["commits", "block fails", "call fails"])
def test_calls_of_every_kind_end_in_the_order_in_which_they_were_made(
    play: Play, ledger: Ledger, how: str
) -> None:
    a, b, c, d, e = (ledger.task(name) for name in "abcde")

    def body() -> None:
        with transaction():
            a()
            b.submit()
            c.map([1, 2])
            d()
            if how == "block fails":
                raise Broken
            e("fail" if how == "call fails" else None)

    play.state(body)
    order = ["a", "b", "c", "c", "d"]
    ends = [line for line in ledger.lines if not line.startswith("run")]
    assert ends == ([f"commit {name}" for name in [*order, "e"]] if how == "commits"
                    else [f"undo {name}" for name in reversed(order)])


def test_a_generator_is_undone_where_its_consuming_began(play: Play, ledger: Ledger) -> None:
    @task(on_rollback=[ledger.hook("undo items")])
    def items() -> Any:
        yield 1
        yield 2

    a, b = ledger.task("a"), ledger.task("b")

    def body() -> None:
        with transaction() as txn:
            a()
            for item in items():
                b()
                if item == 1:
                    assert txn.rollback()

    play(body)
    ends = [line for line in ledger.lines if not line.startswith("run")]
    assert ends == ["undo b", "undo a", "undo b", "undo items"]


def test_a_submitted_run_that_fails_rolls_the_block_back(
    play: Play, ledger: Ledger, caplog: Any
) -> None:
    a, b = ledger.task("a"), ledger.task("b")

    def body() -> tuple[Any, Any]:
        with transaction() as txn:
            a()
            future = b.submit("fail")
        return txn.is_rolled_back(), future.state.name

    assert play(body) == (True, "Failed")
    assert ledger.lines[-1] == "undo a" and "commit a" not in ledger.lines
    assert "a task run submitted in it did not complete" in caplog.text


def test_a_failure_in_a_block_is_not_taken_for_looked_at(play: Play, ledger: Ledger) -> None:
    b = ledger.task("b")

    def body() -> int:
        with transaction():
            b.submit("fail")
        return 1

    assert play.state(body, strict=True).is_failed()


def test_a_map_with_a_success_ratio_commits_when_it_is_reached(
    play: Play, ledger: Ledger
) -> None:
    b = ledger.task("b", min_success_ratio=0.5)

    def body() -> bool:
        with transaction() as txn:
            found = b.map([1, "fail", 3]).result()
            assert found == [1, None, 3]
        return txn.is_committed()

    assert play(body) is True
    assert ledger.lines[-2:] == ["commit b", "commit b"]


def test_a_submitted_run_is_outside_of_the_block_itself(play: Play) -> None:
    @task
    def sees() -> bool:
        return get_transaction() is None

    def body() -> bool:
        with transaction():
            return bool(sees.submit().result())

    assert play(body) is True


# ---- no block around


def test_a_run_without_a_block_commits_at_its_end(play: Play, ledger: Ledger) -> None:
    a = ledger.task("a")

    def body() -> list[str]:
        a()
        a.submit().wait()
        a.map([1]).wait()
        a.submit("fail").wait()
        return ledger.lines

    assert play(body) == [*(3 * ["run a", "commit a"]), "run a"]


def test_hooks_log_for_their_task_run(play: Play) -> None:
    def tells(txn: Any) -> None:
        get_run_logger().info("from the hook")

    @task(on_commit=[tells])
    def does(x: int) -> int:
        return x

    def body() -> None:
        does(1)
        does.map([1, 2]).wait()

    play(body)
    records = play.records
    places = [(line.call, line.index) for line in records.store.logs(records.run.id)
              if line.message == "from the hook"]
    assert len(places) == 3
    assert {(row.call, row.map_index) for row in records.rows if row.map_index is not None
            } <= set(places)


def test_a_commit_hook_that_fails_undoes_its_own_run_alone(
    play: Play, ledger: Ledger
) -> None:
    def fails(txn: Any) -> None:
        raise Broken

    a = ledger.task("a", persist_result=True, cache_policy=INPUTS,
                    result_storage=f"{ledger.path}.results")
    a.on_commit(fails)

    def body() -> list[str]:
        states = [a(1, return_state=True)]
        for _ in range(2):
            future = a.submit(2)
            future.wait()
            states.append(future.state)
        return [state.type.value for state in states]

    assert play(body) == ["COMPLETED"] * 3
    assert ledger.lines == 3 * ["run a", "commit a", "undo a"]


def test_async_runs_without_a_block_commit_where_they_run(play: Play, ledger: Ledger) -> None:
    @task(on_commit=[ledger.hook("commit")])
    async def does(x: int) -> int:
        await asyncio.sleep(0)
        assert get_transaction() is not None
        return x

    def body() -> Any:
        return does.map([1, 2]).result()

    assert play(body) == [1, 2]
    assert ledger.lines == ["commit", "commit"]


def test_a_call_outside_of_any_flow_has_its_transaction(ledger: Ledger) -> None:
    a, b = ledger.task("a"), ledger.task("b")
    a()
    with pytest.raises(Broken):
        with transaction():
            a()
            b("fail")
    assert ledger.lines == ["run a", "commit a", "run a", "run b", "undo a"]


# ---- cached runs


KINDS = {
    "call": lambda t: [t(1, return_state=True)],
    "submit": lambda t: [t.submit(1)],
    "map": lambda t: list(t.map([1, 2])),
}


def names(found: list[Any]) -> list[str]:
    """Return the names of states, of futures too."""
    for one in found:
        if hasattr(one, "wait"):
            one.wait()
    return [getattr(one, "state", one).name if hasattr(one, "wait") else one.name
            for one in found]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_undone_is_not_cached(play: Play, tmp_path: Path, kind: str) -> None:
    folder, make = str(tmp_path), KINDS[kind]

    @task(cache_policy=INPUTS, result_storage=f"{folder}/results")
    def works(x: int) -> int:
        return note(folder)

    def body() -> None:
        with pytest.raises(Broken):
            with transaction():
                names(make(works))
                raise Broken

    play(body)
    many = len(play.records.of("works"))
    assert noted(folder) == many
    assert play(lambda: names(make(works))) == ["Completed"] * many
    assert play(lambda: names(make(works))) == ["Cached"] * many
    assert noted(folder) == 2 * many


def test_a_named_result_that_was_undone_is_not_found(play: Play, tmp_path: Path) -> None:
    @task(result_storage=tmp_path / "results", result_storage_key="out/x-{parameters[x]}.pkl")
    def works(x: int) -> int:
        return x

    def body() -> Any:
        works(2)
        works.submit(3).wait()
        with pytest.raises(Broken):
            with transaction():
                works(0)
                works.submit(1).wait()
                works(2)
                raise Broken
        return [works(x, return_state=True).name for x in range(4)]

    assert play(body) == ["Completed", "Completed", "Cached", "Cached"]


def test_a_cached_run_has_no_part_in_a_block(play: Play, ledger: Ledger) -> None:
    a = ledger.task("a", cache_policy=INPUTS, result_storage=f"{ledger.path}.results")

    def body() -> Any:
        a(1)
        with pytest.raises(Broken):
            with transaction():
                assert a(1, return_state=True).name == "Cached"
                assert a.submit(1).result() == 1
                raise Broken
        return a(1, return_state=True).name

    assert play(body) == "Cached"
    assert ledger.lines == ["run a", "commit a"]


def test_a_flow_retry_runs_again_what_a_transaction_undid(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(persist_result=True, result_storage=f"{folder}/results")
    def first(x: int) -> int:
        return note(folder, "first")

    @task(persist_result=True, result_storage=f"{folder}/results")
    def second() -> int:
        return note(folder, "second")

    tries: list[int] = []

    def body() -> None:
        second()
        with transaction():
            first(1)
            tries.append(1)
            if len(tries) == 1:
                raise Broken

    play(body, retries=1)
    assert (noted(folder, "first"), noted(folder, "second")) == (2, 1)


# ---- what users make travels


def test_a_policy_is_given_the_task(play: Play, tmp_path: Path) -> None:
    def by_task(context: Any, parameters: dict[str, Any]) -> str:
        return f"{context.task.task_key}-{context.task.name}-{parameters['x']}"

    @task(cache_key_fn=by_task, result_storage=tmp_path / "results")
    def works(x: int) -> int:
        return x

    def body() -> Any:
        works.map([1, 2]).wait()
        futures = works.map([1, 2, 3])
        futures.wait()
        return [state.name for state in futures.states], works(3, return_state=True).name

    assert play(body) == (["Cached", "Cached", "Completed"], "Cached")


SCRIPT = """
    import sys
    from pathlib import Path

    from dataflow import flow, task
    from dataflow.cache_policies import INPUTS, CachePolicy
    from runners import DaskTaskRunner

    FOLDER = Path(sys.argv[1])

    class Rounded(CachePolicy):
        def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
            return f"{task_ctx.task.name}-{round(inputs['x'])}"

    def even(context, parameters):
        return f"even-{parameters['x'] // 2 * 2}"

    @task(cache_policy=Rounded(), result_storage=FOLDER / "r")
    def by_policy(x):
        return x

    @task(cache_key_fn=even, result_storage=FOLDER / "r", isolation="process")
    def by_function(x):
        return x

    @task(on_commit=[lambda txn: (FOLDER / "committed").touch()])
    def commits():
        return 1

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={
        "n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}))
    def main():
        commits.submit().wait()
        for wave in ([1.2, 2.2], [0.9, 2.4, 7.0]):
            futures = by_policy.map(wave)
            futures.wait()
            print([state.name for state in futures.states])
        for wave in ([2], [3, 4]):
            futures = by_function.map(wave)
            futures.wait()
            print([state.name for state in futures.states], futures.result())

    if __name__ == "__main__":
        main()
        print((FOLDER / "committed").exists())
"""


@pytest.mark.dask
def test_policies_and_hooks_of_a_script_reach_the_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True,
                          text=True, timeout=100)
    assert done.stdout.split("\n")[:-1] == [
        "['Completed', 'Completed']", "['Cached', 'Cached', 'Completed']",
        "['Completed'] [2]", "['Cached', 'Completed'] [2, 4]", "True"], done.stderr
