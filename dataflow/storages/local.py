"""Results in a folder.

Lives here: private files that appear whole, and the checks before one is read.
Does not live here: what is in them.

A write is not synced: it survives ``kill -9`` at any moment. A power cut may
leave files that are short; their checksums tell.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_hex

from dataflow.exceptions import ResultStorageError
from dataflow.result_storage import Found, ResultStorage
from dataflow.storages.failures import storage_error, translated
from dataflow.storages.privacy import check_private

logger = logging.getLogger("dataflow.results")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not hold us up
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_YOUNG_NS = 50_000_000
"""A folder changed so short a time ago may change again without its date changing."""

_SECOND_NS = 1_000_000_000


class FolderStorage(ResultStorage):
    """Keep results in a folder, for the owner alone.

    Parameters
    ----------
    root
        The folder; it is made when first written to.
    """

    shared = False

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.location = self.root
        self._seen = False  # the root was there before

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FolderStorage) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)

    def __reduce__(self) -> tuple[type[FolderStorage], tuple[str]]:
        return FolderStorage, (self.root,)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes of a file; see the port. Refused unless only we could have written it."""
        with translated(self.location, "read"):
            self._check_folders(name)
            path = self._path(name)
            file = os.open(path, _READ)
            try:
                seen = os.fstat(file)
                _check_kind(path, seen)
                check_private(path, seen)
                return _pread(file, seen.st_size, start, stop)
            finally:
                os.close(file)

    def write(self, name: str, data: Sequence[bytes]) -> None:
        """Write a file; see the port."""
        path = self._path(name)
        with translated(self.location, "write to"):
            folder = os.path.dirname(path)
            for last in (False, True):
                hidden = f"{folder}/.tmp-{os.getpid()}-{token_hex(6)}"
                try:
                    self._make_folders(name)
                    self._write(hidden, path, data)
                    return
                except FileNotFoundError as error:
                    if last:
                        raise storage_error(self.location, "write to", error) from error
                    # the folder was removed meanwhile

    def _write(self, hidden: str, path: str, data: Sequence[bytes]) -> None:
        file = os.open(hidden, _MAKE, 0o600)
        try:
            try:
                os.fchmod(file, 0o600)  # a umask may have taken too much
                for part in data:
                    rest = memoryview(part)
                    while rest:
                        rest = rest[os.write(file, rest) :]
            finally:
                os.close(file)
            os.rename(hidden, path)
        except BaseException:
            try:
                os.unlink(hidden)
            except OSError:
                pass  # the error that is on its way says more
            raise

    def exists(self) -> bool:
        """Tell whether the folder is there."""
        return os.path.isdir(self.root)

    def delete(self, name: str) -> None:
        """Delete a file; see the port."""
        with translated(self.location, "delete from"):
            try:
                self._check_folders(name)
                os.unlink(self._path(name))
            except FileNotFoundError:
                pass

    def move(self, old: str, new: str) -> None:
        """Give a file another name; see the port."""
        with translated(self.location, "write to"):
            self._check_folders(old)
            self._make_folders(new)
            os.rename(self._path(old), self._path(new))

    def list(self, prefix: str = "", *, deep: bool = False) -> Iterator[Found]:
        """Yield the files of a folder; see the port. Symbolic links are left out."""
        folder = f"{self.root}/{prefix}" if prefix else self.root
        with translated(self.location, "read"):
            try:
                with os.scandir(folder) as entries:
                    found = [each for each in entries if not each.name.startswith(".")]
            except (FileNotFoundError, NotADirectoryError):
                return
            for each in found:
                name = f"{prefix}/{each.name}" if prefix else each.name
                try:
                    if each.is_file(follow_symlinks=False):
                        seen = each.stat(follow_symlinks=False)
                        yield Found(name, seen.st_size, seen.st_mtime)
                    elif deep and each.is_dir(follow_symlinks=False):
                        yield from self.list(name, deep=True)
                except FileNotFoundError:
                    continue  # gone meanwhile

    def names(self, prefix: str) -> Sequence[str]:
        """Return the names of a folder; see the port. Some are folders."""
        with translated(self.location, "read"):
            try:
                names = os.listdir(f"{self.root}/{prefix}")
            except (FileNotFoundError, NotADirectoryError):
                return []
        return [name for name in names if not name.startswith(".")]

    def changed(self, prefix: str) -> object:
        """Return the folder's date and identity; see the port."""
        with translated(self.location, "read"):
            try:
                seen = os.stat(f"{self.root}/{prefix}")
            except (FileNotFoundError, NotADirectoryError):
                return "absent"
        coarse = seen.st_mtime_ns % _SECOND_NS == 0  # file systems that know whole seconds only
        if time.time_ns() - seen.st_mtime_ns < (2 * _SECOND_NS if coarse else _YOUNG_NS):
            return object()  # equal to nothing: look again next time
        return seen.st_mtime_ns, seen.st_ino, seen.st_dev

    def sweep(self, before_s: float) -> int:
        """Delete temporary files and marks that are older than that; see the port."""
        swept = 0
        with translated(self.location, "delete from"):
            for folder, _, names in os.walk(self.root):
                for name in names:
                    if name.startswith((".tmp-", ".shared-")):
                        path = os.path.join(folder, name)
                        try:
                            if os.lstat(path).st_mtime < before_s:
                                os.unlink(path)
                                swept += 1
                        except FileNotFoundError:
                            continue
        return swept

    def _path(self, name: str) -> str:
        parts = name.split("/")
        if "" in parts or "." in parts or ".." in parts or "\0" in name:
            raise ResultStorageError(
                f"The name {name!r} leads out of the result storage {self.location}: refused.",
                location=self.location, reason="name")
        return f"{self.root}/{name}"

    def _folders(self, name: str) -> Iterator[str]:
        """Yield the root and each folder on the way to a file."""
        yield self.root
        at = name.find("/")
        while at >= 0:
            yield f"{self.root}/{name[:at]}"
            at = name.find("/", at + 1)

    def _check_folders(self, name: str) -> None:
        """Raise unless each folder is a real one and only we could have put files there."""
        self._path(name)
        for folder in self._folders(name):
            seen = os.stat(folder) if folder == self.root else os.lstat(folder)
            if not stat.S_ISDIR(seen.st_mode):
                raise _not_a_folder(folder, seen)
            check_private(folder, seen)
        self._seen = True

    def _make_folders(self, name: str) -> None:
        """Make what is missing, for us alone; check what is there."""
        try:
            self._check_folders(name)
            return
        except FileNotFoundError:
            pass
        if self._seen and not os.path.exists(self.root):
            logger.warning("The folder of results %s was removed while it was in use; it is made "
                           "again, and what was in it is computed again.", self.root)
            self._seen = False
        _make_private(self.root)
        for folder in self._folders(name):
            _make_private(folder)
        self._check_folders(name)


