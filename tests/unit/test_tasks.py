"""Definition of tasks, and what a call becomes for the graph."""

from __future__ import annotations

import functools
import inspect
import math
import pickle
from datetime import timedelta
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from dataflow import Task, allow_failure, exponential_backoff, flatten, quote, tags, task, unmapped
from dataflow.annotations import NotSet
from dataflow.batch import Aligned, Const, ItemOf, Items, One, Tree, Whole
from dataflow.exceptions import (
    CallError,
    DefinitionError,
    DefinitionTypeError,
    ForeignFuture,
    MappingLengthMismatch,
    MappingMissingIterable,
    MissingContextError,
    ParameterBindError,
    ReservedArgumentError,
)
from dataflow.graph import Dep, FlatPart
from dataflow.resolve import Leaf
from dataflow.states import Completed, Failed
from tests.fake_driver import FakeDriver, flow_run


def double(x: Any, y: Any = 1) -> Any:
    """Return twice x."""
    return x * 2


def anything(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


T = task(double)
ANY = task(anything)


class Callable:
    def __call__(self, x: int) -> int:
        return x + 1


# definition


@pytest.mark.parametrize("made", [
    task(double), task()(double), task(name=None)(double), Task(double), task(double, retries=0),
])
def test_all_ways_to_make_a_task_give_the_same(made: Task[..., Any]) -> None:
    assert (made.name, made.description) == ("double", "Return twice x.")
    assert (made.fn, made(4)) == (double, 8)


def test_task_looks_like_its_function() -> None:
    assert inspect.signature(T) == inspect.signature(double)
    assert (T.__name__, T.__doc__, T.__module__) == ("double", double.__doc__, __name__)


def test_lambda_partial_and_callable_object_become_tasks() -> None:
    assert task(lambda x: x + 1)(1) == 2
    assert task(functools.partial(double, 4))() == 8
    assert task(functools.partial(double, 4)).name == "double"
    assert (task(Callable())(1), task(Callable()).name) == (2, "Callable")


def test_task_key_names_the_function_and_follows_its_source() -> None:
    name, _, digest = T.task_key.rpartition("-")
    assert name == "double" and len(digest) == 8 and int(digest, 16) >= 0
    assert task(anything).task_key != T.task_key
    assert task(double, name="other").task_key == T.task_key


class Shop:
    def __init__(self, rate: int) -> None:
        self.rate = rate

    @task
    def price(self, x: int) -> int:
        return x * self.rate

    @task
    @classmethod
    def kind(cls, x: int) -> Any:
        return cls, x

    @classmethod
    @task
    def kind_above(cls, x: int) -> Any:
        return cls, x

    @staticmethod
    @task
    def plain(x: int) -> int:
        return x

    @task
    @staticmethod
    def plain_below(x: int) -> int:
        return x


def test_methods_of_all_kinds_are_bound() -> None:
    shop = Shop(3)
    assert (shop.price(2), shop.price.fn(2), Shop.price(shop, 2)) == (6, 6, 6)
    assert (Shop.kind(1), shop.kind(1), Shop.kind_above(1)) == ((Shop, 1),) * 3
    assert (Shop.plain(1), shop.plain(1), Shop.plain_below(1), shop.plain_below(1)) == (1,) * 4
    assert shop.price.with_options(name="p")(2) == 6


def test_method_calls_share_one_code_and_pass_the_instance_as_a_constant() -> None:
    driver, shop = FakeDriver(), Shop(3)
    with flow_run(driver):
        shop.price.submit(1)
        Shop(4).price.map([1, 2])
    first, second = (spec.code for spec in driver.specs)
    assert first.task is second.task and first.task.fn is Shop.__dict__["price"].fn
    assert first.args == (Const(shop), Const(1)) and first.names == ("self", "x")
    assert second.args[1] == Items() and driver.specs[1].mapped[0].key == 1


@pytest.mark.parametrize("name", ["wait_for", "return_state"])
def test_reserved_parameter_name_is_refused(name: str) -> None:
    fn = eval(f"lambda {name}: 1")
    with pytest.raises(ReservedArgumentError, match=name):
        task(fn)


@pytest.mark.parametrize("fn", [5, "text", None.__class__()])
def test_what_cannot_be_called_is_no_task(fn: Any) -> None:
    with pytest.raises(TypeError):
        Task(fn)


async def coroutine() -> None: ...
async def async_generator() -> Any:
    yield 1
def generator() -> Any:
    yield 1
class AsyncCallable:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(("fn", "kind"), [
    (double, "sync"), (coroutine, "async"), (functools.partial(coroutine), "async"),
    (AsyncCallable(), "async"), (generator, "generator"), (async_generator, "async_generator"),
])
def test_task_knows_the_kind_of_its_function(fn: Any, kind: str) -> None:
    made = task(fn)
    assert (made.kind, made._task_code(None).kind) == (kind, kind)
    assert made.isasync is kind.startswith("async")
    assert made.isgenerator is kind.endswith("generator")


def test_async_concurrency_is_for_async_functions_alone() -> None:
    assert task(coroutine).async_concurrency == 1000
    assert task(coroutine, async_concurrency=3)._task_code(None).concurrency == 3
    assert task(double).async_concurrency is None
    assert task(double)._task_code(None).concurrency == 0
    for fn, options in ((double, {}), (generator, {}), (coroutine, {"isolation": "process"})):
        with pytest.raises(DefinitionError, match="async_concurrency of task .* async functions"):
            task(fn, async_concurrency=2, **options)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="async_concurrency"):
        task(coroutine, async_concurrency=0)


