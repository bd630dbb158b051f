"""The algebra of cache policies and what each computes alone."""

import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from dataflow import cache_policies
from dataflow.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    CompoundCachePolicy,
    FlowParameters,
    Inputs,
    RunId,
    TaskSource,
    task_input_hash,
)
from dataflow.exceptions import DefinitionError, DefinitionTypeError, NotCacheable


def load(path):
    return path


def other(path):
    return path, "other"


def context(fn=load, run_id="run-1", task_run_id="task-run-1"):
    task = SimpleNamespace(fn=fn, name=fn.__name__)
    return SimpleNamespace(
        task=task, task_run=SimpleNamespace(id=task_run_id, flow_run_id=run_id))


@dataclass
class ByNumber(CachePolicy):
    number: int = 0

    def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
        return str(self.number)


def test_a_sum_is_flat_and_has_one_policy_by_inputs():
    policy = (INPUTS - "a") + TASK_SOURCE + ((INPUTS - "b") + RUN_ID)
    assert type(policy) is CompoundCachePolicy
    assert policy.policies == [TaskSource(), RunId(), Inputs(exclude=["a", "b"])]


def test_default_is_inputs_source_and_run():
    assert {type(part) for part in DEFAULT.policies} == {Inputs, TaskSource, RunId}


@pytest.mark.parametrize("nothing", [NO_CACHE, NONE])
def test_no_cache_adds_nothing(nothing):
    assert nothing + INPUTS is INPUTS
    assert INPUTS + nothing is INPUTS
    assert (nothing + nothing).compute_key(context(), {"a": 1}, {}) is None


def test_no_cache_hands_its_configuration_on():
    policy = NO_CACHE.configure(key_storage="here") + INPUTS
    assert policy == Inputs(key_storage="here")
    assert INPUTS.key_storage is None


def test_an_argument_taken_away_leaves_the_rest_and_the_original():
    policy = DEFAULT - "a" - "b"
    assert Inputs(exclude=["a", "b"]) in policy.policies
    assert Inputs() in DEFAULT.policies
    assert INPUTS - "a" == Inputs(exclude=["a"])
    assert INPUTS.exclude == []


def test_an_argument_taken_away_keeps_the_configuration():
    assert (DEFAULT.configure(key_storage="here") - "a").key_storage == "here"
    assert (INPUTS.configure(key_storage="here") - "a").key_storage == "here"


def test_an_argument_taken_from_what_does_not_look_at_any_changes_nothing():
    assert TASK_SOURCE - "a" is TASK_SOURCE
    assert (TASK_SOURCE + RUN_ID) - "a" == TASK_SOURCE + RUN_ID


@pytest.mark.parametrize("policy", [INPUTS, DEFAULT, TASK_SOURCE])
def test_something_else_than_a_name_cannot_be_taken_away(policy):
    with pytest.raises(TypeError, match=r"INPUTS - 'now'"):
        policy - 3


def test_something_else_than_a_policy_cannot_be_added():
    with pytest.raises(TypeError):
        INPUTS + "a"


def test_configure_returns_a_copy():
    locks = SimpleNamespace(acquire_lock=print, release_lock=print)
    policy = DEFAULT.configure(
        key_storage="here", lock_manager=locks, isolation_level="SERIALIZABLE")
    assert (policy.key_storage, policy.lock_manager, policy.isolation_level) == (
        "here", locks, "SERIALIZABLE")
    assert policy.policies == DEFAULT.policies
    assert (DEFAULT.key_storage, DEFAULT.lock_manager, DEFAULT.isolation_level) == (
        None, None, None)
    assert policy.configure(key_storage="there").lock_manager is locks


def test_configure_refuses_an_isolation_level_that_does_not_exist():
    with pytest.raises(DefinitionError, match="READ_COMMITTED, SERIALIZABLE, got 'loose'"):
        INPUTS.configure(isolation_level="loose")


def test_configure_refuses_a_lock_manager_that_cannot_lock():
    with pytest.raises(DefinitionTypeError, match=r"acquire_lock\(\) and release_lock\(\)"):
        INPUTS.configure(lock_manager="a file")


@pytest.mark.parametrize(("option", "one", "two"), [
    ("key_storage", "here", "there"),
    ("isolation_level", "READ_COMMITTED", "SERIALIZABLE"),
])
def test_a_sum_of_different_configurations_is_refused(option, one, two):
    with pytest.raises(ValueError, match="Cannot add cache policies with different"):
        INPUTS.configure(**{option: one}) + RUN_ID.configure(**{option: two})
    with pytest.raises(ValueError):
        DEFAULT.configure(**{option: one}) + RUN_ID.configure(**{option: two})
    policy = INPUTS.configure(**{option: one}) + RUN_ID
    assert getattr(policy, option) == one
    assert getattr(RUN_ID + policy, option) == one


