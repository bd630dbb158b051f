"""A ledger of what tasks and hooks of transactions did, in order, from any process.

Lives here: the ledger and tasks that write into it. Does not live here: counting
executions alone (``runner_support.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataflow import task


class Broken(Exception):
    """What tests fail with."""


class Ledger:
    """Lines in a file that tasks and hooks leave, from any process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.path = str(folder / "ledger")
        Path(self.path).touch()

    def add(self, text: str) -> None:
        """Leave a line."""
        with open(self.path, "a") as file:
            file.write(f"{text}\n")

    def hook(self, name: str) -> Any:
        """Return a hook that leaves a line."""
        def hook(txn: Any) -> None:
            self.add(name)

        hook.__name__ = name.replace(" ", "_")
        return hook

    @property
    def lines(self) -> list[str]:
        """What was left, in order."""
        return Path(self.path).read_text().split("\n")[:-1]

    def task(self, name: str, **options: Any) -> Any:
        """Return a task with hooks of both kinds, named for what it is."""
        ledger = self

        @task(name=name, on_commit=[self.hook(f"commit {name}")],
              on_rollback=[self.hook(f"undo {name}")], **options)
        def does(x: Any = None) -> Any:
            ledger.add(f"run {name}")
            if x == "fail":
                raise Broken(name)
            return x

        return does
