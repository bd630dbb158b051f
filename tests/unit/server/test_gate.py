"""The gate: which Host, Origin and token it lets through, whatever the path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataflow.server.gate import Asked, Gate

TOKEN = "Made-up_token.0123456789"
GATE = Gate(token=TOKEN, is_open=lambda method, path: path == "/open")
ASKED = Asked(method="GET", path="/closed", hosts=["127.0.0.1:4207"],
              authorizations=[f"Bearer {TOKEN}"])


def refused(gate: Gate = GATE, **changes: Any) -> str | None:
    problem = gate.refusal(replace(ASKED, **changes))
    return None if problem is None else problem.kind


def test_the_token_is_let_through_whatever_the_case_of_the_scheme() -> None:
    assert refused() is None
    assert refused(authorizations=[f"bearer {TOKEN}"]) is None


@pytest.mark.parametrize("given", [
    "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer  {TOKEN}", f"Bearer\t{TOKEN}",
    f"Bearer {TOKEN} ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN[1:]}",
    f"Bearer {TOKEN.lower()}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN}\0",
    f"Bearer {TOKEN},Bearer {TOKEN}", f'Bearer "{TOKEN}"', f"Bearer {TOKEN[:-1]}\uff19",
    f"Bearer {TOKEN.replace('a', chr(0x430))}", "Bearer \ud800", f"Token Bearer {TOKEN}",
])
def test_what_is_nearly_the_token_is_refused(given: str) -> None:
    problem = GATE.refusal(replace(ASKED, authorizations=[given]))
    assert problem is not None and (problem.status, problem.kind) == (401, "TokenRefused")
    assert problem.headers == {"WWW-Authenticate": 'Bearer realm="dataflow"'}
    assert TOKEN not in problem.what + problem.what_to_do


def test_no_token_and_two_are_refused() -> None:
    assert refused(authorizations=[]) == "TokenRefused"
    assert refused(authorizations=[f"Bearer {TOKEN}", f"Bearer {TOKEN}"]) == "TokenRefused"
    assert refused(authorizations=["", f"Bearer {TOKEN}"]) == "TokenRefused"


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:4207", "[::1]:4207", "[::1]", "127.9.9.9"])
def test_names_of_loopback_are_ours(host: str) -> None:
    assert refused(hosts=[host]) is None


@pytest.mark.parametrize("host", [
    "", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil-localhost",
    "localhost.", "localhost@evil.example", "evil.example@localhost", "localhost:4207:1",
    "localhost:port", "localhost:", "localhost/", "localhost#", "localhost,evil.example", " ",
    "[::1", "::1", "[::1].evil.example", "0.0.0.0", "10.0.0.1", "2130706433", "127.1",
    "0x7f.0.0.1", "[::ffff:8.8.8.8]", "localhost\0", "ｌocalhost",
])
def test_other_hosts_are_refused_also_where_no_token_is_needed(host: str) -> None:
    assert refused(hosts=[host]) == "HostRefused"
    assert refused(hosts=[host], path="/open") == "HostRefused"


def test_a_request_without_a_host_or_with_two_is_refused() -> None:
    assert refused(hosts=[]) == "HostRefused"
    assert refused(hosts=["localhost", "localhost"]) == "HostRefused"


def test_names_that_were_allowed_and_addresses_where_others_reach_it_are_ours() -> None:
    gate = replace(GATE, names=frozenset({"flows.example"}), any_address=True)
    assert refused(gate, hosts=["Flows.Example:8443"]) is None
    assert refused(gate, hosts=["10.0.0.1:80"]) is None
    assert refused(gate, hosts=["[fd00::1]"]) is None
    assert refused(gate, hosts=["evil.example"]) == "HostRefused"
    assert refused(replace(gate, any_address=False), hosts=["10.0.0.1"]) == "HostRefused"


def test_a_page_of_the_service_itself_may_ask() -> None:
    assert refused(origins=["http://127.0.0.1:4207"]) is None
    assert refused(origins=["http://127.0.0.1:4207"], sites=["same-origin"]) is None
    assert refused(hosts=["localhost"], origins=["http://localhost:80"]) is None
    assert refused(replace(GATE, scheme="https"), hosts=["localhost"],
                   origins=["https://localhost"]) is None


@pytest.mark.parametrize("origin", [
    "null", "", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:4208",
    "https://127.0.0.1:4207", "http://localhost:4207", "127.0.0.1:4207",
    "http://127.0.0.1:4207.evil.example", "http://127.0.0.1:4207/", "http://u@127.0.0.1:4207",
    "file://", "http://127.0.0.1:4207 http://evil.example",
])
def test_pages_of_others_may_not_ask_also_with_the_token_or_where_none_is_needed(
        origin: str) -> None:
    assert refused(origins=[origin]) == "OriginRefused"
    assert refused(origins=[origin], path="/open", authorizations=[]) == "OriginRefused"
    assert refused(origins=["http://127.0.0.1:4207", origin]) == "OriginRefused"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "NONE "])
def test_what_a_browser_says_comes_from_another_site_is_refused(site: str) -> None:
    assert refused(sites=[site]) == "OriginRefused"


def test_the_open_path_needs_no_token_but_all_else() -> None:
    assert refused(path="/open", authorizations=[]) is None
    assert refused(path="/open/", authorizations=[]) == "TokenRefused"