RESULT_KEYWORDS = (
    "cache_policy", "cache_key_fn", "cache_expiration", "persist_result", "result_storage",
    "result_storage_key", "result_serializer", "cache_result_in_memory", "refresh_cache",
)


@pytest.mark.parametrize("option", RESULT_KEYWORDS)
def test_result_keyword_of_a_wrong_type_is_refused_by_name(option: str) -> None:
    with pytest.raises(DefinitionTypeError, match=option):
        task(double, **{option: 1j})  # type: ignore[call-overload]
    task(double, **{option: None})  # type: ignore[call-overload]
    task(double, **{option: NotSet})  # type: ignore[call-overload]


@pytest.mark.parametrize("option, value", [
    ("cache_expiration", 0), ("cache_expiration", timedelta(seconds=-1)),
    ("result_storage_key", "out-{x}.pkl"), ("result_storage_key", "{parameters[x}"),
    ("result_storage", " "), ("result_serializer", "yaml"),
])
def test_result_keyword_that_cannot_be_meant_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(DefinitionError, match=option):
        task(double, **{option: value})


def test_unknown_keyword_is_refused_with_a_hint() -> None:
    with pytest.raises(TypeError, match="did you mean 'retries'"):
        task(double, retrys=1)  # type: ignore[call-overload]


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("option, value", [
    ("retries", -1), ("retries", INF), ("retries", NAN), ("retry_delay_seconds", -0.1),
    ("retry_delay_seconds", INF), ("retry_delay_seconds", NAN), ("retry_delay_seconds", [1, -1]),
    ("retry_delay_seconds", [1.0] * 51), ("retry_jitter_factor", -1), ("retry_jitter_factor", NAN),
    ("timeout_seconds", 0), ("timeout_seconds", -1), ("timeout_seconds", NAN),
    ("batch_size", 0), ("batch_size", -3), ("max_in_flight", 0), ("max_failures", -1),
    ("min_success_ratio", -0.1), ("min_success_ratio", 1.1), ("min_success_ratio", NAN),
    ("isolation", "vm"), ("resources", {"GPU": 0}), ("resources", {"GPU": -1}),
])
def test_option_out_of_bounds_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(DefinitionError, match=option) as caught:
        task(double, **{option: value})  # type: ignore[call-overload]
    assert isinstance(caught.value, ValueError) and caught.value.option == option


