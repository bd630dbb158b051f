"""Files that appear or change in real places: a folder, a bucket, a URL of fsspec."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.deployments import DeploymentSpec
from dataflow.service import file_watcher
from dataflow.service.deploying import register
from dataflow.service.file_watcher import FileWatcher
from dataflow.store import Store
from dataflow.stores import open_store
from dataflow.triggers import OnFile

Put = Callable[[str, bytes], None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(str(tmp_path / "dataflow.db"))
    yield store
    store.close()


class Clock:
    """A clock that is set by hand, a little ahead of the files' times."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def deploy(store: Store, trigger: OnFile, now_s: float | None = None, paused: bool = False) -> None:
    spec = DeploymentSpec(name="d", flow_name="etl", entrypoint="f.py:f", paused=paused,
                          triggers=[trigger])  # type: ignore[arg-type]
    register(store.agenda(), spec, time.time() if now_s is None else now_s)


def events(store: Store) -> list[tuple[str, str]]:
    """Return kind and file of the events, the oldest first."""
    return [(each.name.rpartition(".")[2], os.path.basename(str(each.resource)))
            for each in reversed(store.events().events(name="dataflow.file.*", limit=1000))
            if not each.name.endswith("Watched")]


class Looks:
    """A watcher that takes turns for some seconds, by a clock that is set."""

    def __init__(self, store: Store) -> None:
        self._store, self.clock = store, Clock()
        self.watcher = FileWatcher(store, clock=self.clock)

    def __call__(self, seconds: float = 10.0) -> list[tuple[str, str]]:
        """Return all events so far."""
        for _ in range(int(seconds)):
            self.clock.now += 1
            self.watcher.turn()
        return events(self._store)

    def restart(self) -> None:
        """Go on as another process does when the lead of this one is over."""
        self.clock.now += 60
        self.watcher = FileWatcher(self._store, clock=self.clock)


@pytest.fixture
def looks(store: Store) -> Looks:
    return Looks(store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def test_files_of_a_folder_are_events_once_also_after_a_restart(
        store: Store, looks: Looks, folder: Path) -> None:
    (folder / "old.csv").write_text("x")
    time.sleep(0.05)  # the clock of files is coarser than ours
    deploy(store, OnFile(f"{folder}/*.csv"))
    looks()
    (folder / "new.csv").write_text("x")
    (folder / "new.txt").write_text("x")
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.csv").write_text("x")
    assert looks() == [("Appeared", "new.csv")]
    looks.restart()
    assert looks() == looks() == [("Appeared", "new.csv")]
    (folder / "old.csv").write_text("other")
    looks()
    assert looks() == [("Appeared", "new.csv"), ("Changed", "old.csv")]
    looks.restart()
    looks()
    assert looks() == [("Appeared", "new.csv"), ("Changed", "old.csv")]


def test_a_file_that_grows_is_waited_for(store: Store, looks: Looks, folder: Path) -> None:
    deploy(store, OnFile(str(folder), settle=5, every=1))
    looks()
    for size in range(4):
        with (folder / "big.bin").open("ab") as file:
            file.write(b"x" * (size + 1))
        assert looks(4) == []
    assert looks(8) == [("Appeared", "big.bin")]


def test_temporary_names_do_not_count_until_they_are_renamed(
        store: Store, looks: Looks, folder: Path) -> None:
    deploy(store, OnFile(str(folder)))
    looks()
    for name in ("a.csv.part", "b.tmp", ".c", "d~"):
        (folder / name).write_text("x")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "e").write_text("x")
    looks()
    assert looks() == []
    old = time.time() - 86_400
    os.utime(folder / "a.csv.part", (old, old))
    (folder / "a.csv.part").rename(folder / "a.csv")
    looks()
    assert looks() == [("Appeared", "a.csv")]


def test_a_file_moved_in_before_the_first_look_is_not_taken_for_an_old_one(
        store: Store, looks: Looks, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "moved").write_text("x")
    os.utime(tmp_path / "moved", (1e9, 1e9))
    (folder / "there").write_text("x")
    time.sleep(0.05)
    deploy(store, OnFile(str(folder)))
    time.sleep(0.05)
    (tmp_path / "moved").rename(folder / "moved")
    looks()
    assert looks() == [("Appeared", "moved")]


def test_what_is_there_may_run(store: Store, looks: Looks, folder: Path) -> None:
    (folder / "there").write_text("x")
    deploy(store, OnFile(str(folder), existing="run", settle=0))
    assert looks() == [("Appeared", "there")]


