"""Folders of code that was fetched: whole or not there, for the owner alone.

Lives here: making a folder under a temporary name and giving it its own by one
rename; taking away what processes that died left. Does not live here: what is
put into a folder.

What is here will be run, so a folder that others could write to is refused.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from dataflow.claims import owner_alive, owner_of_this_process
from dataflow.deployments.source_urls import refused
from dataflow.exceptions import CodeSourceError

_NEW = ".new-"


def shelf(home: Path, kind: str, key: str) -> Path:
    """Return the folder ``home/code/kind/key``, made where it is missing, mode 0700.

    Raises
    ------
    CodeSourceError
        It cannot be made, or others could write to it or to a folder above it in ``home``.
    """
    folder = home
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in ("code", kind, key):
            folder = folder / part
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                pass
            _check_private(folder)
    except OSError as error:
        if isinstance(error, CodeSourceError):
            raise
        raise refused(str(folder), f"The folder {folder} for code cannot be made: "
                      f"{error.strerror or error}.", "no folder") from error
    return folder


def _check_private(folder: Path) -> None:
    seen = os.lstat(folder)
    others = stat.S_IMODE(seen.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    if stat.S_ISDIR(seen.st_mode) and seen.st_uid in (os.geteuid(), 0) and not others:
        return
    raise refused(str(folder), f"The folder {folder} is refused: it is not yours alone, and what "
                  "is in it would be run. What to do: if nobody else wrote there, "
                  f"chmod 700 {folder}; else remove it.")


@contextmanager
def fresh_folder(shelf: Path) -> Iterator[Path]:
    """Give a new empty folder on a shelf; at the end of the block it is gone, or has its name.

    What was left by processes that died is taken away first.
    """
    _take_away_remains(shelf)
    fresh = remains_of_this_process(shelf)
    fresh.mkdir(mode=0o700)
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def remains_of_this_process(shelf: Path) -> Path:
    """Return a name on a shelf under which others take away what is left when this one dies."""
    return shelf / f"{_NEW}{owner_of_this_process().replace('/', '+')}:{token_hex(6)}"


def put(fresh: Path, place: Path) -> None:
    """Give a folder that is whole its name; where another process was faster, its folder stays."""
    os.chmod(fresh, 0o700)
    try:
        os.rename(fresh, place)
    except OSError:
        if not place.is_dir():
            raise


def _take_away_remains(folder: Path) -> None:
    for each in folder.glob(f"{_NEW}*"):
        owner = each.name.removeprefix(_NEW).rpartition(":")[0].replace("+", "/")
        if owner_alive(owner) is False:
            shutil.rmtree(each, ignore_errors=True)


def within(folder: Path, subfolder: str | None, shown: str) -> Path:
    """Return a subfolder, which must be there and must not lead out of its folder.

    Raises
    ------
    CodeSourceError
        It is not there, or is a link to elsewhere.
    """
    found = folder / subfolder if subfolder else folder
    if not found.is_dir():
        raise refused(shown, f"{shown} has no folder {subfolder!r}.", "no such folder")
    if not found.resolve().is_relative_to(folder.resolve()):
        raise refused(shown, f"{shown}: the subfolder {subfolder!r} leads out of the source.")
    return found