@pytest.mark.parametrize("option, value", [
    ("retries", True), ("retries", "2"), ("retries", 1.5), ("retry_delay_seconds", "1"),
    ("retry_delay_seconds", True), ("retry_delay_seconds", [1, "a"]),
    ("retry_jitter_factor", "x"), ("retry_condition_fn", 5), ("timeout_seconds", "1"),
    ("timeout_seconds", True), ("batch_size", 2.0), ("batch_size", True), ("max_failures", "1"),
    ("min_success_ratio", "all"), ("resources", ["GPU"]), ("resources", {"GPU": "1"}),
    ("resources", {1: 1}), ("workers", 5), ("workers", [1]), ("priority", "high"), ("name", 5),
    ("tags", "abc"), ("tags", [1]), ("log_prints", "yes"), ("task_run_name", 5), ("version", 1),
])
def test_option_of_the_wrong_type_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(DefinitionTypeError, match=option) as caught:
        task(double, **{option: value})  # type: ignore[call-overload]
    assert isinstance(caught.value, TypeError)


def test_delays_by_callable_are_asked_for_the_number_of_retries() -> None:
    made = task(double, retries=3, retry_delay_seconds=exponential_backoff(10))
    assert made.retry_delay_seconds == [10, 20, 40]


def test_with_options_changes_a_copy_only() -> None:
    base = task(double, retries=2, tags=["a"], description="d", timeout_seconds=3)
    new = base.with_options(retries=0, tags=["b"], name="n")
    assert (new.retries, new.tags, new.name, new.timeout_seconds) == (0, {"b"}, "n", 3)
    assert (base.retries, base.tags, base.name) == (2, {"a"}, "double")
    assert base.with_options(retries=NotSet, description=None).retries == 2
    assert base.with_options(timeout_seconds=None).timeout_seconds is None
    with pytest.raises(DefinitionError, match="retries"):
        base.with_options(retries=-1)


def test_task_survives_cloudpickle() -> None:
    again = pickle.loads(cloudpickle.dumps(task(lambda x: x + 1, retries=2)))
    assert (again(1), again.retries) == (2, 2)


# calls outside of a flow


def test_call_outside_of_a_flow_runs_with_retries_and_raises_the_own_exception() -> None:
    seen = []

    @task(retries=2)
    def flaky(x: int) -> int:
        seen.append(x)
        if len(seen) < 3:
            raise ValueError("not yet")
        return x

    assert flaky(1) == 1 and seen == [1, 1, 1]
    with pytest.raises(ZeroDivisionError):
        task(lambda: 1 / 0)()
    state = task(lambda: 1 / 0)(return_state=True)
    assert state.is_failed() and isinstance(state.data, ZeroDivisionError)


def test_direct_call_passes_the_very_same_object_and_does_not_coerce() -> None:
    def same(x: int) -> int:
        return x

    held: Any = ["5"]
    assert task(same)(held) is held


@pytest.mark.parametrize("verb", ["submit", "map"])
def test_submit_outside_of_a_flow_is_refused(verb: str) -> None:
    with pytest.raises(MissingContextError, match=verb):
        getattr(T, verb)([1])


@pytest.mark.parametrize("args, kwargs", [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}),
                                          ((1,), {"x": 1})])
def test_arguments_that_do_not_fit_are_refused_before_anything_is_made(
        args: Any, kwargs: Any) -> None:
    driver = FakeDriver()
    with flow_run(driver):
        for call in (T, T.submit, T.map):
            with pytest.raises(ParameterBindError, match="double"):
                call(*args, **kwargs)
    assert driver.specs == [] and driver.next_call() == 0


# submit


def test_submit_of_plain_arguments_makes_constants() -> None:
    driver = FakeDriver()
    with flow_run(driver), tags("outer"):
        future = task(double, tags=["own"]).submit(1, y=[2])
    spec = driver.specs[0]
    assert (spec.code.args, spec.code.kwargs) == ((Const(1),), {"y": Const([2])})
    assert (spec.kind, spec.deps, spec.mapped) == ("submit", (), ())
    assert spec.code.tags == {"own", "outer"}
    assert future.name.startswith("double-")


def test_code_of_a_task_is_one_object_for_all_calls_and_another_for_other_options() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        T.submit(1)
        T.map([1])
        T.with_options(retries=1).submit(1)
    one, two, three = (spec.code.task for spec in driver.specs)
    assert one is two and one.token != three.token


