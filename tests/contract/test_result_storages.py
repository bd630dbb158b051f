"""The contract of a result storage, one suite over every storage; and results kept in each.

A new storage adds itself to ``STORAGES``; when the suite is green it is done.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from dataflow.exceptions import CorruptResult, ResultStorageError
from dataflow.packs import Origin
from dataflow.packs.collecting import Budget
from dataflow.packs.housekeeping import collect, verify
from dataflow.packs.opening import read_tail
from dataflow.packs.results import Results
from dataflow.result_storage import ResultStorage
from dataflow.serializers import JSONSerializer, PickleSerializer
from dataflow.storages import open_storage

T0 = 1_700_000_000.0
NOW = T0 + 1000


Opener = Callable[[Path, pytest.FixtureRequest], ResultStorage]


def open_s3(folder: Path, request: pytest.FixtureRequest) -> ResultStorage:
    from dataflow.storages.object_store import S3Storage

    return S3Storage(f"s3://results/{token_hex(4)}", **request.getfixturevalue("s3_options"))


def open_fsspec_folder(folder: Path, request: pytest.FixtureRequest) -> ResultStorage:
    """Return a storage at a file system whose files do not appear whole by themselves."""
    from dataflow.storages.fsspec_urls import FsspecStorage

    return FsspecStorage(f"file://{folder}/deep/results")


STORAGES: dict[str, Opener] = {
    "folder": lambda folder, request: open_storage(folder / "results"),
    "memory": lambda folder, request: open_storage(f"memory://{token_hex(4)}/results"),
    "fsspec": open_fsspec_folder,
    "s3": open_s3,
}


@pytest.fixture(params=list(STORAGES))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> ResultStorage:
    return STORAGES[request.param](tmp_path, request)


def key(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def origin(run_id: str = "run-1", created_s: float = T0, **changes: Any) -> Origin:
    return Origin(**{"run_id": run_id, "run_name": "swift-heron", "task_name": "load", "call": 0,
                     "created_s": created_s, **changes})


def write(storage: ResultStorage, values: dict[int, Any], *, partition: str = "load",
          expires_s: float = 0.0, **changes: Any) -> list[str]:
    writer = Results(storage).writer(partition, origin(**changes), PickleSerializer())
    for number, value in values.items():
        writer.add(key(number), value, index=number, expires_s=expires_s)
    return writer.flush()


def held(storage: ResultStorage, numbers: Any, *, partition: str = "load", now_s: float = NOW,
         results: Results | None = None) -> dict[int, Any]:
    """Return what a process finds that has not looked before."""
    results = results or Results(storage)
    numbers = list(numbers)
    found = results.find(partition, [key(number) for number in numbers], now_s, fresh=True)
    entries = [entry for entry in found if entry is not None]
    values = iter(results.load(partition, entries))
    return {number: next(values) for number, entry in zip(numbers, found, strict=True)
            if entry is not None}


def names(storage: ResultStorage, prefix: str = "") -> list[str]:
    return sorted(found.name for found in storage.list(prefix, deep=True))


# ---- the port


def test_file_is_read_back_whole_and_in_part(storage: ResultStorage) -> None:
    storage.write("a/b.pack", [b"0123", b"456", b"789"])
    assert storage.read("a/b.pack") == b"0123456789"
    assert storage.read("a/b.pack", 2, 5) == b"234"
    assert storage.read("a/b.pack", 7) == b"789"
    assert storage.read("a/b.pack", -3) == b"789"
    assert storage.read("a/b.pack", -300) == b"0123456789"
    assert storage.read("a/b.pack", 8, 300) == b"89"


def test_file_that_is_there_is_replaced(storage: ResultStorage) -> None:
    storage.write("a/b.pack", [b"old and long"])
    storage.write("a/b.pack", [b"new"])
    assert (storage.read("a/b.pack"), names(storage)) == (b"new", ["a/b.pack"])


def test_missing_file_is_file_not_found(storage: ResultStorage) -> None:
    for action in (lambda: storage.read("a/none"), lambda: storage.read("a/none", -10),
                   lambda: storage.move("a/none", "a/other")):
        with pytest.raises(FileNotFoundError):
            action()
    storage.delete("a/none")
    assert names(storage) == []


def test_empty_file_is_read_as_nothing(storage: ResultStorage) -> None:
    storage.write("a/empty.pack", [b""])
    assert storage.read("a/empty.pack") == b""
    assert storage.read("a/empty.pack", -100) == b""


def test_listing_is_of_one_folder_or_of_all_below(storage: ResultStorage) -> None:
    for name in ("top", "a/one", "a/two", "a/b/three", "ab/four", "a/.hidden"):
        storage.write(name, [b"x" * 7])
    assert sorted(found.name for found in storage.list("a")) == ["a/one", "a/two"]
    assert {"one", "two"} <= set(storage.names("a")) and "three" not in storage.names("a")
    assert names(storage, "a") == ["a/b/three", "a/one", "a/two"]
    assert names(storage) == ["a/b/three", "a/one", "a/two", "ab/four", "top"]
    assert list(storage.list("nothing")) == [] and list(storage.names("nothing")) == []
    assert {found.size_bytes for found in storage.list("a")} == {7}


def test_moved_and_deleted_files_are_where_they_should_be(storage: ResultStorage) -> None:
    storage.write("a/one", [b"1"])
    storage.write("a/two", [b"2"])
    storage.move("a/one", "b/c/one")
    storage.delete("a/two")
    assert (names(storage), storage.read("b/c/one")) == (["b/c/one"], b"1")


def test_change_is_told_after_each_write_however_soon(storage: ResultStorage) -> None:
    storage.write("a/0", [b""])
    token = storage.changed("a")
    for number in range(1, 30):
        storage.write(f"a/{number}", [b""])
        now = storage.changed("a")
        assert now is None or now != token
        token = now


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/x", "a//b", ""])
def test_name_that_leads_out_is_refused(storage: ResultStorage, name: str) -> None:
    with pytest.raises(ResultStorageError):
        storage.write(name, [b"x"])
    with pytest.raises(ResultStorageError):
        storage.read(name)


def test_storage_survives_pickle_and_equals_itself(storage: ResultStorage) -> None:
    storage.write("a/one", [b"1"])
    again = pickle.loads(pickle.dumps(storage))
    assert again == storage and hash(again) == hash(storage)
    assert again.read("a/one") == b"1" and again.location == storage.location


def test_mark_is_seen_where_files_are_shared_and_nowhere_else(storage: ResultStorage) -> None:
    token = storage.probe()
    assert pickle.loads(pickle.dumps(storage)).sees(token)
    assert not storage.sees("0000") and names(storage) == []
    storage.unprobe(token)
    assert not storage.sees(token)


# ---- results in it


def test_results_are_found_and_loaded_with_their_origin(storage: ResultStorage) -> None:
    values = {number: {"row": number, "text": "x" * number} for number in range(50)}
    [pack] = write(storage, values)
    results = Results(storage)
    assert held(storage, range(60), results=results) == values
    [entry] = results.find("load", [key(7)], NOW)
    assert entry is not None and (entry.pack, entry.index, entry.key) == (pack, 7, key(7))
    assert results.origin("load", entry) == origin()


def test_values_come_in_the_order_asked_for_also_twice(storage: ResultStorage) -> None:
    write(storage, {number: number for number in range(10)})
    write(storage, {number: number for number in range(10, 20)})
    results = Results(storage)
    wanted = [3, 17, 3, 0, 19, 11, 3]
    found = results.find("load", [key(number) for number in wanted], NOW)
    assert results.load("load", [entry for entry in found if entry is not None]) == wanted


def test_partitions_know_nothing_of_each_other(storage: ResultStorage) -> None:
    write(storage, {1: "a"}, partition="a")
    write(storage, {1: "b"}, partition="b.c")
    assert held(storage, [1], partition="a") == {1: "a"}
    assert held(storage, [1], partition="b.c") == {1: "b"}
    assert held(storage, [1], partition="d") == {}


def test_newest_of_several_results_of_a_key_is_found(storage: ResultStorage) -> None:
    write(storage, {1: "second"}, created_s=T0 + 2)
    write(storage, {1: "first"}, created_s=T0 + 1)
    assert held(storage, [1]) == {1: "second"}


def test_later_of_two_results_of_a_key_in_one_pack_is_found(storage: ResultStorage) -> None:
    writer = Results(storage).writer("load", origin(), PickleSerializer())
    writer.add(key(1), "first", index=0)
    writer.add(key(1), "second", index=0)
    writer.flush()
    assert held(storage, [1]) == {1: "second"}


def test_expired_result_is_none_and_hides_an_older_one(storage: ResultStorage) -> None:
    write(storage, {1: "for ever"}, created_s=T0)
    write(storage, {1: "for a while", 2: "too"}, created_s=T0 + 1, expires_s=NOW)
    assert held(storage, [1, 2], now_s=NOW - 0.1) == {1: "for a while", 2: "too"}
    assert held(storage, [1, 2], now_s=NOW) == {}


def test_forgotten_result_is_none_until_a_newer_one_comes(storage: ResultStorage) -> None:
    write(storage, {1: "a", 2: "b"})
    Results(storage).forget("load", [key(1)], now_s=T0 + 5)
    assert held(storage, [1, 2]) == {2: "b"}
    write(storage, {1: "c"}, created_s=T0 + 6)
    assert held(storage, [1, 2]) == {1: "c", 2: "b"}


def test_results_of_another_writer_are_found_without_asking_anew(storage: ResultStorage) -> None:
    results = Results(storage)
    assert held(storage, [1], results=results) == {}
    write(storage, {1: "a"})
    assert held(storage, [1], results=results) == {1: "a"}


def test_own_results_are_found_without_a_listing(storage: ResultStorage) -> None:
    results = Results(storage)
    assert results.find("load", [key(1)], NOW) == [None]
    writer = results.writer("load", origin(), PickleSerializer())
    writer.add(key(1), "a", index=0)
    writer.flush()
    [entry] = results.find("load", [key(1)], NOW)
    assert entry is not None and results.load("load", [entry]) == ["a"]


def test_large_values_stand_alone_and_small_ones_together(storage: ResultStorage) -> None:
    values = {0: b"s", 1: b"L" * 1_100_000, 2: b"t", 3: b"M" * 1_200_000}
    packs = write(storage, values)
    assert len(packs) == 3 and held(storage, range(4)) == values


def test_result_that_cannot_be_serialised_leaves_the_others(storage: ResultStorage) -> None:
    writer = Results(storage).writer("load", origin(), JSONSerializer())
    writer.add(key(1), [1], index=1)
    with pytest.raises(TypeError, match=r"result\['a'\] is of type builtins.object"):
        writer.add(key(2), {"a": object()}, index=2)
    writer.add(key(3), [3], index=3)
    writer.flush()
    assert held(storage, [1, 2, 3]) == {1: [1], 3: [3]}


def test_flush_with_nothing_to_write_writes_nothing(storage: ResultStorage) -> None:
    assert Results(storage).writer("load", origin(), PickleSerializer()).flush() == []
    assert names(storage) == []


def test_pack_is_damaged_then_what_is_whole_stays_and_it_is_warned_of_once(
    storage: ResultStorage, caplog: pytest.LogCaptureFixture
) -> None:
    [pack] = write(storage, {number: f"value {number}" for number in range(5)})
    data = bytearray(storage.read(pack))
    data[data.index(b"value 3")] ^= 0x10
    storage.write(pack, [bytes(data)])
    results = Results(storage)
    values = held(storage, range(5), results=results)
    assert isinstance(values.pop(3), CorruptResult)
    assert values == {number: f"value {number}" for number in (0, 1, 2, 4)}
    for _ in range(2):
        assert held(storage, range(5), results=results) == values
    assert held(storage, range(5)) == values
    assert len(caplog.records) == 1 and "quarantine/" in caplog.text and pack in caplog.text
    kept = names(storage, "quarantine")
    assert len(kept) == 2 and pack.encode() in storage.read(kept[1])


@pytest.mark.parametrize("data", [b"", b"{}", b"x" * 500, b"dfpack\r\n" * 100])
def test_foreign_file_is_put_aside_and_no_hit(storage: ResultStorage, data: bytes) -> None:
    [pack] = write(storage, {1: "a"})
    storage.write(pack, [data])
    write(storage, {2: "b"})
    assert held(storage, [1, 2]) == {2: "b"}
    assert pack not in names(storage) and len(names(storage, "quarantine")) == 2


def test_pack_of_a_newer_version_is_left_alone_and_told_of(
    storage: ResultStorage, caplog: pytest.LogCaptureFixture
) -> None:
    from dataflow.packs import format as packs_format

    [pack] = write(storage, {1: "a"})
    data = bytearray(storage.read(pack))
    at = len(data) - packs_format.FOOTER.size + 36
    data[at : at + 4] = packs_format.marked(9).to_bytes(4, "little")
    storage.write(pack, [bytes(data)])
    assert held(storage, [1]) == {} and names(storage) == [pack]
    assert "version 9" in caplog.text


def test_named_result_is_a_file_of_that_name(storage: ResultStorage) -> None:
    results = Results(storage)
    assert results.find_named("out/year-2013.pkl", NOW) is None
    results.write_named("out/year-2013.pkl", key(1), [1, 2], origin(), JSONSerializer())
    entry = Results(storage).find_named("out/year-2013.pkl", NOW)
    assert entry is not None and entry.key == key(1)
    assert results.load("load", [entry]) == [[1, 2]]
    assert results.origin("load", entry) == origin()
    results.write_named("out/year-2013.pkl", key(2), [3], origin(), JSONSerializer(), NOW)
    assert results.find_named("out/year-2013.pkl", NOW) is None
    entry = results.find_named("out/year-2013.pkl", NOW - 1)
    assert entry is not None and results.load("load", [entry]) == [[3]]


def test_damaged_named_result_is_put_aside(storage: ResultStorage) -> None:
    results = Results(storage)
    results.write_named("a.pkl", key(1), "value", origin(), PickleSerializer())
    data = bytearray(storage.read("a.pkl"))
    data[20] ^= 1
    storage.write("a.pkl", [bytes(data)])
    entry = results.find_named("a.pkl", NOW)
    assert entry is not None and isinstance(results.load("", [entry])[0], CorruptResult)
    assert results.find_named("a.pkl", NOW) is None and len(names(storage, "quarantine")) == 2


def test_nearest_older_result_of_a_map_index_is_named(storage: ResultStorage) -> None:
    write(storage, {number: number for number in range(5)}, created_s=T0, run_id="old")
    write(storage, {number: number for number in range(3)}, created_s=T0 + 9, run_id="new")
    results = Results(storage)

    def run_of(index: int, before_s: float, **more: Any) -> str | None:
        found = results.nearest("load", index=index, before_s=before_s, **more)
        return None if found is None else found.origin.run_id

    assert run_of(1, NOW) == "new" and run_of(1, T0 + 9) == "old" and run_of(4, NOW) == "old"
    assert run_of(1, T0) is None and run_of(7, NOW) is None
    assert run_of(1, NOW, task_name="other") is None


# ---- housekeeping


def test_small_packs_are_merged_and_readers_of_the_old_ones_go_on(storage: ResultStorage) -> None:
    for number in range(8):
        write(storage, {number: number}, run_id=f"run-{number}", created_s=T0 + number)
    results = Results(storage)
    found = results.find("load", [key(number) for number in range(8)], NOW)
    entries = [entry for entry in found if entry is not None]
    done = collect(storage, Budget(now_s=NOW, grace_s=float("-inf")))
    assert (done.merged_files, done.written_files) == (8, 1) and len(names(storage)) == 1
    assert results.load("load", entries) == list(range(8))
    again = Results(storage)
    found = again.find("load", [key(5)], NOW)
    assert found[0] is not None and again.origin("load", found[0]).run_id == "run-5"
    assert read_tail(storage, names(storage)[0]).metadata.serializer == "pickle"


def test_expired_and_replaced_results_go_and_the_rest_stays(storage: ResultStorage) -> None:
    write(storage, {1: "old", 2: "two"}, created_s=T0)
    write(storage, {1: "new"}, created_s=T0 + 1)
    write(storage, {3: "short"}, created_s=T0 + 2, expires_s=T0 + 3)
    Results(storage).forget("load", [key(2)], now_s=T0 + 4)
    done = collect(storage, Budget(now_s=NOW, grace_s=float("-inf")))
    assert (done.superseded, done.expired) == (2, 2)
    assert held(storage, range(5)) == {1: "new"} and len(names(storage)) == 1


def test_needed_and_pinned_results_stay_whatever_the_budget(storage: ResultStorage) -> None:
    from dataflow.packs.pins import Pins, read_pins, write_pins

    write(storage, {1: "running"}, run_id="running")
    write(storage, {2: "pinned"}, run_id="pinned")
    write(storage, {3: "gone"}, run_id="done")
    write(storage, {4: "needed"}, run_id="done")
    write(storage, {5: "there"}, partition="pinned", run_id="done")
    write_pins(storage, Pins().with_(partition="pinned").with_(run="pinned"))
    budget = Budget(now_s=NOW, max_size_bytes=0, grace_s=float("-inf"),
                    needed_runs=frozenset({"running"}), needed_keys=frozenset({key(4)}))
    dry = collect(storage, budget, dry_run=True)
    assert set(held(storage, range(6))) == {1, 2, 3, 4}
    done = collect(storage, budget)
    assert (done.over, done.protected_files) == (1, 4) and dry.after_bytes == done.after_bytes
    assert set(held(storage, range(6))) == {1, 2, 4}
    assert held(storage, [5], partition="pinned") == {5: "there"}
    assert read_pins(storage) == Pins(frozenset({"pinned"}), frozenset({"pinned"}))


def test_oldest_results_go_first_where_the_budget_is_small(storage: ResultStorage) -> None:
    for number in range(4):
        write(storage, {number: b"x" * 1000}, created_s=T0 + number)
    size = sum(found.size_bytes for found in storage.list("load"))
    collect(storage, Budget(now_s=NOW, max_size_bytes=size // 2, grace_s=float("-inf")))
    assert set(held(storage, range(4))) == {2, 3}


def test_results_older_than_the_budget_go(storage: ResultStorage) -> None:
    write(storage, {1: "old"}, created_s=T0)
    write(storage, {2: "new"}, created_s=T0 + 900)
    collect(storage, Budget(now_s=NOW, max_age_s=500, grace_s=float("-inf")))
    assert held(storage, [1, 2]) == {2: "new"}


def test_young_files_are_left_alone(storage: ResultStorage) -> None:
    import time

    write(storage, {1: "a"}, created_s=T0)
    collect(storage, Budget(now_s=time.time(), max_size_bytes=0))
    assert held(storage, [1]) == {1: "a"}


def test_verification_puts_aside_what_is_damaged_and_leaves_what_is_not_ours(
    storage: ResultStorage,
) -> None:
    [good] = write(storage, {1: "a"})
    [bad] = write(storage, {number: f"value {number}" for number in range(2, 6)})
    [cut] = write(storage, {7: "c"})
    data = bytearray(storage.read(bad))
    data[data.index(b"value 3")] ^= 1
    storage.write(bad, [bytes(data)])
    storage.write(cut, [storage.read(cut)[:-5]])
    storage.write("README", [b"not a result"])
    told = verify(storage, dry_run=True)
    assert {bad, cut, good} <= set(names(storage))
    done = verify(storage)
    assert {each.name for each in told.damaged} == {each.name for each in done.damaged}
    assert {each.name for each in done.damaged} == {bad, cut}
    assert [each.name for each in done.findings if not each.damaged] == ["README"]
    assert set(held(storage, range(8))) == {1, 2, 4, 5} and "README" in names(storage)
    assert verify(storage).damaged == []
