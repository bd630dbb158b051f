"""Parameters of flows: coerced and checked by their annotations."""

from __future__ import annotations

import enum
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from tests.acceptance.parity.face import ParameterBindError, ParameterTypeError, flow, task


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int = 3


class Colour(enum.Enum):
    """A colour."""

    RED = "red"


@task
def inc(x: int) -> int:
    return x + 1


@flow
def typed(x: int, when: date = date(2020, 1, 1), y: float = 0.5) -> Any:
    return x, when, y


@flow
def with_model(person: Person, others: list[Person] | None = None) -> Any:
    return person, others


@flow
def loose(x, *rest, y=2, **more):  # type: ignore[no-untyped-def]
    return x, rest, y, more


def test_values_are_coerced_by_their_annotations() -> None:
    assert typed("3", when="2021-02-03", y="1.5") == (3, date(2021, 2, 3), 1.5)


def test_defaults_are_filled_in() -> None:
    assert typed(1) == (1, date(2020, 1, 1), 0.5)


def test_dicts_become_models() -> None:
    person, others = with_model({"name": "Ada", "age": "7"}, others=[{"name": "Bob"}])
    assert (person, others) == (Person(name="Ada", age=7), [Person(name="Bob")])


def test_models_are_passed_as_they_are() -> None:
    ada = Person(name="Ada")
    assert with_model(ada)[0] == ada


def test_what_has_no_annotation_is_passed_as_it_is() -> None:
    assert loose("1", "2", y="3", z="4") == ("1", ("2",), "3", {"z": "4"})


@pytest.mark.parametrize("annotation, given, expected", [
    (Literal["a", "b"], "a", "a"),
    (Colour, "red", Colour.RED),
    (Path, "/tmp/x", Path("/tmp/x")),
    (set[int], ["1", 1], {1}),
    (dict[str, int], {"a": "1"}, {"a": 1}),
    (Annotated[int, Field(gt=0)], "5", 5),
    (int | None, None, None),
    (Any, "5", "5"),
    (tuple[int, str], ["1", "b"], (1, "b")),
], ids=str)
def test_annotations_of_many_kinds(annotation: Any, given: Any, expected: Any) -> None:
    def plain(x):  # type: ignore[no-untyped-def]
        return {"got": x}

    plain.__annotations__["x"] = annotation
    assert flow(plain)(given) == {"got": expected}


def test_a_bad_value_fails_the_run_and_raises_parameter_type_error() -> None:
    with pytest.raises(ParameterTypeError):
        typed("three")
    state = typed("three", return_state=True)
    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert state.message.startswith("Validation of flow parameters failed with error:")


def test_all_bad_values_are_named() -> None:
    with pytest.raises(ParameterTypeError) as caught:
        typed("three", y="half")
    text = str(caught.value)
    assert "x" in text and "y" in text and "valid integer" in text


def test_constraints_are_held() -> None:
    @flow
    def bounded(x: Annotated[int, Field(gt=0)]) -> int:
        return x

    with pytest.raises(ParameterTypeError):
        bounded(0)


@pytest.mark.parametrize("args, kwargs", [((), {}), ((1,), {"z": 1}), ((1, 2, 3, 4), {}),
                                          ((1,), {"x": 1})], ids=str)
def test_arguments_that_do_not_fit_raise_parameter_bind_error(args: Any, kwargs: Any) -> None:
    with pytest.raises(ParameterBindError) as caught:
        typed(*args, **kwargs)
    assert isinstance(caught.value, TypeError)


def test_without_validation_values_pass_through() -> None:
    @flow(validate_parameters=False)
    def unchecked(x: int) -> Any:
        return {"got": x}

    assert unchecked("five") == {"got": "five"}


def test_with_options_turns_validation_off() -> None:
    assert typed.with_options(validate_parameters=False)("3")[0] == "3"


def test_self_of_a_method_is_no_parameter_to_check() -> None:
    class Holder:
        @flow
        def method(self, x: int) -> Any:
            return self, x

    holder = Holder()
    assert holder.method("3") == (holder, 3)


def test_a_value_that_no_schema_describes_is_passed_as_it_is() -> None:
    class Odd:
        pass

    def takes(x):  # type: ignore[no-untyped-def]
        return {"same": x is odd}

    takes.__annotations__["x"] = Odd
    odd = Odd()
    assert flow(takes)(odd) == {"same": True}


def test_a_wrong_instance_for_a_class_is_refused() -> None:
    class Odd:
        pass

    def takes(x):  # type: ignore[no-untyped-def]
        return x

    takes.__annotations__["x"] = Odd
    with pytest.raises(ParameterTypeError):
        flow(takes)(5)


@pytest.mark.differs("an annotation that is text and names a class of a function fails the call")
def test_an_annotation_as_text_may_name_a_class_of_a_function() -> None:
    class Odd:
        pass

    @flow
    def takes(x: Odd) -> Any:
        return {"same": x is odd}

    odd = Odd()
    assert takes(odd) == {"same": True}


def test_large_parameters_are_no_matter(runner: Any) -> None:
    @flow(task_runner=runner)
    def big(xs: list[int]) -> Any:
        return {"sum": inc.submit(len(xs)).result()}

    assert big(list(range(20_000))) == {"sum": 20_001}


@pytest.mark.differs("its server refuses more than 524,288 bytes")
def test_there_is_no_limit_to_the_size_of_parameters() -> None:
    @flow
    def long(text: str) -> int:
        return len(text)

    assert long("x" * 600_000) == 600_000


# schema

def test_schema_says_types_defaults_and_what_is_required() -> None:
    properties = typed.parameters.properties
    assert properties["x"]["type"] == "integer"
    assert (properties["y"]["type"], properties["y"]["default"]) == ("number", 0.5)
    assert properties["when"]["format"] == "date"
    assert [properties[name]["position"] for name in ("x", "when", "y")] == [0, 1, 2]
    assert (typed.parameters.type, list(typed.parameters.required)) == ("object", ["x"])


def test_schema_takes_descriptions_from_the_docstring() -> None:
    @flow
    def told(x: int, y: int = 2) -> int:
        """Do it.

        Args:
            x: The first of them.
            y: The other one.
        """
        return x + y

    properties = told.parameters.properties
    assert properties["x"]["description"] == "The first of them."
    assert properties["y"]["description"] == "The other one."


def test_schema_describes_models() -> None:
    definitions = with_model.parameters.definitions
    assert set(definitions["Person"]["properties"]) == {"name", "age"}
    assert definitions["Person"]["required"] == ["name"]