def test_futures_in_arguments_become_sources_and_dependencies() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        a, m = ANY.submit(1), ANY.map([1, 2, 3])
        ANY.submit(a, m, {"k": [a, 5]}, m[1:], [m[0], m[1], m[2]], allow_failure(a), quote(a))
    spec = driver.specs[2]
    one = One(0)
    assert spec.code.args == (
        one, Whole(1), Tree({"k": [Leaf(0), 5]}, (one,)),
        Tree([Leaf(0), Leaf(1)], (One(1, 1), One(1, 2))), Whole(1), One(0, 0, True), Const(a),
    )
    assert spec.deps == (Dep(0, 0), Dep(1), Dep(1, 1), Dep(1, 2))


def test_wait_for_takes_futures_in_any_nesting_without_their_values() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        a, m = ANY.submit(1), ANY.map([1, 2])
        ANY.submit(1, wait_for=a)
        ANY.submit(a, wait_for=[a, [m]])
    assert driver.specs[2].deps == (Dep(0, 0, value=False),)
    assert driver.specs[3].deps == (Dep(0, 0, value=True), Dep(1, value=False))


def test_states_stand_for_their_futures_or_values() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        a = ANY.submit(1)
        driver.end(0, 0, 7)
        ANY.submit(a.state, Completed(data=5), allow_failure(Failed(data=KeyError("k"))))
        ANY.submit(Failed(message="m"))
    stands_for_it, downstream = driver.specs[2:]
    assert stands_for_it.failed is not None and stands_for_it.failed.message == "m"
    assert downstream.deps == (Dep(stands_for_it.code.call, 0),)
    first, second, third = driver.specs[1].code.args
    assert (first, second) == (One(0), Const(5))
    assert isinstance(third, Const) and isinstance(third.value, KeyError)


def test_future_of_another_run_is_a_constant_where_fetched_and_refused_otherwise() -> None:
    old, new = FakeDriver(), FakeDriver()
    with flow_run(old) as ended:
        kept, lost = ANY.submit(1), ANY.submit(2)
        old.end(0, 0, 7)
        old.end(1, 0, 8)
        assert kept.result() == 7
    with flow_run(new):
        with pytest.raises(ForeignFuture, match="test-run"):
            ANY.submit(kept)
        ended.ended = True
        ANY.submit(kept)
        with pytest.raises(ForeignFuture, match="test-run"):
            ANY.submit(lost)
    assert [spec.code.args for spec in new.specs] == [(Const(7),)]


def test_direct_call_in_a_flow_takes_values_of_futures() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        a = ANY.submit(1)
        driver.end(0, 0, 7)
        assert ANY(a, [a], k={"x": a}, q=quote(a)) == (
            (7, [7]), {"k": {"x": 7}, "q": a})


# map


@pytest.mark.parametrize("given, items", [
    ([1, 2], [1, 2]), ((1, 2), (1, 2)), (range(2), range(2)), ({"a": 1, "b": 2}, ["a", "b"]),
    ({3}, [3]), (pd.Series([1, 2], index=[5, 6]), [1, 2]), (quote([1, 2]), [1, 2]), ([], []),
    (flatten([[1], (2, 3)]), [1, 2, 3]), (Completed(data=[1, 2]), [1, 2]),
])
def test_iterables_are_mapped_over(given: Any, items: Any) -> None:
    driver = FakeDriver()
    with flow_run(driver):
        T.map(given, y=unmapped([9]))
    spec = driver.specs[0]
    assert (spec.code.args, spec.code.kwargs) == ((Items(),), {"y": Const([9])})
    assert [(m.name, m.key, m.items) for m in spec.mapped] == [("x", 0, items)]


def test_list_and_array_are_taken_as_they_are_at_the_call() -> None:
    driver, items, array = FakeDriver(), [1, 2], np.arange(2)
    with flow_run(driver):
        T.map(items, array)
        items.append(3)
        array[0] = 9
    first, second = driver.specs[0].mapped
    assert second.items is not None
    assert (first.items, list(second.items)) == ([1, 2], [0, 1])


@pytest.mark.parametrize("constant", ["text", b"bytes", 5, None, unmapped([1])])
def test_what_is_not_iterable_is_the_same_for_all(constant: Any) -> None:
    driver = FakeDriver()
    with flow_run(driver):
        T.map([1], constant)
    assert driver.specs[0].code.args[1] == Const(getattr(constant, "value", constant))


