"""The tree of errors: complete in its picture, with standard bases, surviving pickle."""

from __future__ import annotations

import inspect
import pickle
import re

import cloudpickle
import pytest

from dataflow import exceptions
from dataflow.exceptions import DataflowError
from dataflow.failures import exception_of, record_of
from dataflow.outcomes import ErrorRecord

ALL = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass)
       if issubclass(kind, DataflowError)]
DRAWN = re.findall(r"(?:├── |└── |^    (?=DataflowError$))(\w+)(?: \((\w+)\))?",
                   exceptions.__doc__ or "", re.MULTILINE)


def test_picture_in_the_docstring_is_complete() -> None:
    assert {name for name, _ in DRAWN} == {kind.__name__ for kind in ALL}


@pytest.mark.parametrize("name, base", DRAWN)
def test_standard_base_is_as_drawn(name: str, base: str) -> None:
    kind = getattr(exceptions, name)
    assert kind.__doc__ and (not base or base in {k.__name__ for k in kind.__mro__})


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_error_survives_pickle_with_its_fields(kind: type[DataflowError], pickler: object) -> None:
    again = pickle.loads(pickler.dumps(kind("text", task_run_name="t")))  # type: ignore[attr-defined]
    assert (type(again), str(again), again.task_run_name) == (kind, "text", "t")


def test_missing_field_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = DataflowError("x").nothing


def test_error_of_ours_is_made_again_from_its_name_and_text() -> None:
    record = ErrorRecord("dataflow.exceptions.MappingLengthMismatch", "differ", "")
    error = exception_of(record)
    assert type(error) is exceptions.MappingLengthMismatch and str(error) == "differ"


def test_unknown_error_without_bytes_is_stood_for() -> None:
    error = exception_of(ErrorRecord("thing.Gone", "why", "the traceback"))
    assert type(error) is exceptions.RemoteError and "the traceback" in error.__notes__[0]


def test_exception_whose_init_takes_more_than_a_message_comes_back() -> None:
    class Odd(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} and {b}")
            self.b = b

    record = pickle.loads(pickle.dumps(record_of(Odd(1, 2), remote=True)))
    error = exception_of(record)
    assert (type(error).__name__, str(error), error.b) == (  # type: ignore[attr-defined]
        "Odd", "1 and 2", 2)


@pytest.mark.parametrize("name", [
    "CancelledRun", "CrashedRun", "FailedRun", "MappingLengthMismatch", "MappingMissingIterable",
    "MissingContextError", "MissingResult", "ParameterBindError", "ParameterTypeError",
    "PausedRun", "ReservedArgumentError", "UnfinishedRun", "UpstreamTaskError",
    "PrefectException", "SignatureMismatchError", "InvalidNameError", "ObjectNotFound",
    "ConfigurationError",
])
def test_what_users_of_prefect_catch_is_here_and_in_the_tree(name: str) -> None:
    assert issubclass(getattr(exceptions, name), exceptions.PrefectException)
