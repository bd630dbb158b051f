"""The table of routes, and finding one."""

from __future__ import annotations

import pytest

from dataflow.exceptions import RequestRefused
from dataflow.server.cursors import cursor_of, parts_of
from dataflow.server.problems import NO_ROUTE, Problem
from dataflow.server.routes import Found, Guard, Router
from dataflow.server.table import ROUTES

ROUTER = Router(ROUTES)


def found(method: str, path: str) -> str | Problem:
    answer = ROUTER.find(method, path)
    return answer.route.name if isinstance(answer, Found) else answer


def test_names_and_places_are_given_once() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert [route.path for route in ROUTES if not route.path.startswith("/api/v1/")] == [
        "/metrics"]


def test_only_health_ready_and_calls_that_are_signed_need_no_token() -> None:
    assert [route.name for route in ROUTES if route.guard is not Guard.TOKEN] == [
        "health", "ready", "hook"]
    for method, path in [("GET", "/api/v1/health"), ("HEAD", "/api/v1/ready"),
                         ("POST", "/api/v1/webhooks/push")]:
        assert ROUTER.is_open(method, path)
    for method, path in [
            ("POST", "/api/v1/health"), ("OPTIONS", "/api/v1/health"), ("GET", "/api/v1/version"),
            ("GET", "/api/v1/health/"), ("GET", "//api/v1/health"), ("GET", "/api/v1/HEALTH"),
            ("get", "/api/v1/health"), ("GET", "/api/v1/health%2f"), ("GET", "/health")]:
        assert not ROUTER.is_open(method, path)


def test_every_route_is_found_by_its_path() -> None:
    for route in ROUTES:
        path = "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))
        answer = ROUTER.find(route.method, path)
        assert isinstance(answer, Found) and answer.route is route
        assert answer.path == dict.fromkeys(route.names, "x")


def test_head_is_found_as_get_but_for_streams() -> None:
    assert found("HEAD", "/api/v1/flow-runs") == "flow_runs"
    answer = found("HEAD", "/api/v1/flow-runs/x/logs/stream")
    assert isinstance(answer, Problem) and answer.headers == {"Allow": "GET"}


def test_an_unknown_method_is_told_those_there_are() -> None:
    for method in ("PUT", "OPTIONS", "BREW", "get"):
        answer = found(method, "/api/v1/deployments/a/b")
        assert isinstance(answer, Problem) and answer.status == 405
        assert answer.headers == {"Allow": "DELETE, GET, HEAD"}


def test_an_unknown_path_is_none() -> None:
    for path in ("/", "/api/v1", "/api/v2/flows", "/api/v1/flows/", "/api/v1/flow-runs/a/b"):
        assert found("GET", path) == NO_ROUTE


def test_a_cursor_comes_back_as_it_was() -> None:
    assert parts_of(cursor_of("ü/x", 1, 1.5), str, int, float) == ("ü/x", 1, 1.5)


@pytest.mark.parametrize("cursor", [
    "", "x", "====", "ü", cursor_of(1), cursor_of("a", 2), cursor_of(True), cursor_of(None),
    cursor_of(["a"]), cursor_of("a\0"), cursor_of("\ud800"), "W1tb" * 300, "bnVsbA"])
def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parts_of(cursor, str)
    assert caught.value.status == 422
    with pytest.raises(RequestRefused):
        parts_of(cursor_of(1 << 70), int)
    with pytest.raises(RequestRefused):
        parts_of(cursor_of(float("nan")), float)
