"""Futures inside of arguments: found wherever values lie open, alike on every runner."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest
from pydantic import BaseModel

from tests.acceptance.parity.face import flow, task
from tests.acceptance.parity.support import names

ON_DASK = pytest.mark.differs(
    "the task gets a raw Dask future", on="dask-processes")

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Box:
    """A dataclass."""

    value: Any
    label: str = "box"


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A dataclass that does not change."""

    value: Any


class Model(BaseModel):
    """A pydantic model."""

    value: Any
    inner: Any = None


class Opaque:
    """An object of the user's own."""

    def __init__(self, value: Any) -> None:
        self.value = value


@task
def inc(x: int) -> int:
    return x + 1


@task
def same(x: Any) -> Any:
    return x


@task
def boom() -> Any:
    raise ValueError("boom")


@task
def told(x: Any) -> str:
    return repr(x)


def submitted(runner: Any, make: Any, how: str = "submit") -> Any:
    """Hand over what ``make`` makes of a future of 2; return what the task got."""
    @flow(task_runner=runner)
    def run() -> Any:
        argument = make(inc.submit(1))
        if how == "map":
            return {"found": same.map([argument]).result()[0]}
        if how == "call":
            return {"found": same(argument)}
        return {"found": same.submit(argument).result()}

    return run()["found"]


CONTAINERS = {
    "list": (lambda f: [f, 1], [2, 1]),
    "tuple": (lambda f: (f, 1), (2, 1)),
    "set": (lambda f: {f, 7}, {2, 7}),
    "dict value": (lambda f: {"a": f}, {"a": 2}),
    "deep": (lambda f: {"a": [(f, {"b": [f]})]}, {"a": [(2, {"b": [2]})]}),
}
ON_THREADS_ONLY = {
    "dict key": (lambda f: {f: "v"}, {2: "v"}),
    "dataclass": (lambda f: Box(f), Box(2)),
    "dataclass in a list": (lambda f: [Box([f])], [Box([2])]),
    "frozen dataclass": (lambda f: Frozen(f), Frozen(2)),
    "model": (lambda f: Model(value=f), Model(value=2)),
    "model in a model": (lambda f: Model(value=1, inner=Model(value=[f])),
                         Model(value=1, inner=Model(value=[2]))),
}


@pytest.mark.parametrize("how", ["submit", "map", "call"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_futures_are_found_in(runner: Any, container: str, how: str) -> None:
    make, expected = CONTAINERS[container]
    found = submitted(runner, make, how)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("container", [
    pytest.param(container, marks=ON_DASK) for container in ON_THREADS_ONLY])
def test_futures_are_found_on_every_runner_in_a(runner: Any, container: str) -> None:
    make, expected = ON_THREADS_ONLY[container]
    found = submitted(runner, make)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("container", ON_THREADS_ONLY)
def test_futures_are_found_by_a_direct_call_in_a(runner: Any, container: str) -> None:
    make, expected = ON_THREADS_ONLY[container]
    found = submitted(runner, make, "call")
    assert (found, type(found)) == (expected, type(expected))


def test_futures_are_found_in_a_named_tuple_that_stays_one(runner: Any) -> None:
    found = submitted(runner, lambda f: Point(f, 1))
    assert (found, type(found)) == (Point(2, 1), Point)


def test_ordered_dicts_are_walked(runner: Any) -> None:
    assert submitted(runner, lambda f: OrderedDict(a=f, b=1)) == {"a": 2, "b": 1}


def test_a_map_in_a_container_becomes_its_list_of_values(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": same.submit({"all": inc.map([1, 2]), "one": [inc.map([3])]}).result()}

    assert run() == {"found": {"all": [2, 3], "one": [[4]]}}


def test_states_in_containers_are_resolved_too(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        state = inc.submit(1, return_state=True)
        return {"found": same.submit({"a": [state, 5]}).result()}

    assert run() == {"found": {"a": [2, 5]}}


def test_one_failed_future_anywhere_keeps_the_task_from_running(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        futures = [told.submit({"a": [1, (boom.submit(),)]}), told.submit([inc.submit(1)])]
        for future in futures:
            future.wait()
        return {"found": names(f.state for f in futures)}

    assert run() == {"found": ["NotReady", "Completed"]}


def test_plain_containers_arrive_equal_and_of_their_type(runner: Any) -> None:
    things = [{"a": (1, [2])}, Point(1, 2), deque([1]), defaultdict(list, a=[1]), Box(1),
              Model(value=1), {1, 2}, frozenset({3})]

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": same.map(things).result()}

    found = run()["found"]
    assert found == things and [type(x) for x in found] == [type(x) for x in things]


@pytest.mark.parametrize("thing", [
    [1, [2]], {"a": {"b": 1}}, (1, (2,)), {1}, Box([1]), Model(value=[1]), Point(1, [2]),
    Opaque(1), deque([1])], ids=lambda thing: type(thing).__name__)
def test_what_holds_no_future_is_handed_over_itself_on_local_runners(
    local: Any, thing: Any
) -> None:
    @task
    def is_it(x: Any) -> bool:
        return x is thing

    @flow(task_runner=local)
    def run() -> Any:
        return {"found": (is_it(thing), is_it.submit(thing).result(),
                          is_it.map([thing]).result()[0], is_it.submit(x=thing).result())}

    assert run() == {"found": (True, True, True, True)}


def test_replacing_leaves_the_callers_containers_alone(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = inc.submit(1)
        inner = [future]
        outer = {"a": inner, "b": Box(inner)}
        got = same(outer)
        return {"found": (got["a"], got["b"].value, inner[0] is future, outer["a"] is inner,
                          outer["b"].value is inner)}

    assert run() == {"found": ([2], [2], True, True, True)}


def test_futures_in_objects_and_generators_are_left_alone(local: Any) -> None:
    @task
    def kept(x: Any) -> str:
        return type(x.value).__name__

    @flow(task_runner=local)
    def run() -> Any:
        future = inc.submit(1)
        found = {"found": kept(Opaque(future)) == type(future).__name__}
        future.wait()
        return found

    assert run() == {"found": True}


def test_the_same_future_many_times_arrives_each_time(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        f = inc.submit(1)
        return {"found": same.submit([f, f, {"a": f}]).result()}

    assert run() == {"found": [2, 2, {"a": 2}]}


def test_a_value_that_is_an_exception_is_a_value(runner: Any) -> None:
    @task
    def gives() -> Any:
        return ValueError("just a value")

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": told.submit(gives.submit()).result()}

    assert run() == {"found": "ValueError('just a value')"}


@pytest.mark.differs("the walk for futures does not end: RecursionError", on="dask-processes")
def test_a_list_that_holds_itself_is_an_argument(runner: Any) -> None:
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)

    @task
    def length(x: Any) -> int:
        return len(x)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (length(cyclic), length.submit(cyclic).result())}

    assert run() == {"found": (2, 2)}


def test_arrays_and_frames_go_in_and_out_unharmed(runner: Any) -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    frame, array = pd.DataFrame({"a": [1, 2]}), np.arange(6).reshape(2, 3)

    @flow(task_runner=runner)
    def run() -> Any:
        got = same.submit({"frame": frame, "array": [array]}).result()
        return {"found": (got["frame"].equals(frame), (got["array"][0] == array).all())}

    assert run() == {"found": (True, True)}
