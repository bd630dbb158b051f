"""Whether a worker sees the very result storage that the flow's process means.

Lives here: the mark that the flow's process leaves in a folder, and the look for
it from a worker, once per process each. Does not live here: what follows
(``worker/shelves.py``).

A folder of the same path on another machine is another folder: what a worker
keeps there nobody else finds.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from contextlib import suppress

from dataflow.exceptions import DataflowError, ResultStorageError
from dataflow.result_storage import ResultStorage

logger = logging.getLogger("dataflow.driver")

_lock = threading.Lock()
_marks: dict[tuple[int, str], str | None] = {}
_seen: dict[tuple[int, str], bool] = {}


def mark(storage: ResultStorage) -> str | None:
    """Leave a mark in a storage, once per process; None where none is needed or possible."""
    if storage.shared:
        return None
    place = (os.getpid(), storage.location)
    with _lock:
        if place not in _marks:
            try:
                token: str | None = storage.probe()
            except ResultStorageError as error:
                logger.warning("Results cannot be kept: %s", error)
                token = None
            else:
                atexit.register(_take_away, storage, place)
            _marks[place] = token
        return _marks[place]


def reaches(storage: ResultStorage, token: str | None) -> bool:
    """Tell whether this process sees the storage in which another left its mark."""
    if token is None:
        return True
    with _lock:
        if token in _marks.values():
            return True  # it is this process's own
        place = (os.getpid(), token)
        if place not in _seen:
            try:
                _seen[place] = storage.sees(token)
            except ResultStorageError:
                _seen[place] = False
        return _seen[place]


def _take_away(storage: ResultStorage, place: tuple[int, str]) -> None:
    token = _marks.pop(place, None)
    if token is not None and place[0] == os.getpid():
        with suppress(DataflowError, OSError):
            storage.unprobe(token)
