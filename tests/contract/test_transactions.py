"""Transactions whose records are on disk, and those that take turns."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataflow.cache_keys import user_key
from dataflow.locking.filesystem import FileSystemLockManager
from dataflow.transaction_store import ResultRecordStore
from dataflow.transactions import atransaction, get_transaction, transaction


@pytest.fixture
def store(tmp_path):
    return ResultRecordStore(tmp_path / "results", FileSystemLockManager(tmp_path / "locks"))


def test_a_record_outlives_the_transaction(store, tmp_path):
    with transaction(key="day 1/a", store=store) as txn:
        assert txn.read() is None
        txn.stage({"rows": 3})
    with transaction(key="day 1/a", store=tmp_path / "results") as txn:
        assert txn.is_committed()
        assert txn.read().result == {"rows": 3}
        txn.stage({"rows": 4})
    assert store.read("day 1/a").result == {"rows": 3}
    assert not store.exists("day 1/b")


def test_none_is_a_record(store):
    with transaction(key="a", store=store):
        pass
    assert store.exists("a") and store.read("a").result is None


def test_overwrite_replaces_the_record(store):
    for value in (1, 2):
        with transaction(key="a", store=store, overwrite=True) as txn:
            assert not txn.is_committed()
            txn.stage(value)
    assert store.read("a").result == 2


def test_a_value_that_cannot_be_kept_rolls_back_and_is_logged(store, caplog):
    called = []
    with transaction(key="a", store=store) as txn:
        txn.stage(threading.Lock(), [lambda txn: called.append("undo")])
    assert (txn.is_rolled_back(), called, store.exists("a")) == (True, ["undo"], False)
    assert "An error was encountered while committing" in caplog.text


def test_a_record_that_is_damaged_is_none(store, tmp_path):
    with transaction(key="a", store=store) as txn:
        txn.stage("x" * 1000)
    [pack] = [path for path in (tmp_path / "results").rglob("*") if path.stat().st_size > 500
              and path.is_file()]
    text = bytearray(pack.read_bytes())
    at = text.index(b"x" * 100)
    text[at] ^= 1
    pack.write_bytes(text)
    fresh = ResultRecordStore(tmp_path / "results")
    with transaction(key="a", store=fresh) as txn:
        assert not txn.is_committed()
        txn.stage("y")
    assert fresh.read("a").result == "y"


def test_a_key_is_that_of_a_cache_key_fn(store, tmp_path):
    from dataflow.packs import results_at
    from dataflow.storages import open_storage

    with transaction(key="a", store=store) as txn:
        txn.stage(1)
    [entry] = results_at(open_storage(tmp_path / "results")).find(
        "shared", [user_key("a")], time.time())
    assert entry is not None


def test_serializable_transactions_with_one_key_take_turns(store):
    computed = []

    def work(n):
        with transaction(key="a", store=store, isolation_level="SERIALIZABLE") as txn:
            if not txn.is_committed():
                computed.append(n)
                txn.stage(n)
        return store.read("a").result

    with ThreadPoolExecutor(6) as threads:
        found = set(threads.map(work, range(6)))
    assert len(computed) == 1
    assert found == set(computed)


def test_the_lock_of_a_process_that_died_in_its_transaction_is_taken_over(store, tmp_path):
    code = (
        "import sys\n"
        "from dataflow.locking.filesystem import FileSystemLockManager\n"
        "from dataflow.transaction_store import ResultRecordStore\n"
        "from dataflow.transactions import transaction\n"
        f"store = ResultRecordStore({str(tmp_path / 'results')!r}, "
        f"FileSystemLockManager({str(tmp_path / 'locks')!r}))\n"
        "with transaction(key='a', store=store, isolation_level='SERIALIZABLE') as txn:\n"
        "    txn.stage(1); sys.stdout.write('held'); sys.stdout.flush(); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        assert child.stdout.read(4) == b"held"
        child.kill()
        child.wait(30)
    with transaction(key="a", store=store, isolation_level="SERIALIZABLE") as txn:
        assert not txn.is_committed()
        txn.stage(2)
    assert store.read("a").result == 2


def test_an_async_transaction_writes_its_record_and_takes_its_turn(store):
    seen = []

    async def hook(txn):
        await asyncio.sleep(0)
        seen.append(txn.get("path"))

    async def work(n):
        async with atransaction(key="a", store=store, isolation_level="SERIALIZABLE") as txn:
            if not txn.is_committed():
                txn.set("path", "here")
                txn.stage(n, None, [hook])
        return (await txn.read()).result

    async def main():
        return await asyncio.gather(work(1), work(2), work(3))

    found = asyncio.run(main())
    assert (len(set(found)), seen, get_transaction()) == (1, ["here"], None)
