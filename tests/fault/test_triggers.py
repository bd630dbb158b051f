"""Triggers with workers in processes of their own, some of which are killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow import flow
from dataflow.agenda import NewRun
from dataflow.deployments import result_of, run_deployment
from dataflow.events import emit_event
from dataflow.exceptions import MissingResult
from dataflow.ids import new_run_id
from dataflow.store import FlowRunRow
from dataflow.triggers import OnEvent, OnFile, OnState
from tests.run_support import FINAL, ledger, wait_until
from tests.unattended_support import Site

FLOWS = """
    import time
    from pathlib import Path

    from dataflow import flow, runtime
    from dataflow.deployments import result_of
    from dataflow.events import emit_event
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"

    @flow
    def take_in(path: str, size: int):
        time.sleep(0.2)
        note(BOOK, f"{Path(path).name} {size} {runtime.flow_run.trigger['name']}")

    @flow(persist_result=True)
    def load(n: int = 3):
        emit_event("rows.loaded", resource="shop", payload={"rows": n, "days": ["mon", "tue"]})
        return list(range(n))

    @flow
    def report():
        before = runtime.flow_run.trigger
        note(BOOK, f"{before['deployment']} {sum(result_of(before['flow_run_id']))}")

    @flow
    def heard(rows: int, days: list[str]):
        note(BOOK, f"heard {rows + 1} {days[-1]} {runtime.flow_run.trigger['resource']}")

    @flow
    def again(n: int = 0):
        note(BOOK, f"again {runtime.flow_run.trigger.get('depth', 0)}")

    @flow
    def forgets():
        return 1
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    place = tmp_path / "site"
    place.mkdir()
    found = Site(place, FLOWS)
    yield found
    found.close()


def book(site: Site) -> list[str]:
    """Return what the flows noted, sorted."""
    return sorted(ledger(site.folder / "book").elements())


def runs(site: Site, name: str) -> list[FlowRunRow]:
    with site.store() as store:
        return [store.find_flow_run(each.flow_run_id)
                for each in store.agenda().queue_of(name, limit=1000)]


@pytest.mark.slow
def test_each_file_makes_one_run_over_a_worker_that_is_killed(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "old.csv").write_text("x")
    time.sleep(0.05)
    site.deploy("take_in", triggers=[OnFile(
        f"{folder}/*.csv", every=0.2, settle=0.2,
        parameters={"path": "{{ event.payload.path }}", "size": "{{ event.payload.size }}"})])

    def drop(number: int) -> None:
        (folder / f"{number}.csv.part").write_text("x" * number)
        (folder / f"{number}.csv.part").rename(folder / f"{number}.csv")

    first = site.worker(claim_s=2.0)
    for number in range(10):
        drop(number)
        time.sleep(0.05)
    wait_until(lambda: len(book(site)) >= 2, "some files were taken in", 60)
    first.kill()  # its runs go on: they are processes of their own
    first.wait()
    for number in range(10, 14):
        drop(number)
    site.worker(claim_s=2.0)

    def all_ended() -> bool:
        found = runs(site, "take_in/d")
        return len(found) >= 14 and all(each.state_type in FINAL for each in found)

    wait_until(all_ended, "a run for each file has ended", 90)
    time.sleep(1.0)  # another one would be made now
    made = runs(site, "take_in/d")
    assert [each.state_type for each in made] == ["COMPLETED"] * 14
    with site.store() as store:
        queued = store.agenda().queue_of("take_in/d", limit=100)
    assert sorted(each.parameters["path"] for each in queued) == sorted(
        f"{folder}/{number}.csv" for number in range(14))
    assert book(site) == sorted(f"{number}.csv {number} dataflow.file.Appeared"
                                for number in range(14))


def test_chains_and_events_run_by_a_worker(site: Site) -> None:
    site.deploy("load")
    site.deploy("report", after="load/d")
    site.deploy("heard", triggers=[OnEvent("rows.*", payload={"rows": {">": 3}}, parameters={
        "rows": "{{ event.payload.rows }}", "days": "{{ event.payload.days }}"})])
    site.worker()
    wait_until(lambda: "Watches events" in site.said(), "the watcher leads", 40)
    run = run_deployment("load/d", {"n": 5}, timeout=60)
    assert run.state_type == "COMPLETED"
    wait_until(lambda: len(book(site)) >= 2, "both have run", 60)
    assert book(site) == ["heard 6 tue shop", "load/d 10"]
    assert result_of(run.id) == [0, 1, 2, 3, 4]
    run_deployment("load/d", {"n": 2}, timeout=60)
    wait_until(lambda: len(book(site)) >= 3, "the report has run", 60)
    time.sleep(0.5)
    assert book(site) == ["heard 6 tue shop", "load/d 1", "load/d 10"]


def test_a_deployment_that_follows_itself_ends(site: Site) -> None:
    from dataflow.triggers.consequences import DEEPEST

    site.deploy("again", triggers=[OnState("completed", match="deployment:again/d")])
    site.worker()
    wait_until(lambda: "Watches events" in site.said(), "the watcher leads", 40)
    with site.store() as store:  # as if it had gone on for long
        store.agenda().queue(NewRun(
            flow_run_id=new_run_id(), name="first", deployment="again/d", parameters={},
            due_s=time.time(), trigger={"depth": DEEPEST - 2}), time.time())
    wait_until(lambda: "looks like a circle" in site.said(), "it was told of", 60)
    assert book(site) == [f"again {depth}" for depth in range(DEEPEST - 2, DEEPEST + 1)]


def test_an_event_from_outside_of_runs_makes_one(site: Site) -> None:
    site.deploy("heard", triggers=[OnEvent("poke", parameters={"rows": 1, "days": ["x"]})])
    site.worker()
    wait_until(lambda: "Watches events" in site.said(), "the watcher leads", 40)
    emit_event("poke", resource="me", id="only-one")
    emit_event("poke", resource="me", id="only-one")
    wait_until(lambda: book(site), "it has run", 60)
    time.sleep(0.5)
    assert book(site) == ["heard 2 x me"]


def test_a_result_that_was_not_kept_is_told_of(tmp_path: Path) -> None:
    @flow
    def forgets() -> int:
        return 1

    @flow
    def fails() -> None:
        raise ValueError

    state = forgets(return_state=True)
    with pytest.raises(MissingResult, match="persist_result=True"):
        result_of(str(state.state_details.flow_run_id))
    state = fails(return_state=True)
    with pytest.raises(MissingResult, match="is Failed: only a completed run"):
        result_of(str(state.state_details.flow_run_id))


def test_a_result_that_was_cleared_away_is_told_of() -> None:
    from dataflow.settings import get_settings
    from dataflow.storages import open_storage

    @flow(persist_result=True)
    def kept() -> dict[str, int]:
        return {"a": 1}

    state = kept(return_state=True)
    run_id = str(state.state_details.flow_run_id)
    assert result_of(run_id) == {"a": 1}
    assert get_settings().home
    storage = open_storage()
    for file in list(storage.list("", deep=True)):
        storage.delete(file.name)
    with pytest.raises(MissingResult, match="cannot be had from"):
        result_of(run_id)
