"""What is remembered of dead workers, and for how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dataflow.batch import Placement
from runners.dask import trouble
from runners.dask.deaths import Deaths
from runners.dask.flight import Flight
from runners.dask.trouble import Trouble

ADDRESS = "tcp://127.0.0.1:4000"


class Session:
    """A session with some flights and no Dask."""

    def __init__(self, cluster: Any = None) -> None:
        self.link: Any = SimpleNamespace(deaths=Deaths(cluster), threads={}, lost=None,
                                         address="tcp://scheduler")
        self.flying: list[Flight] = []
        self.lost: list[tuple[int, str, bool]] = []

    def fly(self, *numbers: int, worker: str | None = ADDRESS) -> None:
        self.flying += [Flight(n, n, Placement(), 0.0, key=("k", n), worker=worker)
                        for n in numbers]

    def flights(self) -> list[Flight]:
        return list(self.flying)

    def lose(self, flight: Flight, reason: str, *, blame: bool) -> None:
        self.flying.remove(flight)
        self.lost.append((flight.number, reason, blame))

    def report(self, flight: Flight, data: bytes, kept: bool) -> None: ...

    def refuse(self, flight: Flight, event: Any) -> None: ...

    def check_connection(self, reason: str | None = None) -> bool:
        return False


def cluster(process: Any) -> Any:
    """Return a cluster of one nanny whose worker has a fixed address."""
    return SimpleNamespace(workers={0: SimpleNamespace(
        process=SimpleNamespace(process=process, worker_address=ADDRESS,
                                status=SimpleNamespace(name="running")))})


def die(session: Session, watch: Trouble) -> None:
    """Let the worker die under one flight, while another waits for it."""
    keys = frozenset(flight.key for flight in session.flying)
    watch.worker_died(ADDRESS, keys, threads=1)
    watch.tick(watch._now_s)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a new worker come long enough after a death to be another one."""
    monkeypatch.setattr(trouble, "_LATE_NEWS_S", -1.0)


@pytest.mark.usefixtures("later")
def test_worker_that_came_back_to_an_address_dies_a_death_of_its_own() -> None:
    session = Session()
    watch = Trouble(session)
    session.fly(1)
    session.fly(2, worker=None)
    session.link.deaths.memory_kill(ADDRESS, 17, 2**30)
    die(session, watch)
    assert [(n, "1024 MiB" in reason, blame) for n, reason, blame in session.lost] == [
        (1, True, True), (2, True, False)]
    watch.worker_came(ADDRESS)
    session.link.deaths.forget(ADDRESS)
    session.lost.clear()
    session.fly(2)
    die(session, watch)
    assert [(n, "not known" in reason, blame) for n, reason, blame in session.lost] == [
        (2, True, True)]


def test_old_death_is_forgotten_also_without_news_of_a_new_worker(monkeypatch: Any) -> None:
    monkeypatch.setattr(trouble, "_DEATH_S", -1.0)
    session = Session()
    watch = Trouble(session)
    for _ in range(2):
        session.fly(1)
        session.fly(2, worker=None)
        die(session, watch)
        session.fly(2)
        die(session, watch)
    assert [blame for n, _, blame in session.lost if n == 2] == [False, True] * 2


def test_late_news_of_a_worker_that_has_died_already_changes_nothing() -> None:
    session = Session()
    watch = Trouble(session)
    session.fly(1)
    session.fly(2, worker=None)
    die(session, watch)
    watch.worker_came(ADDRESS)
    session.lost.clear()
    session.fly(2)
    die(session, watch)
    assert [(n, blame) for n, _, blame in session.lost] == [(2, False)], "the same death"


@pytest.mark.usefixtures("later")
def test_loss_that_waits_for_its_cause_is_told_before_the_cause_is_forgotten() -> None:
    process = SimpleNamespace(pid=17, exitcode=None)
    session = Session(cluster(process))
    watch = Trouble(session)
    session.fly(1)
    die(session, watch)
    assert session.lost == []
    process.exitcode = -9
    watch.worker_came(ADDRESS)
    assert "SIGKILL" in session.lost[0][1]


def test_exit_status_of_a_worker_is_not_that_of_its_successor() -> None:
    first, second = (SimpleNamespace(pid=pid, exitcode=None) for pid in (17, 18))
    watched = cluster(first)
    deaths = Deaths(watched)
    first.exitcode = -9
    assert "process 17" in (deaths.cause(ADDRESS) or "")
    watched.workers[0].process.process = second
    deaths.forget(ADDRESS)
    deaths.refresh()
    assert deaths.cause(ADDRESS) is None
    second.exitcode = -11
    assert "process 18" in (deaths.cause(ADDRESS) or "")
