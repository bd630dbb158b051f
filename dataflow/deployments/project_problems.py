"""What is wrong with the values of a project file, said so that it can be mended.

Lives here: pydantic's findings as problems with a line, a path and the nearest
known key. Does not live here: the models (``project_models.py``).
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dataflow.deployments.project_yaml import Document, Path, Problem, dotted
from dataflow.deployments.spec_checks import nearest
from dataflow.deployments.spec_differences import without_secrets

Model = TypeVar("Model", bound=BaseModel)

_MUST_BE = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def valid(model: type[Model], value: Any) -> Model | None:
    """Return the model of a value, None where it does not fit."""
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def problems_of(document: Document, model: type[BaseModel]) -> list[Problem]:
    """Return what of a document does not fit a model; empty where all does."""
    try:
        model.model_validate(document.value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return [document.problem(path, text)
                for each in found for path, text in [_said(document.value, each, model)]]
    return []


def _said(value: Any, error: ErrorDetails, model: type[BaseModel]) -> tuple[Path, str]:
    path = tuple(_there(value, error["loc"]))
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        key = str(path[-1])
        if key == "<<":
            return path, "is not supported: what deployments share stands under 'defaults'"
        return path, f"is no known key{nearest(key, _keys_at(model, path[:-1]))}"
    if kind == "missing":
        return path, "is missing"
    shown = reprlib.repr(without_secrets(given, dotted(path)))
    if kind in _MUST_BE:
        hint = ": write it in quotes" if (
            kind == "string_type" and isinstance(given, (bool, int, float))) else ""
        return path, f"must be {_MUST_BE[kind]}, got {shown}{hint}"
    if kind == "value_error":
        return path, str(error["ctx"]["error"])
    if kind == "literal_error":
        return path, f"must be {error['ctx']['expected']}, got {shown}"
    text = error["msg"].removeprefix("Input ")
    return path, f"{text[:1].lower()}{text[1:]}, got {shown}"


def _there(value: Any, loc: tuple[int | str, ...]) -> Iterator[int | str]:
    """Yield the parts of a place that stand in the file, and a last one that is missing in it."""
    for at, part in enumerate(loc):
        is_there = part in value if isinstance(value, dict) else (
            isinstance(value, list) and isinstance(part, int) and part < len(value))
        if is_there:
            value = value[part]
        if is_there or (isinstance(value, dict) and at == len(loc) - 1):
            yield part


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys that a mapping may have."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
