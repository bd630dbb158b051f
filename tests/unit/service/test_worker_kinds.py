"""What a worker needs before it begins, and what it says where that is wanting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.exceptions import WorkPoolError
from dataflow.service.worker_kinds import worker_of
from dataflow.store import Store
from dataflow.stores import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "dataflow.db"))
    yield opened
    opened.close()


@pytest.mark.parametrize(("address", "said"), [
    ("foo", "missing port number"), ("tcp://foo", "missing port number"),
    ("foo:x", "Write tcp://host:8786"), ("tcp://foo:99999", "ports go from 1 to 65535"),
    ("http://foo:1", "unknown address scheme 'http'"), (":8786:", "Write tcp://host:8786"),
])
def test_what_is_no_address_of_a_scheduler_is_refused_at_once(store: Store, address: str,
                                                              said: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(WorkPoolError, match=said) as caught:
        worker_of(store, "default", kind="dask", dask_address=address)
    assert time.monotonic() - began_s < 10  # a client that is made first waits for 20 s
    assert repr(address) in str(caught.value)


@pytest.mark.parametrize(("there", "command"), [(False, "create"), (True, "set")])
def test_a_pool_that_wants_an_address_is_told_the_command_that_works(store: Store, there: bool,
                                                                     command: str) -> None:
    if there:
        store.agenda().put_pool("shared", limit=None, paused=False, kind="dask", template=None)
    with pytest.raises(WorkPoolError, match=f"dataflow pool {command} shared --type dask"):
        worker_of(store, "shared", kind="dask")
