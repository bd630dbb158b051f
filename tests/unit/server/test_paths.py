"""Paths and queries: read in one way, or not at all."""

from __future__ import annotations

import uuid

import pytest

from dataflow.exceptions import RequestRefused, RunNotFound
from dataflow.server.paths import fields_of, quoted, run_id, segments


def test_parts_are_decoded() -> None:
    assert segments("/api/v1/flows") == ("api", "v1", "flows")
    assert segments("/deployments/my%20flow/%C3%BC!") == ("deployments", "my flow", "ü!")


@pytest.mark.parametrize("path", [
    "", "api", "*", "//", "/", "//api/v1/health", "/api//v1/health", "/api/v1/health/", "/api/./v1",
    "/api/../api/v1/health", "/api/%2e%2e/v1", "/api/%2E/v1", "/api%2fv1/health", "/api%2Fv1",
    "/api%5cv1", "/api\\v1", "/api/v1/health%00", "/api/v1/health%0a", "/api/v1/%zz", "/api/v1/%",
    "/api/v1/%ff", "/api/v1/%c0%af", "/api/v1/heälth", "/api/v1/health#x", "/api/v1/health;/..",
    "http://127.0.0.1/api/v1/health", "/api/v1/\u2024", "/api/v1/%E2%80%A8", "/api/v1/he alth",
])
def test_what_can_be_read_in_two_ways_is_no_path(path: str) -> None:
    assert segments(path) is None


@pytest.mark.parametrize("text", ["nightly", "ü ?#", "a+b&c=d", "..x", "50%"])
def test_any_name_of_a_deployment_can_be_written_as_a_part(text: str) -> None:
    assert segments(f"/x/{quoted(text)}") == ("x", text)


def test_fields_are_decoded() -> None:
    assert fields_of("") == {}
    assert fields_of("a=1&b=%C3%BC+x&c=") == {"a": "1", "b": "ü x", "c": ""}


@pytest.mark.parametrize("query, status", [
    ("a", 400), ("a=%ff", 400), ("&".join(f"f{n}=1" for n in range(51)), 400),
    ("a=1&a=2", 422), ("a=%00", 422),
])
def test_fields_that_cannot_be_meant_are_refused(query: str, status: int) -> None:
    with pytest.raises(RequestRefused) as caught:
        fields_of(query)
    assert caught.value.status == status and caught.value.what_to_do


def test_an_id_is_whole() -> None:
    id = str(uuid.uuid4())
    assert run_id(id.upper(), "flow run") == id
    for other in ("last", id[:8], id.replace("-", ""), f"{{{id[:34]}}}", "x" * 36):
        with pytest.raises(RunNotFound, match="flow run"):
            run_id(other, "flow run")
