"""Keys of elements: what tells them apart, what does not, and who may make them."""

import asyncio
import inspect
import pickle
import threading
from dataclasses import dataclass, replace
from functools import partial, wraps
from types import SimpleNamespace

import pytest

from dataflow.batch import CallCode, RunInfo, TaskCode
from dataflow.cache_keys import RunFacts, TaskFacts, own_key, recipe_of, user_key
from dataflow.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    Inputs,
)
from dataflow.context import TaskRunContext
from dataflow.exceptions import DefinitionTypeError, NotCacheable
from dataflow.key_maker import KeyMaker
from dataflow.partitions import SHARED, address_of, partition_of

LOCK = threading.Lock()


def load(path, rate=1, *more, deep=False, **extra):
    return path


def plain(a, b=2):
    return a


def refusing(a, lock=LOCK):
    return a


def only(a, /, **extra):
    return a


def nothing():
    return 1


def facts(fn=load, name=None, code=b"\1" * 16, alone=True):
    task = SimpleNamespace(fn=fn, name=name or fn.__name__)
    return TaskFacts(task.name, partition_of(task), lambda: code, inspect.signature(fn), alone)


RUN = RunFacts("run-1", {"day": 1})


def maker(policy=INPUTS, fn=load, run=RUN, **more):
    recipe = recipe_of(policy, facts(fn, **more), run)
    return KeyMaker(pickle.loads(pickle.dumps(recipe)))


def key(policy, *args, fn=load, run=RUN, **kwargs):
    return maker(policy, fn, run).key(args, kwargs)


def element(fn, *args, run=True, **kwargs):
    info = RunInfo("0" * 32, "run", "flow", None, {"day": 1}, (), 0.0) if run else None
    code = CallCode(1, TaskCode("t", fn, fn.__name__), (), {}, (), mapped=False)
    return TaskRunContext(info, code, 0, 1, None, args, kwargs)


def asked(policy, *args, fn=load, **kwargs):
    context = element(fn, *args, **kwargs)
    return KeyMaker(recipe_of(policy, facts(fn), RUN)).key(args, kwargs, context)


# ---- arguments


@pytest.mark.parametrize(("args", "kwargs"), [
    (("a",), {}),
    ((), {"path": "a"}),
    (("a", 1), {}),
    (("a",), {"rate": 1}),
    ((), {"rate": 1, "path": "a"}),
    (("a",), {"deep": False}),
    (("a", 1), {"deep": False}),
])
def test_a_key_does_not_depend_on_how_an_argument_is_given(args, kwargs):
    assert key(INPUTS, *args, **kwargs) == key(INPUTS, "a")


@pytest.mark.parametrize(("args", "kwargs"), [
    (("b",), {}),
    (("a", 2), {}),
    (("a",), {"deep": True}),
    (("a", 1, 1), {}),
    (("a", 1, 1, 2), {}),
    (("a", 1, (1, 2)), {}),
    (("a",), {"more": 1}),
    (("a",), {"other": 1}),
    ((1,), {}),
    ((True,), {}),
])
def test_another_argument_makes_another_key(args, kwargs):
    keys = [key(INPUTS, "a"), key(INPUTS, *args, **kwargs)]
    assert [len(one) for one in keys] == [16, 16]
    assert keys[0] != keys[1]


def test_members_of_kwargs_count_in_any_order():
    assert key(INPUTS, "a", x=1, y=2) == key(INPUTS, "a", y=2, x=1)
    assert key(INPUTS, "a", x=1, y=2) != key(INPUTS, "a", x=2, y=1)


def test_a_member_of_kwargs_may_have_the_name_of_a_positional_only_parameter():
    assert key(INPUTS, 1, fn=only, a=2) != key(INPUTS, 1, fn=only)
    assert key(INPUTS, 1, fn=only, a=2) != key(INPUTS, 2, fn=only, a=1)


def test_a_constant_makes_the_key_that_the_argument_makes():
    one = maker()
    one.constant("path", "a")
    assert one.key(("a",), {}) == key(INPUTS, "a")
    assert one.key((), {"path": "a"}) == key(INPUTS, "a")
    assert one.key(("a",), {"deep": True}) == key(INPUTS, "a", deep=True)


def test_a_constant_is_looked_at_once():
    one = maker()
    seen = ["a"]
    one.constant("path", seen)
    first = one.key((seen,), {})
    seen.append("b")
    assert one.key((seen,), {}) == first
    assert key(INPUTS, ["a"]) == first


