"""What every test gets: a home of its own; on request, one Dask cluster for the whole suite.

Lives here: fixtures that more than one folder of tests uses, and the markers
that tests get from their folder. Does not live here: anything a single test
file needs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.flaky_store import let_stores_fail
from tests.postgres_support import OVERRIDE, NoServer, Server

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

TESTS = Path(__file__).parent
FOLDER_MARKERS = {"unit", "contract", "property", "fault", "acceptance"}
CLUSTER_FIXTURES = {"dask_cluster", "dask_client"}

os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")  # read when distributed is imported
# a worker in this process looks at all threads every 10 ms; in CPython 3.11 that look may stand
# still with the lock that a thread needs to start (gh-106883), and with it the whole process
os.environ.setdefault("DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED", "False")
# else Dask gives a worker up for good that is not there 15 s after it died: also where the next
# test, or a poisonous element, has just killed its successor
os.environ.setdefault("DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT", "1h")

# a shell that puts the suite into the background has it ignore Ctrl-C, which some tests send
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("suite", deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("long", parent=hypothesis.settings.get_profile("suite"),
                                     max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--flaky-store RATE``: every flow's store reports failures after doing its work."""
    parser.addoption("--flaky-store", type=float, default=0.0, metavar="RATE",
                     help="let stores report so many of their writes as failed, 0.01 to 0.2")


@pytest.fixture(autouse=True)
def _stores_are_flaky(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = request.config.getoption("--flaky-store")
    if rate:
        let_stores_fail(monkeypatch, rate, seed=len(request.node.nodeid))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the folder it stands in, and with ``dask`` where it uses the cluster."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if TESTS in item.path.parents else ""
        if folder in FOLDER_MARKERS:
            item.add_marker(folder)
        if CLUSTER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("dask")


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def dataflow_home(_homes: Path, monkeypatch: pytest.MonkeyPatch,
                  request: pytest.FixtureRequest) -> Path:
    """Give the test an empty ``DATAFLOW_HOME`` (not made yet) and no setting of the developer's."""
    for name in [name for name in os.environ if name.startswith("DATAFLOW_")]:
        monkeypatch.delenv(name)
    home = _homes / f"{abs(hash(request.node.nodeid)):x}"
    monkeypatch.setenv("DATAFLOW_HOME", str(home))
    return home


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a test as failed that was skipped for want of a server, where CI=true."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.startswith("no server:"):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} must not be skipped where CI=true: {reason}"
    return report


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Return a PostgreSQL server, one for all tests; skips where there is none."""
    pytest.importorskip("psycopg", reason="no server: psycopg is not installed")
    try:
        server = Server(OVERRIDE)
    except NoServer as error:
        pytest.skip(f"no server: {error}")
    yield server
    server.close()


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """Return a PostgreSQL server that the test may stop; skips where there is none."""
    try:
        server = Server()
    except NoServer as error:
        pytest.skip(f"no server: {error}")
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """Return the URL of an empty database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Return a local cluster of two processes of one thread, on loopback; one for all tests.

    A test that kills workers or changes the cluster starts its own.
    """
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
        dashboard_address="127.0.0.1:0", silence_logs=40,
        local_directory=str(tmp_path_factory.mktemp("dask")),
    ) as cluster:
        yield cluster


@pytest.fixture
def dask_client(dask_cluster: LocalCluster) -> Iterator[Client]:
    """Return a client of the cluster, not the process's default one; closed after the test."""
    from distributed import Client

    with Client(dask_cluster, set_as_default=False) as client:
        yield client