def _make_private(folder: str) -> None:
    """Make a folder with its parents where it is missing: 0700, whatever the umask."""
    path = Path(folder)
    missing = [path, *path.parents]
    missing = missing[: next((at for at, each in enumerate(missing) if each.exists()), None)]
    for each in reversed(missing):
        try:
            os.mkdir(each, 0o700)
            os.chmod(each, 0o700)
        except FileExistsError:
            pass  # another process was faster


def _check_kind(path: str, seen: os.stat_result) -> None:
    if not stat.S_ISREG(seen.st_mode):
        raise ResultStorageError(f"{path} is no file of results: refused.", location=path,
                                 reason="refused file")


def _not_a_folder(folder: str, seen: os.stat_result) -> OSError:
    if stat.S_ISLNK(seen.st_mode):
        return ResultStorageError(
            f"{folder} is a symbolic link, which would lead out of the result storage: refused. "
            "What to do: put a folder in its place.", location=folder, reason="refused folder")
    return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)


def _pread(file: int, size: int, start: int, stop: int | None) -> bytes:
    if start < 0:
        start = max(0, size + start)
    stop = size if stop is None else min(stop, size)
    parts = []
    while start < stop:
        part = os.pread(file, min(stop - start, 1 << 30), start)  # a read ends at 2 GB
        if not part:
            break
        parts.append(part)
        start += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
