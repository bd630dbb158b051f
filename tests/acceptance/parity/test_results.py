"""Results that outlive a run: where they go, under which names, how they are written."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    INPUTS,
    CompressedSerializer,
    JSONSerializer,
    LocalFileSystem,
    PickleSerializer,
    flow,
    task,
)
from tests.acceptance.parity.support import names, note, notes


def found_by(runner: Any, body: Any, **options: Any) -> Any:
    """Run a function as a flow and return what it returned, no state."""
    @flow(task_runner=runner, **options)
    def run() -> Any:
        return {"found": body()}

    return run()["found"]


def files(folder: Path) -> int:
    """Count the files below a folder."""
    return sum(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize("storage", [
    Path,
    pytest.param(lambda path: LocalFileSystem(basepath=str(path)), marks=pytest.mark.differs(
        "a block is to be saved on the server first")),
], ids=["path", "LocalFileSystem"])
def test_results_go_to_the_storage_of_the_task(
    runner: Any, tmp_path: Path, storage: Any
) -> None:
    folder = tmp_path / "results"

    @task(result_storage=storage(folder), persist_result=True)
    def one() -> int:
        return 1

    assert found_by(runner, lambda: one.submit().result()) == 1
    assert files(folder) >= 1


def test_results_go_to_the_storage_of_the_flow(runner: Any, tmp_path: Path) -> None:
    @task
    def one() -> int:
        return 1

    assert found_by(runner, lambda: one.submit().result(), persist_result=True,
                    result_storage=tmp_path / "results") == 1
    assert files(tmp_path / "results") >= 1


def test_a_storage_key_names_the_file(runner: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results"

    @task(result_storage=folder, result_storage_key="out-{parameters[x]}.pkl")
    def noted(x: int) -> int:
        note(tmp_path / "ledger", x)
        return x

    def body() -> list[str]:
        return names([noted(3, return_state=True), noted(3, return_state=True),
                      noted(4, return_state=True)])

    assert found_by(runner, body) == ["Completed", "Cached", "Completed"]
    assert {"out-3.pkl", "out-4.pkl"} <= {path.name for path in folder.rglob("*")}
    assert notes(tmp_path / "ledger") == ["3", "4"]


@pytest.mark.parametrize("serializer", [
    "pickle", "json", "compressed/pickle", "compressed/json", PickleSerializer(),
    JSONSerializer(), CompressedSerializer(serializer=PickleSerializer()),
], ids=repr)
def test_a_serializer_writes_and_reads(runner: Any, tmp_path: Path, serializer: Any) -> None:
    value = {"a": [1, 2.5, None, "x"]}

    @task(cache_policy=INPUTS, result_storage=tmp_path, result_serializer=serializer)
    def same(x: Any) -> Any:
        return x

    def body() -> Any:
        same(value)
        state = same(value, return_state=True)
        return state.name, state.result()

    assert found_by(runner, body) == ("Cached", value)


def test_a_serializer_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        @task(result_serializer="tablets", result_storage=tmp_path)
        def same(x: Any) -> Any:
            return x

        found_by(None, lambda: same(1))


def test_a_result_that_cannot_be_kept_is_there_all_the_same(
    local: Any, tmp_path: Path
) -> None:
    @task(result_storage=tmp_path / "results", persist_result=True)
    def lock() -> Any:
        return threading.Lock()

    def body() -> bool:
        state = lock(return_state=True)
        return bool(state.is_completed()) and hasattr(state.result(), "acquire")

    assert found_by(local, body) is True


def test_a_value_is_there_where_it_is_not_to_stay_in_memory(
    runner: Any, tmp_path: Path
) -> None:
    @task(result_storage=tmp_path, persist_result=True, cache_result_in_memory=False)
    def one() -> int:
        return 1

    assert found_by(runner, lambda: (one(), one.submit().result())) == (1, 1)


@pytest.mark.differs("a file each")
def test_small_results_of_a_map_share_files(runner: Any, tmp_path: Path) -> None:
    @task(result_storage=tmp_path / "results", persist_result=True)
    def same(x: int) -> int:
        return x

    assert found_by(runner, lambda: same.map(range(200)).result()) == list(range(200))
    assert files(tmp_path / "results") < 100


def test_a_damaged_result_is_computed_again(runner: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results"

    @task(cache_policy=INPUTS, result_storage=folder)
    def noted(x: int) -> str:
        note(tmp_path / "ledger", x)
        return "x" * 1000

    def body() -> Any:
        return noted.submit(1).result()

    found_by(runner, body)
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    assert found_by(runner, body) == "x" * 1000
    assert notes(tmp_path / "ledger") == ["1", "1"]


@pytest.mark.differs("others may read them")
def test_results_are_for_their_owner_alone(runner: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results"

    @task(result_storage=folder, persist_result=True)
    def one() -> int:
        return 1

    found_by(runner, lambda: one.submit().result())
    assert {path.stat().st_mode & 0o077 for path in [folder, *folder.rglob("*")]} == {0}
