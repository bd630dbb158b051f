"""The document of the API says what the service does: requests are made from it by schemathesis."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi import checks

from dataflow.agenda import NewDeployment, NewSchedule
from dataflow.ids import task_run_id
from dataflow.records import Gulp
from dataflow.server.openapi import document
from dataflow.server.routes import Guard
from dataflow.server.table import ROUTES
from dataflow.stores import open_store
from dataflow.testing.store_contract.records import RUN, call, failed, flow_run
from tests.server_support import BEARER, Client, serving

DOCUMENT = document(ROUTES)
# streams go on, and the token is always sent: that it is needed is test_server_gate.py's
SCHEMA = from_dict({**DOCUMENT, "security": [], "paths": {
    path: methods for path, methods in DOCUMENT["paths"].items() if not path.endswith("/stream")}})
CHECKS = [
    schemathesis.checks.not_a_server_error, checks.status_code_conformance,
    checks.content_type_conformance, checks.response_schema_conformance,
    checks.negative_data_rejection, checks.unsupported_method, checks.allow_header_conformance]
THERE = {"id": RUN, "flow": "etl", "name": "nightly", "slug": "s"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    store = open_store(tmp_path_factory.mktemp("document") / "dataflow.db")
    store.write(RUN, Gulp(flow_run=flow_run(), calls=[call()], elements=[failed(0)]))
    store.agenda().put(NewDeployment(
        name="etl/nightly", flow_name="etl", digest="d", spec={"entrypoint": "etl.py:etl"},
        schedules=[NewSchedule(slug="s", spec={}, next_s=1e9)]), 1e9)
    with serving(store) as client:
        yield client
    store.close()


@SCHEMA.parametrize()
@hypothesis.settings(max_examples=10, derandomize=True, deadline=None, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))
def test_requests_made_from_the_document_are_answered_as_it_says(
        case: Any, client: Client) -> None:
    named = case.path_parameters or {}
    if case.method == "DELETE" and "name" in named:
        case.path_parameters = {**named, "name": "none"}
    elif _is_positive(case) and zlib.crc32(repr(sorted(named.items())).encode()) % 2:
        there = {**THERE, "id": task_run_id(RUN, 0, 0)} if "task-runs/{" in case.path else THERE
        case.path_parameters = {name: there[name] for name in named}
    answer = case.call(base_url=f"http://127.0.0.1:{client.port}", headers=BEARER)
    case.validate_response(answer, checks=CHECKS, headers=BEARER)


def _is_positive(case: Any) -> bool:
    return bool(case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE)


def test_the_service_gives_the_document_out(client: Client) -> None:
    assert client.get("/openapi.json").json == DOCUMENT


def test_the_document_holds_every_route_with_its_guard() -> None:
    listed = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items()
              for method in methods}
    assert listed == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        assert operation["operationId"] == route.name and operation["summary"]
        assert ("401" in operation["responses"]) == (route.guard is not Guard.NOBODY)
        assert (operation.get("security") == []) == (route.guard is not Guard.TOKEN)
        assert {each["name"] for each in operation["parameters"] if each["in"] == "path"} == set(
            route.names)
    assert DOCUMENT["security"] == [{"token": []}] and DOCUMENT["openapi"].startswith("3.1")


def test_the_document_is_the_same_each_time_and_every_reference_leads_somewhere() -> None:
    assert document(ROUTES) == DOCUMENT
    schemas = DOCUMENT["components"]["schemas"]

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    found = set(references(DOCUMENT))
    assert found == {f"#/components/schemas/{name}" for name in schemas}