def test_a_folder_that_is_missing_is_told_of_once_and_waited_for(
        store: Store, looks: Looks, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    deploy(store, OnFile(f"{tmp_path}/later/*.csv", settle=0))
    assert looks() == looks() == []
    assert caplog.text.count("cannot be looked for") == 1
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.csv").write_text("x")
    assert looks() == [("Appeared", "a.csv")]
    (tmp_path / "later" / "a.csv").unlink()
    (tmp_path / "later").rmdir()
    looks()
    assert caplog.text.count("cannot be looked for") == 2


def test_a_single_file_is_seen_when_it_comes_and_changes(
        store: Store, looks: Looks, folder: Path) -> None:
    place = folder / ".flag"  # named itself, it counts
    deploy(store, OnFile(str(place), settle=0))
    assert looks() == []
    place.write_text("1")
    assert looks() == [("Appeared", ".flag")]
    place.write_text("22")
    assert looks() == [("Appeared", ".flag"), ("Changed", ".flag")]


def test_beneath_a_folder_all_counts_and_links_lead_nowhere(
        store: Store, looks: Looks, folder: Path) -> None:
    deploy(store, OnFile(f"{folder}/", settle=0))
    looks()
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "c").write_text("x")
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "gone").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"\xff")).write_text("x")
    assert looks() == [("Appeared", "c")]


def test_what_comes_in_a_pause_is_seen_and_not_made_up_for(
        store: Store, looks: Looks, folder: Path) -> None:
    from dataflow.service.judges import judges_of
    from dataflow.service.watcher import Watcher

    watcher = Watcher(store, judges_of(store), clock=looks.clock)
    watcher.turn()
    deploy(store, OnFile(str(folder), settle=0))
    looks()
    watcher.turn()
    store.agenda().pause("etl/d", True, looks.clock.now)
    (folder / "a").write_text("x")
    looks()
    watcher.turn()
    store.agenda().pause("etl/d", False, looks.clock.now)
    looks()
    watcher.turn()
    assert store.agenda().queue_of("etl/d") == []
    (folder / "b").write_text("x")
    looks()
    watcher.turn()
    (run,) = store.agenda().queue_of("etl/d")
    assert run.trigger is not None and run.trigger["payload"]["path"] == f"{folder}/b"


def test_two_watchers_make_one_event(store: Store, folder: Path) -> None:
    deploy(store, OnFile(str(folder), settle=0, every=0.1))
    watchers = [FileWatcher(store) for _ in range(2)]
    for each in watchers:
        each.start()
    for number in range(20):
        (folder / f".{number}").write_text("x")
        (folder / f".{number}").rename(folder / f"{number}")
    deadline = time.monotonic() + 20
    while len(events(store)) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    for each in watchers:
        each.stop()
    assert sorted(events(store)) == sorted(("Appeared", str(number)) for number in range(20))


def test_a_place_that_does_not_answer_holds_up_no_other(store: Store, folder: Path) -> None:
    stuck = threading.Event()

    def slow(url: str, options: Any, ignore: Any) -> dict[str, Any]:
        from dataflow.triggers.looking import look

        if "stuck" in url:
            stuck.wait(30)
        return look(url, options, ignore)

    spec = DeploymentSpec(name="d", flow_name="etl", entrypoint="f.py:f", triggers=[
        OnFile("memory://stuck/", slug="s"), OnFile(str(folder), settle=0, every=0.1)])  # type: ignore[arg-type]
    register(store.agenda(), spec, time.time())
    watcher = FileWatcher(store, look=slow)
    watcher.start()
    (folder / "a").write_text("x")
    try:
        deadline = time.monotonic() + 20
        while not events(store) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        watcher.stop()
        stuck.set()
    assert events(store) == [("Appeared", "a")]


def test_many_places_that_never_answer_are_left_to_themselves_and_told_of(
        store: Store, folder: Path, caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watcher, "PATIENCE_S", 0.2)
    stuck = threading.Event()

    def slow(url: str, options: Any, ignore: Any) -> dict[str, Any]:
        from dataflow.triggers.looking import look

        if "stuck" in url:
            stuck.wait(60)
            return {}
        return look(url, options, ignore)

    places = [OnFile(f"memory://stuck{at}/", slug=f"s{at}", every=0.1) for at in range(6)]
    spec = DeploymentSpec(name="d", flow_name="etl", entrypoint="f.py:f", triggers=[
        *places, OnFile(str(folder), settle=0, every=0.1, slug="z")])  # type: ignore[arg-type]
    register(store.agenda(), spec, time.time())
    watcher = FileWatcher(store, look=slow)
    watcher.start()
    (folder / "a").write_text("x")
    try:
        deadline = time.monotonic() + 30
        while not events(store) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        watcher.stop()
        stuck.set()
    assert events(store) == [("Appeared", "a")]
    assert "have been looked for since" in caplog.text


