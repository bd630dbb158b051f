"""Connections of the service, when there are too many of them."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dataflow.server import listening
from dataflow.stores import open_store
from tests.run_support import wait_until
from tests.server_support import Client, serving


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(listening, "CONNECTIONS", 4)
    store = open_store(tmp_path / "dataflow.db")
    with serving(store) as client:
        yield client
    store.close()


def test_one_connection_too_many_is_closed_and_said_once(
        client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as opened:
        lines = [opened.enter_context(socket.create_connection(("127.0.0.1", client.port), 20))
                 for _ in range(7)]
        assert [line.recv(1) for line in lines[4:]] == [b""] * 3
    assert caplog.text.count("4 connections are open") == 1

    def answered() -> bool:
        try:
            return client.get("/version").status == 200
        except ConnectionError:
            return False

    wait_until(answered, "those that ended make room")


def test_half_of_the_files_are_left_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((64, 32), (1 << 20, 500), (resource.RLIM_INFINITY, 500)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, files=files: (files, files))
        assert listening.most_connections() == most
