"""Every runner: whatever can be called is a task, with its own name, key and arguments."""

from __future__ import annotations

import functools
import operator
import random
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from dataflow import Task, runtime, task, unmapped
from dataflow.exceptions import DefinitionError, DefinitionTypeError
from dataflow.retry import RetryPolicy
from tests.run_support import ROOT
from tests.runner_support import Play


def plus(x: Any, y: Any = 1) -> Any:
    return x + y


class Adder:
    """Adds."""

    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, x: int) -> int:
        return x + self.by


class Shop:
    rate = 5

    def __init__(self, rate: int) -> None:
        self.rate = rate

    @task
    def price(self, x: int) -> int:
        return x * self.rate

    @task(name="kind")
    @classmethod
    def kind(cls, x: int) -> int:
        return x * cls.rate

    @classmethod
    @task
    def kind_above(cls, x: int) -> int:
        return x * cls.rate

    @staticmethod
    @task
    def plain(x: int) -> int:
        return x + 100

    def raw(self, x: int) -> int:
        return x - self.rate


def closed_over(by: int) -> Any:
    def inner(x: int) -> int:
        return x + by

    return inner


MADE: dict[str, tuple[Any, str, list[int]]] = {
    "function": (task(plus), "plus", [2, 3]),
    "called-decorator": (task()(plus), "plus", [2, 3]),
    "constructor": (Task(plus, name="own"), "own", [2, 3]),
    "lambda": (task(lambda x: x * 2), "<lambda>", [2, 4]),
    "named-lambda": (task(lambda x: x * 2, name="twice"), "twice", [2, 4]),
    "closure": (task(closed_over(7)), "inner", [8, 9]),
    "callable-object": (task(Adder(3)), "Adder", [4, 5]),
    "partial": (task(functools.partial(plus, y=5)), "plus", [6, 7]),
    "partial-of-object": (task(functools.partial(Adder(3))), "Adder", [4, 5]),
    "method": (Shop(3).price, "price", [3, 6]),
    "raw-method": (task(Shop(3).raw), "raw", [-2, -1]),
    "classmethod": (Shop.kind, "kind", [5, 10]),
    "classmethod-of-instance": (Shop(3).kind, "kind", [5, 10]),
    "classmethod-above": (Shop.kind_above, "kind_above", [5, 10]),
    "staticmethod": (Shop(3).plain, "plain", [101, 102]),
    "builtin": (task(abs), "abs", [1, 2]),
    "class": (task(int), "int", [1, 2]),
    "operator": (task(operator.neg), "neg", [-1, -2]),
    "method-with-options": (Shop(4).price.with_options(name="p"), "p", [4, 8]),
}


@pytest.mark.parametrize("kind", MADE)
def test_whatever_can_be_called_is_called_submitted_and_mapped(play: Play, kind: str) -> None:
    made, name, expected = MADE[kind]
    assert made.name == name

    def body() -> Any:
        return [made(1), made(2)], [made.submit(n).result() for n in (1, 2)], made.map(
            [1, 2]).result()

    assert play(body) == (expected, expected, expected)
    assert play.records.states(name) == ["Completed"] * 6
    assert {row.task_key for row in play.records.of(name)} == {made.task_key}


def test_fn_is_the_function_itself_and_leaves_no_record(play: Play) -> None:
    assert MADE["function"][0].fn is plus
    shop = Shop(3)
    assert (shop.price.fn(2), Shop.price.fn(shop, 2)) == (6, 6)
    assert play(lambda: Shop(2).price.fn(4)) == 8
    assert play.records.rows == []


def test_bound_methods_keep_instance_and_options_apart(play: Play) -> None:
    def body() -> Any:
        one, two = Shop(2), Shop(3)
        many = one.price.map([1, 2]), two.price.map([1, 2])
        retried = one.price.with_options(retries=2)
        return [m.result() for m in many], retried.submit(5).result(), (
            retried.retries, one.price.retries, Shop.price.retries)

    assert play(body) == ([[2, 4], [3, 6]], 10, (2, 0, 0))


class Own:
    """Compared by identity alone."""


