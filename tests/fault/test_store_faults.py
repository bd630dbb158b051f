"""A store under which something breaks: the disk, the file, the process that writes."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.exceptions import StoreError, StoreVersionError
from dataflow.ids import new_run_id
from dataflow.outcomes import Attempt, Code, ErrorRecord, LogLine, Span
from dataflow.store import CallRecord, ElementRecord, FlowRunRecord, Gulp, SpanRecord
from dataflow.stores import open_store
from dataflow.stores.schema import SCHEMA_VERSION
from dataflow.stores.sqlite import SqliteStore

RUN = "11111111-2222-4333-8444-555555555555"
T0 = 1_700_000_000.0


def opening() -> Gulp:
    return Gulp(
        flow_run=FlowRunRecord(id=RUN, name="swift-heron", flow_name="f", created_s=T0),
        calls=[CallRecord(call=0, task_name="load", task_key="f.load", kind="map", width=None)],
    )


def gulp_of(number: int, elements: int = 1_000) -> Gulp:
    """Make a gulp of one span, and a log line that says which."""
    first = number * elements
    zeros = array("f", bytes(4 * elements))
    span = Span(0, range(first, first + elements), bytearray([Code.COMPLETED]) * elements,
                zeros, zeros)
    return Gulp(
        spans=[SpanRecord(span, T0 + number, "w")],
        logs=[LogLine(-1, 0, 1, T0 + number, 20, "x", str(number))],
        counts={0: {int(Code.COMPLETED): first + elements}},
    )


def refused(location: Path) -> StoreError:
    with pytest.raises(StoreError) as caught:
        open_store(location)
    assert str(location) in str(caught.value)
    assert "Nothing was changed" in str(caught.value)
    return caught.value


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 10 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (needs root and mount)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


# where it is opened


def test_a_fresh_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "deeper" / "dataflow.db"
    store = open_store(path)
    store.write(RUN, opening())
    modes = {each.name: oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()}
    assert modes["dataflow.db"] == modes["dataflow.db-wal"] == "0o600"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700
    store.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["dataflow.db"]


def test_a_home_that_is_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.write_text("mine")
    monkeypatch.setenv("DATAFLOW_HOME", str(home))
    with pytest.raises(StoreError, match="is a file, not a folder") as caught:
        open_store()
    assert str(home) in str(caught.value) and "DATAFLOW_HOME" in str(caught.value)
    assert "is a file" in str(refused(home / "deeper" / "dataflow.db"))
    assert home.read_text() == "mine"


def test_a_path_that_is_a_folder_is_named(tmp_path: Path) -> None:
    assert "is a folder, not a file" in str(refused(tmp_path))


def test_a_read_only_home_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    error = refused(small_disk / "home" / "dataflow.db")
    assert error.reason == "read-only"
    assert "read-only" in str(error) and "DATAFLOW_HOME" in str(error)


def test_a_store_that_became_read_only_says_so_when_written(small_disk: Path) -> None:
    path = small_disk / "dataflow.db"
    open_store(path).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert refused(path).reason == "read-only"


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    text = "these are my notes\n" * 200
    path.write_text(text)
    error = refused(path)
    assert (error.reason, path.read_text()) == ("corrupt", text)
    assert "not an SQLite database" in str(error)


def test_a_database_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE customers (id)")
    other.close()
    assert "customers" in str(refused(path))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
    other.close()


def test_a_store_of_a_newer_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "dataflow.db"
    open_store(path).close()
    with sqlite3.connect(path) as future:
        future.execute("UPDATE schema_version SET version = 7, written_by = '9.8.0'")
    future.close()
    before = path.read_bytes()
    error = refused(path)
    assert isinstance(error, StoreVersionError)
    assert (error.found, error.supported) == (7, SCHEMA_VERSION)
    assert all(part in str(error) for part in ("version 7", f"version {SCHEMA_VERSION}", "9.8.0"))
    assert path.read_bytes() == before


def test_a_damaged_store_is_reported_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "dataflow.db"
    store = open_store(path)
    store.write(RUN, opening())
    for number in range(50):
        store.write(RUN, gulp_of(number))
    store.close()
    healthy = path.read_bytes()
    damaged = healthy[:4096] + os.urandom(len(healthy) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="damaged") as caught:
        open_store(path).task_runs(RUN, limit=None)
    assert caught.value.reason == "corrupt" and str(path) in str(caught.value)
    assert len(path.read_bytes()) == len(damaged)


@pytest.mark.parametrize(
    "location", ["mysql://me:secret@host/db", "sqlite://host/x.db", "sqlite://", "", "s3://b/c"]
)
def test_a_location_that_names_no_store_is_refused_without_its_password(location: str) -> None:
    with pytest.raises(StoreError, match="no store that this version knows") as caught:
        open_store(location)
    assert "secret" not in str(caught.value)


def test_a_location_may_be_a_path_or_a_url(tmp_path: Path) -> None:
    path = tmp_path / "a b.db"
    for location in (path, str(path), f"sqlite:///{path}", f"sqlite:////{str(path)[1:]}",
                     f"sqlite:///{str(path).replace(' ', '%20')}"):
        store = open_store(location)
        assert isinstance(store, SqliteStore) and store.path == path
        store.close()


# while it is written


def test_a_full_disk_writes_nothing_of_the_gulp_and_the_same_gulp_goes_in_later(
    small_disk: Path,
) -> None:
    store = open_store(small_disk / "dataflow.db")
    store.write(RUN, opening())
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(7 * 1024 * 1024))
    written = 0
    with pytest.raises(StoreError, match="disk is full") as caught:
        for number in range(1_000):
            store.write(RUN, gulp_of(number, elements=20_000))
            written = number + 1
    assert caught.value.reason == "full" and 0 < written < 50
    assert [line.message for line in store.logs(RUN)] == [str(n) for n in range(written)]
    ballast.unlink()
    store.write(RUN, gulp_of(written, elements=20_000))
    assert [line.message for line in store.logs(RUN)] == [str(n) for n in range(written + 1)]
    assert store.calls(RUN)[0].counts == {"Completed": 20_000 * (written + 1)}
    assert store.task_runs(RUN, map_index=20_000 * written + 19_999)
    store.close()


def test_a_store_that_was_moved_away_is_noticed_and_goes_on_when_put_back(tmp_path: Path) -> None:
    path = tmp_path / "dataflow.db"
    store = open_store(path)
    store.write(RUN, opening())
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match="moved, deleted or replaced") as caught:
        store.write(RUN, gulp_of(0))
    assert (caught.value.reason, path.exists()) == ("moved", False)
    (tmp_path / "elsewhere.db").rename(path)
    store.write(RUN, gulp_of(0))
    assert len(store.task_runs(RUN, limit=None)) == 1_000
    store.close()


def test_texts_that_are_no_utf_8_are_written_with_escapes(tmp_path: Path) -> None:
    store = open_store(tmp_path / "dataflow.db")
    bad = "\ud800"
    record = FlowRunRecord(id=RUN, name=bad, flow_name=bad, flow_version=bad, message=bad,
                           parameters=bad, runner=bad, host=bad, created_s=T0, tags=(bad,),
                           error=ErrorRecord(bad, bad, bad))
    call = CallRecord(call=0, task_name=bad, task_key=bad, kind="map", width=None, tags=(bad,))
    failed = ElementRecord(0, 0, int(Code.FAILED), T0, T0, 1, bad, bad,
                           ErrorRecord(bad, bad, bad), bad)
    store.write(RUN, Gulp(
        flow_run=record, calls=[call], elements=[failed],
        attempts=[Attempt(0, 0, 1, T0, 0.0, int(Code.FAILED), ErrorRecord(bad, bad, bad))],
        logs=[LogLine(0, 0, 1, T0, 20, bad, bad)],
    ))
    assert store.task_runs(RUN)[0].error_message == "\\ud800"
    assert [line.message for line in store.logs(RUN)] == ["\\ud800"]
    store.close()


def test_a_lock_held_by_another_process_is_waited_for_and_then_named(tmp_path: Path) -> None:
    path = tmp_path / "dataflow.db"
    store = SqliteStore(path, busy_timeout_s=0.05)
    store.write(RUN, opening())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another process holds a lock") as caught:
        store.write(RUN, gulp_of(0))
    assert caught.value.reason == "locked"
    other.execute("ROLLBACK")
    other.close()
    store.write(RUN, gulp_of(0))
    assert len(store.task_runs(RUN, limit=None)) == 1_000
    store.close()


def test_readers_see_whole_gulps_while_one_writes(tmp_path: Path) -> None:
    store, reader = open_store(tmp_path / "dataflow.db"), open_store(tmp_path / "dataflow.db")
    store.write(RUN, opening())
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        seen = 0
        while not done.is_set():
            rows = reader.task_runs(RUN, limit=None)
            if len(rows) % 100 or len(rows) < seen:
                wrong.append(f"{len(rows)} elements after {seen}")
            seen = len(rows)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    for number in range(60):
        store.write(RUN, gulp_of(number, elements=100))
    done.set()
    for thread in readers:
        thread.join()
    assert (wrong, len(reader.task_runs(RUN, limit=None))) == ([], 6_000)
    reader.close()
    store.close()


def test_a_second_store_on_the_file_in_one_process_costs_the_first_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "dataflow.db"
    store, second = open_store(path), open_store(path)
    store.write(RUN, opening())
    second.close()
    open_store(path).close()
    code = f"from dataflow.stores import open_store; open_store({str(path)!r}).close()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.with_name("dataflow.db-wal").exists()  # the other process was not the last user
    store.write(RUN, gulp_of(0))
    store.close()
    again = open_store(path)
    assert len(again.task_runs(RUN, limit=None)) == 1_000
    again.close()


def test_many_processes_may_open_the_same_fresh_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from dataflow.stores import open_store; from dataflow.store import *\n"
        "store = open_store(sys.argv[1])\n"
        "store.write(sys.argv[2], Gulp(flow_run=FlowRunRecord("
        "id=sys.argv[2], name='n', flow_name='f')))\n"
        "store.close()"
    )
    path = tmp_path / "home" / "dataflow.db"
    ids = [new_run_id() for _ in range(6)]
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path), id], stderr=subprocess.PIPE)
        for id in ids
    ]
    assert [process.communicate()[1] for process in running] == [b""] * 6
    store = open_store(path)
    assert {row.id for row in store.flow_runs()} == set(ids)
    store.close()


def test_every_gulp_that_was_reported_written_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "dataflow.db"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_store_faults import *\n"
        f"store = open_store({str(path)!r})\n"
        "store.write(RUN, opening())\n"
        "for number in range(1_000_000):\n"
        "    store.write(RUN, gulp_of(number))\n"
        "    print(number, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    reported = -1
    for line in writer.stdout:
        reported = int(line)
        if reported == 40:
            writer.send_signal(signal.SIGKILL)
    writer.wait()
    store = open_store(path)
    numbers = [int(line.message) for line in store.logs(RUN)]
    assert numbers == list(range(len(numbers))) and len(numbers) > reported >= 40
    rows = store.task_runs(RUN, limit=None)
    assert [row.map_index for row in rows] == list(range(1_000 * len(numbers)))
    assert store.calls(RUN)[0].counts == {"Completed": len(rows)}
    store.close()


def test_a_million_elements_fit_in_40_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "dataflow.db"
    store = open_store(path)
    store.write(RUN, opening())
    for number in range(0, 1_000, 50):
        spans = [span for n in range(number, number + 50) for span in gulp_of(n).spans]
        store.write(RUN, Gulp(spans=spans, counts={0: {8: (number + 50) * 1_000}}))
    store.close()
    assert [each.name for each in tmp_path.iterdir()] == ["dataflow.db"]
    assert path.stat().st_size < 10_000_000


def test_importing_dataflow_and_the_stores_does_not_import_sqlalchemy() -> None:
    code = "import sys, dataflow.stores; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_store_opened_by_many_at_once_before_it_exists_opens_for_all(tmp_path: Path) -> None:
    failed: list[Exception] = []

    def open_one(at: threading.Barrier, path: Path) -> None:
        at.wait()
        try:
            open_store(path).flow_runs()
        except Exception as error:
            failed.append(error)

    for number in range(20):
        barrier = threading.Barrier(8)
        threads = [threading.Thread(target=open_one, args=(barrier, tmp_path / f"{number}.db"))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
