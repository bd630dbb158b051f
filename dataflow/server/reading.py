"""From a request that passed the gate to what a view gets: query and body, checked.

Lives here: models over fields and JSON, and what is said where they do not fit. Does
not live here: the models (``shapes/``).
"""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from dataflow.exceptions import RequestRefused
from dataflow.server.paths import fields_of
from dataflow.server.routes import Route

_SHOWN = 20


def query_of(route: Route, query: str) -> BaseModel:
    """Return the query of a request. Raises RequestRefused."""
    try:
        return route.query.model_validate(fields_of(query))
    except ValidationError as error:
        raise _refused("query", error) from None


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
        return route.takes.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _refused("body", error) from None


def _refused(part: str, error: ValidationError) -> RequestRefused:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return RequestRefused(
            f"The body is no JSON: {found[0]['msg']}.", status=400,
            what_to_do="Send one JSON object in UTF-8.")
    problems = tuple(
        (".".join((part, *(str(step) for step in each["loc"]))), each["msg"])
        for each in found[:_SHOWN])
    listed = "; ".join(f"{where}: {what}" for where, what in problems[:3])
    return RequestRefused(
        f"The {part} does not fit: {listed}.", status=422, problems=problems,
        what_to_do="Change what is named here; /api/v1/openapi.json says what may stand there.")
