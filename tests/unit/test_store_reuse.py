"""Stores that stay open between the flow runs of a process: when they are used again, when not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow import flow
from dataflow.exceptions import StoreError
from dataflow.settings import temporary_settings
from dataflow.store import Store
from dataflow.stores import open_store, reuse


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    reuse.close_all()
    with temporary_settings({"DATAFLOW_HOME": str(tmp_path)}):
        yield tmp_path
    reuse.close_all()


def run_once() -> Store:
    store = reuse.store_for_run()
    reuse.after_run(store)
    return store


def test_the_next_run_gets_the_same_store(home: Path) -> None:
    assert run_once() is run_once()


def test_runs_at_the_same_time_have_a_store_each(home: Path) -> None:
    stores = [reuse.store_for_run() for _ in range(5)]
    assert len({id(store) for store in stores}) == 5
    for store in stores:
        reuse.after_run(store)
    again = {id(reuse.store_for_run()) for _ in range(5)}
    assert len(again & {id(store) for store in stores}) == 2


def test_another_home_is_another_store(home: Path, tmp_path: Path) -> None:
    first = run_once()
    with temporary_settings({"DATAFLOW_HOME": str(tmp_path / "other")}):
        assert run_once() is not first
    assert run_once() is first


def test_a_relative_path_is_another_store_in_another_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    with temporary_settings({"DATAFLOW_STORE": "runs.db"}):
        for name in ("a", "b"):
            (home / name).mkdir()
            monkeypatch.chdir(home / name)
            run_once()
            assert (home / name / "runs.db").exists()


@pytest.mark.parametrize("gone", ["moved", "deleted", "replaced"])
def test_a_file_that_is_not_there_any_more_is_made_anew(home: Path, gone: str) -> None:
    @flow
    def nothing() -> None:
        """Leave a record."""

    nothing()
    file = home / "dataflow.db"
    if gone == "replaced":
        other = home / "other.db"
        open_store(other).close()
        os.replace(other, file)
    else:
        os.rename(file, home / "was.db")
        was = open_store(home / "was.db")
        assert [row.state_name for row in was.flow_runs()] == ["Completed"]
        was.close()
        if gone == "deleted":
            os.unlink(home / "was.db")
    nothing()
    store = open_store(file)
    assert [row.state_name for row in store.flow_runs()] == ["Completed"]
    store.close()


def test_what_made_the_file_unusable_is_said(home: Path) -> None:
    run_once()
    file = home / "dataflow.db"
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreError, match="is a folder, not a file"):
        reuse.store_for_run()


def test_a_forked_child_opens_its_own(home: Path) -> None:
    store = run_once()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if run_once() is not store else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run_once() is store


def test_a_store_in_memory_ends_with_its_run() -> None:
    with temporary_settings({"DATAFLOW_STORE": "memory:"}):
        assert run_once() is not run_once()


def test_a_hundred_runs_leave_no_more_files_open_than_two(home: Path) -> None:
    @flow
    def nothing() -> None:
        """Leave a record."""

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    nothing()
    nothing()
    before = open_files()
    for _ in range(100):
        nothing()
    assert open_files() <= before


def test_the_word_memory_is_not_taken_for_a_file(
    home: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(StoreError, match="or memory:"):
        open_store("memory")
    assert not (home / "memory").exists()
