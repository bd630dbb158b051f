"""Which folders of fetched code stay: those in use, and those used of late.

Lives here: holding a folder while this process lives, taking old ones away. Does not
live here: making folders (``code_cache.py``).

Who uses a folder has a shared lock on a file beside it, which ends with the process,
however that dies; the time of that file is when the folder was used last.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dataflow.deployments.code_cache import remains_of_this_process

KEPT = 20
"""Folders of one repository that stay though they were not used of late."""

UNUSED_S = 30 * 86400.0
"""One that was not used for so long goes, in seconds."""

_FRESH_S = 3600.0  # whatever their number, those that were used within the hour stay
_LOCK = ".use-"

_held: dict[Path, int] = {}
_holding = threading.Lock()


def hold(folder: Path) -> bool:
    """Keep a folder from being taken away while this process lives; False: it is not there."""
    with _holding:
        return folder.is_dir() and (folder in _held or _locked(folder))


def _locked(folder: Path) -> bool:
    lock = _lock_of(folder)
    try:
        while True:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH)
                if os.fstat(fd).st_ino == os.stat(lock).st_ino:
                    break
            except FileNotFoundError:  # it was taken away while this one waited
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        os.utime(fd)
    except OSError:  # a file system without locks, or that is read-only: nobody removes there
        return folder.is_dir()
    if not folder.is_dir():
        os.close(fd)
        return False
    _held[folder] = fd
    return True


def superfluous(used: Mapping[str, float], now_s: float, *, kept: int = KEPT,
                unused_s: float = UNUSED_S) -> list[str]:
    """Return the names of folders that may go, the ones used longest ago first.

    Parameters
    ----------
    used
        Name → when it was used last, epoch seconds.
    kept, unused_s
        How many may stay, and how long.
    """
    by_time = sorted(used, key=lambda name: (used[name], name))
    extra = set(by_time[:max(0, len(by_time) - kept)])
    return [name for name in by_time if now_s - used[name] > unused_s
            or (name in extra and now_s - used[name] > _FRESH_S)]


def take_away_old(home: Path, now_s: float) -> int:
    """Take away folders of code that nobody needs; return how many.

    Parameters
    ----------
    home
        ``DATAFLOW_HOME``.
    """
    removed = 0
    for shelf in sorted((home / "code").glob("*/*")):
        if not shelf.is_dir():
            continue
        used = {path.name: _used_s(path) for path in shelf.iterdir()
                if path.is_dir() and not path.name.startswith(".")}
        for name in superfluous(used, now_s):
            with suppress(OSError):  # in use, or of a file system without locks
                removed += _take_away(shelf / name)
    return removed


def _used_s(folder: Path) -> float:
    with suppress(OSError):
        return _lock_of(folder).stat().st_mtime
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _take_away(folder: Path) -> bool:
    """Take a folder away, under the lock that no user has then."""
    lock = _lock_of(folder)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        away = remains_of_this_process(folder.parent)
        os.rename(folder, away)  # whole or not there
        lock.unlink(missing_ok=True)
    finally:
        os.close(fd)
    shutil.rmtree(away, ignore_errors=True)
    return True


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{_LOCK}{folder.name}")


def _forget_after_fork() -> None:
    global _holding
    _holding = threading.Lock()
    _held.clear()  # the parent's are this one's as well, as long as its files are open


os.register_at_fork(after_in_child=_forget_after_fork)