def test_with_watchfiles_a_file_is_seen_long_before_the_next_look(
        store: Store, folder: Path) -> None:
    pytest.importorskip("watchfiles")
    deploy(store, OnFile(str(folder), settle=0, every=3600))
    watcher = FileWatcher(store)
    watcher.start()
    try:
        deadline = time.monotonic() + 20
        while not store.events().events(name="dataflow.file.Watched"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        number = 0
        while not events(store):  # the system's own watch may begin some moments later
            assert time.monotonic() < deadline
            (folder / f"f{number}").write_text("x")
            number += 1
            time.sleep(0.2)
    finally:
        watcher.stop()


# buckets, other URLs


@pytest.fixture
def bucket(s3_options: dict[str, Any]) -> tuple[str, Put]:
    """Return the URL of a prefix of its own, and what puts an object there."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=s3_options["endpoint"], region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test")
    prefix = f"in-{time.time_ns()}"

    def put(name: str, data: bytes) -> None:
        client.put_object(Bucket="results", Key=f"{prefix}/{name}", Body=data)

    return f"s3://results/{prefix}", put


@pytest.mark.parametrize("place, expected", [
    ("/", ["a.csv", "b.txt", "c.csv"]), ("", ["a.csv", "b.txt", "c.csv"]), ("/*.csv", ["a.csv"]),
    ("/**/*.csv", ["a.csv", "c.csv"]), ("/sub/c.csv", ["c.csv"]),
])
def test_objects_of_a_bucket_are_events(
        store: Store, looks: Looks, bucket: tuple[str, Put], s3_options: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch, place: str, expected: list[str]) -> None:
    monkeypatch.setenv("S3_SECRET", s3_options["secret_access_key"])
    options = {**s3_options, "secret_access_key": "${S3_SECRET}"}
    url, put = bucket
    deploy(store, OnFile(f"{url}{place}", options=options), now_s=time.time() - 10)
    looks()
    for name in ("a.csv", "b.txt", "sub/c.csv", "d.csv.part", ".hidden/e.csv"):
        put(name, b"1")
    assert sorted(looks()) == [("Appeared", name) for name in expected]
    looks.restart()
    assert sorted(looks()) == [("Appeared", name) for name in expected]


def test_an_object_that_is_put_again_is_a_change_where_its_etag_is_another(
        store: Store, looks: Looks, bucket: tuple[str, Put], s3_options: dict[str, Any]) -> None:
    url, put = bucket
    deploy(store, OnFile(f"{url}/*", options={**s3_options, "secret_access_key": "${S3_SECRET}"}))
    os.environ["S3_SECRET"] = "test"
    try:
        looks()
        put("a", b"1")
        looks()
        put("a", b"1")
        assert looks() == [("Appeared", "a")]
        put("a", b"2")
        assert looks() == [("Appeared", "a"), ("Changed", "a")]
        put("a", b"1")
        assert looks() == [("Appeared", "a"), ("Changed", "a"), ("Changed", "a")]
    finally:
        del os.environ["S3_SECRET"]


def test_a_store_of_objects_that_is_away_is_told_of_once_and_nothing_is_lost(
        store: Store, looks: Looks, bucket: tuple[str, Put], s3_options: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    url, put = bucket
    away = {"endpoint": "http://127.0.0.1:1", "retry_config": {"max_retries": 0}}
    monkeypatch.setenv("S3_SECRET", "test")
    options = {**s3_options, "secret_access_key": "${S3_SECRET}",
               "endpoint": "${S3_PLACE}", "retry_config": {"max_retries": 0}}
    deploy(store, OnFile(f"{url}/*", options=options), now_s=time.time() - 10)
    monkeypatch.setenv("S3_PLACE", away["endpoint"])  # type: ignore[arg-type]
    looks()
    put("a", b"1")
    looks()
    assert caplog.text.count("cannot be looked for") == 1
    monkeypatch.setenv("S3_PLACE", s3_options["endpoint"])
    with caplog.at_level(logging.INFO, "dataflow.triggers"):
        assert looks() == [("Appeared", "a")]
    assert "can be looked for again" in caplog.text


def test_files_at_a_url_of_fsspec_are_events(store: Store, looks: Looks) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    place = f"watched-{time.time_ns()}"
    deploy(store, OnFile(f"memory://{place}/*.csv"), now_s=time.time() - 10)
    looks()
    fs.pipe_file(f"/{place}/a.csv", b"1")
    fs.pipe_file(f"/{place}/b.txt", b"1")
    fs.pipe_file(f"/{place}/sub/c.csv", b"1")
    assert looks() == [("Appeared", "a.csv")]
    assert store.events().events(name="dataflow.file.Appeared")[0].resource == (
        f"memory:///{place}/a.csv")
    fs.rm(f"/{place}", recursive=True)


def test_a_url_that_nobody_serves_is_told_of(
        store: Store, looks: Looks, caplog: pytest.LogCaptureFixture) -> None:
    deploy(store, OnFile("nosuch://bucket/x"))
    looks()
    assert "nosuch" in caplog.text and "install the package" in caplog.text
