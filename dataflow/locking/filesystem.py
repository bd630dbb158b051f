"""Locks between processes, as files in a folder that they share.

Lives here: :class:`FileSystemLockManager`. Does not live here: the claims of the
run store, which need no folder and no waiting (``claims.py``).

A lock is a file that is created exclusively and says who holds it until when.
One whose time is up, or whose process is known to be dead, is removed by
whoever wants it. Removing goes under a guard (``flock`` of one more file), so
that nobody removes what somebody else has just taken.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dataflow.claims import owner_alive, owner_of_this_process
from dataflow.locking.asking import AskingLockManager, not_held

_GUARD = ".guard"
_UNWRITTEN_S = 10.0  # so long a lock may stand without a word; then whoever made it has died
_PLAIN_NAME = re.compile(r"[a-z0-9_][a-z0-9_.=-]{0,100}\Z")


@dataclass(frozen=True, slots=True)
class _Held:
    """What a lock's file says."""

    holder: str | None  # None: nothing yet
    owner: str | None
    until_s: float | None

    def stale(self, now_s: float) -> bool:
        if self.until_s is not None and self.until_s <= now_s:
            return True
        return self.owner is not None and owner_alive(self.owner) is False


class FileSystemLockManager(AskingLockManager):
    """Locks between all processes that see one folder.

    Parameters
    ----------
    lock_files_directory
        Made at need. On a network file system it must support ``flock``.

    Notes
    -----
    A lock whose process died on this machine is free at once; one of another
    machine only when its ``hold_timeout`` is over. Clocks of machines should agree.
    """

    def __init__(self, lock_files_directory: str | os.PathLike[str], *,
                 clock: Callable[[], float] = time.time) -> None:
        self.lock_files_directory = Path(lock_files_directory).expanduser().resolve()
        self._clock = clock

    def try_lock(self, key: str, holder: str, hold_timeout: float | None) -> bool:
        """Take the lock if it is free or the holder's own; never wait."""
        self.lock_files_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, text = self._path(key), self._text(key, holder, hold_timeout)
        if _created(path, text):
            return True
        held = self._read(path)
        if held is not None and held.holder != holder and not held.stale(self._clock()):
            return False
        with self._guarded():
            held = self._read(path)
            if held is not None and held.holder == holder and not held.stale(self._clock()):
                self._rewrite(path, text)
                return True
            self._remove_stale(path)
        return _created(path, text)

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back. Raises ValueError where the holder does not have it."""
        if not self.is_lock_holder(key, holder):
            raise not_held(key, holder)
        with self._guarded():
            if not self.is_lock_holder(key, holder):
                raise not_held(key, holder)
            self._path(key).unlink(missing_ok=True)

    def is_locked(self, key: str) -> bool:
        """Tell whether anybody has the lock."""
        held = self._read(self._path(key))
        return held is not None and not held.stale(self._clock())

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Tell whether this holder has the lock."""
        held = self._read(self._path(key))
        return held is not None and held.holder == holder and not held.stale(self._clock())

    def _path(self, key: str) -> Path:
        name = key
        if not _PLAIN_NAME.match(key):
            digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            name = f"_{digest}"
        return self.lock_files_directory / f"{name}.lock"

    def _text(self, key: str, holder: str, hold_timeout: float | None) -> bytes:
        until_s = None if hold_timeout is None else self._clock() + hold_timeout
        return json.dumps({"key": key, "holder": holder, "owner": owner_of_this_process(),
                           "until_s": until_s}).encode()

    def _read(self, path: Path) -> _Held | None:
        """Return what a lock's file says; None where there is no lock."""
        try:
            with path.open("rb") as file:
                text, made_s = file.read(), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text)
            return _Held(found["holder"], found.get("owner"), found.get("until_s"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return _Held(None, None, made_s + _UNWRITTEN_S)

    def _remove_stale(self, path: Path) -> None:
        held = self._read(path)
        if held is not None and held.stale(self._clock()):
            path.unlink(missing_ok=True)

    def _rewrite(self, path: Path, text: bytes) -> None:
        """Let the holder's lock say something else, all at once; under the guard."""
        beside = path.with_suffix(".renewed")
        beside.unlink(missing_ok=True)  # of one that died here
        _created(beside, text)
        beside.replace(path)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        number = os.open(self.lock_files_directory / _GUARD, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def __reduce__(self) -> Any:
        return type(self), (self.lock_files_directory,)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, FileSystemLockManager)
                and other.lock_files_directory == self.lock_files_directory)

    def __hash__(self) -> int:
        return hash(self.lock_files_directory)

    def __repr__(self) -> str:
        return f"FileSystemLockManager({str(self.lock_files_directory)!r})"


def _created(path: Path, text: bytes) -> bool:
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(number, text)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(number)
    return True
