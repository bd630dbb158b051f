"""Which folders of fetched code stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.deployments import code_keeping
from dataflow.deployments.code_keeping import hold, superfluous, take_away_old

NOW = 2_000_000_000.0
DAY = 86400.0


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "code" / "git" / "shop-1"
    made.mkdir(parents=True)
    before = dict(code_keeping._held)
    yield made
    for folder in set(code_keeping._held) - set(before):
        os.close(code_keeping._held.pop(folder))


def commit(shelf: Path, name: str, used_s: float) -> Path:
    folder = shelf / name
    folder.mkdir()
    (folder / "flows.py").write_text("x = 1")
    os.utime(folder, (used_s, used_s))
    return folder


def test_what_was_not_used_for_long_goes_and_so_does_what_is_too_many() -> None:
    used = {"a": NOW - 40 * DAY, "b": NOW - 3 * DAY, "c": NOW - 2 * DAY, "d": NOW - 60, "e": NOW}
    assert superfluous(used, NOW, kept=10) == ["a"]
    assert superfluous(used, NOW, kept=3) == ["a", "b"]
    assert superfluous(used, NOW, kept=1) == ["a", "b", "c"]  # not what is used now
    assert superfluous(used, NOW, kept=10, unused_s=DAY) == ["a", "b", "c"]
    assert superfluous({}, NOW) == []


def test_old_folders_are_taken_away_and_nothing_is_left_of_them(shelf: Path) -> None:
    commit(shelf, "old", NOW - 31 * DAY)
    young = commit(shelf, "young", NOW - 29 * DAY)
    assert take_away_old(shelf.parents[2], NOW) == 1
    assert list(shelf.iterdir()) == [young]


def test_a_folder_that_a_process_uses_stays_however_old_until_that_process_dies(
        shelf: Path) -> None:
    folder = commit(shelf, "old", NOW - 99 * DAY)
    user = subprocess.Popen(
        [sys.executable, "-c",
         ("import sys; from pathlib import Path\n"
         "from dataflow.deployments.code_keeping import hold\n"
         "print(hold(Path(sys.argv[1])), flush=True); sys.stdin.read()"), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert user.stdout is not None and user.stdout.readline() == "True\n"
        os.utime(shelf / ".use-old", (NOW - 99 * DAY, NOW - 99 * DAY))
        assert take_away_old(shelf.parents[2], NOW) == 0
        assert folder.is_dir()
    finally:
        user.kill()
        user.communicate()
    assert take_away_old(shelf.parents[2], NOW) == 1
    assert list(shelf.iterdir()) == []


def test_holding_a_folder_counts_as_a_use(shelf: Path) -> None:
    folder = commit(shelf, "old", 1.0)
    assert hold(folder) and hold(folder)
    assert (shelf / ".use-old").stat().st_mtime > 1e9
    assert not hold(shelf / "gone")


def test_a_folder_that_cannot_be_locked_is_used_all_the_same(
        shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(code_keeping.fcntl, "flock", no_locks)
    folder = commit(shelf, "old", NOW - 99 * DAY)
    assert hold(folder)
    assert take_away_old(shelf.parents[2], NOW) == 0
    assert folder.is_dir()
