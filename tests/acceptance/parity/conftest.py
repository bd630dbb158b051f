"""The runners that the suite goes over, and the differences from Prefect that it knows.

Lives here: the fixtures ``runner`` and ``pooled``; the marker ``differs``; the
table of differences. Does not live here: what the tests say.

Run by itself the suite holds our runners. Under ``PARITY=prefect`` (``make
parity``) the same tests run against Prefect, where a test marked
``differs(reason)`` must fail; the table of them ends the run, and
``--write FILE`` writes it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if os.environ.get("PARITY") == "prefect":
    os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="parity-")
    os.environ.update(
        PREFECT_LOGGING_TO_API_ENABLED="false", PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1", PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="60")

from tests.acceptance.parity import face

if TYPE_CHECKING:
    from distributed import Client

HERE = Path(__file__).parent
LOCAL = {"inline", "threads"}
DASK_MATTERS = {  # where Prefect on Dask is asked too, unless --all asks it everywhere
    "test_annotations", "test_broken_on_dask", "test_containers", "test_crashes", "test_map",
    "test_nested"}


def _inline(get: Callable[[str], Any]) -> Any:
    from runners import InlineTaskRunner

    return InlineTaskRunner()


def _threads(get: Callable[[str], Any]) -> Any:
    return face.ThreadPoolTaskRunner()


def _dask_threads(get: Callable[[str], Any]) -> Any:
    return face.DaskTaskRunner(client=get("threads_client"))


def _dask_processes(get: Callable[[str], Any]) -> Any:
    return face.DaskTaskRunner(address=get("dask_cluster").scheduler_address)


MAKERS: dict[str, Callable[[Callable[[str], Any]], Any]] = {
    "threads": _threads, "dask-processes": _dask_processes,
}
if not face.PREFECT:
    MAKERS = {"inline": _inline, "threads": _threads, "dask-threads": _dask_threads,
              "dask-processes": _dask_processes}


def _params(left_out: tuple[str, ...] = ()) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.dask if name.startswith("dask") else ())
            for name in MAKERS if name not in left_out]


@pytest.fixture(scope="session")
def threads_client() -> Iterator[Client]:
    """Return the client of a cluster inside this process, one for all tests."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False,
                      dashboard_address="127.0.0.1:0", silence_logs=40) as cluster, \
            Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture(params=_params())
def runner(request: pytest.FixtureRequest) -> Any:
    """Return a task runner, one after another of all there are."""
    return MAKERS[request.param](request.getfixturevalue)


@pytest.fixture(params=_params(("inline",)))
def pooled(request: pytest.FixtureRequest) -> Any:
    """Return a task runner under which the flow and its tasks go on side by side."""
    return MAKERS[request.param](request.getfixturevalue)


@pytest.fixture(params=[name for name in MAKERS if name in LOCAL])
def local(request: pytest.FixtureRequest) -> Any:
    """Return a task runner that stays in this process and copies nothing."""
    return MAKERS[request.param](request.getfixturevalue)


@pytest.fixture(params=_params(("inline", "threads")))
def dask(request: pytest.FixtureRequest) -> Any:
    """Return a task runner over Dask."""
    return MAKERS[request.param](request.getfixturevalue)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """Return the path of a file for notes."""
    return str(tmp_path / "ledger")


@pytest.fixture(scope="session", autouse=True)
def _prefect_itself() -> Iterator[None]:
    """Give Prefect a server of its own for the run."""
    if not face.PREFECT:
        yield
        return
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=60):
        yield


# what differs from Prefect

DECLARED = pytest.StashKey[list[tuple[str, str, str, str]]]()  # section, sentence, reason, runner
ALIKE = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write", metavar="FILE", default=None,
                     help="write the table of differences from Prefect (fast with --collect-only)")
    parser.addoption("--all", action="store_true",
                     help="against Prefect: over Dask everywhere, which takes half an hour")


def _runner_of(item: pytest.Item) -> str:
    params = getattr(getattr(item, "callspec", None), "params", {})
    return next((str(params[name]) for name in ("runner", "pooled", "local", "dask")
                 if name in params), "–")


def _marks_of(item: pytest.Item) -> list[pytest.Mark]:
    """Return what is said of a test under its runner."""
    runner = _runner_of(item)
    return [mark for mark in item.iter_markers("differs")
            if mark.kwargs.get("on", runner) == runner]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect what differs from Prefect to fail there."""
    if not face.PREFECT:
        return
    if not config.getoption("--all", default=False):
        items[:] = [item for item in items if item.path.stem in DASK_MATTERS
                    or not _runner_of(item).startswith("dask")]
    declared = config.stash[DECLARED] = []
    for item in items:
        if "timeouts" in item.path.stem:  # Prefect sets alarms, as pytest does
            item.add_marker(pytest.mark.timeout(100, method="thread"))
        for mark in _marks_of(item):
            item.add_marker(pytest.mark.xfail(
                reason=mark.args[0], run=mark.kwargs.get("run", True),
                strict=not mark.kwargs.get("sometimes", False)))
            name = getattr(item, "originalname", item.name)
            section, sentence = (text.removeprefix("test_").replace("_", " ")
                                 for text in (item.path.stem, name))
            declared.append((section, sentence, mark.args[0], _runner_of(item)))
    config.stash[ALIKE] = sum(not _marks_of(item) for item in items)


def _table(declared: list[tuple[str, str, str, str]], alike: int) -> str:
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for section, sentence, reason, runner in declared:
        sentences, runners = found.setdefault((section, reason), (set(), set()))
        sentences.add(sentence)
        runners.add(runner)
    rows = [f"| {section} | {reason} | {', '.join(sorted(runners))} | "
            f"{'; '.join(sorted(sentences))} |"
            for (section, reason), (sentences, runners) in sorted(found.items())]
    return (
        "# What differs from Prefect\n\n"
        "Written by `make parity ARGS=\"--all --write docs/parity.md\"`. One suite,\n"
        "`tests/acceptance/parity`, is held against dataflow and against Prefect 3.8.8 with\n"
        "prefect-dask 0.3.7, over its threads and over Dask processes; only the imports change.\n"
        f"{alike} tests are said to hold for both; the others hold here. Numbers such as\n"
        "#16373 are issues of Prefect's.\n\n"
        "| part | what Prefect does | where | what holds here |\n|---|---|---|---|\n"
        + "\n".join(rows) + "\n")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of differences, and write it where asked to."""
    if DECLARED not in config.stash:
        return
    table = _table(config.stash[DECLARED], config.stash[ALIKE])
    terminalreporter.write_line("")
    terminalreporter.write_line(table)
    target = config.getoption("--write", default=None)
    if target:
        Path(target).write_text(table)