def test_generator_is_not_begun_by_the_call() -> None:
    def items() -> Any:
        begun.append(1)
        yield 1

    begun: list[int] = []
    driver = FakeDriver()
    with flow_run(driver):
        T.map(items())
        mapped = driver.specs[0].mapped[0]
        assert mapped.iterator is not None and begun == []
        assert next(mapped.iterator) == 1


def test_generator_that_yields_a_future_is_refused_when_it_does() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        T.map(T.submit(n) for n in range(2))
    iterator = driver.specs[0].mapped[0].iterator
    assert iterator is not None
    with pytest.raises(CallError, match="list of futures"):
        next(iterator)


def test_members_of_star_arguments_are_mapped_one_by_one() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        ANY.map([1, 2], [3, 4], k=[5, 6], j=7)
    spec = driver.specs[0]
    assert [m.key for m in spec.mapped] == [0, 1, "k"]
    assert spec.code.kwargs == {"k": Items(), "j": Const(7)}


def test_map_over_futures_follows_without_waiting() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        one, many = ANY.submit(1), ANY.map([1, 2])
        T.map(one)
        T.map(many)
        T.map(list(many))
        T.map(allow_failure(many))
        T.map(flatten(one))
        T.map(flatten(many))
        T.map(flatten([one, [1]]))
    args = [spec.code.args[0] for spec in driver.specs[2:]]
    assert args == [ItemOf(0), Aligned(1), Aligned(1), Aligned(1, True), Items(), Items(), Items()]
    assert [spec.deps for spec in driver.specs[2:6]] == [
        (Dep(0, 0),), (Dep(1, aligned=True),), (Dep(1, aligned=True),),
        (Dep(1, aligned=True, allow_failure=True),)]
    mapped = [spec.mapped[0] for spec in driver.specs[6:]]
    assert [m.flat for m in mapped] == [
        [FlatPart(0, 0, 2)], [FlatPart(1, None, 1)], [FlatPart(0, 0, 1), [1]]]


def test_list_with_futures_among_its_items_depends_item_by_item() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        a, m = ANY.submit(1), ANY.map([1, 2])
        T.map([a, 5, (m[1], 1)], allow_failure([1, a, 2]))
    spec = driver.specs[2]
    assert spec.mapped[0].items == [One(0), 5, Tree((Leaf(0), 1), (One(1, 1),))]
    assert spec.mapped[1].items == [1, One(0, 0, True), 2]
    assert spec.item_deps == [(Dep(0, 0),), (Dep(0, 0, allow_failure=True),), (Dep(1, 1),)]


def test_map_without_anything_iterable_is_refused() -> None:
    driver = FakeDriver()
    with flow_run(driver), pytest.raises(MappingMissingIterable, match="double"):
        T.map(1, unmapped([1]))
    assert driver.specs == []


def test_map_over_unequal_lengths_names_all_of_them() -> None:
    driver = FakeDriver()
    with flow_run(driver):
        with pytest.raises(MappingLengthMismatch, match="'x' has 3, 'y' has 2") as caught:
            T.map([1, 2, 3], y=(1, 2))
        many = ANY.map([1, 2])
        with pytest.raises(MappingLengthMismatch, match="'x' has 2, 'y' has 1"):
            T.map(many, [1])
    assert caught.value.lengths == {"x": 3, "y": 2} and len(driver.specs) == 1


def test_defaults_are_never_mapped_over() -> None:
    def with_default(x: int, y: tuple[int, ...] = (1, 2, 3)) -> int:
        return x

    driver = FakeDriver()
    with flow_run(driver):
        task(with_default).map([1, 2])
    assert len(driver.specs[0].mapped) == 1 and len(driver.specs[0].code.args) == 1


def test_a_forgotten_await_is_told_with_the_name_of_the_task() -> None:
    @task
    async def fetch() -> int:
        return 1

    with pytest.warns(RuntimeWarning, match="'fetch' was never awaited"):
        fetch()


def test_tags_that_are_no_str_are_refused() -> None:
    with pytest.raises(TypeError, match="each tag as a str of its own.*got list"), \
            tags(["a", "b"]):  # type: ignore[arg-type]
        pass
