"""One suite over every lock manager that is shipped; and what only files can show."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataflow.locking.filesystem import FileSystemLockManager
from dataflow.locking.memory import LockTable, MemoryLockManager


@pytest.fixture(params=["memory", "filesystem"])
def locks(request, tmp_path):
    if request.param == "filesystem":
        return FileSystemLockManager(tmp_path / "locks")

    class Locks(MemoryLockManager):
        _table = LockTable()

    return Locks()


@pytest.fixture
def files(tmp_path):
    return FileSystemLockManager(tmp_path / "locks")


def test_a_lock_has_one_holder_until_it_is_given_back(locks):
    assert not locks.is_locked("a")
    assert locks.acquire_lock("a", "one")
    assert locks.acquire_lock("a", "one", acquire_timeout=0)
    assert not locks.acquire_lock("a", "two", acquire_timeout=0)
    assert locks.is_lock_holder("a", "one") and not locks.is_lock_holder("a", "two")
    with pytest.raises(ValueError):
        locks.release_lock("a", "two")
    locks.release_lock("a", "one")
    assert not locks.is_locked("a")
    with pytest.raises(ValueError):
        locks.release_lock("a", "one")


def test_who_waits_gets_the_lock_when_it_is_given_back(locks):
    locks.acquire_lock("a", "one")
    with ThreadPoolExecutor(2) as threads:
        acquired = threads.submit(locks.acquire_lock, "a", "two", acquire_timeout=30)
        seen = threads.submit(locks.wait_for_lock, "b", 30)
        assert seen.result(30)
        assert not acquired.done()
        locks.release_lock("a", "one")
        assert acquired.result(30)
    assert locks.is_lock_holder("a", "two")


def test_who_waits_on_an_event_loop_gets_the_lock_when_it_is_given_back(locks):
    async def both():
        locks.acquire_lock("a", "one")
        waits = asyncio.create_task(locks.await_for_lock("a", timeout=30))
        takes = asyncio.create_task(locks.aacquire_lock("b", "two"))
        assert await takes
        locks.release_lock("a", "one")
        assert await waits
        assert await locks.aacquire_lock("a", "two", acquire_timeout=30)

    asyncio.run(both())


def test_waiting_ends_with_its_time(locks):
    locks.acquire_lock("a", "one")
    began = time.monotonic()
    assert not locks.acquire_lock("a", "two", acquire_timeout=0.05)
    assert not locks.wait_for_lock("a", timeout=0.05)
    assert time.monotonic() - began < 5


def test_a_lock_is_free_after_its_time(locks):
    locks.acquire_lock("a", "one", hold_timeout=0.05)
    assert locks.acquire_lock("a", "two", acquire_timeout=30)
    assert not locks.is_lock_holder("a", "one")


def test_of_many_threads_one_at_a_time_has_the_lock(locks):
    inside, most = [], []

    def work(n):
        for _ in range(5):
            assert locks.acquire_lock("a", str(n), acquire_timeout=60)
            inside.append(n)
            most.append(len(inside))
            inside.pop()
            locks.release_lock("a", str(n))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert most == [1] * 40


def test_keys_that_no_file_can_be_called_by_have_locks_of_their_own(files):
    keys = ["../../etc/passwd", "a/b", "a b", "", "ü" * 500, "x" * 500, ".guard", "a", "A"]
    for n, key in enumerate(keys):
        assert files.acquire_lock(key, str(n), acquire_timeout=0)
    assert all(files.is_lock_holder(key, str(n)) for n, key in enumerate(keys))
    found = list(files.lock_files_directory.parent.rglob("*.lock"))
    assert len(found) == len(keys)
    assert {path.parent for path in found} == {files.lock_files_directory}
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_the_lock_of_a_process_that_died_is_free_at_once(files):
    code = (
        "import sys; from dataflow.locking.filesystem import FileSystemLockManager as L\n"
        f"assert L({str(files.lock_files_directory)!r}).acquire_lock('a', 'child')\n"
        "sys.stdout.write('held'); sys.stdout.flush(); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        assert child.stdout.read(4) == b"held"
        assert files.is_lock_holder("a", "child")
        assert not files.acquire_lock("a", "me", acquire_timeout=0)
        child.kill()
        child.wait(30)
    assert not files.is_locked("a")
    assert files.acquire_lock("a", "me", acquire_timeout=0)


def test_a_lock_of_another_machine_stays_until_its_time(files, tmp_path):
    now = [1000.0]
    files = FileSystemLockManager(tmp_path, clock=lambda: now[0])
    (tmp_path / "a.lock").write_text(json.dumps(
        {"holder": "far", "owner": "elsewhere:1:x", "until_s": 1005.0}))
    (tmp_path / "b.lock").write_text(json.dumps(
        {"holder": "far", "owner": "elsewhere:1:x", "until_s": None}))
    assert not files.acquire_lock("a", "me", acquire_timeout=0)
    now[0] += 10
    assert files.acquire_lock("a", "me", acquire_timeout=0)
    assert not files.acquire_lock("b", "me", acquire_timeout=0)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"holder"'])
def test_a_lock_that_says_nothing_stays_a_while(tmp_path, text):
    now = [time.time()]
    files = FileSystemLockManager(tmp_path, clock=lambda: now[0])
    (tmp_path / "a.lock").write_text(text)
    assert not files.acquire_lock("a", "me", acquire_timeout=0)
    now[0] += 60
    assert files.acquire_lock("a", "me", acquire_timeout=0)


def test_of_many_that_find_a_stale_lock_one_gets_it(files):
    files.lock_files_directory.mkdir()
    gate = threading.Barrier(8)

    def grab(n):
        gate.wait(30)
        return files.try_lock("a", str(n), None)

    for _ in range(20):
        (files.lock_files_directory / "a.lock").write_text(json.dumps(
            {"holder": "gone", "owner": None, "until_s": 1.0}))
        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(grab, range(8))) == 1
        os.unlink(files.lock_files_directory / "a.lock")


def test_a_holder_may_take_its_lock_again_for_longer(tmp_path):
    now = [1000.0]
    files = FileSystemLockManager(tmp_path, clock=lambda: now[0])
    files.acquire_lock("a", "one", hold_timeout=5)
    now[0] += 4
    assert files.acquire_lock("a", "one", hold_timeout=5)
    now[0] += 4
    assert files.is_lock_holder("a", "one")
    now[0] += 2
    assert not files.is_locked("a")
