"""``dataflow cache``: what is shown, what is removed, what never is."""

from __future__ import annotations

import json
import os
from array import array
from pathlib import Path
from typing import Any

import pytest

from dataflow.cli import main
from dataflow.cli.quantities import Age, Size, size_text
from dataflow.outcomes import Span
from dataflow.packs import Origin, results_at
from dataflow.packs.results import Results
from dataflow.result_storage import ResultStorage
from dataflow.serializers import PickleSerializer
from dataflow.storages import open_storage
from dataflow.store import CallRecord, FlowRunRecord, Gulp, SpanRecord
from dataflow.stores import open_store

T0 = 1_700_000_000.0
DONE, OPEN, FAILED = (f"{digit * 8}-2222-4333-8444-555555555555" for digit in "123")


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def write(storage: ResultStorage, run_id: str, task: str, numbers: range) -> str:
    results = Results(storage)
    origin = Origin(run_id, f"run-{run_id[:1]}", task, 0, T0 + int(run_id[0]))
    writer = results.writer(f"{task}-1", origin, PickleSerializer())
    for number in numbers:
        writer.add(key(number), f"value {number}", index=number)
    [name] = writer.flush()
    return name


@pytest.fixture
def storage(dataflow_home: Path) -> ResultStorage:
    """Keep results of a run that is done, one that goes on, and one that failed."""
    storage = open_storage()
    for run_id, task, first in ((DONE, "load", 0), (OPEN, "load", 100), (FAILED, "clean", 200)):
        write(storage, run_id, task, range(first, first + 10))
    Results(storage).write_named("out/total.pkl", key(1), 7, Origin(DONE, "run-1", "total", 2, T0),
                                 PickleSerializer())
    for path in dataflow_home.rglob("*"):
        os.utime(path, (T0, T0))
    store = open_store()
    states = {DONE: "COMPLETED", OPEN: "RUNNING", FAILED: "FAILED"}
    for run_id, state in states.items():
        store.write(run_id, Gulp(flow_run=FlowRunRecord(
            id=run_id, name=f"run-{run_id[:1]}", flow_name="f", state_type=state,
            state_name=state.title(), created_s=T0)))
    store.close()
    return storage


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["cache", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def left(storage: ResultStorage) -> set[str]:
    return {name.partition("/")[0] for name in (found.name for found in storage.list(deep=True))}


def test_results_are_listed_by_task_and_run(
    storage: ResultStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = shown(capsys, "ls")
    assert [(row["task"], row["run_name"], row["results"], row["partition"]) for row in rows] == [
        ("clean", "run-3", 10, "clean-1"), ("load", "run-2", 10, "load-1"),
        ("load", "run-1", 10, "load-1"), ("total", "run-1", 1, None)]
    assert rows[3]["names"] == ["out/total.pkl"]
    assert [row["run_id"] for row in shown(capsys, "ls", "--partition", "load-1", "-f", "1111")] \
        == [DONE]
    assert shown(capsys, "ls", "--task", "nothing") == []
    assert len(shown(capsys, "ls", "-n", "2")) == 2
    assert main(["cache", "ls"]) == 0
    assert "load-1" in capsys.readouterr().out


def test_sizes_are_shown_by_folder(
    storage: ResultStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    told = shown(capsys, "du")
    assert {row["partition"]: row["results"] for row in told["partitions"]} == {
        "load-1": 20, "clean-1": 10, "(named)": 1}
    assert told["size_bytes"] == sum(found.size_bytes for found in storage.list(deep=True))
    assert main(["cache", "du"]) == 0
    assert storage.location in capsys.readouterr().out


def test_storage_that_is_empty_or_missing_is_no_error(
    dataflow_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "ls") == [] and shown(capsys, "du")["size_bytes"] == 0
    assert shown(capsys, "verify")["files"] == 0
    assert shown(capsys, "gc")["after_bytes"] == 0
    assert not (dataflow_home / "results").exists()


def test_verification_fails_where_something_is_damaged_and_then_no_more(
    storage: ResultStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "verify")["findings"] == []
    name = next(found.name for found in storage.list("clean-1"))
    data = bytearray(storage.read(name))
    data[data.index(b"value 203")] ^= 1
    storage.write(name, [bytes(data)])
    assert shown(capsys, "verify", "--dry-run", code=1)["findings"][0]["lost"] == 1
    assert shown(capsys, "verify", code=1)["findings"][0]["name"] == name
    assert shown(capsys, "verify")["entries"] == 30
    assert shown(capsys, "du")["quarantine"]["files"] == 1
    assert main(["cache", "verify"]) == 0
    assert "0 damaged" in capsys.readouterr().out


def test_verification_puts_aside_a_result_under_a_name_that_was_cut_short(
    storage: ResultStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = storage.read("out/total.pkl")
    storage.write("out/total.pkl", [whole[:-5]])
    storage.write("out/notes.txt", [b"mine"])
    findings = shown(capsys, "verify", code=1)["findings"]
    assert {row["name"]: row["damaged"] for row in findings} == {
        "out/total.pkl": True, "out/notes.txt": False}
    assert shown(capsys, "du")["quarantine"]["files"] == 1
    assert storage.read("out/notes.txt") == b"mine"


def test_removal_takes_only_what_is_done(
    storage: ResultStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    told = shown(capsys, "gc", "--max-size", "0", "--dry-run")
    assert told["over"] == 11 and left(storage) == {"load-1", "clean-1", "out"}
    told = shown(capsys, "gc", "--max-size", "0")
    assert (told["over"], told["protected_files"]) == (11, 2)
    assert left(storage) == {"load-1", "clean-1"}
    assert [row["run_id"] for row in shown(capsys, "ls")] == [FAILED, OPEN]
    assert shown(capsys, "gc", "--max-age", "30d", "--drop-failed")["aged"] == 10
    assert [row["run_id"] for row in shown(capsys, "ls")] == [OPEN]


def test_removal_leaves_what_a_run_that_goes_on_found_there(
    storage: ResultStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store()
    zeros = array("f", bytes(4))
    span = Span(0, range(1), bytearray([8]), zeros, zeros, keys=key(3), origins=(DONE,))
    store.write(OPEN, Gulp(
        calls=[CallRecord(call=0, task_name="load", task_key="f.load", kind="map", width=1)],
        spans=[SpanRecord(span, T0, "w")], counts={0: {8: 1}}))
    store.close()
    told = shown(capsys, "gc", "--max-size", "0")
    assert (told["over"], told["protected_files"]) == (1, 3)
    assert results_at(storage).find("load-1", [key(3)], T0, fresh=True) != [None]


def test_pins_are_kept_shown_and_taken_away(
    storage: ResultStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "pin") == {"partitions": [], "runs": []}
    assert shown(capsys, "pin", "-f", "run-1")["runs"] == [DONE]
    assert shown(capsys, "pin", "--partition", "clean-1")["partitions"] == ["clean-1"]
    assert {row["pinned"] for row in shown(capsys, "ls")} == {True, False}
    assert shown(capsys, "gc", "--max-size", "0", "--drop-failed")["over"] == 0
    assert shown(capsys, "unpin", "-f", "1111")["runs"] == []
    assert shown(capsys, "gc", "--max-size", "0")["over"] == 11


@pytest.mark.parametrize("arguments", [
    ["gc", "--max-size", "many"], ["gc", "--max-age", "30"], ["unpin"], ["ls", "--limit", "0"],
])
def test_wrong_usage_ends_with_code_2(arguments: list[str], dataflow_home: Path) -> None:
    assert main(["cache", *arguments]) == 2


@pytest.mark.parametrize("arguments", [
    ["ls", "--storage", "nope://x"], ["pin", "-f", "nobody"], ["ls", "--partition", "../x"],
    ["ls", "--storage", "/not/there"], ["gc", "--storage", "/not/there"],
    ["pin", "--partition", "nobody-1"],
])
def test_what_cannot_be_done_ends_with_code_1(
    arguments: list[str], dataflow_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", *arguments]) == 1 and capsys.readouterr().err.startswith("Error: ")


@pytest.mark.parametrize("text, size", [("0", 0), ("500M", 5 * 10**8), ("1.5 gb", 15 * 10**8),
                                        ("2GiB", 2**31), ("7k", 7000)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text, age", [("60s", 60), ("30d", 2592000), ("1.5h", 5400),
                                       ("2w", 1209600), ("45min", 2700)])
def test_ages_are_read(text: str, age: float) -> None:
    assert Age().convert(text, None, None) == age


@pytest.mark.parametrize("size, text", [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"),
                                        (999_600, "1 MB"), (5 * 10**12, "5 TB")])
def test_sizes_are_written(size: int, text: str) -> None:
    assert size_text(size) == text
