"""A folder of results that fails, is not ours alone, or goes away while it is used."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from dataflow.exceptions import ResultStorageError
from dataflow.packs import Origin
from dataflow.packs.collecting import Budget
from dataflow.packs.housekeeping import collect, verify
from dataflow.packs.results import Results
from dataflow.serializers import PickleSerializer
from dataflow.storages import open_storage

T0 = 1_700_000_000.0
NOW = T0 + 100


def key(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def write(results: Results, values: dict[int, Any], created_s: float = T0) -> list[str]:
    writer = results.writer("load", Origin("run", "name", "load", 0, created_s),
                            PickleSerializer())
    for number, value in values.items():
        writer.add(key(number), value, index=number)
    return writer.flush()


def held(results: Results, numbers: Any) -> dict[int, Any]:
    numbers = list(numbers)
    found = results.find("load", [key(number) for number in numbers], NOW)
    entries = [entry for entry in found if entry is not None]
    values = iter(results.load("load", entries))
    return {number: next(values) for number, entry in zip(numbers, found, strict=True) if entry}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def results(folder: Path) -> Results:
    return Results(open_storage(folder))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir(mode=0o700)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", place],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


# ---- privacy


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_files_and_folders_are_private_whatever_the_umask(
    results: Results, folder: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        write(results, {1: "a"})
        results.write_named("out/x.pkl", key(1), 1, Origin("r", "", "t", 0, T0),
                            PickleSerializer())
    finally:
        os.umask(before)
    modes = {path.relative_to(folder.parent).parts[0 if path == folder else 1]:
             stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"results": 0o700, "load": 0o700, "out": 0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")
            if path.is_file()} == {0o600}


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_could_write_is_no_hit_and_told_of_once(
    results: Results, folder: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    [bad] = write(results, {1: "bad"})
    write(results, {2: "good"})
    (folder / bad).chmod(mode)
    fresh = Results(results.storage)
    for _ in range(2):
        assert held(fresh, [1, 2]) == {2: "good"}
    assert len(caplog.records) == 1
    assert f"{mode:04o}" in caplog.text and "chmod 06" in caplog.text and bad in caplog.text
    assert (folder / bad).exists()


def test_file_that_changes_hands_after_its_index_was_read_is_not_unpickled(
    results: Results, folder: Path
) -> None:
    [pack] = write(results, {1: "a"})
    [entry] = results.find("load", [key(1)], NOW)
    assert entry is not None
    (folder / pack).chmod(0o666)
    [value] = results.load("load", [entry])
    assert isinstance(value, LookupError | Exception) and "others could write it" in str(value)


@pytest.mark.parametrize("which", ["", "load"])
def test_folder_that_others_could_write_is_refused(
    results: Results, folder: Path, which: str
) -> None:
    write(results, {1: "a"})
    (folder / which).chmod(0o770)
    fresh = Results(results.storage)
    with pytest.raises(ResultStorageError, match="chmod 0750") as caught:
        held(fresh, [1])
    assert caught.value.reason == "refused folder" and caught.value.mode == 0o770
    with pytest.raises(ResultStorageError):
        write(fresh, {2: "b"})


def test_file_of_another_user_is_refused_with_the_names(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    [pack] = write(results, {1: "a"})
    if os.geteuid() == 0:
        os.chown(folder / pack, 65534, -1)
        assert held(Results(results.storage), [1]) == {}
        assert "(65534)" in caplog.text
    else:
        me = os.geteuid()
        monkeypatch.setattr("os.geteuid", lambda: me + 1)
        with pytest.raises(ResultStorageError, match=f"({me})"):
            held(Results(results.storage), [1])


def test_links_are_not_followed(results: Results, folder: Path, tmp_path: Path) -> None:
    [pack] = write(results, {1: "a"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (folder / pack).rename(elsewhere / "x.pack")
    (folder / pack).symlink_to(elsewhere / "x.pack")
    assert held(Results(results.storage), [1]) == {}
    (folder / "other").symlink_to(elsewhere)
    with pytest.raises(ResultStorageError, match="symbolic link"):
        results.storage.write("other/x", [b""])
    with pytest.raises(ResultStorageError, match="symbolic link"):
        results.storage.read("other/x.pack")
    assert [found.name for found in results.storage.list("", deep=True)] == []


def test_pipe_in_the_place_of_a_pack_does_not_hold_us_up(results: Results, folder: Path) -> None:
    [pack] = write(results, {1: "a"})
    (folder / pack).unlink()
    os.mkfifo(folder / pack, 0o600)
    assert held(Results(results.storage), [1]) == {}


# ---- a place that fails


def test_full_disk_is_told_and_leaves_nothing(small_disk: Path) -> None:
    results = Results(open_storage(small_disk / "results"))
    write(results, {1: "small"})
    with pytest.raises(ResultStorageError, match="the disk is full") as caught:
        write(results, {2: os.urandom(2_000_000)})
    assert (caught.value.reason, caught.value.location) == (
        "full", str(small_disk / "results"))
    assert isinstance(caught.value, OSError) and pickle.loads(pickle.dumps(caught.value))
    assert len([path for path in small_disk.rglob("*") if path.is_file()]) == 1
    assert held(results, [1, 2]) == {1: "small"}
    write(results, {3: "small again"})
    assert held(Results(results.storage), [1, 2, 3]) == {1: "small", 3: "small again"}


def test_full_disk_is_emptied_and_then_merged(small_disk: Path) -> None:
    results = Results(open_storage(small_disk / "results"))
    for number in range(40):  # small ones of two ages; those of one key each are replaced
        write(results, {number: os.urandom(6_000), 1000: number}, T0 + number)
    with pytest.raises(ResultStorageError):
        for number in range(40, 400):
            write(results, {number: os.urandom(6_000)}, T0 + number)
    rest = os.open(small_disk / "rest", os.O_WRONLY | os.O_CREAT, 0o600)
    with pytest.raises(OSError):
        while True:
            os.write(rest, bytes(4096))
    os.close(rest)
    files = len(list((small_disk / "results" / "load").iterdir()))
    budget = Budget(now_s=T0 + 500, max_age_s=500 - 10.5, grace_s=float("-inf"))
    assert collect(results.storage, budget).aged > 0
    assert len(list((small_disk / "results" / "load").iterdir())) < files
    assert 1000 in held(results, range(1001)) and 5 not in held(results, range(1001))


def test_read_only_disk_is_told_and_still_read(small_disk: Path) -> None:
    results = Results(open_storage(small_disk / "results"))
    [pack] = write(results, {number: f"value {number}" for number in range(4)})
    data = bytearray((small_disk / "results" / pack).read_bytes())
    data[data.index(b"value 2")] ^= 1
    (small_disk / "results" / pack).write_bytes(data)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    fresh = Results(results.storage)
    with pytest.raises(ResultStorageError, match="read-only"):
        write(fresh, {5: "b"})
    assert set(held(fresh, range(6))) == {0, 1, 2, 3}  # one stands for what is damaged
    assert held(fresh, range(6)) == {number: f"value {number}" for number in (0, 1, 3)}


def test_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    results = Results(open_storage(tmp_path / "results"))
    with pytest.raises(ResultStorageError, match="is a file, not a folder"):
        write(results, {1: "a"})


def test_folder_removed_under_the_run_is_made_again_and_said_once(
    results: Results, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    write(results, {1: "a"})
    for number in (2, 3):
        shutil.rmtree(folder / "load")
        write(results, {number: "b"})
    assert caplog.text == ""
    shutil.rmtree(folder)
    assert held(results, range(5)) == {}
    write(results, {4: "c"})
    write(results, {5: "d"})
    assert held(results, range(6)) == {4: "c", 5: "d"}
    assert len(caplog.records) == 1 and "made again" in caplog.text


def test_writer_killed_midway_leaves_nothing_that_is_seen(folder: Path) -> None:
    code = f"""