def test_arguments_are_not_coerced_nor_copied_where_flow_and_task_share_a_process(
        play: Play) -> None:
    @task
    def seen(x: int, *rest: Any, key: float = 0.0, **more: Any) -> Any:
        return type(x).__name__, type(key).__name__

    assert play(lambda: (seen("5", key="1"), seen.submit("5", key="1").result())) == (
        ("str", "str"), ("str", "str"))

    own, held = Own(), {"rows": [1, 2]}
    met: list[Any] = []

    @task
    def keep(x: Any, **more: Any) -> Any:
        met.append((x, more["held"]))
        return x

    def body() -> Any:
        return keep(own, held=held)

    assert play(body) is own
    assert met[-1][0] is own and met[-1][1] is held


@pytest.mark.parametrize("name", ["inline", "threads"])
def test_local_runners_pass_the_very_same_objects(name: str) -> None:
    from dataflow import flow
    from runners import InlineTaskRunner, ThreadPoolTaskRunner

    own, many = Own(), [Own(), Own()]
    met: list[Any] = []

    @task
    def keep(x: Any, y: Any = None) -> Any:
        met.append((x, y))
        return x

    @flow(task_runner=InlineTaskRunner() if name == "inline" else ThreadPoolTaskRunner())
    def body() -> Any:
        got = keep.submit(own, y=many).result()
        return got is own, [a is b for a, b in zip(
            keep.map(many, y=unmapped(own)).result(), many, strict=True)]

    assert body() == (True, [True, True])
    assert met[0][0] is own and met[0][1] is many
    assert {id(x) for x, _ in met[1:]} == {id(x) for x in many}
    assert all(y is own for _, y in met[1:])


# names of runs


def test_template_may_use_defaults_items_and_formats(play: Play) -> None:
    @task(task_run_name="{day[0]}-{n:03d}-{name!r}-{{x}}")
    def named(day: list[str], n: int = 7, name: str = "a") -> Any:
        return runtime.task_run.name

    assert play(lambda: (named(["mo"]), named.map([["tu"]], n=[8]).result())) == (
        "mo-007-'a'-{x}", ["tu-008-'a'-{x}"])


class Namer:
    def __call__(self, parameters: dict[str, Any]) -> str:
        return f"object-{parameters['x']}"


def named_by(first: str, parameters: dict[str, Any]) -> str:
    return f"{first}-{parameters['x']}"


async def async_namer() -> str:
    return "async"


@pytest.mark.parametrize("how, expected", [
    (lambda: "fixed", "fixed"), (lambda parameters: f"x-{parameters['x']}", "x-4"),
    (functools.partial(named_by, "p"), "p-4"), (Namer(), "object-4"),
    (async_namer, "async"),
], ids=["plain", "parameters", "partial", "object", "async"])
def test_any_callable_names_runs(play: Play, how: Any, expected: str) -> None:
    named = task(lambda x: runtime.task_run.name, task_run_name=how)
    assert play(lambda: (named.submit(4).result(), named(4))) == (expected, expected)


@pytest.mark.parametrize("how, error, said", [
    ("{x.missing}", DefinitionError, r"named.*AttributeError.*'x'"),
    ("{x[9]}", DefinitionError, r"named.*TypeError.*'x'"),
    ("{x:%Y}", DefinitionError, r"named.*ValueError.*'x'"),
    (lambda parameters: parameters["z"], DefinitionError, r"named.*KeyError.*'x'"),
    (lambda: 5, DefinitionTypeError, r"named.*must return a str.*int 5"),
], ids=["attribute", "item", "format", "raises", "no-str"])
def test_name_that_cannot_be_made_fails_the_run_and_says_why(
        play: Play, how: Any, error: type[Exception], said: str) -> None:
    @task(name="named", task_run_name=how)
    def work(x: int) -> int:
        return x

    def body() -> Any:
        one, many = work.submit(1), work.map([2])
        for asked in (one.result, many.result, lambda: work(3)):
            with pytest.raises(error, match=said):
                asked()
        return one.state.name, many[0].state.name

    assert play(body) == ("Failed", "Failed")
    assert play.records.states("named") == ["Failed"] * 3


# keys


