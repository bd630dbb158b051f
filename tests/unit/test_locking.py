"""Locks in memory, without waiting."""

import asyncio
import pickle

import pytest

from dataflow.cache_policies import INPUTS, RUN_ID
from dataflow.locking.asking import pauses
from dataflow.locking.filesystem import FileSystemLockManager
from dataflow.locking.memory import LockTable, MemoryLockManager
from dataflow.locking.protocol import LockManager


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def locks(clock):
    class Locks(MemoryLockManager):
        _table = LockTable(clock)

    return Locks()


@pytest.mark.parametrize("manager", [MemoryLockManager(), FileSystemLockManager("somewhere")])
def test_both_are_lock_managers_that_travel_and_can_be_compared(manager):
    assert isinstance(manager, LockManager)
    assert pickle.loads(pickle.dumps(manager)) == manager
    assert hash(pickle.loads(pickle.dumps(manager))) == hash(manager)
    policy = INPUTS.configure(lock_manager=manager) + RUN_ID.configure(lock_manager=manager)
    assert policy.lock_manager is manager


def test_a_lock_has_one_holder(locks):
    assert locks.acquire_lock("a", "one", acquire_timeout=0)
    assert not locks.acquire_lock("a", "two", acquire_timeout=0)
    assert (locks.is_locked("a"), locks.is_lock_holder("a", "one"),
            locks.is_lock_holder("a", "two")) == (True, True, False)
    assert locks.acquire_lock("b", "two", acquire_timeout=0)


def test_a_holder_may_take_its_lock_again(locks):
    assert locks.acquire_lock("a", "one")
    assert locks.acquire_lock("a", "one")
    locks.release_lock("a", "one")
    assert not locks.is_locked("a")


def test_a_lock_given_back_is_free(locks):
    locks.acquire_lock("a", "one")
    locks.release_lock("a", "one")
    assert not locks.is_locked("a")
    assert locks.acquire_lock("a", "two", acquire_timeout=0)


def test_a_lock_that_is_not_held_cannot_be_given_back(locks):
    locks.acquire_lock("a", "one")
    for key, holder in (("a", "two"), ("b", "one")):
        with pytest.raises(ValueError, match=f"{holder} does not hold the lock of '{key}'"):
            locks.release_lock(key, holder)
    assert locks.is_lock_holder("a", "one")


def test_a_lock_is_free_after_its_time(locks, clock):
    locks.acquire_lock("a", "one", hold_timeout=5)
    clock.now += 4.9
    assert locks.is_lock_holder("a", "one")
    clock.now += 0.2
    assert not locks.is_locked("a")
    with pytest.raises(ValueError):
        locks.release_lock("a", "one")
    assert locks.acquire_lock("a", "two", acquire_timeout=0)


def test_a_lock_taken_again_runs_anew(locks, clock):
    locks.acquire_lock("a", "one", hold_timeout=5)
    clock.now += 4
    locks.acquire_lock("a", "one", hold_timeout=5)
    clock.now += 4
    assert locks.is_lock_holder("a", "one")


def test_waiting_for_what_is_free_takes_no_time(locks):
    assert locks.wait_for_lock("a")
    locks.acquire_lock("a", "one")
    assert not locks.wait_for_lock("a", timeout=0)


def test_the_async_twins_do_the_same(locks):
    async def all_of_them():
        assert await locks.aacquire_lock("a", "one")
        assert not await locks.aacquire_lock("a", "two", acquire_timeout=0)
        assert not await locks.await_for_lock("a", timeout=0)
        assert await locks.await_for_lock("b")

    asyncio.run(all_of_them())


def test_pauses_grow_and_end_with_the_time(clock):
    found = []
    for pause_s in pauses(1.0, clock):
        found.append(pause_s)
        clock.now += pause_s
    assert found[:3] == [0.005, 0.01, 0.02]
    assert max(found) == 0.1
    assert sum(found) == pytest.approx(1.0)
    assert list(pauses(0, clock)) == []