import os, sys
from dataflow.packs import *
from dataflow.storages import open_storage
from dataflow.serializers import PickleSerializer
from dataflow.storages import local
write = os.write
def short(file, data):
    write(file, bytes(data)[: len(data) // 2])
    os.kill(os.getpid(), 9)
results = results_at(open_storage({str(folder)!r}))
writer = results.writer("load", Origin("r", "n", "t", 0, 1.0), PickleSerializer())
writer.add(b"k" * 16, "x" * 10000, index=0)
os.write = short
writer.flush()
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    storage = open_storage(folder)
    [left] = [path for path in folder.rglob("*") if path.is_file()]
    assert left.name.startswith(".tmp-") and list(storage.list("", deep=True)) == []
    assert Results(storage).find("load", [b"k" * 16], NOW) == [None]
    collect(storage, Budget(now_s=time.time()))
    assert left.exists()  # its writer may still be at it
    os.utime(left, (T0, T0))
    assert collect(storage, Budget(now_s=time.time())).swept_files == 1 and not left.exists()


# ---- many at once


def test_readers_go_on_while_others_write_merge_and_verify(folder: Path) -> None:
    storage = open_storage(folder)
    writing = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        results = Results(storage)
        while not writing.is_set():
            for number, value in held(results, range(300)).items():
                if value != f"value {number}":
                    wrong.append((number, value))

    def keep_house() -> None:
        while not writing.is_set():
            collect(storage, Budget(now_s=NOW, grace_s=float("-inf")))
            verify(storage)

    threads = [threading.Thread(target=each) for each in (read, read, keep_house)]
    for thread in threads:
        thread.start()
    try:
        for number in range(300):
            write(Results(storage), {number: f"value {number}"}, T0 + number)
    finally:
        writing.set()
        for thread in threads:
            thread.join(60)
    assert wrong == []
    expected = {number: f"value {number}" for number in range(300)}
    assert held(Results(storage), range(300)) == expected
    assert not (folder / "quarantine").exists()


def test_two_housekeepers_at_once_lose_nothing(folder: Path) -> None:
    storage = open_storage(folder)
    for number in range(60):
        write(Results(storage), {number: f"value {number}"}, T0 + number)
    budget = Budget(now_s=NOW, grace_s=float("-inf"))
    failed: list[BaseException] = []

    def keep_house() -> None:
        try:
            collect(storage, budget)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=keep_house) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    expected = {number: f"value {number}" for number in range(60)}
    assert held(Results(storage), range(60)) == expected
    collect(storage, budget)
    assert held(Results(storage), range(60)) == expected