SCRIPT = """
    import sys
    from dataflow import flow, task
    from runners import DaskTaskRunner

    def outer(n):
        @task
        def inner(x):
            return x + n
        return inner

    @task
    def plain(x): return x

    twice = task(lambda x: x * 2)
    thrice = task(lambda x: x * 3)
    class Shop:
        @task
        def price(self, x): return x
    ALL = [plain, twice, thrice, outer(1), Shop.price]

    @task
    def keys(tasks):
        again = [each.with_options(retries=1) for each in tasks]
        return [(each.task_key, one.task_key) for each, one in zip(tasks, again)]

    if __name__ == "__main__":
        here = [each.task_key for each in ALL]
        if len(sys.argv) > 1:
            @flow(task_runner=DaskTaskRunner(address=sys.argv[1]))
            def there():
                return keys.submit(ALL).result()
            assert there() == [(key, key) for key in here], "worker"
        print(*here)
"""


@pytest.mark.dask
def test_keys_are_alike_in_script_worker_and_another_interpreter(
        tmp_path: Path, dask_cluster: Any) -> None:
    (tmp_path / "keyed.py").write_text(textwrap.dedent(SCRIPT))

    def run(*args: str, seed: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, capture_output=True, text=True, timeout=100,
            env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "PATH": "",
                 "DATAFLOW_HOME": str(tmp_path / "home")}, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    first = run("keyed.py", dask_cluster.scheduler_address, seed="1")
    assert first == run("keyed.py", seed="2")
    imported = "import keyed; print(*[each.task_key for each in keyed.ALL])"
    assert first == run("-c", imported, seed="3")
    assert [key.rpartition("-")[0] for key in first] == [
        "plain", "<lambda>", "<lambda>", "inner", "price"]
    assert len(set(first)) == 5


def test_functions_typed_at_a_prompt_have_keys_by_their_code() -> None:
    def made(text: str) -> str:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, "<stdin>", "exec"), names)
        return task(names["f"]).task_key

    one = made("def f(x):\n    return x + 1\n")
    assert one.startswith("f-") and one == made("\n\ndef f(x):\n    return x + 1\n")
    assert len({one, made("def f(x):\n    return x + 2\n"), made("def f(x):\n    return x - 1\n"),
                made("def f(y):\n    return y + 1\n"),
                made("def f(x):\n    return (lambda: x + 1)()\n")}) == 5


def test_lambdas_of_one_line_and_partials_with_other_arguments_have_keys_of_their_own() -> None:
    pair = [lambda x: x + 1, lambda x: x + 2]
    assert len({task(fn).task_key for fn in pair}) == 2
    assert len({task(functools.partial(plus, y=n)).task_key for n in range(3)}) == 3
    assert task(plus).task_key == task(plus, name="n", retries=2).task_key


# delays


@pytest.mark.parametrize("factor", [0.1, 0.9, 1.0, 3.0, 1000.0])
def test_jitter_clamps_a_delay_to_both_sides_and_keeps_its_mean(factor: float) -> None:
    policy, rng = RetryPolicy((0.3,), factor), random.Random(7)
    drawn = [policy.delay_s(1, rng) for _ in range(40_000)]
    assert 0.0 <= min(drawn) < 0.3 < max(drawn) <= 0.3 * (1 + factor)
    spread = statistics.stdev(drawn)
    assert abs(statistics.fmean(drawn) - 0.3) < 4 * spread / len(drawn) ** 0.5
    assert spread > 0.03 * 0.3


def test_jitter_of_zero_and_no_delay_change_nothing() -> None:
    rng = random.Random(7)
    assert RetryPolicy((0.3, 2.0), 0.0).delay_s(5, rng) == 2.0
    assert RetryPolicy((0.0,), 0.5).delay_s(1, rng) == RetryPolicy((), 0.5).delay_s(1, rng) == 0.0


def test_jitter_of_a_task_moves_its_delays(play: Play) -> None:
    @task(retries=2, retry_delay_seconds=0.1, retry_jitter_factor=0.5)
    def work() -> None:
        raise ValueError("again")

    play(lambda: work.submit().wait())
    assert play.records.run_counts("work") == [3]
    records = play.records
    first, second = records.store.attempts(records.run.id, records.of("work")[0].call, 0)
    assert second.started_s - first.started_s > 0.05  # the least that a factor of 0.5 leaves of it
