"""Every route, method and path of a service that runs goes through the gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.ids import new_run_id
from dataflow.server.routes import Guard
from dataflow.server.table import ROUTES
from dataflow.stores import open_store
from tests.run_support import wait_until
from tests.server_support import BEARER, TOKEN, Client, serving

NEARLY = [TOKEN[:-1], TOKEN + "0", TOKEN[1:], TOKEN.lower(), TOKEN.swapcase(), f" {TOKEN}",
          TOKEN.replace("_", " "), TOKEN.replace("M", "\xcc"), "", "*", "null"]
PATHS = sorted({
    "/".join(new_run_id() if part == "{id}" else "x" if part.startswith("{") else part
             for part in route.path.split("/")) for route in ROUTES})
OPEN = {route.path for route in ROUTES if route.guard is Guard.NOBODY}
CLOSED = [path for path in PATHS if path not in OPEN]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    store = open_store(tmp_path_factory.mktemp("gate") / "dataflow.db")
    with serving(store) as client:
        yield client
    store.close()


@pytest.mark.parametrize("path", CLOSED)
def test_no_route_answers_without_the_token_whatever_the_method(
        client: Client, path: str) -> None:
    for method in METHODS:
        assert client.ask(method, path).status == 401, method
        told = client.ask(method, path + "?token=" + TOKEN).status
        assert told == 401 or ("/webhooks/" in path and told == 422), method


@pytest.mark.parametrize("path", CLOSED)
def test_no_route_answers_to_what_is_nearly_the_token(client: Client, path: str) -> None:
    for token in NEARLY:
        answer = client.ask("GET", path, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.kind) == (401, "TokenRefused"), token
    for name, value in [("Authorization", f"Basic {TOKEN}"), ("Authorization", TOKEN),
                        ("X-Authorization", f"Bearer {TOKEN}"), ("Cookie", f"token={TOKEN}"),
                        ("Proxy-Authorization", f"Bearer {TOKEN}")]:
        assert client.ask("GET", path, headers={name: value}).status == 401, name


@pytest.mark.parametrize("path", PATHS)
def test_no_route_answers_to_an_evil_host_or_origin_with_the_token(
        client: Client, path: str) -> None:
    for headers, kind in [
            ({"Host": "evil.example"}, "HostRefused"),
            ({"Host": f"127.0.0.1.evil.example:{client.port}"}, "HostRefused"),
            ({"Origin": "http://evil.example"}, "OriginRefused"),
            ({"Origin": "null"}, "OriginRefused"),
            ({"Sec-Fetch-Site": "cross-site"}, "OriginRefused")]:
        answer = client.ask("GET", path, headers={**BEARER, **headers})
        assert (answer.status, answer.kind) == (403, kind), headers
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_no_other_writing_of_a_path_gets_round_the_gate_or_means_the_route(
        client: Client, path: str) -> None:
    head, _, last = path.rpartition("/")
    for other in [
            f"/{path}", path + "/", path + "//", path.replace("/", "//"), f"{head}/./{last}",
            f"{head}/x/../{last}", f"{head}%2f{last}", f"{head}%2F{last}", f"{head}%5c{last}",
            path + "%2f", path + "%00", path + "%20", path + ";x", path + ".json", path + "%3f",
            f"/%2e{path}", f"/..{path}", path.upper(), f"{head}/%{ord(last[0]):02x}%{last[1:]}",
            f"http://127.0.0.1:{client.port}{path}", f"http://evil.example{path}", "*"]:
        host = {"Host": f"127.0.0.1:{client.port}"}
        assert client.ask("GET", other, headers=host).status == 401, other
        assert client.ask("GET", other, headers={**host, **BEARER}).status in (404, 405), other


@pytest.mark.parametrize("path", CLOSED)
def test_a_path_with_letters_encoded_needs_the_token_too(client: Client, path: str) -> None:
    head, _, last = path.rpartition("/")
    assert client.ask("GET", f"{head}/%{ord(last[0]):02x}{last[1:]}").status == 401


def test_health_and_ready_need_no_token_and_say_nothing_else(client: Client) -> None:
    assert client.ask("GET", "/api/v1/health").json == {"status": "ok"}
    assert client.ask("GET", "/api/v1/ready").json == {"status": "ready"}
    for path in OPEN:
        assert client.ask("POST", path).status == 401


def test_the_token_opens_what_it_is_for(client: Client) -> None:
    assert client.get("/version").json["api"] == "v1"
    answer = client.ask("HEAD", "/api/v1/flow-runs", headers=BEARER)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def test_an_unknown_path_and_method_are_told_what_there_is(client: Client) -> None:
    answer = client.get("/nothing")
    assert answer.status == 404
    assert answer.json["error"] == {
        "status": 404, "kind": "NoRoute", "what": "There is nothing under this path.",
        "where": "GET /api/v1/nothing", "parts": [],
        "what_to_do": "GET /api/v1/openapi.json lists the paths there are."}
    answer = client.ask("BREW", "/api/v1/flow-runs", headers=BEARER)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("headers", [
    b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nHost: evil.example\r\n",
    b"Host:\r\n", b"Host: localhost:1\r\nAuthorization: Bearer x\r\n",
    b"Host: localhost\r\nX-Forwarded-Host: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n"])
def test_a_request_written_by_hand_is_let_through_by_no_header_but_the_token(
        client: Client, headers: bytes) -> None:
    for version in (b"HTTP/1.1", b"HTTP/1.0"):
        answer = client.raw(b"GET /api/v1/flow-runs " + version + b"\r\n" + headers
                            + b"Connection: close\r\n\r\n")
        assert answer.split(b" ")[1] in (b"400", b"401", b"403"), answer
    twice = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    answer = client.raw(b"GET /api/v1/flow-runs HTTP/1.1\r\nHost: localhost\r\n" + twice * 2
                        + b"Connection: close\r\n\r\n")
    assert answer.split(b" ")[1] == b"401"


def test_each_request_of_a_connection_passes_the_gate(client: Client) -> None:
    def request(token: bytes) -> bytes:
        return (b"GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                + token + b"\r\n")

    answer = client.raw(request(TOKEN.encode()) + b"\r\n" + request(b"x") + b"\r\n"
                        + request(TOKEN.encode()) + b"Connection: close\r\n\r\n")
    assert [line.split()[1] for line in answer.split(b"HTTP/1.1")[1:] for line in [b"x" + line]
            ] == [b"200", b"401", b"200"]


@pytest.mark.parametrize("size, headers", [
    (1024 * 1024 + 1, {}), (20 * 1024 * 1024, {}), (1024 * 1024 + 1, {"Expect": "100-continue"})])
def test_a_body_that_is_too_large_is_refused(
        client: Client, size: int, headers: dict[str, str]) -> None:
    path = "/api/v1/deployments/a/b/runs"
    head = "".join(f"{name}: {value}\r\n" for name, value in {
        **headers, **BEARER, "Host": "localhost", "Content-Length": str(size),
        "Connection": "close"}.items())
    sent = 1024 * 1024 + 1 if size < 2_000_000 and not headers else 0
    answer = client.raw(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + b" " * sent)
    assert answer.split(b" ")[1] == b"413" and b'"kind": "TooLarge"' in answer
    without = head.replace(TOKEN, "x")
    answer = client.raw(f"POST {path} HTTP/1.1\r\n{without}\r\n".encode() + b" " * sent)
    assert answer.split(b" ")[1] == b"401"


def test_a_body_in_chunks_is_counted(client: Client) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = client.raw(
        b"POST /api/v1/deployments/a/b/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
        + TOKEN.encode() + b"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        + chunk * 17 + b"0\r\n\r\n")
    assert answer.split(b" ")[1] == b"413"


def test_bodies_that_are_no_json_are_refused(client: Client) -> None:
    path = "/api/v1/deployments/a/b/runs"
    for body, media, status in [
            (b"{}", "text/plain", 415), (b"{}", "application/x-www-form-urlencoded", 415),
            (b"", "application/json", 400), (b"{", "application/json", 400),
            (b"\xff", "application/json", 400), (b"[" * 100_000, "application/json", 400),
            (b"[]", "application/json", 422), (b'{"paremeters": {}}', "application/json", 422),
            (b'{"priority": "1"}', "application/json", 422)]:
        answer = client.ask("POST", path, body, {**BEARER, "Content-Type": media})
        assert answer.status == status, (body[:20], answer.body)
        error = answer.json["error"]
        assert error["what"] and error["what_to_do"] and error["where"] == f"POST {path}"
        assert "Traceback" not in answer.body.decode()


def test_the_log_never_holds_the_token(
        client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client.get("/version")
    client.ask("GET", "/api/v1/version", headers={"Authorization": f"Bearer {TOKEN}x"})
    for bad in ("\0", "\x7f", "\r\n folded"):
        client.raw(f"GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\n"
                   f"Authorization: Bearer {TOKEN}{bad}\r\n\r\n".encode())
    wait_until(lambda: "version: 200" in caplog.text and "version: 401" in caplog.text, "logged")
    assert TOKEN not in caplog.text


def test_a_name_that_was_allowed_is_answered_for(tmp_path: Path) -> None:
    store = open_store(tmp_path / "dataflow.db")
    with serving(store, allowed_hosts=("Flows.example",)) as client:
        assert client.get("/version", Host="flows.example").status == 200
        assert client.get("/version", Host="other.example").status == 403
    store.close()
