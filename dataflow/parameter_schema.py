"""The parameters of a flow as a JSON schema, described by the function's docstring.

Lives here: the schema, the descriptions (numpydoc, Google and reST styles).
Does not live here: validation (``parameters.py``).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

REF_TEMPLATE = "#/definitions/{model}"


class ParameterSchema(dict[str, Any]):
    """A JSON schema of parameters: title, type, properties, required and definitions.

    A dict that json can write, whose items are attributes too.
    """

    @property
    def title(self) -> str:
        """Always ``"Parameters"``."""
        return str(self["title"])

    @property
    def type(self) -> str:
        """Always ``"object"``."""
        return str(self["type"])

    @property
    def properties(self) -> dict[str, Any]:
        """Schema of each parameter by name; ``position`` counts from 0."""
        return dict(self["properties"])

    @property
    def required(self) -> list[str]:
        """Names of the parameters without a default."""
        return list(self["required"])

    @property
    def definitions(self) -> dict[str, Any]:
        """Schemas of the models that parameters refer to."""
        return dict(self["definitions"])

    def model_dump(self) -> dict[str, Any]:
        """Return a plain dict."""
        return dict(self)


def schema_of(signature: inspect.Signature, hints: Mapping[str, Any],
              doc: str | None) -> ParameterSchema:
    """Return the schema of a function's parameters.

    Parameters
    ----------
    signature, hints
        Of the function; hints where they could be resolved.
    doc
        Its docstring.

    Notes
    -----
    A type that JSON does not know, such as a class of the user's, stands there
    without a type; so does a default that JSON cannot write without a default.
    """
    descriptions = described(doc)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of defaults that are left out
        made = _model(signature, hints, descriptions).model_json_schema(
            ref_template=REF_TEMPLATE, schema_generator=_generator())
    return ParameterSchema(
        title="Parameters", type="object", properties=made.get("properties", {}),
        required=made.get("required", []), definitions=made.get("$defs", {}))


def described(doc: str | None) -> dict[str, str]:
    """Return what a docstring says of each parameter, by name."""
    if not doc:
        return {}
    from docstring_parser import ParseError, parse

    try:
        found = parse(inspect.cleandoc(doc)).params
    except (ParseError, ValueError):  # a text in no style at all
        return {}
    return {
        name.strip().lstrip("*"): each.description
        for each in found if each.description
        for name in each.arg_name.split(",")
    }


def _model(signature: inspect.Signature, hints: Mapping[str, Any],
           descriptions: Mapping[str, str]) -> type[BaseModel]:
    from pydantic import ConfigDict, Field, create_model

    fields: dict[str, Any] = {}
    for position, (name, parameter) in enumerate(signature.parameters.items()):
        hint, default = hint_of(parameter, hints), parameter.default
        if parameter.kind is parameter.VAR_POSITIONAL:
            default = ()
        elif parameter.kind is parameter.VAR_KEYWORD:
            default = {}
        elif default is parameter.empty:
            default = ...
        fields[f"p{position}"] = (hint, Field(
            default=default, alias=name, title=name, description=descriptions.get(name),
            json_schema_extra={"position": position}))
    config = ConfigDict(arbitrary_types_allowed=True)
    return create_model("Parameters", __config__=config, **fields)


def hint_of(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """Return the type of a parameter as a whole: ``*args`` are a tuple, ``**kwargs`` a dict."""
    hint = hints.get(parameter.name, Any)
    if parameter.kind is parameter.VAR_POSITIONAL:
        return tuple[hint, ...]  # type: ignore[valid-type]  # a type made at run time
    if parameter.kind is parameter.VAR_KEYWORD:
        return dict[str, hint]  # type: ignore[valid-type]  # a type made at run time
    return hint


def _generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

    class Lenient(GenerateJsonSchema):
        """Writes nothing where a type has no schema, instead of refusing all."""

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
            return {}

    return Lenient