def test_elements_of_one_call_may_differ_in_what_is_given():
    one = maker()
    assert one.key(("a",), {}) == one.key(("a", 1), {}) == one.key((), {"path": "a"})
    assert one.key(("a", 1, 5), {}) == key(INPUTS, "a", 1, 5)
    assert one.key(("a",), {}) == key(INPUTS, "a")


def test_an_argument_left_out_does_not_count():
    policy = INPUTS - "rate" - "extra" - "more"
    assert key(policy, "a", 1) == key(policy, "a", LOCK, LOCK, other=LOCK)
    assert key(policy, "a", 1) != key(policy, "a", 1, deep=True)
    assert key(INPUTS - "other", "a", other=LOCK) == key(INPUTS - "other", "a", other=1)


def test_the_digests_of_the_inputs_are_told_by_name():
    one, two = maker().input_digests(("a",), {"x": 1}), maker().input_digests(("b", 1, 5), {})
    assert list(one) == ["path", "rate", "deep", "**x"]
    assert list(two) == ["path", "rate", "deep", "*more"]
    assert one["rate"] == two["rate"] and one["path"] != two["path"]


# ---- what has no content


def test_an_argument_without_content_is_named():
    with pytest.raises(NotCacheable) as caught:
        key(INPUTS, {"lock": LOCK})
    assert caught.value.path == "args['path']['lock']"


def test_a_default_without_content_counts_only_where_it_is_used():
    assert key(INPUTS, 1, 2, fn=refusing) == key(INPUTS, 1, lock=2, fn=refusing)
    for _ in range(2):
        with pytest.raises(NotCacheable, match="default of 'lock'"):
            key(INPUTS, 1, fn=refusing)
    assert key(INPUTS - "lock", 1, fn=refusing)


def test_a_constant_without_content_refuses_every_element():
    one = maker(fn=plain)
    one.constant("b", LOCK)
    for value in (1, 2):
        with pytest.raises(NotCacheable, match=r"args\['b'\]"):
            one.key((value, LOCK), {})


def test_code_without_digest_is_refused_with_the_recipe():
    def refuse():
        raise NotCacheable.because("code", "is unknown", "write it")

    task = TaskFacts("load", "load-1", refuse, inspect.signature(load))
    assert recipe_of(INPUTS, task, RUN).code is None
    with pytest.raises(NotCacheable, match="code is unknown"):
        recipe_of(DEFAULT, task, RUN)


# ---- policies


def test_no_policy_makes_no_recipe():
    assert recipe_of(NO_CACHE, facts(), RUN) is None
    assert recipe_of(INPUTS, facts(nothing), RUN) is None
    assert recipe_of(FLOW_PARAMETERS, facts(), RunFacts("run-1", {})) is None


def test_a_function_without_parameters_is_cached_by_what_else_counts():
    assert recipe_of(DEFAULT, facts(nothing), RUN).wants_inputs is False
    assert key(DEFAULT, fn=nothing) == key(DEFAULT, fn=nothing)


def test_two_tasks_never_share_a_key():
    recipes = [recipe_of(INPUTS, facts(fn, name=name), RUN)
               for fn, name in ((load, "load"), (plain, "load"), (load, "other"))]
    assert len({recipe.partition for recipe in recipes}) == 3
    assert len({KeyMaker(recipe).key((1, 2), {}) for recipe in recipes}) == 3


def test_code_counts_by_task_source():
    def of(policy, code):
        return maker(policy, code=code * 16).key((1,), {})

    assert of(INPUTS, b"1") == of(INPUTS, b"2")
    assert of(DEFAULT, b"1") != of(DEFAULT, b"2")


def test_code_counts_where_the_name_does_not_tell_a_task():
    assert recipe_of(INPUTS, facts(alone=False), RUN).code == "01" * 16
    assert recipe_of(RUN_ID, facts(alone=False), RUN).code == "01" * 16


def test_the_run_counts_by_run_id():
    two = RunFacts("run-2", {"day": 1})
    assert key(INPUTS, 1) == key(INPUTS, 1, run=two)
    assert key(DEFAULT, 1) != key(DEFAULT, 1, run=two)
    assert key(RUN_ID, 1) == key(RUN_ID, 2) != key(RUN_ID, 1, run=two)


def test_parameters_of_the_flow_count_by_flow_parameters():
    two = RunFacts("run-1", {"day": 2})
    assert key(INPUTS, 1) == key(INPUTS, 1, run=two)
    assert key(INPUTS + FLOW_PARAMETERS, 1) != key(INPUTS + FLOW_PARAMETERS, 1, run=two)


