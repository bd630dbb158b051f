"""Where the service may listen, and what it is called there."""

from __future__ import annotations

import socket
import threading
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


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.",
                                  "127.0.0.1.example.org", "::ffff:10.0.0.1", "127.1"])
def test_other_addresses_need_tls_or_the_word(host: str) -> None:
    place = Place(host=host)
    with pytest.raises(ServerError, match="--insecure"):
        checked(place)
    assert checked(replace(place, insecure=True)) and checked(
        replace(place, certfile=PEM, keyfile=PEM))


def test_an_empty_address_is_refused_also_with_the_word() -> None:
    with pytest.raises(ServerError, match="empty"):
        checked(Place(host=" ", insecure=True))


@pytest.mark.parametrize("name", [
    "", "*", "*.example.org", "http://flows.example", "flows.example:8080", "a,b", "ü.example"])
def test_a_name_that_no_request_could_have_is_refused(name: str) -> None:
    with pytest.raises(ServerError, match="--allowed-host"):
        checked(Place(allowed_hosts=("flows.example", name)))


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
    "127.0.0.1:4207", "ftp://127.0.0.1", "http://", "http://u:p@127.0.0.1/", "http://h:port",
    "http://[::1", "http://127.0.0.1/a b", "http://h/ü"])
def test_what_is_no_address_cannot_be_asked(address: str) -> None:
    with pytest.raises(ServerError, match="no address"):
        status_of(address, None)


def test_nobody_there_is_told_with_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = status_of(f"http://127.0.0.1:{unused.getsockname()[1]}", None)
    assert (found.healthy, found.ready) == (False, False)
    assert "dataflow server start" in str(found.problem)


def test_a_service_whose_store_does_not_answer_lives() -> None:
    def served(listener: socket.socket) -> None:
        line, _ = listener.accept()  # /health is answered, /ready is not
        with line:
            line.recv(65536)
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=served, args=(listener,))
        thread.start()
        found = status_of(f"http://127.0.0.1:{listener.getsockname()[1]}", None, timeout_s=0.3)
        thread.join()
    assert (found.healthy, found.ready) == (True, False)
    assert "run store" in str(found.problem)
