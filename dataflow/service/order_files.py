"""Files that a run's command is given, and what it says meanwhile.

Lives here: one folder of them, for the owner alone; taking away what is left of runs
that have ended. Does not live here: what is in them (``commands.py``, ``orders.py``).

What a command writes goes into a file, not a pipe: it outlives the worker.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from dataflow.agenda import Agenda

_PASSED_BYTES = 1 << 20  # at once


class RunFiles:
    """The files of one attempt of a run.

    Parameters
    ----------
    folder
        Where all of them are; made where it is missing.
    stem
        How their names begin: ``<flow run>.<attempt>``.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder = folder
        self._stem = stem

    def path(self, kind: str) -> Path:
        """Return where a file of a kind is."""
        return self._folder / f"{self._stem}.{kind}"

    def put(self, kind: str, text: str) -> str:
        """Write a file for the owner alone; return its path."""
        with self._opened(kind) as file:
            file.write(text.encode())
        return str(self.path(kind))

    def put_json(self, kind: str, value: Any) -> str:
        """Write a JSON value, which is YAML as well; return the file's path."""
        return self.put(kind, json.dumps(value, indent=1))

    def stderr(self) -> IO[bytes]:
        """Open the file into which the command writes its errors."""
        return self._opened("stderr")

    def _opened(self, kind: str) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
        return os.fdopen(os.open(self.path(kind), flags, 0o600), "ab")

    def pass_on(self, shown: int, to: IO[str]) -> int:
        """Copy what the command has written since ``shown`` bytes; return how many there are."""
        with self.path("stderr").open("rb") as file:
            file.seek(shown)
            while some := file.read(_PASSED_BYTES):
                to.write(some.decode(errors="replace"))
                shown += len(some)
        to.flush()
        return shown

    def last_lines(self, lines: int, size_bytes: int) -> str:
        """Return the last lines that the command wrote to stderr."""
        try:
            with self.path("stderr").open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - size_bytes))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def remove(self) -> None:
        """Take them away."""
        for kind in ("order", "manifest", "stderr"):
            self.path(kind).unlink(missing_ok=True)


def remove_old(folder: Path, agenda: Agenda) -> int:
    """Take away what is left of runs that have ended; return how many files."""
    removed = 0
    for path in sorted(folder.glob("*.*.*")) if folder.is_dir() else ():
        run = agenda.queued(path.name.partition(".")[0])
        if run is None or run.phase == "ended":
            path.unlink(missing_ok=True)
            removed += 1
    return removed
