"""``map``: what is mapped, what is a constant, how elements are linked."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    MappingLengthMismatch,
    MappingMissingIterable,
    ParameterBindError,
    allow_failure,
    flow,
    task,
    unmapped,
)
from tests.acceptance.parity.support import await_notes, names, note, notes


@task
def pair(x: Any, y: Any = None) -> Any:
    return (x, y)


@task
def with_list_default(x: Any, y: Any = [1, 2, 3]) -> Any:  # noqa: B006  # a default is never mapped
    return (x, y)


@task
def with_more(x: Any, **rest: Any) -> Any:
    return (x, rest)


@task
def inc(x: int) -> int:
    return x + 1


@task
def up_to(n: int) -> list[int]:
    return list(range(n))


@task
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


@task
def noted(path: str, x: Any) -> Any:
    note(path, x)
    return x


@task
def total(xs: list[int]) -> int:
    return sum(xs)


def run_map(runner: Any, mapped: Any, *args: Any, **kwargs: Any) -> Any:
    """Map within a flow and return the plain results."""
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": mapped.map(*args, **kwargs).result()}

    return run()["found"]


# what is mapped

def test_lists_are_mapped_side_by_side_like_zip(runner: Any) -> None:
    assert run_map(runner, pair, [1, 2, 3], ["a", "b", "c"]) == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("iterable, expected", [
    ((1, 2), [1, 2]),
    (range(2), [0, 1]),
    ({"a": 1, "b": 2}, ["a", "b"]),
    ({"a": 1, "b": 2}.values(), [1, 2]),
    ({7}, [7]),
    (frozenset([7]), [7]),
], ids=lambda value: type(value).__name__)
def test_anything_iterable_is_mapped_and_dicts_by_their_keys(
    runner: Any, iterable: Any, expected: Any
) -> None:
    assert run_map(runner, pair, iterable) == [(x, None) for x in expected]


@pytest.mark.differs("it tries to send the generator itself", on="dask-processes")
def test_generators_and_iterators_are_consumed(runner: Any) -> None:
    assert run_map(runner, pair, (x * x for x in range(3)), iter("abc")) == [
        (0, "a"), (1, "b"), (4, "c")]


def test_arrays_and_series_are_mapped_by_their_elements(runner: Any) -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    assert run_map(runner, inc, np.array([1, 2])) == [2, 3]
    assert run_map(runner, inc, pd.Series([1, 2], index=[5, 6])) == [2, 3]


def test_rows_of_an_array_of_two_dimensions_are_its_elements(runner: Any) -> None:
    np = pytest.importorskip("numpy")
    assert run_map(runner, total, np.arange(6).reshape(3, 2)) == [1, 5, 9]


@pytest.mark.parametrize("constant", ["text", b"bytes", 7, None, 1.5, True], ids=repr)
def test_text_bytes_and_scalars_are_constants(runner: Any, constant: Any) -> None:
    assert run_map(runner, pair, [1, 2], constant) == [(1, constant), (2, constant)]


def test_open_files_are_constants(local: Any) -> None:
    stream = io.StringIO("a\nb")
    found = run_map(local, pair, [1, 2], stream)
    assert [(x, y is stream) for x, y in found] == [(1, True), (2, True)]


def test_keyword_arguments_are_mapped_as_positional_ones_are(runner: Any) -> None:
    assert run_map(runner, pair, y=[1, 2], x="c") == [("c", 1), ("c", 2)]


def test_members_of_the_keywords_parameter_are_mapped_one_by_one(runner: Any) -> None:
    assert run_map(runner, with_more, [1, 2], a=[3, 4], b="bb") == [
        (1, {"a": 3, "b": "bb"}), (2, {"a": 4, "b": "bb"})]


def test_defaults_are_never_mapped(runner: Any) -> None:
    assert run_map(runner, with_list_default, [7, 8]) == [(7, [1, 2, 3]), (8, [1, 2, 3])]


@pytest.mark.parametrize("empty", [[], (), {}, range(0)], ids=repr)
def test_nothing_to_map_gives_an_empty_list(runner: Any, empty: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        futures = inc.map(empty)
        after = inc.map(futures)
        return {"found": (futures.result(), len(futures), list(futures), after.result())}

    assert run() == {"found": ([], 0, [], [])}


# what cannot be mapped

def test_no_iterable_raises_at_the_call() -> None:
    @flow
    def run() -> Any:
        with pytest.raises(MappingMissingIterable):
            pair.map(1, "text")
        with pytest.raises(MappingMissingIterable):
            pair.map(unmapped([1, 2]), 3)
        return 1

    assert run() == 1


def test_unequal_lengths_raise_at_the_call_and_list_them(ledger: str) -> None:
    @flow
    def run() -> Any:
        with pytest.raises(MappingLengthMismatch) as caught:
            noted.map([ledger] * 3, [1, 2])
        return str(caught.value)

    text = run()
    assert "3" in text and "2" in text and "x" in text
    assert notes(ledger) == []


def test_a_list_of_one_is_not_broadcast() -> None:
    @flow
    def run() -> Any:
        with pytest.raises(MappingLengthMismatch):
            pair.map([1], [1, 2, 3])
        return 1

    assert run() == 1


def test_a_parameter_left_out_is_refused_at_the_call() -> None:
    @flow
    def run() -> Any:
        with pytest.raises(ParameterBindError):
            noted.map([1, 2])
        return 1

    assert run() == 1


# constants

def test_unmapped_keeps_an_iterable_whole(runner: Any) -> None:
    assert run_map(runner, pair, [1, 2], unmapped([3, 4])) == [(1, [3, 4]), (2, [3, 4])]
    assert run_map(runner, pair, x=unmapped({"k": 1}), y=[5]) == [({"k": 1}, 5)]


def test_unmapped_wraps_a_future(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": pair.map([1, 2], unmapped(up_to.submit(2))).result()}

    assert run() == {"found": [(1, [0, 1]), (2, [0, 1])]}


def test_unmapped_wraps_a_map_and_each_element_gets_the_whole_list(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": pair.map(["a", "b"], unmapped(inc.map([1, 2]))).result()}

    assert run() == {"found": [("a", [2, 3]), ("b", [2, 3])]}


def test_unmapped_wraps_a_container_of_futures(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        both = {"one": inc.submit(1), "list": [inc.submit(2)]}
        return {"found": pair.map(["a"], unmapped(both)).result()}

    assert run() == {"found": [("a", {"one": 2, "list": [3]})]}


# futures as input

def test_a_future_of_a_sequence_is_mapped_by_its_elements(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map(up_to.submit(3)).result()}

    assert run() == {"found": [1, 2, 3]}


def test_a_future_of_a_dict_is_mapped_by_its_keys(runner: Any) -> None:
    @task
    def table() -> Any:
        return {"a": 1, "b": 2}

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": pair.map(table.submit()).result()}

    assert run() == {"found": [("a", None), ("b", None)]}


def test_a_future_of_a_sequence_goes_beside_a_list(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": pair.map(up_to.submit(2), ["a", "b"]).result()}

    assert run() == {"found": [(0, "a"), (1, "b")]}


def test_a_future_of_nothing_gives_an_empty_list(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map(inc.map(up_to.submit(0))).result()}

    assert run() == {"found": []}


def test_a_failed_future_as_input_raises_and_nothing_runs(runner: Any, ledger: str) -> None:
    @task
    def fails() -> Any:
        raise ValueError("no list")

    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(Exception) as caught:
            noted.map(ledger, fails.submit()).result()
        return {"found": type(caught.value).__name__}

    assert run() == {"found": "UpstreamTaskError"}
    assert notes(ledger) == []


def test_a_future_of_another_length_raises(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(MappingLengthMismatch):
            pair.map(up_to.submit(2), [1, 2, 3]).result()
        return 1

    assert run() == 1


def test_a_future_of_no_iterable_raises(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(MappingMissingIterable):
            pair.map(inc.submit(2)).result()
        return 1

    assert run() == 1


def test_a_map_over_a_map_is_linked_element_by_element(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        first = inc.map([1, 2, 3])
        return {"found": pair.map(inc.map(first), first).result()}

    assert run() == {"found": [(3, 2), (4, 3), (5, 4)]}


def test_an_element_runs_as_soon_as_its_own_input_is_there(pooled: Any, ledger: str) -> None:
    """The second input waits until the first element of the second map was seen."""
    @task
    def gated(path: str, x: int) -> int:
        if x == 1:
            await_notes(path)
        return x

    @flow(task_runner=pooled)
    def run() -> Any:
        return {"found": noted.map(ledger, gated.map(ledger, [0, 1])).result()}

    assert run() == {"found": [0, 1]}


def test_map_neither_waits_for_its_input_nor_for_its_elements(pooled: Any, ledger: str) -> None:
    @task
    def gated(path: str, x: int) -> int:
        await_notes(path)
        return x

    @flow(task_runner=pooled)
    def run() -> Any:
        futures = inc.map(gated.map(ledger, [0, 1]))
        before = notes(ledger)
        note(ledger, "all mapped")
        return {"found": (before, futures.result())}

    assert run() == {"found": ([], [1, 2])}


def test_a_mapped_sequence_is_handed_on_whole_element_by_element(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": total.map(up_to.map([1, 2, 3])).result()}

    assert run() == {"found": [0, 1, 3]}


def test_a_list_of_futures_is_linked_element_by_element(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map([inc.submit(1), 5, inc.submit(2)]).result()}

    assert run() == {"found": [3, 6, 4]}


def test_elements_may_hold_futures_inside_containers(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        one = inc.submit(0)
        return {"found": pair.map([{"a": one}, [one, 2], (one,)]).result()}

    assert run() == {"found": [({"a": 1}, None), ([1, 2], None), ((1,), None)]}


def test_a_slice_and_an_element_of_a_map_are_inputs(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        first = inc.map(range(4))
        return {"found": (inc.map(first[1:3]).result(), inc.submit(first[-1]).result())}

    assert run() == {"found": ([3, 4], 5)}


def test_a_map_as_an_argument_of_submit_is_a_list_of_values(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (total.submit(inc.map(range(4))).result(), total(inc.map([1])))}

    assert run() == {"found": (10, 2)}


def test_states_are_map_inputs_and_constants_too(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        states = inc.map([1, 2], return_state=True)
        whole = up_to.submit(2, return_state=True)
        return {"found": (inc.map(states).result(), inc.map(whole).result(),
                          pair.map([9], unmapped(whole)).result())}

    assert run() == {"found": ([3, 4], [1, 2], [(9, [0, 1])])}


def test_return_state_gives_a_list_of_final_states(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        states = odd_fails.map([0, 1, 2], return_state=True)
        return {"found": (isinstance(states, list), names(states))}

    assert run() == {"found": (True, ["Completed", "Failed", "Completed"])}


def test_a_failed_element_stops_its_own_line_only(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        after = inc.map(inc.map(odd_fails.map(range(4))))
        after.wait()
        return {"found": names(f.state for f in after)}

    assert run() == {"found": ["Completed", "NotReady", "Completed", "NotReady"]}


@pytest.mark.differs("the downstream element does not run", on="dask-processes")
def test_allow_failure_passes_failures_element_by_element(runner: Any) -> None:
    @task
    def told(x: Any) -> str:
        return repr(x)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": told.map(allow_failure(odd_fails.map(range(3)))).result()}

    assert run() == {"found": ["0", "ValueError('odd 1')", "2"]}


def test_results_come_in_the_order_of_the_inputs(pooled: Any, ledger: str) -> None:
    @task
    def last_first(path: str, x: int) -> int:
        if x == 0:
            await_notes(path)
        else:
            note(path, x)
        return x

    @flow(task_runner=pooled)
    def run() -> Any:
        return {"found": last_first.map(ledger, [0, 1, 2]).result()}

    assert run() == {"found": [0, 1, 2]}


def test_wait_for_holds_back_every_element(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        first = noted.submit(ledger, "first")
        noted.map(ledger, ["a", "b"], wait_for=[first]).wait()
        after = inc.map([1, 2], wait_for=odd_fails.submit(1))
        after.wait()
        return {"found": names(f.state for f in after)}

    assert run() == {"found": ["NotReady", "NotReady"]}
    assert notes(ledger)[0] == "first" and sorted(notes(ledger)) == ["a", "b", "first"]


def test_maps_within_a_loop_over_maps(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": [inc.map(up_to(n)).result() for n in (1, 2)]}

    assert run() == {"found": [[1], [1, 2]]}


@pytest.mark.differs("not run: it takes minutes", on="dask-processes", run=False)
def test_a_thousand_elements_come_back_once_each(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map(inc.map(range(1000))).result()}

    assert run() == {"found": list(range(2, 1002))}


# beyond Prefect 3

def _flatten(value: Any) -> Any:
    from dataflow import flatten

    return flatten(value)


NO_FLATTEN = pytest.mark.differs("there is no `flatten`")


@NO_FLATTEN
def test_flatten_maps_over_the_members_of_a_mapped_sequence(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map(_flatten(up_to.map([1, 0, 2]))).result()}

    assert run() == {"found": [1, 1, 2]}


@NO_FLATTEN
def test_flatten_takes_plain_lists_futures_and_both(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        plain = inc.map(_flatten([[1], [2, 3]])).result()
        mixed = inc.map(_flatten([up_to.submit(2), [7]])).result()
        chained = inc.map(inc.map(_flatten(up_to.map([2, 1])))).result()
        return {"found": (plain, mixed, chained)}

    assert run() == {"found": ([2, 3, 4], [1, 2, 8], [2, 3, 2])}


@NO_FLATTEN
def test_flatten_is_an_argument_of_submit_too(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": total.submit(_flatten(up_to.map([2, 3]))).result()}

    assert run() == {"found": 4}


@pytest.mark.differs("`map` reads its input to the end before anything runs", run=False)
def test_an_endless_source_is_mapped_as_it_is_consumed(pooled: Any, ledger: str) -> None:
    """A generator that goes on for ever is read no further than the work needs."""
    def endless() -> Any:
        x = 0
        while True:
            note(ledger, "read")
            yield x
            x += 1

    @flow(task_runner=pooled, on_exit="cancel")
    def run() -> Any:
        futures = inc.with_options(max_in_flight=4).map(endless())
        return {"found": [future.result() for future, _ in zip(futures, range(10), strict=False)]}

    assert run() == {"found": list(range(1, 11))}
    assert len(notes(ledger)) < 1000
