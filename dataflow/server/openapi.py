"""The OpenAPI document, made from the table of routes.

Lives here: how a route, its query, its body and its answers are described. Does not
live here: serving it (``views/process.py``).

References
----------
https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dataflow import __version__
from dataflow.server.routes import Guard, Route
from dataflow.server.shapes.pages import ErrorBody

_REF = "#/components/schemas/{model}"
_MEANINGS = {
    400: "It cannot be read.", 401: "It brings no token, or another one.",
    403: "Host or Origin is none of the service's.", 404: "There is no such thing.",
    409: "It does not fit how things stand.", 413: "Its body is too large.",
    415: "Its body is not said to be JSON.", 422: "Something in it does not fit.",
    503: "The run store cannot be used, or too much is asked at the moment.",
}
_ID = {"type": "string", "format": "uuid"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
_Mode = Literal["validation", "serialization"]


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document of these routes."""
    schemas, references = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dataflow", "version": __version__,
            "description": "Flow runs, deployments, schedules and the queue of one run store. "
                           "Lists come in pages: give `next` of one as `cursor` of the other."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


_References = Mapping[type[BaseModel], Mapping[str, Any]]


def _schemas(routes: Iterable[Route]) -> tuple[dict[str, Any], _References]:
    """Return the schemas of all models, and what stands for each where it is used."""
    wanted: dict[type[BaseModel], _Mode] = {ErrorBody: "serialization"}
    for route in routes:
        if route.gives is not None:
            wanted[route.gives] = "serialization"
        if route.takes is not None:
            wanted[route.takes] = "validation"
    found, whole = models_json_schema(list(wanted.items()), ref_template=_REF)
    return dict(whole.get("$defs", {})), {
        model: found[model, mode] for model, mode in wanted.items()}


def _operation(route: Route, references: _References) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": route.name, "summary": route.about,
        "parameters": [*map(_path_parameter, route.names), *_query_parameters(route.query)],
        "responses": {
            str(route.status): {"description": "It was done.",
                                "content": {route.media: {"schema": _answer(route, references)}}},
            **{str(status): {
                "description": _MEANINGS[status],
                "content": {"application/json": {"schema": references[ErrorBody]}},
            } for status in _errors(route)}},
    }
    if route.takes is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": references[route.takes]}}}
    if route.makes is not None:
        found["responses"][str(route.status)]["headers"] = {"Location": {
            "description": "Path of what was made.", "schema": {"type": "string"}}}
    if route.guard is not Guard.TOKEN:
        found["security"] = []
    return found


def _answer(route: Route, references: _References) -> Mapping[str, Any]:
    if route.gives is not None:
        return references[route.gives]
    return {"type": "object"} if route.media == "application/json" else {"type": "string"}


def _errors(route: Route) -> list[int]:
    found = {400, 403, 422, *route.errors}
    if route.guard is Guard.TOKEN:
        found.add(401)
    if route.names:
        found.add(404)
    if not route.quick:
        found.add(503)
    if route.takes is not None or route.guard is Guard.SIGNATURE:
        found |= {413, 415}
    return sorted(found)


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True,
            "schema": _ID if name == "id" else _NAME}


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    schema = query.model_json_schema()
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(each)}
        for name, each in schema.get("properties", {}).items()]


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may be missing: a query has no null."""
    kept = {name: value for name, value in schema.items()
            if name not in ("anyOf", "title") and not (name == "default" and value is None)}
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return {**kept, **choices[0]} if len(choices) == 1 else kept
