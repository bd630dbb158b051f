"""The note that a running service leaves in DATAFLOW_HOME, so that others find it.

Lives here: writing, reading and removing it. Does not live here: asking the service
(``asking.py``).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from dataflow.claims import owner_alive, owner_of_this_process

FILE = "server.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Where a service is reached, and which process it is.

    Parameters
    ----------
    owner
        host:pid:start, so that another process with the same number is told from it.
    certfile
        Of TLS: what its certificate may be checked with.
    """

    address: str
    pid: int
    owner: str
    started: str
    certfile: str | None = None


def leave(home: Path, address: str, started: str, certfile: Path | None = None) -> Note:
    """Write the note of this process; one of another process is replaced."""
    note = Note(address=address, pid=os.getpid(), owner=owner_of_this_process(),
                started=started, certfile=None if certfile is None else str(certfile.absolute()))
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = home / f".{FILE}-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(note), file, indent=2)
    fresh.replace(home / FILE)
    return note


def read(home: Path) -> Note | None:
    """Return the note of a service that runs; None: there is none, or its process is gone."""
    try:
        note = Note(**json.loads((home / FILE).read_text()))
        alive = owner_alive(note.owner)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return None if alive is False else note


def remove(home: Path) -> None:
    """Remove the note where it is this process's."""
    note = read(home)
    if note is not None and note.owner == owner_of_this_process():
        (home / FILE).unlink(missing_ok=True)
