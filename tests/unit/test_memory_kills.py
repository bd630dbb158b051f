"""Whether the kernel says that it killed a process for its memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from dataflow.memory_kills import (
    OUT_OF_MEMORY,
    PERHAPS,
    MemoryKills,
    counter_in,
    own_counter,
    why_killed,
)

EVENTS = "low 0\nhigh 0\nmax 12\noom {kills}\noom_kill {kills}\noom_group_kill 0\n"
KILLED = "Memory cgroup out of memory: Killed process 4711 (python) total-vm:1kB, anon-rss:1kB"


def silent() -> list[tuple[float, str]]:
    return []


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "memory.events"
    path.write_text(EVENTS.format(kills=3))
    return path


def test_a_kill_is_told_by_the_counter_that_went_up(counter: Path) -> None:
    kills = MemoryKills(counter, log=silent)
    assert not kills.had(7)
    counter.write_text(EVENTS.format(kills=4))
    assert kills.had(7)


def test_a_kill_from_before_the_process_was_last_seen_alive_is_of_another(counter: Path) -> None:
    kills = MemoryKills(counter, log=silent)
    counter.write_text(EVENTS.format(kills=4))
    kills.look()
    assert not kills.had(7)


@pytest.mark.parametrize("content", ["", "oom_kill many\n", None])
def test_a_counter_that_says_nothing_proves_nothing(counter: Path, content: str | None) -> None:
    kills = MemoryKills(counter, log=silent)
    if content is None:
        counter.unlink()
    else:
        counter.write_text(content)
    assert not kills.had(7)


def test_a_kill_is_told_by_the_kernels_log_by_process_and_time(counter: Path) -> None:
    now_s = time.monotonic()

    def log() -> Iterable[tuple[float, str]]:
        return [(now_s - 3600, KILLED.replace("4711", "8")), (now_s + 1, KILLED),
                (now_s + 1, "oom-kill: something of process 9")]

    kills = MemoryKills(counter, log=log)
    assert kills.had(4711)
    assert not kills.had(471)
    assert not kills.had(8), "long before this process began"
    assert not kills.had(9)


@pytest.mark.parametrize(("code", "up", "said"), [
    (-9, True, OUT_OF_MEMORY), (-9, False, PERHAPS), (-15, True, None), (0, True, None),
    (137, True, None),
])
def test_only_what_ended_by_sigkill_may_have_been_out_of_memory(
        counter: Path, code: int, up: bool, said: str | None) -> None:
    kills = MemoryKills(counter, log=silent)
    if up:
        counter.write_text(EVENTS.format(kills=9))
    assert why_killed(code, 7, kills) == said


def test_a_process_that_nobody_looked_at_was_out_of_memory_perhaps() -> None:
    assert why_killed(-9, 7, None) == PERHAPS


@pytest.mark.parametrize(("groups", "file"), [
    (["0::/user.slice/a.scope"], "user.slice/a.scope/memory.events"),
    (["0::/"], "memory.events"),
    (["0::/gone/from/here"], "memory.events"),  # a container: its own group is on top
    (["2:cpu:/x", "4:memory:/jobs/7", "0::/"], "memory/jobs/7/memory.oom_control"),
    (["2:cpu,memory:/elsewhere"], "memory/memory.oom_control"),
    (["0::/u"], "unified/u/memory.events"),
])
def test_the_counter_of_a_group_is_found_in_either_version(
        tmp_path: Path, groups: list[str], file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    assert counter_in(groups, tmp_path) == path


def test_without_a_group_for_memory_there_is_no_counter(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\n")
    assert counter_in(["0::/", "3:cpuset:/"], tmp_path) is None
    assert counter_in([], tmp_path) is None


def test_the_counter_of_this_process_can_be_read_where_there_is_one() -> None:
    counter = own_counter()
    assert counter is None or "oom_kill" in counter.read_text()
    assert not MemoryKills(counter).had(0)