def test_the_order_of_a_sum_does_not_matter():
    assert key(INPUTS + RUN_ID, 1) == key(RUN_ID + INPUTS, 1)
    assert len({key(policy, 1) for policy in (
        INPUTS, RUN_ID, TASK_SOURCE, INPUTS + RUN_ID, DEFAULT, INPUTS + FLOW_PARAMETERS)}) == 6


# ---- keys of the user's


def by_path(context, parameters):
    return parameters["path"]


def test_a_cache_key_fn_makes_a_key_that_tasks_share():
    policy = CacheKeyFnPolicy(cache_key_fn=by_path)
    recipe = recipe_of(policy, facts(), RUN)
    assert (recipe.partition, recipe.wants_inputs, recipe.code) == (SHARED, False, None)
    assert asked(policy, "a") == user_key("a") == asked(policy, path="a")
    assert asked(policy, "a") != asked(policy, "b")


def test_a_cache_key_fn_is_given_context_and_parameters():
    seen = []

    def fn(context, parameters):
        seen.append((context.task.name, context.task_run.name, parameters))
        return "one"

    assert asked(CacheKeyFnPolicy(cache_key_fn=fn), "a", 2, 3, x=4) == user_key("one")
    assert seen[0][0] == "load" and seen[0][1].startswith("load")
    assert seen[0][2] == {"path": "a", "rate": 2, "more": (3,), "deep": False, "extra": {"x": 4}}


def test_a_cache_key_fn_that_gives_none_wants_no_caching():
    assert asked(CacheKeyFnPolicy(cache_key_fn=lambda context, parameters: None), "a") is None


def test_a_cache_key_fn_that_gives_an_empty_text_is_told_of():
    policy = CacheKeyFnPolicy(cache_key_fn=lambda context, parameters: "")
    with pytest.raises(NotCacheable, match=r"cache_key_fn '.*<lambda>' returned ''.* None for no"):
        asked(policy, "a")
    assert asked(policy + INPUTS, "a") == asked(policy + INPUTS, "a") != asked(policy + INPUTS, "b")


def test_a_cache_key_fn_that_gives_no_str_is_named():
    with pytest.raises(DefinitionTypeError, match=(
            "cache_key_fn 'by_path' of task 'load' must return a str, or None for no caching, "
            "got int 3")):
        asked(CacheKeyFnPolicy(cache_key_fn=by_path), 3)


def test_a_cache_key_fn_that_raises_is_chained():
    with pytest.raises(NotCacheable, match=r"cache_key_fn 'by_path' raised KeyError") as caught:
        asked(CacheKeyFnPolicy(cache_key_fn=by_path), 3, fn=plain)
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_async_cache_key_fn_is_awaited():
    async def fn(context, parameters):
        await asyncio.sleep(0)
        return "one"

    assert asked(CacheKeyFnPolicy(cache_key_fn=fn), "a") == user_key("one")


@dataclass
class ByDay(CachePolicy):
    prefix: str = "day"

    def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
        day = flow_parameters.get("day")
        return None if inputs["path"] == "never" else f"{self.prefix}-{day}"


def test_a_custom_policy_is_given_the_parameters_of_the_flow():
    assert asked(ByDay(), "a") == user_key("day-1")
    assert asked(ByDay(), "never") is None
    one = KeyMaker(recipe_of(ByDay(), facts(), RUN))
    assert one.key(("a",), {}, element(load, "a", run=False)) == user_key("day-None")


def test_custom_policies_alone_share_their_key_between_tasks():
    policy = ByDay() + ByDay(prefix="x")
    assert recipe_of(policy, facts(), RUN).partition == SHARED
    assert asked(policy, "a") not in (user_key("day-1"), user_key("x-1"), None)
    assert asked(policy, "never") is None


def test_a_custom_policy_added_to_a_built_in_one_tells_tasks_apart():
    policy = INPUTS + ByDay()
    assert recipe_of(policy, facts(), RUN).partition == facts().partition
    assert len({asked(INPUTS, "a"), asked(policy, "a"), asked(policy, "b"),
                asked(INPUTS + ByDay(prefix="x"), "a")}) == 4
    assert asked(policy, "never") == asked(INPUTS, "never")


