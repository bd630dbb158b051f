"""The JSON schema of a flow's parameters."""

from __future__ import annotations

import inspect
import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from dataflow import flow
from dataflow.exceptions import ParameterBindError, ParameterTypeError
from dataflow.parameter_schema import described


class Item(BaseModel):
    n: int = 1


class Plain:
    pass


def test_schema_has_type_position_default_and_required_of_each_parameter() -> None:
    @flow
    def f(x: int, name: str = "a", item: Item = Item(), how: Literal["a", "b"] = "a",
          copy: Any = None) -> None: ...

    schema = f.parameters
    assert json.loads(json.dumps(schema)) == schema == f.parameter_schema
    assert (schema.title, schema.type, schema.required) == ("Parameters", "object", ["x"])
    assert schema.properties["x"] == {"title": "x", "type": "integer", "position": 0}
    assert schema.properties["name"] == {
        "title": "name", "type": "string", "default": "a", "position": 1}
    assert schema.properties["item"]["$ref"] == "#/definitions/Item"
    assert schema.properties["how"]["enum"] == ["a", "b"]
    assert list(schema.properties) == ["x", "name", "item", "how", "copy"]
    assert schema.definitions["Item"]["properties"]["n"]["type"] == "integer"


def test_schema_stands_also_where_json_does_not_know_a_type_or_a_default() -> None:
    @flow
    def f(a: Plain, b: Any = Plain(), *more: int, **rest: str) -> None: ...

    schema = f.parameters
    assert schema.properties["a"] == {"title": "a", "position": 0}
    assert "default" not in schema.properties["b"]
    assert schema.properties["more"]["items"] == {"type": "integer"}
    assert schema.properties["rest"]["additionalProperties"] == {"type": "string"}
    assert schema.required == ["a"]


STYLES = {
    "numpy": """Do it.

        Parameters
        ----------
        x : int
            How many.
        y, z
            Two more.
        """,
    "google": """Do it.

        Args:
            x (int): How many.
            y: Two more.
            z: Two more.
        """,
    "sphinx": """Do it.

        :param int x: How many.
        :param y: Two more.
        :param z: Two more.
        """,
}


@pytest.mark.parametrize("style", STYLES)
def test_docstring_describes_parameters_in_every_style(style: str) -> None:
    doc = inspect.cleandoc(STYLES[style])
    assert described(doc) == {"x": "How many.", "y": "Two more.", "z": "Two more."}

    def fn(x: int, y: int, z: int = 0) -> None: ...

    fn.__doc__ = doc
    properties = flow(fn).parameters.properties
    assert [properties[name]["description"] for name in "xyz"] == [
        "How many.", "Two more.", "Two more."]


@pytest.mark.parametrize("doc", [None, "", "Only words: nothing else.", ":param", "Args:\n  -"])
def test_docstring_without_parameters_describes_none(doc: str | None) -> None:
    assert described(doc) == {}


def test_parameters_are_validated_without_a_run() -> None:
    @flow
    def f(x: int, y: float = 2) -> None: ...

    assert f.validate_parameters({"x": "3"}) == {"x": 3}
    with pytest.raises(ParameterTypeError, match="x: "):
        f.validate_parameters({"x": "three"})
    with pytest.raises(ParameterBindError):
        f.validate_parameters({"z": 1})
