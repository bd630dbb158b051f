"""From a request that passed the gate to what a view gets: query and body, checked.

Lives here: models over fields and JSON, and what is said where they do not fit. Does
not live here: the models (``shapes/``).
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dataflow.exceptions import RequestRefused
from dataflow.server.paths import fields_of
from dataflow.server.routes import Route

_SHOWN = 20


def query_of(route: Route, query: str) -> BaseModel:
    """Return the query of a request. Raises RequestRefused."""
    try:
        return route.query.model_validate(fields_of(query))
    except ValidationError as error:
        raise _refused("query", error, route.query) from None


def body_of(route: Route, body: bytes, content_type: str | None) -> BaseModel | None:
    """Return the body of a request. Raises RequestRefused."""
    if route.takes is None:
        return None
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise RequestRefused(
            "The body is not said to be JSON.", status=415,
            what_to_do="Send it with `Content-Type: application/json`.")
    try:
        found = route.takes.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _refused("body", error, route.takes) from None
    json.loads(body, object_pairs_hook=_each_once)
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises RequestRefused where it can be read in two ways."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            what = f"has {name[:100]!r} more than once in one object"
            raise RequestRefused(f"The body {what}.", status=422, problems=(("body", what),),
                                 what_to_do="Give each name once.")
        found[name] = value
    return found


def _said(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what is wrong with a part of a request."""
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        known = ", ".join(sorted(model.model_fields))
        return "there is no such field; " + (f"there are {known}" if known else "there are none")
    return problem["msg"].removeprefix("Value error, ")


def _refused(part: str, error: ValidationError, model: type[BaseModel]) -> RequestRefused:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return RequestRefused(
            f"The body is no JSON: {found[0]['msg']}.", status=400,
            what_to_do="Send one JSON object in UTF-8.")
    problems = tuple(
        (".".join((part, *(str(step) for step in each["loc"]))), _said(each, model))
        for each in found[:_SHOWN])
    listed = "; ".join(f"{where}: {what}" for where, what in problems[:3])
    return RequestRefused(
        f"The {part} does not fit: {listed}.", status=422, problems=problems,
        what_to_do="Change what is named here; /api/v1/openapi.json says what may stand there.")
