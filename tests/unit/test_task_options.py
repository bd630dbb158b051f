"""Options of tasks: hooks and what is kept for reading, copies, names, what a task looks like."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from dataflow import Task, task
from dataflow.annotations import NotSet
from dataflow.batch import CallCode, TaskCode
from dataflow.context import TaskRunContext
from dataflow.exceptions import DefinitionError, DefinitionTypeError
from dataflow.hooks import tell_completed, tell_running
from dataflow.options import TaskKeywords
from dataflow.outcomes import Said
from dataflow.run_names import check_template, fields_of, run_name
from dataflow.states import State
from dataflow.tasks import exponential_backoff
from dataflow.worker.attempt import Attempts

KINDS = ("on_running", "on_completion", "on_failure")


def double(x: Any, y: Any = 1) -> Any:
    """Return twice x.

    Whatever y is.
    """
    return x * 2


def first(task: Any, run: Any, state: Any) -> None: ...
def second(task: Any, run: Any, state: Any) -> None: ...


def hooks_of(made: Task[..., Any], kind: str) -> list[Any]:
    return list(getattr(made, f"{kind}_hooks"))


# keywords


def test_every_keyword_of_prefects_task_is_known() -> None:
    theirs = set(
        "name description tags version cache_policy cache_key_fn cache_expiration task_run_name "
        "retries retry_delay_seconds retry_jitter_factor persist_result result_storage "
        "result_storage_key result_serializer cache_result_in_memory timeout_seconds log_prints "
        "refresh_cache on_completion on_failure on_running on_rollback on_commit "
        "retry_condition_fn viz_return_value asset_deps".split())
    assert theirs <= set(TaskKeywords.__annotations__)
    for keyword in theirs:
        task(double, **{keyword: None})  # type: ignore[call-overload]
        task(double, **{keyword: NotSet})  # type: ignore[call-overload]


@pytest.mark.parametrize("keyword, value", [
    ("persist_result", False), ("cache_result_in_memory", True), ("refresh_cache", False),
    ("on_rollback", []), ("on_commit", ()), ("viz_return_value", 5), ("asset_deps", ["s3://a"]),
])
def test_keywords_that_ask_for_what_happens_anyway_are_accepted(keyword: str, value: Any) -> None:
    assert task(double, **{keyword: value})(2) == 4  # type: ignore[call-overload]


def test_inert_keywords_can_be_read() -> None:
    made = task(double, viz_return_value={"a": 1}, asset_deps=("s3://a",))
    assert (made.viz_return_value, made.asset_deps) == ({"a": 1}, ["s3://a"])
    again = made.with_options(retries=1)
    assert (again.viz_return_value, again.asset_deps) == ({"a": 1}, ["s3://a"])
    assert (task(double).viz_return_value, task(double).asset_deps) == (None, [])


@pytest.mark.parametrize("keyword", [*KINDS, "on_rollback", "on_commit"])
@pytest.mark.parametrize("value, said", [
    (first, "iterable of callables"), (5, "iterable of callables"), ("name", "iterable"),
    ([first, 5], "callables only, got int 5"), ([None], "NoneType"),
])
def test_hooks_that_cannot_be_called_are_a_type_error(keyword: str, value: Any, said: str) -> None:
    with pytest.raises(DefinitionTypeError, match=rf"{keyword} of task 'double'.*{said}") as caught:
        task(double, **{keyword: value})  # type: ignore[call-overload]
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("keyword", ["on_rollback", "on_commit"])
def test_hooks_of_transactions_can_be_given_read_and_added(keyword: str) -> None:
    made = task(double, **{keyword: (hook for hook in [first])})  # type: ignore[call-overload]
    assert getattr(made, f"{keyword}_hooks") == [first]
    again = made.with_options(retries=1)
    assert getattr(again, keyword)(second) is second
    assert getattr(again, f"{keyword}_hooks") == [first, second]
    assert getattr(made, f"{keyword}_hooks") == [first]


def test_keywords_of_results_can_be_read() -> None:
    made = task(double, persist_result=False)
    assert (made.persist_result, made.refresh_cache, made.cache_result_in_memory) == (
        False, None, True)
    assert made.with_options(persist_result=None).persist_result is None


# hooks


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_are_kept_in_order_and_added_by_decorator(kind: str) -> None:
    made = task(double, **{kind: iter([first, second])})  # type: ignore[call-overload]
    assert hooks_of(made, kind) == [first, second]
    third = functools.partial(first)
    assert getattr(made, kind)(third) is third
    assert hooks_of(made, kind) == [first, second, third]
    hooks_of(made, kind).append(5)
    assert hooks_of(made, kind) == [first, second, third]
    with pytest.raises(DefinitionTypeError, match=kind):
        getattr(made, kind)("no hook")


@pytest.mark.parametrize("kind", KINDS)
def test_copies_replace_hooks_keep_them_or_have_none(kind: str) -> None:
    made = task(double, **{kind: [first]})  # type: ignore[call-overload]
    for keeps in ({}, {kind: None}, {kind: NotSet}, {"name": "n"}):
        assert hooks_of(made.with_options(**keeps), kind) == [first]
    assert hooks_of(made.with_options(**{kind: [second]}), kind) == [second]
    assert hooks_of(made.with_options(**{kind: []}), kind) == []
    copy = made.with_options(retries=1)
    getattr(copy, kind)(second)
    assert (hooks_of(made, kind), hooks_of(copy, kind)) == ([first], [first, second])


def test_hook_of_a_bound_method_is_of_that_method_alone() -> None:
    class Shop:
        @task(on_failure=[first])
        def price(self, x: int) -> int:
            return x

    bound = Shop().price
    bound.on_failure(second)
    assert bound.on_failure_hooks == [first, second]
    assert bound._task_code(None).hooks.on_failure == (first, second)
    assert Shop.price.on_failure_hooks == Shop().price.on_failure_hooks == [first]


def test_task_without_hooks_sends_none_of_them_and_not_itself() -> None:
    code = task(double)._task_code(None)
    assert (code.hooks, code.owner) == (None, None)
    made = task(double, on_running=[first])
    assert made._task_code(None).owner is made
    asked = task(double, retry_condition_fn=lambda *rest: True)
    assert asked._task_code(None).owner is asked


def test_task_without_hooks_has_the_plain_way() -> None:
    def attempts(**options: Any) -> Attempts:
        made: Task[..., Any] = task(double, **options)
        call = CallCode(0, made._task_code(None), (), {}, (), False)
        return Attempts(call, None, None, [], remote=False)

    assert attempts().plain and not attempts(on_completion=[first]).plain


def test_task_with_hooks_survives_pickle_with_them() -> None:
    seen: list[Any] = []
    made = task(lambda x: x + 1, on_running=[lambda task, run, state: seen.append(task.name)])
    code: TaskCode = pickle.loads(cloudpickle.dumps(made._task_code(None)))
    assert isinstance(code.owner, Task) and code.owner.task_key == made.task_key
    assert code.owner.on_running_hooks == list(code.hooks.on_running)
    assert code.owner(1) == 2


def test_hooks_without_a_flow_run_are_given_what_there_is() -> None:
    seen: list[Any] = []

    def told(task: Any, run: Any, state: State) -> None:
        seen.append((run.id, run.name, run.flow_run_id, run.run_count, state.name,
                     run.parameters, run.state is state, run.flow_run_run_count, state.data))

    code = task(double, on_running=[told], on_completion=[told])._task_code(None)
    context = TaskRunContext(None, CallCode(0, code, (), {}, ("x",), False), 0, 2, None, (4,), {})
    tell_running(context)
    tell_completed(context, 8, Said("fine", "Found"), 0.0)
    parameters = {"x": 4, "y": 1}
    assert seen == [(None, "double", None, 2, "Retrying", parameters, True, 0, None),
                    (None, "double", None, 2, "Found", parameters, True, 0, 8)]


# copies


def test_copies_of_one_shot_options_keep_them() -> None:
    made = task(double, tags=iter(["a", "b"]))
    assert made.tags == made.with_options(name="n").tags == {"a", "b"}
    assert made.with_options(tags=[]).tags == set()


def test_copy_keeps_function_key_and_looks() -> None:
    made = task(double, retries=2)
    copy = made.with_options(name="other", retries=0)
    assert (copy.fn, copy.task_key, copy.__doc__) == (double, made.task_key, double.__doc__)
    assert inspect.signature(copy) == inspect.signature(double)
    assert (made.retries, copy.retries, copy.with_options(retries=NotSet).retries) == (2, 0, 0)
    assert copy(3) == 6
    with pytest.raises(TypeError, match="task 'other' takes"):
        copy()


def test_copy_of_a_copy_of_a_bound_method_stays_bound() -> None:
    class Shop:
        @task
        def price(self, x: int) -> int:
            return x * 3

    shop = Shop()
    copy = shop.price.with_options(retries=1).with_options(name="p", tags=["t"])
    assert (copy(2), copy.retries, copy.name, copy.tags) == (6, 1, "p", {"t"})
    assert (Shop.price.retries, Shop.price.name) == (0, "price")


# looks


def test_bound_method_shows_the_signature_without_its_instance() -> None:
    class Shop:
        @task
        def price(self, x: int, y: str = "a") -> int:
            """Tell a price."""
            return x

    assert str(inspect.signature(Shop().price)) == "(x: 'int', y: 'str' = 'a') -> 'int'"
    assert (Shop().price.__name__, Shop().price.__doc__) == ("price", "Tell a price.")
    assert Shop().price.__wrapped__(3) == 3  # type: ignore[attr-defined]


class Greeter:
    """Greets."""

    def __call__(self, name: str) -> str:
        return name


@pytest.mark.parametrize("fn, name, doc", [
    (double, "double", "Return twice x.\n\nWhatever y is."),
    (functools.partial(double, 1), "double", "Return twice x.\n\nWhatever y is."),
    (Greeter(), "Greeter", "Greets."), (lambda: 1, "<lambda>", None),
])
def test_name_and_description_are_those_of_what_is_called(
        fn: Callable[..., Any], name: str, doc: str | None) -> None:
    made = task(fn)
    assert (made.name, made.__name__, made.description) == (name, name, doc)
    assert task(fn, description="own", name="n").description == "own"


def test_wrapped_is_the_function() -> None:
    assert task(double).__wrapped__ is double  # type: ignore[attr-defined]
    assert task(double).__module__ == __name__


def test_backoff_is_found_beside_task() -> None:
    assert exponential_backoff(10)(3) == [10, 20, 40]
    made = task(double, retries=2, retry_delay_seconds=exponential_backoff(backoff_factor=3))
    assert made.retry_delay_seconds == [3, 6]


# names of runs


@pytest.mark.parametrize("template, fields", [
    ("plain", set()), ("{x}-{y!r:>5}", {"x", "y"}), ("{x[0].a}", {"x"}), ("{{x}}", set()),
    ("{x:{width}}", {"x", "width"}), ("{}", {""}), ("{0}", {"0"}),
])
def test_fields_of_a_template_are_found(template: str, fields: set[str]) -> None:
    assert fields_of(template) == fields


@pytest.mark.parametrize("template", ["{z}", "{}", "{0}", "{x:{z}}", "{flow_run}"])
def test_template_that_no_call_can_fill_is_refused_at_decoration(template: str) -> None:
    with pytest.raises(DefinitionError, match=r"task_run_name .* of task 'n'.*'x', 'y'") as caught:
        task(double, name="n", task_run_name=template)
    assert caught.value.option == "task_run_name"
    with pytest.raises(DefinitionError, match=r"parameters are 'x', 'y'"):
        task(double).with_options(task_run_name=template)


@pytest.mark.parametrize("template", ["{x", "x}", "{x!q}"])
def test_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(DefinitionError, match="task_run_name"):
        name = task(double, task_run_name=template).task_run_name
        run_name(str(name), {"x": 1, "y": 2}, "task_run_name", "task 'double'")


def test_template_over_keywords_is_left_to_the_call() -> None:
    def open_ended(x: int, **more: int) -> int:
        return x

    signature = inspect.signature(open_ended)
    check_template("{x}-{more[a]}-{other}", signature, "task_run_name", "task 'o'")
    with pytest.raises(DefinitionError, match="0"):
        check_template("{0}", signature, "task_run_name", "task 'o'")
    check_template("{anything}", None, "task_run_name", "task 'builtin'")


def test_names_that_cannot_be_made_chain_what_was_raised() -> None:
    def broken() -> str:
        raise LookupError("nowhere")

    with pytest.raises(DefinitionError, match=r"broken raised LookupError: nowhere") as caught:
        run_name(broken, {"x": 1}, "task_run_name", "task 't'")
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(DefinitionError, match=r"no \{b\}; there are no parameters"):
        run_name("{b}", {}, "task_run_name", "task 't'")
