"""Where the service may listen, and what it is called there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow.exceptions import ServerError
from dataflow.server.addresses import Place, checked
from dataflow.server.asking import status_of

PEM = Path("x.pem")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "::1", "127.8.8.8"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert checked(Place(host=host)).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "localhost.",
                                  "127.0.0.1.example.org", "::ffff:10.0.0.1", "127.1"])
def test_other_addresses_need_tls_or_the_word(host: str) -> None:
    place = Place(host=host)
    with pytest.raises(ServerError, match="--insecure"):
        checked(place)
    assert checked(replace(place, insecure=True)) and checked(
        replace(place, certfile=PEM, keyfile=PEM))


@pytest.mark.parametrize("fields", [{"certfile": PEM}, {"keyfile": PEM}])
def test_a_certificate_without_its_key_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ServerError, match="--certfile"):
        checked(Place(**fields))


@pytest.mark.parametrize("host, url", [
    ("127.0.0.1", "http://127.0.0.1:5/api/v1"), ("0.0.0.0", "http://127.0.0.1:5/api/v1"),
    ("::", "http://[::1]:5/api/v1"), ("::1", "http://[::1]:5/api/v1"),
    ("localhost", "http://localhost:5/api/v1"), ("10.0.0.1", "http://10.0.0.1:5/api/v1")])
def test_the_address_is_one_that_can_be_asked(host: str, url: str) -> None:
    assert Place(host=host).url(5) == url
    assert Place(host=host, certfile=PEM).url(5) == url.replace("http", "https")


def test_names_are_those_that_were_allowed_and_the_host_where_it_is_a_name() -> None:
    assert Place(host="Flows.Example", allowed_hosts=("A.example",)).names == {
        "flows.example", "a.example"}
    assert Place(host="10.0.0.1").names == frozenset()


@pytest.mark.parametrize("address", [
    "127.0.0.1:4207", "ftp://127.0.0.1", "http://", "http://u:p@127.0.0.1/", "http://h:port"])
def test_what_is_no_address_cannot_be_asked(address: str) -> None:
    with pytest.raises(ServerError, match="no address"):
        status_of(address, None)
