"""Names in a storage: which are ours, which users may choose, which are refused."""

from __future__ import annotations

import pickle
import sys

import pytest

from dataflow.exceptions import ResultStorageError
from dataflow.packs.entries import checked_partition, is_pack, new_pack_name
from dataflow.result_storage import checked_name
from dataflow.storages import open_storage


@pytest.mark.parametrize("name", ["out-3.pkl", "a/b/c", "year=2013/x.json", "ü.pkl", "x.pack"])
def test_plain_name_of_a_result_is_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", [
    "", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".hidden", "a/.tmp-1", "C:/x", "C:x",
    "a\\b", "a\nb", "a\0b", "quarantine/x", "pins.json", "s3://b/x", "x" * 300, ".", "a/.",
])
def test_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ResultStorageError, match="Cannot keep a result under the name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "quarantine", "a b", "x" * 201, "ü", "a\n"])
def test_folder_that_is_no_partition_is_refused(name: str) -> None:
    with pytest.raises(ResultStorageError, match="cannot be a folder of results"):
        checked_partition(name)


def test_names_of_packs_differ_and_are_in_the_order_of_their_dates() -> None:
    names = [new_pack_name(1_700_000_000 + number) for number in range(50)]
    assert names == sorted(names) and all(is_pack(f"load-1.x/{name}") for name in names)
    assert len({new_pack_name(0.0) for _ in range(50)}) == 50


@pytest.mark.parametrize("name", ["x.pack", "load/x.pack", "load/.tmp-1", "quarantine/" +
                                  new_pack_name(0.0), new_pack_name(0.0)])
def test_other_names_are_no_packs(name: str) -> None:
    assert not is_pack(name)


def test_locations_open_what_they_name() -> None:
    assert open_storage("~/x").location.endswith("/x") and "~" not in open_storage("~/x").location
    assert open_storage("file:///a%20b").location == "/a b"
    assert open_storage("s3://bucket/a/").location == "s3://bucket/a"
    storage = open_storage("memory://somewhere/x")
    assert open_storage(storage) is storage and open_storage("memory://somewhere/x") == storage
    assert "results" in open_storage().location


@pytest.mark.parametrize("location", ["", "nope://x", "s3://"])
def test_unknown_location_is_refused_with_what_to_do(location: str) -> None:
    with pytest.raises(ResultStorageError) as caught:
        open_storage(location)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_s3_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ResultStorageError, match=r"pip install 'dataflow\[s3\]'"):
        open_storage("s3://bucket/x")


def test_password_in_a_url_is_not_shown() -> None:
    storage = open_storage("memory://user:secret@host/x")
    assert "secret" not in repr(storage) and "secret" not in storage.location
