"""The task runners that contracts are held against, databases, and a server of S3.

Lives here: the fixtures ``runner``, ``background``, ``play``, ``another`` (stores in databases)
and ``s3_options``. A runner joins the contract by a line in ``RUNNERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataflow.store import Store
from dataflow.stores import open_store
from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner
from tests.runner_support import Play

if TYPE_CHECKING:
    from distributed import Client

RUNNERS: dict[str, Callable[[Any], Any]] = {
    "inline": lambda get: InlineTaskRunner(),
    "threads": lambda get: ThreadPoolTaskRunner(),
    "two-threads": lambda get: ThreadPoolTaskRunner(max_workers=2),
    "dask-threads": lambda get: DaskTaskRunner(client=get("threads_client")),
    "dask-processes": lambda get: DaskTaskRunner(address=get("dask_cluster").scheduler_address),
}
DASK = [name for name in RUNNERS if name.startswith("dask")]


def _param(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.dask if name in DASK else ())


@pytest.fixture(scope="session")
def threads_client() -> Iterator[Client]:
    """Return the client of a cluster inside this process, one for all tests."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False,
                      dashboard_address="127.0.0.1:0", silence_logs=40) as cluster, \
            Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, Any]]:
    """Start a server that speaks S3, with one bucket."""
    try:
        import boto3
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    except ImportError as error:
        pytest.skip(f"no server: moto cannot be imported ({error})")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint": f"http://{host}:{port}", "region": "us-east-1",
               "access_key_id": "test", "secret_access_key": "test"}
    boto3.client(
        "s3", endpoint_url=options["endpoint"], region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    ).create_bucket(Bucket="results")
    yield options
    server.stop()


@pytest.fixture(params=[_param(name) for name in RUNNERS])
def runner(request: pytest.FixtureRequest) -> Any:
    """Return a task runner, one after another of all there are."""
    return RUNNERS[request.param](request.getfixturevalue)


@pytest.fixture(params=[_param(name) for name in RUNNERS if name != "inline"])
def background(request: pytest.FixtureRequest) -> Any:
    """Return a task runner under which the flow and its tasks go on side by side."""
    return RUNNERS[request.param](request.getfixturevalue)


@pytest.fixture
def play(runner: Any) -> Play:
    """Return what runs a function as a flow on every runner."""
    return Play(runner)


@pytest.fixture
def play_along(background: Any) -> Play:
    """Return what runs a function as a flow beside its tasks."""
    return Play(background)


@pytest.fixture(params=["sqlite", "postgres"])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Return what opens the same store once more, as another process would."""
    place = (str(tmp_path / "dataflow.db") if request.param == "sqlite"
             else request.getfixturevalue("postgres_url"))
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(open_store(place))
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()