def test_a_custom_policy_added_to_one_that_says_nothing_tells_tasks_apart():
    policy = INPUTS + ByDay()
    recipe = recipe_of(policy, facts(nothing), RUN)
    assert recipe.partition == facts(nothing).partition
    never = KeyMaker(recipe_of(FLOW_PARAMETERS + ByDay(), facts(), RunFacts("run-1", {})))
    assert never.key(("never",), {}, element(load, "never")) is None
    assert never.key(("a",), {}, element(load, "a")) not in (None, user_key("day-1"))


def test_a_subclass_of_a_built_in_policy_is_asked():
    class Always(Inputs):
        def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
            return "always"

    assert asked(Always(exclude=["path"]), "a") == user_key("always")


# ---- keys that nobody else asks for


def test_own_keys_differ_by_run_call_and_index():
    keys = {own_key(run, call, index) for run in "ab" for call in (1, 11) for index in (1, 11)}
    assert len(keys) == 8
    assert own_key("a", 1, 1) == own_key("a", 1, 1)


# ---- partitions


def wrapped(fn):
    @wraps(fn)
    def inner(*args):
        return fn(*args)

    return inner


class Callable:
    def __call__(self, a):
        return a

    def method(self, a):
        return a


@pytest.mark.parametrize(("fn", "alone"), [
    (load, True),
    (Callable.method, True),
    (Callable().method, False),
    (int.from_bytes, False),
    (", ".join, False),
    (len, True),
    (Callable(), False),
    (partial(load, 1), False),
    (wrapped(load), False),
    (lambda a: a, False),
])
def test_a_function_is_alone_where_its_name_is(fn, alone):
    assert address_of(fn).alone is alone
    assert address_of(fn).qualname


def test_a_partition_is_a_name_that_a_folder_can_have():
    for name in ("load", "../../etc", "a b/c", "", "ü" * 300, "."):
        found = partition_of(SimpleNamespace(fn=load, name=name))
        assert len(found) < 64 and found.replace("-", "").replace("_", "").isalnum()
        assert found.isascii() and found != SHARED


def test_names_that_look_alike_have_partitions_of_their_own():
    names = ("a b", "a-b", "a/b", "a_b")
    assert len({partition_of(SimpleNamespace(fn=load, name=name)) for name in names}) == 4


def test_a_script_run_and_imported_is_the_same(monkeypatch):
    def made(module):
        fn = eval("lambda: 1")
        fn.__module__, fn.__qualname__ = module, "load"
        return SimpleNamespace(fn=fn, name="load")

    main = SimpleNamespace(__file__="/home/me/etl.py", __spec__=None)
    monkeypatch.setitem(__import__("sys").modules, "__main__", main)
    assert partition_of(made("__main__")) == partition_of(made("etl"))
    assert partition_of(made("__main__")) != partition_of(made("other"))
    main.__spec__ = SimpleNamespace(name="jobs.etl")
    assert partition_of(made("__main__")) == partition_of(made("jobs.etl"))


def test_what_was_typed_at_a_prompt_is_not_alone(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "__main__", SimpleNamespace())
    monkeypatch.setattr(load, "__module__", "__main__")
    assert address_of(load) == ("__main__", "load", False, None)


def test_a_child_that_is_being_spawned_knows_its_script():
    names = {"__name__": "__mp_main__", "__file__": "/home/me/etl.py"}
    exec("def load(n): return n", names)
    assert address_of(names["load"]) == ("etl", "load", True, "/home/me")


def test_folders_with_a_script_of_one_name_share_no_record_by_inputs_alone(tmp_path):
    keys = set()
    for folder in ("a", "b", "b"):
        names = {"__name__": "__main__", "__file__": str(tmp_path / folder / "main.py")}
        exec("def load(n): return n", names)
        for policy in (INPUTS, INPUTS + TASK_SOURCE):
            known = replace(facts(names["load"]), root=address_of(names["load"]).root)
            keys.add((policy is INPUTS, KeyMaker(recipe_of(policy, known, RUN)).key((1,), {})))
    assert len({key for by_inputs, key in keys if by_inputs}) == 2
    assert len({key for by_inputs, key in keys if not by_inputs}) == 1


def test_what_is_installed_has_its_name_to_itself(tmp_path):
    names = {"__name__": "etl", "__file__": str(tmp_path / "site-packages" / "etl.py")}
    exec("def load(n): return n", names)
    assert address_of(names["load"]).root is None


def test_a_task_keeps_the_address_it_had():
    task = SimpleNamespace(fn=plain, name="load", address=address_of(load))
    assert partition_of(task) == partition_of(SimpleNamespace(fn=load, name="load"))
