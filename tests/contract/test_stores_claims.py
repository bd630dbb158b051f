"""The contract of claims on cache keys, one suite over every place where they are kept."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.claim import Address, Claims, Grant
from dataflow.claiming.memory_claims import MemoryClaims
from dataflow.claiming.postgres_claims import PostgresAddress, PostgresClaims
from dataflow.claiming.sqlite_claims import SqliteClaims
from dataflow.claims import claims_at, owner_alive, owner_of_this_process
from dataflow.exceptions import StoreError
from dataflow.stores import open_store

CLAIMS: dict[str, Callable[[Any, Path], Claims]] = {
    "memory": lambda get, folder: MemoryClaims(),
    "sqlite": lambda get, folder: SqliteClaims(folder / "claims.db"),
    "postgres": lambda get, folder: PostgresClaims(get("postgres_url")),
}
SHARED = ["postgres", "sqlite"]
T0 = 1_700_000_000.0
A, B = "host-a:1:0", "host-b:2:0"
spawn = multiprocessing.get_context("spawn")
many = multiprocessing.get_context("forkserver")  # imports once for all of them
many.set_forkserver_preload([__name__])


@pytest.fixture(params=sorted(CLAIMS))
def claims(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Claims]:
    opened = CLAIMS[request.param](request.getfixturevalue, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Claims]:
    """Return claims that other processes reach."""
    opened = CLAIMS[request.param](request.getfixturevalue, tmp_path)
    yield opened
    opened.close()


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def take(claims: Claims, *numbers: int, owner: str = A, at_s: float = T0, **more: Any) -> Grant:
    keys = [key(number) for number in numbers]
    return claims.take(more.pop("partition", "p"), keys, owner, now_s=at_s, lease_s=30, **more)


def denied(*positions: int) -> frozenset[int]:
    return frozenset(positions)


def test_what_nobody_has_is_granted_and_what_somebody_has_is_denied(claims: Claims) -> None:
    first = take(claims, 1, 2, 3)
    assert (first.id is not None, first.denied) == (True, denied())
    second = take(claims, 3, 4, 1, owner=B)
    assert (second.id is not None, second.denied) == (True, denied(0, 2))
    assert take(claims, 4, 2, owner="host-c:3:0") == Grant(None, denied(0, 1))


def test_a_claim_of_the_same_owner_is_in_the_way_too(claims: Claims) -> None:
    take(claims, 1)
    assert take(claims, 1) == Grant(None, denied(0))


def test_of_equal_keys_the_first_is_granted(claims: Claims) -> None:
    assert take(claims, 7, 8, 7, 7).denied == denied(2, 3)
    assert take(claims, 9, 7, 9).denied == denied(1, 2)


def test_no_keys_are_no_claim(claims: Claims) -> None:
    assert take(claims) == Grant(None, denied())


def test_partitions_do_not_meet(claims: Claims) -> None:
    take(claims, 1)
    assert take(claims, 1, partition="other é\x00").denied == denied()
    assert take(claims, 1, partition="other é\x00").denied == denied(0)


def test_what_is_released_is_granted_again(claims: Claims) -> None:
    first, second = take(claims, 1, 2), take(claims, 3)
    assert first.id is not None and second.id is not None
    claims.release(first.id)
    claims.release(first.id)
    assert take(claims, 1, 2, 3, owner=B).denied == denied(2)


def test_a_lease_that_is_over_is_in_nobodys_way(claims: Claims) -> None:
    take(claims, 1)
    assert take(claims, 1, owner=B, at_s=T0 + 29.9).denied == denied(0)
    assert take(claims, 1, owner=B, at_s=T0 + 30).denied == denied()
    assert take(claims, 1, owner=A, at_s=T0 + 59).denied == denied(0)


def test_a_clock_that_goes_back_an_hour_ends_no_claim(claims: Claims) -> None:
    take(claims, 1)
    assert take(claims, 1, owner=B, at_s=T0 - 3600).denied == denied(0)


def test_a_renewed_lease_lasts_longer_and_a_released_claim_does_not_come_back(
    claims: Claims,
) -> None:
    first, second = take(claims, 1), take(claims, 2)
    assert first.id is not None and second.id is not None
    claims.release(second.id)
    claims.renew([first.id, second.id], T0 + 90)
    claims.renew([], T0 + 99)
    assert take(claims, 1, 2, owner=B, at_s=T0 + 89).denied == denied(0)


def test_a_claim_is_replaced_by_a_narrower_one(claims: Claims) -> None:
    first = take(claims, 1, 2, 3)
    assert first.id is not None
    narrow = take(claims, 2, replacing=first.id)
    assert (narrow.id is not None, narrow.denied) == (True, denied())
    assert take(claims, 1, 2, 3, owner=B).denied == denied(1)


def test_a_claim_of_a_dead_process_of_this_host_is_over_at_once(claims: Claims) -> None:
    host, pid, start = owner_of_this_process().split(":")
    take(claims, 1, owner=f"{host}:{pid}:{start}9")
    take(claims, 2, owner=owner_of_this_process())
    assert take(claims, 1, 2, owner=B).denied == denied(1)


def test_of_many_threads_one_gets_each_key(claims: Claims) -> None:
    gate, won = threading.Barrier(16), []

    def contend() -> None:
        gate.wait()
        for number in range(20):
            grant = take(claims, number)
            if not grant.denied:
                won.append(number)

    threads = [threading.Thread(target=contend) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(20))


# addresses


def test_an_address_survives_pickle_and_leads_to_the_same_claims(claims: Claims) -> None:
    address = pickle.loads(pickle.dumps(claims.address))
    assert (address, hash(address)) == (claims.address, hash(claims.address))
    there = claims_at(address)
    assert there is not None and claims_at(address) is there
    take(claims, 1)
    assert take(there, 1).denied == denied(0)
    there.close()


def _look(address: Address, answer: Any) -> None:
    found = claims_at(address)
    answer.put("unreached" if found is None else take(found, 1, owner=B).denied)


def _asked(address: Address, context: Any = spawn) -> Any:
    answer = context.SimpleQueue()
    process = context.Process(target=_look, args=(address, answer))
    process.start()
    process.join(60)
    return answer.get()


def test_another_process_reaches_shared_claims(shared: Claims) -> None:
    take(shared, 1)
    assert _asked(shared.address) == denied(0)


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_another_process_does_not_reach_claims_in_memory(start: str) -> None:
    claims = MemoryClaims()
    assert _asked(claims.address, multiprocessing.get_context(start)) == "unreached"


def test_a_forked_process_uses_a_connection_of_its_own(shared: Claims) -> None:
    take(shared, 1)
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()

    def contend() -> None:
        answer.put((take(shared, 1, 2, owner=B).denied, claims_at(shared.address) is not None))

    process = context.Process(target=contend)
    process.start()
    process.join(60)
    assert answer.get() == (denied(0), True)
    assert take(shared, 2).denied == denied(0)


def test_a_file_that_is_not_there_or_is_another_is_not_reached(tmp_path: Path) -> None:
    claims = SqliteClaims(tmp_path / "claims.db")
    address = claims.address
    claims.close()
    (tmp_path / "claims.db").unlink()
    assert claims_at(address) is None
    again = SqliteClaims(tmp_path / "claims.db")
    assert again.address != address and claims_at(address) is None
    again.close()


def test_claims_of_a_store_lie_beside_it_for_the_owner_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "dataflow.db")
    assert store.claims() is store.claims()
    assert not (tmp_path / "claims.db").exists()
    take(store.claims(), 1)
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.glob("claims.db*")}
    assert set(modes.values()) == {0o600} and "claims.db" in modes
    store.close()


def test_a_file_that_goes_away_under_its_users_is_made_anew(tmp_path: Path) -> None:
    one, two = (SqliteClaims(tmp_path / "claims.db") for _ in range(2))
    take(one, 1)
    for each in tmp_path.glob("claims.db*"):
        each.unlink()
    assert take(one, 1).denied == denied()
    assert take(two, 1).denied == denied(0)
    for claims in (one, two):
        claims.close()


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "claims.db"
    path.write_bytes(b"after a power cut\n" * 1000)
    claims = SqliteClaims(path)
    assert take(claims, 1).denied == denied()
    assert (tmp_path / "claims.db.broken").read_bytes().startswith(b"after")
    claims.close()


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    claims = SqliteClaims(tmp_path / "file" / "claims.db")
    with pytest.raises(StoreError, match="is a file, not a folder"):
        take(claims, 1)


def test_a_password_is_in_no_text(tmp_path: Path) -> None:
    address = PostgresAddress(f"postgresql://me:secret@/db?host={tmp_path}&password=secret")
    assert "secret" not in repr(address) and "me:…@" in repr(address)
    pytest.importorskip("psycopg")
    claims = address.reached()
    with pytest.raises(StoreError) as caught:
        take(claims, 1)
    assert "secret" not in str(caught.value)


# owners


def test_the_owner_of_this_process_lives() -> None:
    owner = owner_of_this_process()
    assert owner.split(":")[1] == str(os.getpid())
    assert owner_alive(owner) is True
    assert owner_alive(f"{owner}:extra") is True


@pytest.mark.parametrize("owner", ["elsewhere:1:0", "", "host", "::", "h:x:y"])
def test_nothing_is_known_of_an_owner_elsewhere(owner: str) -> None:
    assert owner_alive(owner) is None


def test_a_process_that_has_ended_is_dead_even_before_it_was_waited_for() -> None:
    script = ("from dataflow.claims import owner_of_this_process\n"
              "print(owner_of_this_process(), flush=True); input()")
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    assert owner_alive(owner) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert owner_alive(owner) is False
    child.communicate()
    assert owner_alive(owner) is False


# many processes


def _contend(address: Address, rounds: int, gate: Any, won: Any) -> None:
    claims = claims_at(address)
    assert claims is not None
    gate.wait(60)
    mine = [number for number in range(rounds)
            if not take(claims, number, owner=owner_of_this_process(), at_s=time.time()).denied]
    won.put((os.getpid(), mine))
    gate.wait(60)  # all stay alive until all have tried


@pytest.mark.slow
def test_of_32_processes_one_gets_each_key(shared: Claims) -> None:
    gate, won = many.Barrier(32), many.SimpleQueue()
    processes = [many.Process(target=_contend, args=(shared.address, 5, gate, won))
                 for _ in range(32)]
    for process in processes:
        process.start()
    answers = [won.get() for _ in processes]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 32
    assert sorted(number for _, mine in answers for number in mine) == list(range(5))


def _hold(address: Address, told: Any) -> None:
    claims = claims_at(address)
    assert claims is not None
    grant = take(claims, 1, owner=owner_of_this_process(), at_s=time.time())
    told.put(grant.denied)
    threading.Event().wait(60)


def test_when_an_owner_is_killed_exactly_one_takes_over(shared: Claims) -> None:
    told = spawn.SimpleQueue()
    holder = spawn.Process(target=_hold, args=(shared.address, told))
    holder.start()
    assert told.get() == denied()
    assert take(shared, 1, at_s=time.time()).denied == denied(0)
    holder.kill()
    holder.join(60)
    gate, won = many.Barrier(4), many.SimpleQueue()
    others = [many.Process(target=_contend, args=(shared.address, 2, gate, won))
              for _ in range(4)]
    for process in others:
        process.start()
    answers = [won.get() for _ in others]
    for process in others:
        process.join(60)
    assert sorted(number for _, mine in answers for number in mine) == [0, 1]
