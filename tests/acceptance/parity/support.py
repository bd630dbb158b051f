"""What the tasks of this suite write down and wait for, across processes.

Lives here: notes in a file that no death takes back, and gates made of files.
Does not live here: anything of ours or of Prefect's.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0


def note(path: str | Path, what: object) -> int:
    """Append a line in one write; return how many stand there now."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{what}\n".encode())
    finally:
        os.close(fd)
    return len(notes(path))


def notes(path: str | Path) -> list[str]:
    """Return the lines noted so far."""
    try:
        return Path(path).read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []


def await_notes(path: str | Path, many: int = 1, within_s: float = PATIENCE_S) -> list[str]:
    """Wait until so many lines are noted."""
    until = time.monotonic() + within_s
    while len(notes(path)) < many:
        if time.monotonic() > until:
            raise AssertionError(f"not {many} notes in {path} within {within_s} s: {notes(path)}")
        time.sleep(0.01)
    return notes(path)


def names(states: Any) -> list[str]:
    """Return the states' names."""
    return [state.name for state in states]