def test_inputs_computed_alone_tell_tasks_apart():
    one = INPUTS.compute_key(context(load), {"path": "a"}, {})
    assert one == INPUTS.compute_key(context(load), {"path": "a"}, {})
    assert one != INPUTS.compute_key(context(other), {"path": "a"}, {})
    assert one != INPUTS.compute_key(context(load), {"path": "b"}, {})


def test_inputs_do_not_look_at_what_was_taken_away():
    policy = INPUTS - "log"
    one = policy.compute_key(context(), {"path": "a", "log": threading.Lock()}, {})
    assert one == policy.compute_key(context(), {"path": "a"}, {})


def test_inputs_without_any_have_no_key():
    assert INPUTS.compute_key(context(), {}, {}) is None


def test_inputs_that_have_no_content_name_the_part():
    with pytest.raises(NotCacheable) as caught:
        INPUTS.compute_key(context(), {"log": threading.Lock()}, {})
    assert "log" in caught.value.path


def test_the_run_is_the_flow_run_else_the_task_run():
    assert RUN_ID.compute_key(context(), {}, {}) == "run-1"
    assert RUN_ID.compute_key(context(run_id=None), {}, {}) == "task-run-1"


def test_flow_parameters_without_any_have_no_key():
    assert FLOW_PARAMETERS.compute_key(context(), {"a": 1}, {}) is None
    one = FLOW_PARAMETERS.compute_key(context(), {}, {"day": 1})
    assert one is not None
    assert one != FlowParameters().compute_key(context(), {}, {"day": 2})


def test_the_source_tells_functions_apart():
    one = TASK_SOURCE.compute_key(context(load), {}, {})
    assert one == TASK_SOURCE.compute_key(context(load), {}, {})
    assert one != TASK_SOURCE.compute_key(context(other), {}, {})


def test_a_sum_computes_one_key_whatever_the_order():
    arguments = (context(), {"path": "a"}, {"day": 1})
    one = (ByNumber(number=1) + INPUTS + FLOW_PARAMETERS).compute_key(*arguments)
    assert one == (FLOW_PARAMETERS + INPUTS + ByNumber(number=1)).compute_key(*arguments)
    assert one != (FLOW_PARAMETERS + INPUTS + ByNumber(number=2)).compute_key(*arguments)
    assert one != (INPUTS + ByNumber(number=1)).compute_key(*arguments)


def test_a_sum_whose_parts_have_no_key_has_none():
    assert (INPUTS + FLOW_PARAMETERS).compute_key(context(), {}, {}) is None


def test_a_function_makes_a_policy():
    policy = CachePolicy.from_cache_key_fn(lambda context, parameters: parameters["path"])
    assert type(policy) is CacheKeyFnPolicy
    assert policy.compute_key(context(), {"path": "a"}, {}) == "a"


def test_a_policy_without_compute_key_says_what_to_write():
    class Mine(CachePolicy):
        pass

    with pytest.raises(NotImplementedError, match=r"Mine is a cache policy.*compute_key"):
        Mine().compute_key(context(), {}, {})


def test_a_subclass_of_a_built_in_policy_is_a_users():
    class Mine(Inputs):
        def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
            return "always"

    assert not cache_policies.is_built_in(Mine())
    assert cache_policies.is_built_in(INPUTS - "a")
    assert [type(part) for part in cache_policies.policy_parts(Mine() + INPUTS)] == [Mine, Inputs]


@pytest.mark.parametrize(("policy", "text"), [
    (DEFAULT, "INPUTS + TASK_SOURCE + RUN_ID"),
    (INPUTS - "b" - "a" + FLOW_PARAMETERS, "INPUTS - 'a' - 'b' + FLOW_PARAMETERS"),
    (NO_CACHE, "NO_CACHE"),
    (CacheKeyFnPolicy(cache_key_fn=load) + RUN_ID, "cache_key_fn 'load' + RUN_ID"),
    (ByNumber(number=3), "ByNumber"),
])
def test_a_policy_is_written_as_one_writes_it(policy, text):
    assert str(policy) == text


def test_task_input_hash_tells_tasks_and_inputs_apart():
    one = task_input_hash(context(load), {"path": "a"})
    assert one == task_input_hash(context(load), {"path": "a"})
    assert len({one, task_input_hash(context(other), {"path": "a"}),
                task_input_hash(context(load), {"path": "b"})}) == 3


@pytest.mark.parametrize("wrong", [5, "", "  ", object(), b"here"])
def test_a_key_storage_that_is_none_is_refused_where_it_is_given(wrong):
    with pytest.raises(DefinitionTypeError, match="key_storage of a cache policy must be a folder"):
        INPUTS.configure(key_storage=wrong)
