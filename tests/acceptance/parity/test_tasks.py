"""Tasks: what can be one, how it is called, what it is called with."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    NotSet,
    ParameterBindError,
    ReservedArgumentError,
    Task,
    flow,
    runtime,
    tags,
    task,
)
from tests.acceptance.parity.support import note, notes


@task
def add(x: Any, y: Any = 1) -> Any:
    """Add two values."""
    return x + y


@task(name="Doubled", tags=["maths", "fast"], version="7", description="Twice the value.")
def double(x: int) -> int:
    return x * 2


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@task
def catch_all(*args: Any, key: str = "k", **rest: Any) -> Any:
    return args, key, rest


class Scale:
    """Things with tasks for methods."""

    factor = 3

    def __init__(self, by: int) -> None:
        self.by = by

    @task
    def scaled(self, x: int) -> int:
        return x * self.by

    @classmethod
    def _thrice(cls, x: int) -> int:
        return x * cls.factor

    @staticmethod
    @task
    def halved(x: int) -> float:
        return x / 2


class OnClass:
    factor = 3

    @classmethod
    @task
    def thrice(cls, x: int) -> int:
        return x * cls.factor


class Adder:
    """A callable object."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        return x + self.n


def power(base: int, exponent: int) -> int:
    return base**exponent


class NeedsTwo(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


# kinds of functions

KINDS = {
    "decorated": (add, [2, 3]),
    "of a lambda": (task(lambda x: x + 1), [2, 3]),
    "of a lambda with a name": (task(lambda x: x + 1, name="one-more"), [2, 3]),
    "of a callable object": (task(Adder(1)), [2, 3]),
    "of a partial": (task(functools.partial(power, exponent=1), name="first-power"), [1, 2]),
    "a method": (Scale(1).scaled, [1, 2]),
    "a staticmethod": (Scale.halved, [0.5, 1.0]),
    "a staticmethod of an instance": (Scale(2).halved, [0.5, 1.0]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_callable_is_submitted_mapped_and_called_alike(runner: Any, kind: str) -> None:
    kind_of_task, expected = KINDS[kind]

    @flow(task_runner=runner)
    def run() -> Any:
        submitted = [kind_of_task.submit(x).result() for x in (1, 2)]
        mapped = kind_of_task.map([1, 2]).result()
        called = [kind_of_task(x) for x in (1, 2)]
        return {"found": (submitted, mapped, called)}

    assert run() == {"found": (expected, expected, expected)}


@pytest.mark.differs("refused: it looks for the code of a builtin")
def test_a_builtin_is_a_function_too(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": task(abs).map([-1, 2]).result()}

    assert run() == {"found": [1, 2]}


def test_task_of_a_classmethod_gets_the_class(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": [OnClass.thrice(2), OnClass().thrice.submit(2).result()]}

    assert run() == {"found": [6, 6]}


def test_task_of_a_method_sees_each_instances_own_state(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        two, five = Scale(2), Scale(5)
        futures = [two.scaled.submit(1), five.scaled.submit(1)]
        return {"found": [f.result() for f in futures]}

    assert run() == {"found": [2, 5]}


def test_task_is_made_by_decorator_by_call_and_by_class() -> None:
    by_call = task(power)
    by_class = Task(power, name="p", retries=2)
    assert by_call(2, 3) == by_class(2, 3) == 8
    assert isinstance(by_call, Task)
    assert (by_call.name, by_class.name, by_class.retries) == ("power", "p", 2)


def test_fn_is_the_raw_function_and_bypasses_everything(ledger: str) -> None:
    @task(retries=3)
    def once() -> None:
        note(ledger, "ran")
        raise ValueError("raw")

    with pytest.raises(ValueError, match="raw"):
        once.fn()
    assert notes(ledger) == ["ran"]


def test_name_and_description_default_to_the_functions_own() -> None:
    assert (add.name, add.description) == ("add", "Add two values.")
    assert (double.name, double.description) == ("Doubled", "Twice the value.")
    assert (double.version, set(double.tags)) == ("7", {"maths", "fast"})


def test_nameless_functions_get_a_name() -> None:
    assert isinstance(task(lambda x: x).name, str)
    assert isinstance(task(Adder(1)).name, str)
    assert task(lambda x: x, name="mine").name == "mine"


def test_decorated_function_keeps_its_name_doc_and_module() -> None:
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add two values.", __name__)


# calling

def test_call_outside_a_flow_returns_the_value() -> None:
    assert add(1, y=2) == 3


def test_call_outside_a_flow_raises_the_tasks_own_exception() -> None:
    with pytest.raises(ValueError, match="^boom 1"):
        boom(1)


def test_call_outside_a_flow_with_return_state_does_not_raise() -> None:
    state = boom(1, return_state=True)
    assert state.is_failed()
    with pytest.raises(ValueError, match="boom 1"):
        state.result()
    assert add(1, return_state=True).result() == 2


def test_call_runs_in_the_calling_thread_on_every_runner(runner: Any) -> None:
    import threading

    @task
    def thread() -> int:
        return threading.get_ident()

    @flow(task_runner=runner)
    def run() -> Any:
        return {"same": thread() == threading.get_ident()}

    assert run() == {"same": True}


def test_call_in_a_flow_returns_the_value_and_raises_the_exception(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        try:
            boom("here")
        except ValueError as error:
            return {"found": (add(1), str(error))}
        return None

    assert run() == {"found": (2, "boom here")}


def test_call_resolves_futures_and_states_first(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = add.submit(1)
        state = add.submit(2, return_state=True)
        return {"found": (add(future), add(state, y=future), add([future], y=[state]))}

    assert run() == {"found": (3, 5, [2, 3])}


@pytest.mark.parametrize("how", ["call", "submit", "map"])
@pytest.mark.parametrize("args, kwargs", [((), {}), ((1, 2, 3), {}), (([1],), {"z": 1})])
def test_arguments_that_do_not_fit_are_refused_before_any_run(
    ledger: str, how: str, args: Any, kwargs: Any
) -> None:
    @task
    def write(x: Any, y: Any = 1) -> None:
        note(ledger, "ran")

    verbs = {"call": write, "submit": write.submit, "map": write.map}

    @flow
    def run() -> None:
        verbs[how](*args, **kwargs)

    with pytest.raises(ParameterBindError) as caught:
        run()
    assert isinstance(caught.value, TypeError)
    assert notes(ledger) == []


def test_call_that_does_not_fit_is_refused_outside_a_flow_too() -> None:
    with pytest.raises(ParameterBindError):
        add()


@pytest.mark.parametrize("verb", ["submit", "map"])
def test_submit_and_map_outside_a_flow_raise_runtime_error(verb: str) -> None:
    with pytest.raises(RuntimeError):
        getattr(add, verb)([1])


@pytest.mark.differs("`submit` needs a flow even there")
def test_submit_and_map_work_within_a_runner_without_a_flow(runner: Any) -> None:
    with runner:
        assert add.submit(add.submit(1)).result() == 3
        assert add.map([1, 2]).result() == [2, 3]
        assert runtime.flow_run.id is not None
    assert runtime.flow_run.id is None
    with pytest.raises(ValueError, match="boom 1"), runner:
        boom.submit(1).result()


@pytest.mark.differs("`submit` needs a flow even there")
def test_what_is_submitted_within_a_runner_ends_with_the_block(
    runner: Any, ledger: str
) -> None:
    @task
    def write(x: int) -> None:
        note(ledger, x)

    with runner:
        write.map(range(4))
    assert sorted(notes(ledger)) == ["0", "1", "2", "3"]


def test_submit_with_return_state_gives_a_final_state(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        good = add.submit(1, return_state=True)
        bad = boom.submit(1, return_state=True)
        return {"found": (good.is_completed(), good.result(), bad.is_failed(),
                          str(bad.result(raise_on_failure=False)))}

    assert run() == {"found": (True, 2, True, "boom 1")}


def test_variadic_and_keyword_only_parameters_arrive(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": catch_all.submit(1, 2, key="q", more=3).result()}

    assert run() == {"found": ((1, 2), "q", {"more": 3})}


def test_tasks_do_not_coerce_their_arguments(runner: Any) -> None:
    @task
    def kind(x: int) -> str:
        return type(x).__name__

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (kind("5"), kind.submit("5").result(), kind.map(["5"]).result())}

    assert run() == {"found": ("str", "str", ["str"])}


def test_local_runners_hand_over_the_very_same_objects(local: Any) -> None:
    @task
    def same(x: Any) -> Any:
        return x

    @flow(task_runner=local)
    def run() -> Any:
        thing = object()
        return {"found": (same(thing) is thing, same.submit(thing).result() is thing,
                          same.map([thing]).result()[0] is thing)}

    assert run() == {"found": (True, True, True)}


@pytest.mark.differs("an exception that does not unpickle fails the flow", on="dask-processes")
def test_exception_arrives_whole_with_its_attributes(runner: Any) -> None:
    @task
    def fail() -> None:
        raise NeedsTwo(7, "seven")

    @flow(task_runner=runner)
    def run() -> Any:
        error = fail.submit().result(raise_on_failure=False)
        return {"found": (type(error).__name__, error.code, error.reason, str(error))}

    assert run() == {"found": ("NeedsTwo", 7, "seven", "7: seven")}


def test_none_is_a_value_like_any_other(runner: Any) -> None:
    @task
    def nothing(x: Any) -> None:
        return None

    @flow(task_runner=runner)
    def run() -> Any:
        f = nothing.submit(None)
        return {"found": (f.result(), f.state.is_completed(), nothing.submit(f).result())}

    assert run() == {"found": (None, True, None)}


# options

def test_with_options_changes_a_copy_and_leaves_the_original() -> None:
    other = double.with_options(name="Other", retries=2, description="d")
    assert (other.name, other.retries, other.description) == ("Other", 2, "d")
    assert (double.name, double.retries) == ("Doubled", 0)
    assert (other(4), other.version) == (8, "7")


@pytest.mark.differs("`with_options` of a task takes no version")
def test_with_options_takes_a_version_too() -> None:
    assert double.with_options(version="8").version == "8"


def test_with_options_replaces_tags_instead_of_adding_to_them() -> None:
    assert set(double.with_options(tags=["one"]).tags) == {"one"}
    assert set(double.with_options(name="x").tags) == {"maths", "fast"}


@pytest.mark.differs("an empty list counts as not given")
def test_with_options_takes_no_tags_for_an_answer() -> None:
    assert set(double.with_options(tags=[]).tags) == set()


def test_with_options_replaces_hooks_instead_of_adding_to_them() -> None:
    def first(t: Any, run: Any, state: Any) -> None: ...
    def second(t: Any, run: Any, state: Any) -> None: ...

    base = task(power, on_failure=[first], on_completion=[first])
    changed = base.with_options(on_failure=[second])
    assert (list(changed.on_failure_hooks), list(changed.on_completion_hooks)) == (
        [second], [first])
    assert list(base.on_failure_hooks) == [first]


def test_with_options_retries_zero_overrides() -> None:
    base = task(power, retries=3, retry_delay_seconds=5)
    changed = base.with_options(retries=0, retry_delay_seconds=0)
    assert (changed.retries, changed.retry_delay_seconds) == (0, 0)
    assert (base.retries, base.retry_delay_seconds) == (3, 5)


def test_with_options_tells_not_given_from_none() -> None:
    base = task(power, persist_result=False)
    assert base.with_options(name="x").persist_result is False
    assert base.with_options(persist_result=NotSet).persist_result is False
    assert base.with_options(persist_result=None).persist_result is None


def test_every_keyword_of_prefect_is_accepted() -> None:
    def hook(t: Any, run: Any, state: Any) -> None: ...

    made = task(
        name="n", description="d", tags={"a"}, version="1", cache_policy=NotSet, cache_key_fn=None,
        cache_expiration=None, task_run_name="r", retries=1, retry_delay_seconds=0.1,
        retry_jitter_factor=0.5, persist_result=None, result_storage=None,
        result_storage_key=None, result_serializer=None, cache_result_in_memory=True,
        timeout_seconds=5, log_prints=True, refresh_cache=None, on_completion=[hook],
        on_failure=[hook], on_running=[hook], retry_condition_fn=lambda *a: True,
        viz_return_value=1, asset_deps=[])(power)
    assert made(2, 3) == 8


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="retrys"):
        task(retrys=3)(power)
    with pytest.raises(TypeError, match="retrys"):
        task(power).with_options(retrys=3)


@pytest.mark.parametrize("name", ["wait_for", "return_state"])
@pytest.mark.parametrize("make", [task, flow])
def test_parameters_with_names_of_the_framework_are_refused(make: Any, name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def f(x, {name}): pass", space)
    with pytest.raises(ReservedArgumentError) as caught:
        make(space["f"])
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("options, kind", [
    ({"on_failure": [1]}, TypeError),
    ({"on_completion": 1}, TypeError),
    ({"on_running": ["no"]}, TypeError),
    ({"retries": 60, "retry_delay_seconds": [1] * 51}, ValueError),
    ({"retries": 1, "retry_delay_seconds": "soon"}, TypeError),
    ({"retries": 1, "retry_jitter_factor": -1}, ValueError),
    ({"retries": 1, "retry_condition_fn": "always"}, TypeError),
], ids=str)
def test_options_that_cannot_be_meant_are_refused_at_definition(
    options: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        task(power, **options)


# names, tags, keys

@pytest.mark.parametrize("template, expected", [
    ("t-{x}-{y}", "t-1-1"),
    ("{x:03d}", "001"),
    ("plain", "plain"),
])
def test_run_name_is_a_template_over_all_parameters(
    runner: Any, template: str, expected: str
) -> None:
    @task(task_run_name=template)
    def named(x: int, y: int = 1) -> Any:
        return runtime.task_run.name

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": {named.submit(1).result(), named(1), named.map([1]).result()[0]}}

    assert run() == {"found": {expected}}


def test_run_name_is_made_of_resolved_values(runner: Any) -> None:
    @task(task_run_name="sum-{x}")
    def named(x: int) -> Any:
        return runtime.task_run.name

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": named.submit(add.submit(1)).result()}

    assert run() == {"found": "sum-2"}


def test_run_name_by_callable_may_take_the_parameters(runner: Any) -> None:
    @task(task_run_name=lambda: "fixed")
    def plain(x: int) -> Any:
        return runtime.task_run.name

    @task(task_run_name=lambda parameters: f"got-{parameters['x']}")
    def asks(x: int) -> Any:
        return runtime.task_run.name

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": [plain.submit(1).result(), asks.submit(1).result(), asks(2)]}

    assert run() == {"found": ["fixed", "got-1", "got-2"]}


def test_run_name_by_callable_that_returns_no_str_is_a_type_error() -> None:
    @task(task_run_name=lambda: 7)
    def wrong() -> None: ...

    @flow
    def run() -> None:
        wrong()

    with pytest.raises(TypeError):
        run()


def test_run_name_defaults_to_the_tasks_name_and_a_short_suffix(runner: Any) -> None:
    @task
    def plain(x: int) -> Any:
        return runtime.task_run.name

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": [plain.submit(1).result(), plain(1), plain.map([1]).result()[0]]}

    for name in run()["found"]:
        assert re.fullmatch(r"plain-[0-9a-f]{1,3}(\[0\])?", name), name


def test_tags_of_task_and_context_come_together(runner: Any) -> None:
    @task(tags=["own"])
    def seen() -> Any:
        return sorted(runtime.task_run.tags)

    @flow(task_runner=runner)
    def run() -> Any:
        with tags("outer"):
            with tags("inner", "second"):
                nested = seen.submit()
            outer = seen.submit()
        plain = seen.submit()
        return {"found": [f.result() for f in (nested, outer, plain)]}

    assert run() == {"found": [["inner", "outer", "own", "second"], ["outer", "own"], ["own"]]}


def test_tags_around_the_flow_reach_flow_and_tasks(runner: Any) -> None:
    @task
    def seen() -> Any:
        return sorted(runtime.task_run.tags)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (sorted(runtime.flow_run.tags), seen.submit().result())}

    with tags("around"):
        assert run() == {"found": (["around"], ["around"])}


def test_key_is_name_and_hash_of_the_code_alike_everywhere(runner: Any) -> None:
    @task
    def tell(other: Any) -> str:
        return str(other.task_key)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": tell.submit(add).result()}

    assert re.fullmatch(r"add-[0-9a-f]{8}", add.task_key)
    assert run() == {"found": add.task_key}


def test_keys_of_different_code_differ() -> None:
    def one() -> int:
        return 1

    first = task(one)

    def one() -> int:  # type: ignore[no-redef]
        return 2

    assert first.task_key != task(one).task_key


def test_task_is_an_argument_like_any_other(runner: Any) -> None:
    @task
    def apply(fn: Any, x: int) -> Any:
        return fn.fn(x)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": apply.submit(double, 4).result()}

    assert run() == {"found": 8}
